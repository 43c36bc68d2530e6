"""Where the arrays live and who computes on them: NumPy on the host or CuPy on a CUDA device.

A backend supplies arrays, the matrix product, elementwise steps and the recording of a training
step. The mathematics (network, losses, optimizers) is written once, over these.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np

from gpubp.arrays import ALIGNMENT, Array, Epilogues, Memory, Recording, Step
from gpubp.compiled_backend import CompiledBackend
from gpubp.cupy_backend import CupyBackend, ProbeError, probe
from gpubp.kernels.cublas import CublasError
from gpubp.kernels.gemm import Precision
from gpubp.kernels.host_compiler import CompilerError
from gpubp.numpy_backend import NumpyBackend

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

__all__ = [
    "ALIGNMENT",
    "Array",
    "Backend",
    "BackendUnavailableError",
    "Epilogues",
    "Memory",
    "Recording",
    "Step",
    "get_backend",
]

# "auto" takes CUDA from this many rows of a batch x parameters on. Estimated: below it, a step is
# bound by launches on the device and fits in a CPU's cache. To be measured.
CUDA_CROSSOVER = 10_000_000


class BackendUnavailableError(RuntimeError):
    """The device that was asked for cannot be used on this machine."""


class Backend(Protocol):
    """What training needs of a device."""

    name: str  # "cpu" or "cuda:0"
    why: str  # the reason for this choice, for a person
    precision: str  # of the factors of float32 products
    epilogues: Epilogues  # what its products may do on their way out
    lanes: int  # sums that run side by side

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Return ``values`` as a C-contiguous array on this device, without a copy if possible."""

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return ``array`` on the host."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array with room to write into, aligned to 128 bytes."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros, aligned to 128 bytes."""

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        """Apply ``step`` to ``inputs``, writing into ``out``."""

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
        """Write A B + bias into ``out``; the last two axes are the matrices, others a batch.

        accumulate : add A B to ``out`` instead; not with a bias.
        """

    def aside(self) -> AbstractContextManager[None]:
        """Return a context for work that what follows need not wait for, until `join`."""

    def join(self) -> None:
        """Let what follows wait for all that was asked for aside."""

    def record(self, step: Step) -> Recording:
        """Return a callable that does what ``step`` does now, as fast as the device can.

        Every array and number that ``step`` uses is bound here: what changes between calls has
        to lie in arrays. Recording may run ``step`` once, so set what it changes afterwards.
        """

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array on the host that `upload` can read while the host goes on."""

    def upload(self, host: np.ndarray, out: Array, after: Any) -> Any:
        """Copy pinned ``host`` into ``out`` beside the steps that run; return the mark of its end.

        after : the mark that the copy waits for; None for all that was asked for so far. ``host``
        must stay as it is until `wait_on_host` for the mark that is returned.
        """

    def mark(self) -> Any:
        """Return a mark of what was asked for so far, uploads apart."""

    def wait(self, mark: Any) -> None:
        """Let what is asked for from now on wait for ``mark``."""

    def wait_on_host(self, mark: Any) -> None:
        """Wait for ``mark``."""

    def free_unused(self) -> None:
        """Give memory that no array has any more back to the device."""

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def memory(self) -> Memory:
        """Return the device memory in use, free and in all."""

    def in_use(self, threads: int | None, work: int) -> Any:
        """Return a context to compute in: on CUDA its device and stream, which are done at the end.

        threads : BLAS threads of products on the host; None takes one where ``work``, the
        multiply-adds of a forward pass, is small, else all.
        """


def get_backend(
    device: str = "auto",
    work: int | None = None,
    *,
    precision: Precision = "float32",
    record: bool = True,
    compiled: bool = False,
) -> Backend:
    """Return the backend for ``device``.

    device : "cpu", "cuda" (the first device), "cuda:1", or "auto": CUDA where a device answers
        and ``work`` is large enough to gain from it, else the CPU.
    work : rows of a batch x parameters of the network; None stands for "large".
    precision : of the factors of float32 products on CUDA: "float32", "tf32" or "bfloat16". On
        the CPU they stay float32.
    record : False runs each step of training as it is written, for debugging on CUDA.
    compiled : whether the CPU runs elementwise steps that a C++ compiler has made for it, at
        their first use on a machine, where they are faster than NumPy's functions.

    Raises
    ------
    ValueError
        If ``device`` or ``precision`` is none of these.
    BackendUnavailableError
        If CUDA, or compiled steps, were asked for and cannot be had.
    """
    index = _device_index(device)
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {list(get_args(Precision))}, got {precision!r}")
    if device == "cpu":
        return _host("asked for", compiled)
    if device != "auto":
        return _cuda(index, "asked for", precision, record)
    if work is not None and work < CUDA_CROSSOVER:
        why = f"a step this small gains nothing from CUDA (batch x parameters {work:,})"
        return _host(why, compiled)
    try:
        return _cuda(0, "a CUDA device answers", precision, record)
    except BackendUnavailableError as error:
        return _host(str(error).partition(";")[0], compiled)


def _host(why: str, compiled: bool) -> Backend:
    if not compiled:
        return NumpyBackend(why)
    try:
        return CompiledBackend(why)
    except CompilerError as error:
        raise BackendUnavailableError(
            f"{error}; install g++ or clang++, or name another in CXX, or set compiled=False"
        ) from error


def _device_index(device: str) -> int:
    kind, colon, index = str(device).partition(":")
    if device in ("auto", "cpu", "cuda"):
        return 0
    if kind == "cuda" and colon and index.isdecimal():
        return int(index)
    raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}")


def _cuda(index: int, why: str, precision: Precision, record: bool) -> Backend:
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
    try:
        backend = CupyBackend(index, why, record, precision)
        probe(index)
    except (CublasError, MemoryError, cupy.cuda.runtime.CUDARuntimeError) as error:
        raise _unavailable(f"cuda:{index} does not start ({error})") from error
    except ProbeError as error:
        raise _unavailable(f"cuda:{index} answers, but cannot compute ({error})") from error
    return backend


def _unavailable(reason: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{reason}; check the package (pip install 'gpubp[cuda12]' or 'gpubp[cuda13]'), the driver "
        "(nvidia-smi), and that both are for the same CUDA version, or use device 'cpu'"
    )
