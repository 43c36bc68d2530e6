"""CuPy on a CUDA device: a step of training is captured once as a CUDA graph and launched."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gpubp.arrays import Array, Memory, Recording, Step, Unrecorded
from gpubp.kernels.cublas import GemmUnavailableError, workspace_bytes
from gpubp.kernels.gemm import Gemm

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

# Steps of one graph: enough to hide what a launch costs the host, few enough that an interrupt
# is answered within GRAPH_SECONDS.
MOST_STEPS = 64
GRAPH_SECONDS = 0.25


# The stream and the matrix products of each thread on each device, and why these products. They
# live as long as the process: memory that a stream has freed serves its next training, and to
# destroy a cuBLAS handle waits for the device, which breaks any capture of another thread.
_ENGINES: dict[tuple[int, int], tuple[Any, Gemm | _CupyMatmul, str]] = {}


class CupyBackend:
    """CuPy on one CUDA device, on this thread's stream; see `gpubp.backend.Backend`."""

    def __init__(self, index: int, why: str = "asked for", record: bool = True) -> None:
        import cupy

        self.name = f"cuda:{index}"
        self._cupy = cupy
        self._device = cupy.cuda.Device(index)
        self._records = record
        key = threading.get_ident(), index
        if key not in _ENGINES:
            with self._device:
                _ENGINES[key] = self._engine()
        self._stream, self._product, restriction = _ENGINES[key]
        self.why = why + restriction

    def _engine(self) -> tuple[Any, Gemm | _CupyMatmul, str]:
        """Return a stream, and cuBLAS on it; or CuPy's product where cuBLAS does not load."""
        stream = self._cupy.cuda.Stream(non_blocking=True)
        try:
            size = workspace_bytes(self._device.compute_capability)
            with stream:
                return stream, Gemm(stream, self._cupy.empty((size,), np.uint8)), ""
        except GemmUnavailableError as error:
            reason = f"; products by cupy.matmul, and no step is recorded: {error}"
            return stream, _CupyMatmul(self._cupy), reason

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        return self._cupy.ascontiguousarray(self._cupy.asarray(values, dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        return self._cupy.asnumpy(array)  # type: ignore[no-any-return]

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._cupy.empty(shape, dtype)  # CuPy aligns to 512 bytes

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._cupy.zeros(shape, dtype)

    def run(
        self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...], rows: int = 0
    ) -> None:
        outputs = out if isinstance(out, tuple) else (out,)
        step.kernel(*inputs, *outputs, **({"size": rows} if rows else {}))

    def gemm(
        self,
        A: Array,
        B: Array,
        *,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
    ) -> None:
        self._product(A, B, out, transpose_a=transpose_a, transpose_b=transpose_b)
        if bias is not None:
            self._cupy.add(out, bias, out=out)

    def record(self, step: Step) -> Recording:
        if self._cupy.cuda.get_current_stream() != self._stream:
            raise RuntimeError("a step is recorded on the backend's stream: record inside in_use")
        step()  # compiles and loads every kernel, which a capturing stream must not
        if not self._records or not isinstance(self._product, Gemm):
            return Unrecorded(step)
        self._stream.synchronize()
        return _Recorded(self._stream, step)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def memory(self) -> Memory:
        free, total = self._device.mem_info
        return Memory(total - free, free, total)

    @contextmanager
    def in_use(self, threads: int | None, work: int) -> Iterator[None]:
        with self._device, self._stream:
            yield
            self._stream.synchronize()


class _Recorded:
    """A step captured as CUDA graphs: one of a single step, one of many."""

    def __init__(self, stream: Any, step: Step) -> None:
        self._stream, self._step = stream, step  # which keeps the step's arrays alive
        self._one = self._capture(1)
        self._many: Any = None
        self._steps = 0  # of the graph of many

    def __call__(self, times: int = 1) -> None:
        if times > 1 and self._many is None:
            self._measure(times)
            times -= 1
        many, rest = divmod(times, self._steps) if self._many else (0, times)
        for _ in range(many):
            self._many.launch(stream=self._stream)
            # The host waits for each long graph, so that it can answer an interrupt.
            self._stream.synchronize()
        for _ in range(rest):
            self._one.launch(stream=self._stream)

    def _measure(self, times: int) -> None:
        """Launch one step to see what it takes, and capture the graph of many by it."""
        started = perf_counter()
        self._one.launch(stream=self._stream)
        self._stream.synchronize()
        seconds = perf_counter() - started
        most = max(1, min(MOST_STEPS, int(GRAPH_SECONDS / max(seconds, 1e-9))))
        # Equal graphs, since a call has mostly as many steps as the one before: 100 are two of 50.
        self._steps = times // -(-times // most)
        self._many = self._capture(self._steps)

    def _capture(self, steps: int) -> Any:
        with _COLLECTOR.paused():
            self._stream.begin_capture()
            try:
                for _ in range(steps):
                    self._step()
            except BaseException:
                # An error may have invalidated the capture, and says more than its end does.
                with suppress(Exception):
                    self._stream.end_capture()
                raise
            return self._stream.end_capture()


class _Collector:
    """The garbage collector, off while any thread captures."""

    def __init__(self) -> None:
        self._lock, self._captures, self._was_on = threading.Lock(), 0, True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep it from what a capture must not do: destroying a stream or a graph, say."""
        with self._lock:
            if not self._captures:
                self._was_on = gc.isenabled()
                gc.disable()
            self._captures += 1
        try:
            yield
        finally:
            with self._lock:
                self._captures -= 1
                if not self._captures and self._was_on:
                    gc.enable()


_COLLECTOR = _Collector()


class _CupyMatmul:
    """CuPy's own matrix product, which cannot be captured in a graph."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def __call__(
        self, A: Array, B: Array, out: Array, *, transpose_a: bool, transpose_b: bool
    ) -> None:
        A = A.swapaxes(-1, -2) if transpose_a else A
        B = B.swapaxes(-1, -2) if transpose_b else B
        self._cupy.matmul(A, B, out=out)
