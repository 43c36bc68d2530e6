"""NumPy on the host: a step of training is recorded on a tape of bound calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.backends.blas_threads import BLAS
from gpubp.backends.protocol import ALIGNMENT, Array, Epilogues, Memory, Recording, Step
from gpubp.backends.tape import Tape
from gpubp.settings import default_threads

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

# Up to this many multiply-adds in the products of one forward pass, one BLAS thread is used: a
# second thread would gain nothing, and lose much if another process is busy.
ONE_THREAD_LIMIT = 5_000_000


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialised array that begins at a multiple of ALIGNMENT."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(dtype).reshape(shape)


class NumpyBackend:
    """NumPy on the host; see `gpubp.backends.protocol.Backend`."""

    name = "cpu"
    engine = "numpy"
    precision = "float32"
    n_partial_sums = 1

    def __init__(self, reason: str = "device='cpu'") -> None:
        self.reason = reason
        self.epilogues = Epilogues()
        self._threads = default_threads()
        self._np: Any = np  # the module, or the tape while a step is recorded

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        return np.ascontiguousarray(values, dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(array)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return aligned(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        step.numpy(self._np, *inputs, *(out if isinstance(out, tuple) else (out,)))

    def gemm(
        self,
        A: Array,
        B: Array,
        *,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
        accumulate: bool = False,
    ) -> None:
        whole, out = out, np.empty_like(out) if accumulate else out
        A = A.swapaxes(-1, -2) if transpose_a else A
        B = B.swapaxes(-1, -2) if transpose_b else B
        # A call of A.dot takes 0.36 us and one of np.matmul 1.07 us, but dot takes matrices only.
        product = partial(A.dot, B, out) if out.ndim == 2 else partial(np.matmul, A, B, out)
        if isinstance(self._np, Tape):
            self._np.keep(product)
        else:
            product()
        if bias is not None:
            self._np.add(out, bias, out=out)
        if accumulate:
            self._np.add(whole, out, out=whole)

    def call_on_host(self, function: Callable[[], object], arrays: Sequence[Array]) -> None:
        if isinstance(self._np, Tape):
            self._np.keep(function)
        else:
            function()

    def side_stream(self) -> AbstractContextManager[None]:
        return nullcontext()

    def join(self) -> None:
        pass

    def record(self, step: Step, networks: int = 1, counter: Array | None = None) -> Recording:
        tape = self._np = Tape()
        try:
            step()
        finally:
            self._np = np
        return tape

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def upload(self, host: np.ndarray, out: Array, after: Any) -> Any:
        np.copyto(out, host)

    def mark(self) -> Any:
        return None

    def wait(self, mark: Any) -> None:
        pass

    def wait_on_host(self, mark: Any) -> None:
        pass

    def free_unused(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def memory(self) -> Memory:
        return Memory(None, None, None)

    @contextmanager
    def in_use(self, threads: int | None, work: int) -> Iterator[None]:
        if threads is None:
            threads = self._threads
        if threads is None and work <= ONE_THREAD_LIMIT:
            threads = 1
        if threads is None:
            yield
            return
        with BLAS.limited_to(min(int(threads), os.cpu_count() or 1)):
            yield
