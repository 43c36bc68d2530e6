"""Where the arrays live and who computes on them: NumPy on the host or CuPy on a CUDA device.

A backend supplies arrays, the matrix product, elementwise steps and the recording of a training
step. The mathematics (network, losses, optimizers) is written once, over these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gpubp.arrays import ALIGNMENT, Array, Memory, Recording, Step
from gpubp.cupy_backend import CupyBackend
from gpubp.numpy_backend import NumpyBackend

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

__all__ = [
    "ALIGNMENT",
    "Array",
    "Backend",
    "BackendUnavailableError",
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

    def record(self, step: Step) -> Recording:
        """Return a callable that does what ``step`` does now, as fast as the device can.

        Every array and number that ``step`` uses is bound here: what changes between calls has
        to lie in arrays. Recording may run ``step`` once, so set what it changes afterwards.
        """

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def memory(self) -> Memory:
        """Return the device memory in use, free and in all."""

    def in_use(self, threads: int | None, work: int) -> Any:
        """Return a context to compute in: on CUDA its device and stream, which are done at the end.

        threads : BLAS threads of products on the host; None takes one where ``work``, the
        multiply-adds of a forward pass, is small, else all.
        """


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
