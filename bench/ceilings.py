"""The ceilings of a device, by which floors are computed: a large copy, large matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpubp.bench.results import Row, Rows, SkippedError
from gpubp.bench.timing import HostClock, cupy_clock, time_calls
from gpubp.bench.workloads import repeated_normals

COPY_BYTES = 1 << 31  # many times an L2 cache
PRODUCT_SIZE = 8192
HOST_PRODUCT_SIZE = 1024


class _Product(NamedTuple):
    """How cuBLAS is asked for a product: operand type, compute type, and the type of a scalar."""

    operands: str
    compute: str
    dtype: Any


_PRODUCTS = {
    "float32": _Product("CUDA_R_32F", "CUBLAS_COMPUTE_32F", np.float32),
    "tf32": _Product("CUDA_R_32F", "CUBLAS_COMPUTE_32F_FAST_TF32", np.float32),
    "bfloat16": _Product("CUDA_R_16BF", "CUBLAS_COMPUTE_32F", np.float32),
    "float64": _Product("CUDA_R_64F", "CUBLAS_COMPUTE_64F", np.float64),
}


def rows(device: str) -> Rows:
    """Return what measures each ceiling, by name."""
    products = {f"product {name}": partial(_product, device, name) for name in _PRODUCTS}
    return {"copy": partial(_copy, device), **products}


def _copy(device: str) -> Row:
    """Bytes read and written per second by a copy on the device."""
    if device == "cpu":
        raise SkippedError("measured on CUDA devices alone")
    import cupy

    source = cupy.asarray(repeated_normals(np.random.default_rng(0), COPY_BYTES >> 12, 1024))
    copy = cupy.empty_like(source)
    timing, _ = time_calls(
        partial(cupy.copyto, copy, source), cupy_clock(), cupy.cuda.runtime.deviceSynchronize
    )
    figures = {"bytes_per_second": 2 * source.nbytes / timing.median}
    return Row("copy", device=device, seed=0, timing=timing, figures=figures)


def _product(device: str, precision: str) -> Row:
    """Floating-point operations per second of a large square matrix product."""
    size = HOST_PRODUCT_SIZE if device == "cpu" else PRODUCT_SIZE
    timing = _host_product(precision) if device == "cpu" else _cuda_product(precision)
    figures = {"flop_per_second": 2 * size**3 / timing.median}
    return Row(
        f"product {precision}",
        device=device,
        precision=precision,
        seed=0,
        timing=timing,
        figures=figures,
    )


def _host_product(precision: str) -> Any:
    if precision not in ("float32", "float64"):
        raise SkippedError(f"NumPy has no {precision} product")
    rng = np.random.default_rng(0)
    A, B = (
        rng.standard_normal((HOST_PRODUCT_SIZE,) * 2, dtype=np.dtype(precision)) for _ in range(2)
    )
    return time_calls(partial(A.dot, B, np.empty_like(A)), HostClock(), lambda: None)[0]


def _cuda_product(precision: str) -> Any:
    import cupy
    from cupy.cuda import cublas, runtime

    product, n, rng = _PRODUCTS[precision], PRODUCT_SIZE, np.random.default_rng(0)
    A, B = (cupy.asarray(_operand(rng, precision)) for _ in range(2))
    C, one, zero = cupy.empty_like(A), np.ones(1, product.dtype), np.zeros(1, product.dtype)
    kind = getattr(runtime, product.operands)
    # -1 is CUBLAS_GEMM_DEFAULT. Scalars lie on the host, which is where the handle looks.
    a, b, c = ((array.data.ptr, kind, n) for array in (A, B, C))
    alpha, beta, compute = one.ctypes.data, zero.ctypes.data, getattr(cublas, product.compute)
    handle, none = cupy.cuda.device.get_cublas_handle(), cublas.CUBLAS_OP_N

    def multiply() -> None:
        cublas.gemmEx(handle, none, none, n, n, n, alpha, *a, *b, beta, *c, compute, -1)

    timing, _ = time_calls(multiply, cupy_clock(), runtime.deviceSynchronize)
    return timing


def _operand(rng: np.random.Generator, precision: str) -> np.ndarray:
    """Return N(0, 1) as (n, n); bfloat16 as the upper halves of float32 values, uint16."""
    values = repeated_normals(rng, PRODUCT_SIZE, PRODUCT_SIZE)
    if precision == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(_PRODUCTS[precision].dtype, copy=False)
