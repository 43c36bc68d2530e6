"""The conditions of every figure: machine, versions, threads and device."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpubp.backends.blas_threads import usable_cores
from gpubp.version import __version__

PACKAGES = (
    *("numpy", "scikit-learn", "cupy-cuda13x", "cupy-cuda12x", "cupy", "torch", "triton"),
    *("jax", "jaxlib"),
)
# Variables that select other kernels on the CPU, or another device or way of computing of gpubp.
# For example, OPENBLAS_CORETYPE=Haswell halves NumPy's speed on a processor with AVX-512.
KERNEL_VARIABLES = (
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NPY_DISABLE_CPU_FEATURES", "BLIS_ARCH_TYPE"),
    *("MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "NVPL_BLAS_DEBUG_CPU_TYPE"),
    *("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"),
    *("GPUBP_DEVICE", "GPUBP_THREADS", "GPUBP_COMPILED"),
)
THREAD_VARIABLES = (
    *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    "VECLIB_MAXIMUM_THREADS",
)
# Variables that change the speed of the libraries.
VARIABLES = (
    *(*KERNEL_VARIABLES, *THREAD_VARIABLES, "CUPY_TF32", "NVIDIA_TF32_OVERRIDE"),
    *("CUBLAS_WORKSPACE_CONFIG", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES"),
)


def machine(device: str) -> dict[str, Any]:
    """Return the properties of this machine and of ``device`` ("cpu", "cuda" or "cuda:N")."""
    return {
        "gpubp": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": usable_cores(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "device": {"name": "cpu"} if device == "cpu" else _cuda(device),
    }


def installed(package: str) -> str | None:
    """Return the installed version of ``package``; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def slug(name: str) -> str:
    """Return ``name`` as a part of a file name: "NVIDIA H100 80GB" is "nvidia-h100-80gb"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def card(device: str) -> dict[str, Any]:
    """Return the properties of a CUDA device ("cuda" or "cuda:N")."""
    import cupy

    index = int(device.partition(":")[2] or 0)
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    return {
        "name": properties["name"].decode(),
        "multiprocessors": properties.get("multiProcessorCount"),
        "memory_bytes": properties["totalGlobalMem"],
        "l2_bytes": properties.get("l2CacheSize"),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
    }


def _cuda(device: str) -> dict[str, Any]:
    import cupy

    return {
        **card(device),
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
    }
