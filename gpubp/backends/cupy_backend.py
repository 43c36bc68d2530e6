"""CuPy on a CUDA device: a step of training is captured once as a CUDA graph and launched."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.backends.cuda_gemm import CublasEpilogues, Products
from gpubp.backends.cuda_graph import RecordedGraph, lacks_memory
from gpubp.backends.cuda_streams import check_room, engine_of_this_thread
from gpubp.backends.protocol import Array, Epilogues, Memory, Recording, Step, Unrecorded
from gpubp.kernels.cublas.gemm import Precision
from gpubp.kernels.optimizers import ADVANCE

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise


# Larger host arrays are uploaded directly from their memory. CuPy would first copy them to pinned
# memory, whose size is the next power of two and which the process then keeps.
STAGED_BYTES = 1 << 26


class ProbeError(RuntimeError):
    """A CUDA device answers, but a kernel or a matrix product does not run on it."""


@cache
def probe(index: int) -> None:
    """Run one tiny kernel and one matrix product on a device, once per process.

    CuPy without CUDA's libraries finds a device, but fails at the first kernel or product, with
    various errors.

    Raises
    ------
    ProbeError
        With the reason, in one line.
    MemoryError
        If the device has no memory for a few numbers.
    """
    backend = CupyBackend(index)
    try:
        with backend.in_use(None, 0):
            A, product = (backend.asarray(np.full((1, 1), 3.0, np.float32)) for _ in range(2))
            counter = backend.zeros((1,), np.int64)
            backend.run(ADVANCE, 2, out=counter)
            backend.gemm(A, A, out=product)
            got = int(backend.to_numpy(counter)[0]), float(backend.to_numpy(product)[0, 0])
    except MemoryError:
        raise
    except Exception as error:  # CuPy, NVRTC, the driver and the loader raise a dozen types
        raise ProbeError(str(error).partition("\n")[0] or type(error).__name__) from error
    if got != (2, 9.0):
        raise ProbeError(f"a kernel gave {got[0]}, not 2, and a product {got[1]:g}, not 9")


class CupyBackend:
    """CuPy on one CUDA device, on this thread's streams; see `gpubp.backends.protocol.Backend`.

    index : number of the device. reason : why this device was chosen.
    record : False launches each kernel of a step by itself instead of a CUDA graph.
    precision : of the factors of float32 products; see `gpubp.kernels.cublas.gemm.Precision`.
    """

    n_partial_sums = 1 << 15

    engine = "cuda"

    def __init__(
        self,
        index: int,
        reason: str = "device='cuda'",
        record: bool = True,
        precision: Precision = "float32",
    ) -> None:
        import cupy

        self.name = f"cuda:{index}"
        self.precision: str = precision
        self._cupy = cupy
        self._device = cupy.cuda.Device(index)
        self._records = record
        self._launches: Counter[str] = Counter()
        self._is_recording = False  # whether a step is run only to prepare its capture
        self._cuts: list[Any] = []  # see `RecordedGraph`

        self._engine = engine_of_this_thread(cupy, self._device, precision)
        self.reason = reason + self._engine.restriction
        self._products = self._engine.products and self._engine.products[0]
        self.epilogues = Epilogues()
        if self._products is not None:
            self.epilogues = CublasEpilogues(self.empty, self._current_products, self._count)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        if isinstance(values, np.ndarray) and values.nbytes > STAGED_BYTES:
            host = np.ascontiguousarray(values, dtype)
            array = self.empty(host.shape, host.dtype)
            array.set(host)
            # The copy may still run when `set` returns, and the caller may overwrite ``host``.
            self._cupy.cuda.get_current_stream().synchronize()
            return array
        if isinstance(values, np.ndarray):
            self._check_room(values.shape, dtype or values.dtype)
        return self._cupy.ascontiguousarray(self._cupy.asarray(values, dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return self._cupy.asnumpy(array)  # type: ignore[no-any-return]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self._check_room(shape, dtype)
        return self._cupy.empty(shape, dtype)  # CuPy aligns to 512 bytes

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self._check_room(shape, dtype)
        return self._cupy.zeros(shape, dtype)

    def _check_room(self, shape: tuple[int, ...], dtype: Any) -> None:
        check_room(self._cupy, self._device, math.prod(shape) * np.dtype(dtype).itemsize)

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        outputs = out if isinstance(out, tuple) else (out,)
        size = {"size": outputs[0].size // step.per_thread} if step.per_thread > 1 else {}
        step.kernel(*inputs, *outputs, **size)
        self._count(step.name)

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
        transposed = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        if self._products is None:
            self._matmul(A, B, out, accumulate, **transposed)
            added = False
        else:
            beta = 1.0 if accumulate else 0.0
            added = self._products.product(A, B, out, bias=bias, beta=beta, **transposed)
        self._count("gemm BIAS" if added else "gemm")
        if bias is not None and not added:
            self._cupy.add(out, bias, out=out)
            self._count("add")

    def _matmul(
        self,
        A: Array,
        B: Array,
        out: Array,
        accumulate: bool,
        transpose_a: bool,
        transpose_b: bool,
    ) -> None:
        """Write the product with CuPy's matmul, which cannot be captured in a graph."""
        A = A.swapaxes(-1, -2) if transpose_a else A
        B = B.swapaxes(-1, -2) if transpose_b else B
        product = self._cupy.empty(out.shape, out.dtype) if accumulate else out
        self._cupy.matmul(A, B, out=product)
        if accumulate:
            self._cupy.add(out, product, out=out)

    def call_on_host(self, function: Callable[[], object], arrays: Sequence[Array]) -> None:
        main = self._engine.main
        self._count("host call")
        if main.is_capturing():  # what a graph cannot contain: it ends here, and another begins
            self._cuts += [main.end_capture(), function]
            main.begin_capture()
        elif not self._is_recording:
            main.synchronize()
            function()

    @contextmanager
    def side_stream(self) -> Iterator[None]:
        engine = self._engine
        if engine.products is None:  # CuPy's matmul has one handle, on the main stream
            yield
            return
        engine.fork.record(engine.main)
        engine.side.wait_event(engine.fork)
        self._products = engine.products[1]
        try:
            with engine.side:
                yield
        finally:
            self._products = engine.products[0]

    def join(self) -> None:
        engine = self._engine
        if engine.products is not None:
            engine.join.record(engine.side)
            engine.main.wait_event(engine.join)

    def record(self, step: Step, networks: int = 1, counter: Array | None = None) -> Recording:
        main = self._engine.main
        if self._cupy.cuda.get_current_stream() != main:
            raise RuntimeError("the current stream is not the backend's; call record inside in_use")
        self._launches.clear()
        with _memory_errors(f"{self.name} has no memory left for a step's kernels"):
            self._is_recording = True
            try:
                step()  # compiles and loads every kernel, which is forbidden during a capture
            finally:
                self._is_recording = False
            launches = dict(self._launches)
            if not self._records or self._products is None:
                return Unrecorded(step, launches)
            main.synchronize()
            return RecordedGraph(main, step, launches, self._cuts)

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        dtype, count = np.dtype(dtype), math.prod(shape)
        with _memory_errors(f"the host has no {count * dtype.itemsize:,} bytes to pin"):
            memory = self._cupy.cuda.alloc_pinned_memory(count * dtype.itemsize)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def upload(self, host: np.ndarray, out: Array, after: Any) -> Any:
        uploads = self._engine.uploads
        uploads.wait_event(self.mark() if after is None else after)
        out.set(host, stream=uploads)
        return self._marked(uploads)

    def mark(self) -> Any:
        return self._marked(self._engine.main)

    def _marked(self, stream: Any) -> Any:
        event = self._cupy.cuda.Event(disable_timing=True)
        event.record(stream)
        return event

    def wait(self, mark: Any) -> None:
        self._engine.main.wait_event(mark)

    def wait_on_host(self, mark: Any) -> None:
        mark.synchronize()

    def free_unused(self) -> None:
        self._engine.main.synchronize()
        self._cupy.get_default_memory_pool().free_all_blocks()

    def synchronize(self) -> None:
        self._engine.main.synchronize()

    def memory(self) -> Memory:
        free, total = self._device.mem_info
        return Memory(total - free, free, total)

    @contextmanager
    def in_use(self, threads: int | None, work: int) -> Iterator[None]:
        engine = self._engine
        with engine.lock, self._device, engine.main:
            # After an interrupt, these streams may still work on memory that has been freed.
            for stream in (engine.side, engine.uploads):
                engine.main.wait_event(self._marked(stream))
            yield
            engine.main.synchronize()

    def _count(self, name: str) -> None:
        self._launches[name] += 1

    def _current_products(self) -> Products:
        assert self._products is not None
        return self._products


@contextmanager
def _memory_errors(message: str) -> Iterator[None]:
    """Raise MemoryError with ``message`` if CUDA or cuBLAS fails for lack of memory.

    CuPy itself raises MemoryError for arrays.
    """
    try:
        yield
    except RuntimeError as error:
        if lacks_memory(error):
            raise MemoryError(f"{message} ({error})") from error
        raise
