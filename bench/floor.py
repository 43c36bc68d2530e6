"""The floor of a case: only its matrix products, with the same shapes; and a copy of its bytes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backends.select import get_backend
from gpubp.bench.cases import Case
from gpubp.bench.peers import PEERS
from gpubp.bench.peers.ours import clock_of
from gpubp.bench.results import Row, SkippedError
from gpubp.bench.timing import time_calls


def measure_floor(case: Case) -> Row:
    """Return a row with lower bounds for the time of the case.

    rounds : seconds of the products of all steps. figures["bytes_us"] : microseconds of a copy of
    as many bytes as a step has to move (`Case.phases`). The copied array has this size, so it is in
    a cache if the data of a step would fit there.
    """
    if why := PEERS["gpubp"].available(case.device):
        raise SkippedError(why)
    if case.precision not in ("float32", "float64"):
        raise SkippedError(f"products in {case.precision} are measured by gpubp.bench.gpu")
    backend, work = get_backend(case.device), case.workload
    with backend.in_use(None, case.batch * work.network.n_parameters):
        products = backend.record(_Products(backend, case))
        clock, least = clock_of(backend), case.seconds / 3
        step, _ = time_calls(products, clock, backend.synchronize, samples=5, seconds=least)
        source = backend.zeros((max(1, _bytes(case) // 8),), np.float32)
        target = backend.zeros(source.shape, np.float32)

        def copy() -> None:
            target[...] = source

        moved, _ = time_calls(copy, clock, backend.synchronize, samples=5, seconds=least)
    # A last, smaller batch counts in proportion to its rows.
    seconds = step.median * case.rows_in_all / case.batch
    return Row(case.name, case.peer, rounds=(seconds,), figures={"bytes_us": 1e6 * moved.median})


class _Products:
    """The matrix products of a step, on separate arrays."""

    def __init__(self, backend: Backend, case: Case) -> None:
        self._backend, self._trains = backend, case.trains
        rng, dtype = np.random.default_rng(0), case.workload.dtype

        def drawn(*shape: int) -> Array:
            return backend.asarray(rng.standard_normal(shape), dtype)

        self._As = [drawn(case.batch, size) for size in case.sizes]
        self._Ws = [drawn(*shape) for shape in pairwise(case.sizes)]
        self._outputs = [backend.empty(A.shape, dtype) for A in self._As]
        self._gradients = [backend.empty(W.shape, dtype) for W in self._Ws]

    def __call__(self) -> None:
        gemm = self._backend.gemm
        for layer, W in enumerate(self._Ws):
            gemm(self._As[layer], W, out=self._outputs[layer + 1])
        if not self._trains:
            return
        for layer in range(len(self._Ws) - 1, -1, -1):
            A, delta = self._As[layer], self._As[layer + 1]
            gemm(A, delta, out=self._gradients[layer], transpose_a=True)
            if layer:
                gemm(delta, self._Ws[layer], out=self._outputs[layer], transpose_b=True)


def _bytes(case: Case) -> int:
    """Return the least number of bytes that a step has to move."""
    return sum(part.bytes for part in case.phases) * (2 if case.precision == "float64" else 1)
