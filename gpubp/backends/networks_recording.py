"""A recorded step of several networks: each worker of the pool makes all steps of one network.

The calls of a step are those of a single network, in their order, so a network has the same bits
as alone. Its arrays stay in the cache of one core for many steps.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gpubp.backends.compiled_calls import Call
from gpubp.backends.numpy_backend import aligned
from gpubp.backends.phases import is_sum, rows_product
from gpubp.backends.pooled_recording import AtOnce, PhaseStruct
from gpubp.backends.protocol import ALIGNMENT, Array
from gpubp.backends.step_recorder import MOST_SUMMED, Op, Product, Unplanned, extent, overlap
from gpubp.backends.tiled_products import Packed, pack_call, packed, sums_call
from gpubp.kernels.host.compiler import pool_library


class NetworkCall(NamedTuple):
    """A call for the first of the networks, over a range of its elements.

    strides : bytes from an array of one network to that of the next, for each array of the call.
    shift : elements from the range of one network to that of the next.
    """

    call: Call
    end: int
    strides: list[int]
    shift: int


class NetworksRecording:
    """Replays a step of ``networks`` independent networks.

    ops : as recorded. counter : (1,) int64, the number of the step, of which each network has its
    own during a replay. workers : returns how many threads a replay may take.
    """

    def __init__(
        self, ops: list[Op], networks: int, counter: Array, workers: Callable[[], int]
    ) -> None:
        self._counter, self._workers = counter, workers
        self._counters = aligned((networks, ALIGNMENT // 8), np.int64)
        self._calls = _calls_of(ops, networks, counter)
        self._addresses = [self._addresses_of(each) for each in self._calls]
        self._items = np.empty((networks, len(self._calls), 5), np.uint64)
        places = np.arange(networks, dtype=np.uint64)
        for k, (each, rows) in enumerate(zip(self._calls, self._addresses, strict=True)):
            function, _, numbers = each.call.head
            self._items[:, k, 0], self._items[:, k, 2] = function, numbers
            self._items[:, k, 1] = rows.ctypes.data + places * np.uint64(rows.strides[0])
            self._items[:, k, 3] = begin = places * np.uint64(each.shift)
            self._items[:, k, 4] = begin + np.uint64(each.end)
        size = len(self._calls)
        self._starts = np.arange(0, (networks + 1) * size, size, dtype=np.int64)
        pointers = self._items.ctypes.data, self._starts.ctypes.data
        self._phase = PhaseStruct(*pointers, networks, networks * size, 1)
        self._at_once = AtOnce()

    def _addresses_of(self, each: NetworkCall) -> np.ndarray:
        """Return the addresses of the arrays of a call for each network, (networks, arrays)."""
        networks, counter = len(self._counters), extent(self._counter)
        first, strides = np.array([*each.call.data], np.uint64), np.array(each.strides, np.uint64)
        rows = first + np.arange(networks, dtype=np.uint64)[:, None] * strides
        for k, array in enumerate(each.call.arrays):
            if isinstance(array, np.ndarray) and extent(array) == counter:
                own = self._counters.ctypes.data + np.arange(networks) * self._counters.strides[0]
                rows[:, k] = own.astype(np.uint64)
        return rows

    def _run(self, times: int) -> None:
        self._counters[:, 0], self._phase.repeat = self._counter[0], times
        numbers = map(ctypes.c_ssize_t, (0, 1, 1, self._workers()))
        pool_library().run_phases(ctypes.byref(self._phase), *numbers)
        self._counter[0] = self._counters[0, 0]

    def __call__(self, times: int = 1) -> None:
        """Make the step of each network ``times`` times."""
        self._at_once(self._run, times)

    def rebind(self, before: Array, now: Array) -> bool:
        """Return False: the calls are bound to their arrays."""
        return False

    @property
    def launches(self) -> dict[str, int]:
        """How many calls one step makes from Python, by kind."""
        return {"NumPy calls": 0, "compiled calls": 1}


def _calls_of(ops: list[Op], networks: int, counter: Array) -> list[NetworkCall]:
    """Return the calls of a step; raise `Unplanned` where it has another form."""
    packing: list[NetworkCall] = []  # of the weights, at the start of a step
    calls: list[NetworkCall] = []
    packs: list[Packed] = []
    deltas: dict[int, Packed] = {}  # by address: its sums by weights and biases read the same
    for op in ops:
        if not isinstance(op, Product):
            calls.append(_elementwise(op, networks, counter))
        elif is_sum(op, ops):
            calls += _sum(op, networks, deltas)
        else:
            known = len(packs)
            call = rows_product(op, len(op.out), packs, networks)
            packing += [_packing(each, op, networks) for each in packs[known:]]
            calls.append(_product(call, op, networks))
        for address in [a for a, each in deltas.items() if overlap(op.writes, [extent(each.W)])]:
            del deltas[address]  # it is computed anew
    return packing + calls


def _elementwise(op: Op, networks: int, counter: Array) -> NetworkCall:
    if (call := op.call) is None:
        raise Unplanned(
            "it calls the host, before which networks would have to wait for each other"
        )
    strides = [0] * len(call.arrays)
    if any(a <= extent(counter)[0] < b for a, b in op.writes):  # it only advances the counter
        return NetworkCall(call, 1, strides, 0)
    if call.elements % networks:
        raise Unplanned("a step does not go by networks")
    if op.bias_stride:
        strides[-1] = op.bias_stride
    each = call.elements // networks
    return NetworkCall(call, each, strides, each)


def _sum(op: Product, networks: int, deltas: dict[int, Packed]) -> list[NetworkCall]:
    """Return the calls of a product that sums over rows; ``deltas`` are packed before."""
    if op.transpose_b or not (op.transpose_a or len(op.A) == 1):
        raise Unplanned("a product sums over neither rows nor inputs")
    if len(op.B) > MOST_SUMMED:
        raise Unplanned(f"a batch has more than {MOST_SUMMED:,} rows")
    if op.B.shape[1] == 1:
        return [_product(sums_call(op.A, op.B, None, op.out, op.accumulate), op, networks)]
    packing, address = [], op.B.ctypes.data
    if address not in deltas:
        deltas[address] = packed(op.B, False, networks)
        packing = [_packing(deltas[address], op, networks)]
    call = sums_call(op.A, op.B, deltas[address].room, op.out, op.accumulate)
    return [*packing, _product(call, op, networks)]


def _packing(each: Packed, op: Product, networks: int) -> NetworkCall:
    """Return the call that packs B of ``op``."""
    call = pack_call(each)
    return NetworkCall(call, call.elements, [op.strides[1], each.room.nbytes // networks], 0)


def _product(call: Call, op: Product, networks: int) -> NetworkCall:
    """Return the call of ``op``, which may read its B packed."""
    A, B, out = op.strides
    if call.arrays[1] is not op.B:
        B = call.arrays[1].nbytes // networks
    return NetworkCall(call, call.elements, [A, B, out], 0)
