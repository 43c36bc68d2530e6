"""Ceilings of a device, from which floors are computed: rates of a large copy and of products."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpubp.bench.results import Row, Rows, SkippedError
from gpubp.bench.timing import HostClock, cupy_clock, time_calls
from gpubp.bench.workloads import repeated_normals

MEMORY_PART = 8  # a measurement uses at most 1 / MEMORY_PART of the free memory
COPY_BYTES = 1 << 31  # much larger than an L2 cache
COPY_WIDTH = 1024  # numbers in a row
PRODUCT_SIZE = 8192
# Consumer cards compute float64 at 1/32 or 1/64 of float32's rate: 8192 would take a minute there.
FLOAT64_SIZE = 4096
HOST_PRODUCT_SIZE = 1024


class _Product(NamedTuple):
    """The types of a product for cuBLAS: of its operands, of the computation and of scalars."""

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
    """Return the function that measures each ceiling, by name."""
    products = {f"product {name}": partial(_product, device, name) for name in _PRODUCTS}
    return {"copy": partial(_copy, device), **products}


def copy_rows(free: int) -> int:
    """Return the rows of the array to copy, so that array and copy fit into ``free`` bytes."""
    return min(COPY_BYTES, free // MEMORY_PART // 2) // (4 * COPY_WIDTH)


def product_size(free: int, precision: str) -> int:
    """Return the largest size (a power of two) of three square matrices for ``free`` bytes."""
    size, item = (FLOAT64_SIZE, 8) if precision == "float64" else (PRODUCT_SIZE, 4)
    while 3 * item * size**2 > free // MEMORY_PART:
        size //= 2
    return size


def _copy(device: str) -> Row:
    """Measure the bytes per second that a copy on the device reads and writes."""
    if device == "cpu":
        raise SkippedError("measured on CUDA devices only")
    import cupy

    with _cupy_device(device) as cuda:
        n = copy_rows(cuda.mem_info[0])
        source = cupy.asarray(repeated_normals(np.random.default_rng(0), n, COPY_WIDTH))
        copy = cupy.empty_like(source)
        timing, _ = time_calls(
            partial(cupy.copyto, copy, source), cupy_clock(), cupy.cuda.runtime.deviceSynchronize
        )
    size = source.nbytes
    figures = {"bytes_per_second": 2 * size / timing.median, "array_bytes": float(size)}
    return Row("copy", device=device, seed=0, timing=timing, figures=figures)


def _cupy_device(device: str) -> Any:
    """Return CuPy's device for "cuda" or "cuda:N", a context that makes it the current one."""
    import cupy

    return cupy.cuda.Device(int(device.partition(":")[2] or 0))


def _product(device: str, precision: str) -> Row:
    """Measure the floating-point operations per second of a large square matrix product."""
    if device == "cpu":
        size, timing = HOST_PRODUCT_SIZE, _host_product(precision)
    else:
        with _cupy_device(device) as cuda:
            size = product_size(cuda.mem_info[0], precision)
            timing = _cuda_product(precision, size)
    figures = {"flop_per_second": 2 * size**3 / timing.median, "size": float(size)}
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


def _cuda_product(precision: str, n: int) -> Any:
    import cupy
    from cupy.cuda import cublas, runtime

    product, rng = _PRODUCTS[precision], np.random.default_rng(0)
    A, B = (cupy.asarray(_operand(rng, precision, n)) for _ in range(2))
    C, one, zero = cupy.empty_like(A), np.ones(1, product.dtype), np.zeros(1, product.dtype)
    kind = getattr(runtime, product.operands)
    # -1 is CUBLAS_GEMM_DEFAULT. The handle reads scalars from host memory.
    a, b, c = ((array.data.ptr, kind, n) for array in (A, B, C))
    alpha, beta, compute = one.ctypes.data, zero.ctypes.data, getattr(cublas, product.compute)
    handle, none = cupy.cuda.device.get_cublas_handle(), cublas.CUBLAS_OP_N

    def multiply() -> None:
        cublas.gemmEx(handle, none, none, n, n, n, alpha, *a, *b, beta, *c, compute, -1)

    timing, _ = time_calls(multiply, cupy_clock(), runtime.deviceSynchronize)
    return timing


def _operand(rng: np.random.Generator, precision: str, n: int) -> np.ndarray:
    """Return N(0, 1) as (n, n); bfloat16 as uint16, the upper halves of float32 values."""
    values = repeated_normals(rng, n, n)
    if precision == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(_PRODUCTS[precision].dtype, copy=False)
