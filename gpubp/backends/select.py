"""Selects the backend for the name of a device: NumPy on the host or CuPy on a CUDA device."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, get_args

from gpubp.backends.compiled_backend import CompiledBackend
from gpubp.backends.cupy_backend import CupyBackend, ProbeError, probe
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.kernels.cublas.gemm import Precision
from gpubp.kernels.cublas.library import CublasError
from gpubp.kernels.host.compiler import CompilerError
from gpubp.settings import default_compiled, default_device, is_device_name

# "auto" selects CUDA if rows of a batch x parameters is at least this. The number is an estimate
# and has to be measured: below it, launches dominate a step, and its data fit into a CPU's cache.
CUDA_CROSSOVER = 10_000_000
# compiled="auto" compiles from this many multiply-adds per epoch on, where each step counts as
# STEP_COST more for its calls. Below it, NumPy needs less than about a millisecond per epoch.
# Both depend on shapes alone, so that the same training always has the same bits.
COMPILED_CROSSOVER, STEP_COST = 5_000_000, 100_000
Compiled = bool | Literal["auto"]
CUPY_PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "cupy")


class BackendUnavailableError(RuntimeError):
    """The requested device or compiler cannot be used on this machine."""


def get_backend(
    device: str = "auto",
    work: int | None = None,
    *,
    precision: Precision = "float32",
    record: bool = True,
    compiled: Compiled = False,
    steps: int = 1,
) -> Backend:
    """Return the backend for ``device``.

    device : "cpu", "cuda" (the first device), "cuda:N" or "auto". "auto" is the device in
        GPUBP_DEVICE. If the variable is not set, "auto" is CUDA if a device answers and ``work``
        is large enough, else the CPU.
    work : rows of a batch x parameters of the network; None counts as large.
    precision : of the factors of float32 products on CUDA: "float32", "tf32" or "bfloat16". On
        the CPU they stay float32.
    record : False launches each kernel of a training step by itself, for debugging on CUDA.
    compiled : whether the CPU runs elementwise steps as compiled C++ where this is faster than
        NumPy. Each step is compiled at its first use on a machine. "auto": if there is a compiler,
        and the training is large enough or GPUBP_COMPILED is 1. With GPUBP_COMPILED=0, nothing is
        compiled.
    steps : of an epoch, each of ``work``, for compiled="auto".

    Raises
    ------
    ValueError
        If ``device`` or ``precision`` is not one of these. Its subclass SettingError, if an
        environment variable of gpubp has a wrong value.
    BackendUnavailableError
        If CUDA or compiled steps were requested and are not available.
    """
    asked, given = f"device={device!r}", device
    _device_index(device)
    if device == "auto" and (device := default_device()) != "auto":
        asked = f"GPUBP_DEVICE={device}"
    index = _device_index(device)
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {list(get_args(Precision))}, got {precision!r}")
    if device == "cpu":
        return _host(asked, compiled, work, steps)
    if device != "auto":
        try:
            return _cuda(index, asked, precision, record)
        except BackendUnavailableError as error:
            if given == "auto":
                raise BackendUnavailableError(f"{asked}: {error}") from error
            raise
    if work is not None and work < CUDA_CROSSOVER:
        small = f"batch x parameters {work:,} < {CUDA_CROSSOVER:,}"
        reason = f"too small for CUDA by device='auto' ({small})"
        return _host(reason, compiled, work, steps)
    try:
        return _cuda(0, "a CUDA device answers", precision, record)
    except BackendUnavailableError as error:
        return _host(str(error).partition(";")[0], compiled, work, steps)


def device_count() -> int:
    """Return the number of CUDA devices that answer; 0 without CuPy."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except (ImportError, RuntimeError):
        return 0


def _host(reason: str, compiled: Compiled, work: int | None, steps: int) -> Backend:
    default, by_size = default_compiled(), compiled == "auto"
    epoch = math.inf if work is None else steps * (3 * work + STEP_COST)
    if by_size and default is None and epoch < COMPILED_CROSSOVER:
        return NumpyBackend(f"{reason}; not compiled, since an epoch is small")
    if not compiled:
        return NumpyBackend(reason)
    if default is False:
        return NumpyBackend(f"{reason}; not compiled, since GPUBP_COMPILED=0")
    try:
        return CompiledBackend(f"{reason}; with compiled steps")
    except CompilerError as error:
        if by_size:
            return NumpyBackend(f"{reason}; not compiled: {error}")
        raise BackendUnavailableError(
            f"{error}; install g++ or clang++, or name another in CXX, or set compiled=False"
        ) from error


def _device_index(device: str) -> int:
    _, _, index = str(device).partition(":")
    if not is_device_name(str(device)):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    return int(index or 0)


def _cuda(index: int, reason: str, precision: Precision, record: bool) -> Backend:
    try:
        import cupy
        import cupy.cuda  # uninstalling one of two CuPy packages leaves a folder without it
    except ImportError as error:
        raise _not_imported(error) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise _unavailable(f"no CUDA device answers ({error})") from error
    if index >= count:
        raise _unavailable(f"there is no device cuda:{index}, only {count} device(s)")
    try:
        backend = CupyBackend(index, reason, record, precision)
        probe(index)
    except (CublasError, MemoryError, cupy.cuda.runtime.CUDARuntimeError) as error:
        raise _unavailable(f"cuda:{index} does not start ({error})") from error
    except ProbeError as error:
        raise _unavailable(f"cuda:{index} answers, but cannot compute ({error})") from error
    return backend


def _not_imported(error: ImportError) -> BackendUnavailableError:
    """Return the error for a CuPy that is missing, or installed and broken."""
    found = [name for name in CUPY_PACKAGES if _is_installed(name)]
    if not found:
        return BackendUnavailableError(
            "CuPy is not installed; pip install 'gpubp[cuda13]' or 'gpubp[cuda12]', or use device "
            "'cpu'"
        )
    first = error.__cause__ or error  # CuPy wraps the error of its parts in a page of advice
    reason = " ".join(str(first).split())
    return BackendUnavailableError(
        f"{found[0]} is installed but cannot be imported: {reason}; pip install --force-reinstall "
        f"{found[0]}"
    )


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _unavailable(reason: str) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"{reason}; check the package (pip install 'gpubp[cuda12]' or 'gpubp[cuda13]'), the driver "
        "(nvidia-smi), and that the driver's CUDA version is at least the package's, or use device "
        "'cpu'"
    )
