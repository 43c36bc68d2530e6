"""Where the arrays live and who computes on them: NumPy on the host or CuPy on a CUDA device.

A backend supplies arrays, the matrix product, elementwise steps and the recording of a training
step. The mathematics (network, losses, optimizers) is written once, over these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from gpubp.tape import Tape

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

Array = Any  # numpy.ndarray or cupy.ndarray
Step = Callable[[], None]

# "auto" takes CUDA from this many rows of a batch x parameters on. Estimated: below it, a step is
# bound by launches on the device and fits in a CPU's cache. To be measured.
CUDA_CROSSOVER = 10_000_000
# One BLAS thread up to this many multiply-adds in the products of one forward pass: below it a
# second thread gains nothing, and loses much beside another busy process.
ONE_THREAD_LIMIT = 5_000_000
ALIGNMENT = 128  # bytes


class BackendUnavailableError(RuntimeError):
    """The device that was asked for cannot be used on this machine."""


class Memory(NamedTuple):
    """Bytes of device memory; None where the backend does not know."""

    used: int | None
    free: int | None
    total: int | None


class Backend(Protocol):
    """What training needs of a device."""

    name: str  # "cpu" or "cuda:0"
    why: str  # the reason for this choice, for a person

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Return ``values`` as a C-contiguous array on this device, without a copy if possible."""

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return ``array`` on the host."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array with room to write into, aligned to 128 bytes."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros, aligned to 128 bytes."""

    def run(
        self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...], rows: int = 0
    ) -> None:
        """Apply ``step`` to ``inputs``, writing into ``out``; ``rows`` for a step without size."""

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
        """Write A B + bias into ``out``; the last two axes are the matrices, others a batch."""

    def record(self, step: Step) -> Step:
        """Return a callable that does what ``step`` does now, as fast as the device can.

        Every array and number that ``step`` uses is bound here: what changes between calls has
        to lie in arrays. ``step`` itself may or may not be run by this call's preparation.
        """

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def memory(self) -> Memory:
        """Return the device memory in use, free and in all."""

    def threads(self, count: int | None, work: int) -> Any:
        """Return a context in which host products use ``count`` threads; None: by ``work``."""


class NumpyBackend:
    """NumPy on the host. A recorded step is a tape of bound calls."""

    name = "cpu"

    def __init__(self, why: str = "asked for") -> None:
        self.why = why
        self._np: Any = np  # the module, or the tape while a step is recorded

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        return np.ascontiguousarray(values, dtype)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(array)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        block = np.empty(size + ALIGNMENT, np.uint8)
        start = -block.ctypes.data % ALIGNMENT
        return block[start : start + size].view(dtype).reshape(shape)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        array = self.empty(shape, dtype)
        array[...] = 0
        return array

    def run(
        self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...], rows: int = 0
    ) -> None:
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
    ) -> None:
        A = A.swapaxes(-1, -2) if transpose_a else A
        B = B.swapaxes(-1, -2) if transpose_b else B
        # The method costs 0.36 us a call where np.matmul costs 1.07, but takes matrices only.
        product = partial(A.dot, B, out) if out.ndim == 2 else partial(np.matmul, A, B, out)
        if isinstance(self._np, Tape):
            self._np.keep(product)
        else:
            product()
        if bias is not None:
            self._np.add(out, bias, out=out)

    def record(self, step: Step) -> Step:
        tape = self._np = Tape()
        try:
            step()
        finally:
            self._np = np
        return tape.replay

    def synchronize(self) -> None:
        pass

    def memory(self) -> Memory:
        return Memory(None, None, None)

    @contextmanager
    def threads(self, count: int | None, work: int) -> Iterator[None]:
        from threadpoolctl import threadpool_limits

        if count is None and work <= ONE_THREAD_LIMIT:
            count = 1
        with threadpool_limits(count, user_api="blas"):
            yield


class CupyBackend:
    """CuPy on one CUDA device, which is the current device while this backend is in use."""

    def __init__(self, index: int, why: str = "asked for") -> None:
        import cupy

        self.name = f"cuda:{index}"
        self.why = why
        self._cupy = cupy
        self._device = cupy.cuda.Device(index)
        self._device.use()

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
        A = A.swapaxes(-1, -2) if transpose_a else A
        B = B.swapaxes(-1, -2) if transpose_b else B
        self._cupy.matmul(A, B, out=out)
        if bias is not None:
            self._cupy.add(out, bias, out=out)

    def record(self, step: Step) -> Step:
        # cupy.matmul cannot be captured in a CUDA graph, so the step runs as it is written.
        return step

    def synchronize(self) -> None:
        self._device.synchronize()

    def memory(self) -> Memory:
        free, total = self._device.mem_info
        return Memory(total - free, free, total)

    @contextmanager
    def threads(self, count: int | None, work: int) -> Iterator[None]:
        yield


def get_backend(device: str = "auto", work: int | None = None) -> Backend:
    """Return the backend for ``device``.

    device : "cpu", "cuda" (the first device), "cuda:1", or "auto": CUDA where a device answers
        and ``work`` is large enough to gain from it, else the CPU.
    work : rows of a batch x parameters of the network; None stands for "large".

    Raises
    ------
    ValueError
        If ``device`` is none of these.
    BackendUnavailableError
        If CUDA was asked for and cannot be had.
    """
    index = _device_index(device)
    if device == "cpu":
        return NumpyBackend()
    if device != "auto":
        return _cuda(index, "asked for")
    if work is not None and work < CUDA_CROSSOVER:
        return NumpyBackend(
            f"a step this small gains nothing from CUDA (batch x parameters {work:,})"
        )
    try:
        return _cuda(0, "a CUDA device answers")
    except BackendUnavailableError as error:
        return NumpyBackend(str(error).partition(";")[0])


def _device_index(device: str) -> int:
    kind, colon, index = str(device).partition(":")
    if device in ("auto", "cpu", "cuda"):
        return 0
    if kind == "cuda" and colon and index.isdecimal():
        return int(index)
    raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}")


def _cuda(index: int, why: str) -> Backend:
    try:
        import cupy
    except ImportError as error:
        raise _unavailable("CuPy is not installed") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise _unavailable(f"no CUDA device answers ({error})") from error
    if index >= count:
        raise _unavailable(f"there is no device cuda:{index}, only {count} device(s)")
    return CupyBackend(index, why)


def _unavailable(reason: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{reason}; check the package (pip install 'gpubp[cuda12]' or 'gpubp[cuda13]'), the driver "
        "(nvidia-smi), and that both are for the same CUDA version, or use device 'cpu'"
    )
