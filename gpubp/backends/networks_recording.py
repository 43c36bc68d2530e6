"""A recorded step of several networks: a worker of the pool makes all steps of one network.

The step of the first network is cut into phases like that of any network, and its tiles are done
one after the other. Those of the other networks are the same calls on their own arrays. So each
network has the bits that it has alone, and its arrays stay in the cache of one core for many steps.
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import numpy as np

from gpubp.backends.compiled_calls import Call
from gpubp.backends.numpy_backend import aligned
from gpubp.backends.phases import Phase, Piece, cut
from gpubp.backends.pooled_recording import SECONDS, PhaseStruct
from gpubp.backends.protocol import ALIGNMENT, Array
from gpubp.backends.step_recorder import Op, Product, Unplanned, extent
from gpubp.kernels.host.compiler import pool_library


class _Shift(NamedTuple):
    """How a call of one network becomes that of the next.

    strides : bytes between their arrays, for each array. elements : between their ranges.
    """

    strides: list[int]
    elements: int


class NetworksRecording:
    """Replays a step of ``networks`` independent networks.

    ops : as recorded. counter : (1,) int64, the number of the step, of which each network has its
    own during a replay. workers : returns how many threads a replay may take.
    """

    def __init__(
        self, ops: list[Op], networks: int, counter: Array, workers: Callable[[], int]
    ) -> None:
        self._networks, self._counter, self._workers = networks, counter, workers
        self._counters = aligned((networks, ALIGNMENT // 8), np.int64)
        shifts: dict[Call, _Shift] = {}
        first = [_of_first(op, networks, counter, shifts) for op in ops]
        phases = cut(first, networks)
        strides = {
            id(array): stride
            for op in first
            if isinstance(op, Product)
            for array, stride in zip((op.A, op.B, op.out), op.strides, strict=True)
        }
        self._data: dict[Call, np.ndarray] = {}
        rooms = [list(_pieces(phases.before)), list(_pieces(phases.step))]
        for piece in [*rooms[0], *rooms[1]]:
            if piece.call not in self._data:
                shift = shifts.setdefault(piece.call, self._of_product(piece.call, strides))
                self._data[piece.call] = self._addresses(piece.call, shift)
        self._items = [self._items_of(pieces, shifts) for pieces in rooms]
        self._starts = [
            np.arange(0, (networks + 1) * len(pieces), max(1, len(pieces)), dtype=np.int64)
            for pieces in rooms
        ]
        self._sizes = [len(pieces) for pieces in rooms]
        self._seconds = 0.0  # of one step of one network

    def _of_product(self, call: Call, strides: dict[int, int]) -> _Shift:
        """Return the shift of a product or of a packing; other arrays than its own are rooms."""
        rooms = (a.nbytes // self._networks for a in call.arrays)
        return _Shift([strides.get(id(a), r) for a, r in zip(call.arrays, rooms, strict=True)], 0)

    def _addresses(self, call: Call, shift: _Shift) -> np.ndarray:
        """Return the addresses of the arrays of a call for each network, (networks, arrays)."""
        places = np.arange(self._networks, dtype=np.uint64)[:, None]
        rows = np.array([*call.data], np.uint64) + places * np.array(shift.strides, np.uint64)
        for k, array in enumerate(call.arrays):
            if isinstance(array, np.ndarray) and extent(array) == extent(self._counter):
                own = self._counters.ctypes.data + np.arange(self._networks) * ALIGNMENT
                rows[:, k] = own.astype(np.uint64)
        return rows

    def _items_of(self, pieces: list[Piece], shifts: dict[Call, _Shift]) -> np.ndarray:
        """Return ``pieces`` of each network as an array of ``Item`` of ``replay.h``."""
        items = np.empty((self._networks, len(pieces), 5), np.uint64)
        places = np.arange(self._networks, dtype=np.uint64)
        for k, (call, begin, end) in enumerate(pieces):
            data, (function, _, numbers) = self._data[call], call.head
            shift = places * np.uint64(shifts[call].elements)
            items[:, k, 0], items[:, k, 2] = function, numbers
            items[:, k, 1] = data.ctypes.data + places * np.uint64(data.strides[0])
            items[:, k, 3], items[:, k, 4] = shift + np.uint64(begin), shift + np.uint64(end)
        return items

    def __call__(self, times: int = 1) -> None:
        """Make the step of each network ``times`` times.

        A call into C takes at most about `SECONDS`, since an interrupt has to wait for it. It makes
        all steps of a few networks where it can, so that their arrays stay in the cache.
        """
        start, workers = int(self._counter[0]), self._workers()
        first = 0
        while first < self._networks and times > 0:
            budget = max(1, int(SECONDS / self._seconds)) if self._seconds else workers
            whole = budget // times // workers * workers  # as many for each worker
            count = min(self._networks - first, max(workers, whole))
            steps = min(times, max(1, budget // count))
            self._counters[first : first + count, 0] = start
            for done in range(0, times, steps):
                self._run(first, count, min(steps, times - done))
            first += count
        self._counter[0] = self._counters[0, 0]

    def _run(self, first: int, count: int, times: int) -> None:
        """Make ``times`` steps of ``count`` networks from ``first`` on."""
        structs = (PhaseStruct * 2)()
        for k, repeat in enumerate((1, times)):
            starts = self._starts[k][first:]
            size = count * self._sizes[k]
            begin = self._items[k].ctypes.data
            end = int(starts[0]) + size if self._sizes[k] else 0
            structs[k] = PhaseStruct(begin, starts.ctypes.data, count, end, repeat)
        started = perf_counter()
        skipped = 0 if self._sizes[0] else 1
        numbers = map(ctypes.c_ssize_t, (1 - skipped, 1, 1, self._workers()))
        pool_library().run_phases(ctypes.byref(structs[skipped]), *numbers)
        self._seconds = max((perf_counter() - started) / (count * times), 1e-9)

    def rebind(self, before: Array, now: Array) -> bool:
        """Return False: the calls are bound to their arrays."""
        return False

    @property
    def launches(self) -> dict[str, int]:
        """How many calls one step makes from Python, by kind."""
        return {"NumPy calls": 0, "compiled calls": 1}


def _pieces(phases: list[Phase]) -> Iterable[Piece]:
    """Yield the pieces of all tiles, in an order in which one worker can make them."""
    for phase in phases:
        for tile in phase.tiles:
            yield from tile
        yield from phase.after


def _of_first(op: Op, networks: int, counter: Array, shifts: dict[Call, _Shift]) -> Op:
    """Return ``op`` for the first network alone; note in ``shifts`` how its call is shifted."""
    if isinstance(op, Product):
        return op
    if op.call is None:
        raise Unplanned("the host is called between the steps of several networks")
    call = copy.copy(op.call)
    strides = [0] * len(call.arrays)
    if op.bias_stride:
        strides[-1] = op.bias_stride
    if any(begin <= extent(counter)[0] < end for begin, end in op.writes):
        shifts[call] = _Shift(strides, 0)  # it only advances the counter
        return replace(op, call=call)
    if call.elements % networks:
        raise Unplanned("an operation does not compute network by network")
    call.elements //= networks
    shifts[call] = _Shift(strides, call.elements)
    slices = {extent(a): a[0] for a in _arrays(op) if a.ndim > 1 and len(a) == networks}
    reads, writes = (
        [extent(slices[each]) if each in slices else each for each in extents]
        for extents in (op.reads, op.writes)
    )
    aligned_ = [slices.get(extent(a), a) for a in op.aligned]
    return replace(op, call=call, reads=reads, writes=writes, aligned=aligned_)


def _arrays(op: Op) -> list[np.ndarray]:
    return [a for a in (op.call.arrays if op.call else []) if isinstance(a, np.ndarray)]
