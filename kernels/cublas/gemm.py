"""Matrix products by cuBLAS, in calls that a CUDA graph can capture.

CuPy refuses every cuBLAS call on a capturing stream (cupy#6290). Therefore these products use a
separate cuBLAS handle, with the library that CuPy uses.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, Literal, get_args

from . import library as cublas
from .call import GemmCall, marshal

__all__ = ["UNIT_ROUNDOFF", "Gemm", "GemmCall", "Precision", "gemm_twin", "marshal"]

Array = Any

# Rounding of float32 operands by cuBLAS. "float32": none. "tf32": to 10 bits of mantissa.
# "bfloat16": to 7 bits, or to TF32. In all three, sums are float32, arrays stay float32 in memory,
# and float64 arrays are multiplied in float64.
Precision = Literal["float32", "tf32", "bfloat16"]

# Relative error u of one rounded operand. The error of a product with inner size k is then at most
# (2 u + k 2^-24) |A| |B|: Higham, Accuracy and Stability of Numerical Algorithms, section 3.5.
UNIT_ROUNDOFF: dict[Precision, float] = {"float32": 0.0, "tf32": 2.0**-11, "bfloat16": 2.0**-8}

_COMPUTE_TYPES: dict[Precision, int] = {
    "float32": cublas.COMPUTE_32F,
    "tf32": cublas.COMPUTE_32F_FAST_TF32,
    "bfloat16": cublas.COMPUTE_32F_FAST_16BF,
}


class Gemm:
    """Matrix products on one stream, with their own cuBLAS handle and workspace.

    stream : cupy.cuda.Stream of the current device.
    workspace : device array of `cublas.workspace_bytes`, which no other stream may use.
    precision : rounding of float32 operands; see `Precision`.
    library : a declared library, such as a stand-in for tests; None is `cublas.load_cublas`.

    The same call on the same device and library gives the same bits, because there are no atomics
    and no other handle uses the workspace ("Results Reproducibility" in the cuBLAS documentation).
    Keep a Gemm at least as long as every graph that was captured with it. Do not let one be
    garbage-collected during a capture, because destroying a handle synchronizes the device.

    Raises
    ------
    GemmUnavailableError
        If there is no cuBLAS library.
    CublasError
        If cuBLAS cannot create or configure the handle.
    """

    def __init__(
        self,
        stream: Any,
        workspace: Array,
        precision: Precision = "float32",
        library: Any = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise ValueError(
                f"precision must be one of {list(get_args(Precision))}, got {precision!r}"
            )
        self.precision = precision
        self.library = cublas.load_cublas() if library is None else library
        self.stream, self.workspace = stream, workspace  # kept alive, since cuBLAS uses them
        self.handle = handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", ctypes.byref(handle))
        self._destroy = weakref.finalize(self, self.library.cublasDestroy_v2, handle)
        self._destroy.atexit = False  # the driver may have shut down by then
        self._check("cublasSetStream_v2", handle, stream.ptr)
        # After cublasSetStream, which resets the workspace to the library's own.
        self._check("cublasSetWorkspace_v2", handle, workspace.data.ptr, workspace.nbytes)
        self._check("cublasSetPointerMode_v2", handle, cublas.POINTER_MODE_HOST)
        self._check("cublasSetAtomicsMode", handle, cublas.ATOMICS_NOT_ALLOWED)
        mode = cublas.MATH_DISALLOW_REDUCED_PRECISION_REDUCTION
        self._check("cublasSetMathMode", handle, mode)

    def __call__(
        self,
        A: Array,
        B: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> None:
        """Write alpha op(A) op(B) + beta out into ``out``, which is not read if beta is 0.

        A, B, out, transpose_a, transpose_b : as in `marshal`.
        alpha, beta : numbers on the host; a captured graph keeps their values.

        Raises
        ------
        ValueError
            As `marshal`.
        CublasError
            If cuBLAS refuses the call.
        """
        call = marshal(A, B, out, transpose_a, transpose_b)
        if 0 in (call.m, call.n, call.batch):
            return
        if call.k == 0:  # cuBLAS does not define an empty sum; this runs on CuPy's stream
            if beta == 0:
                out.fill(0)
            else:
                out *= beta
            return
        scalar = ctypes.c_double if call.a_type == cublas.R_64F else ctypes.c_float
        self._check(
            "cublasGemmStridedBatchedEx",
            *(self.handle, call.transa, call.transb, call.m, call.n, call.k),
            *(ctypes.byref(scalar(alpha)), call.a, call.a_type, call.lda, call.stride_a),
            *(call.b, call.b_type, call.ldb, call.stride_b),
            *(ctypes.byref(scalar(beta)), call.c, call.c_type, call.ldc, call.stride_c),
            *(call.batch, self.compute_type(call.a_type), cublas.GEMM_DEFAULT),
        )

    def close(self) -> None:
        """Destroy the handle if it exists; this waits for the device."""
        self._destroy()

    def compute_type(self, data_type: int) -> int:
        """Return cuBLAS's compute type for operands of ``data_type``."""
        if data_type == cublas.R_64F:
            return cublas.COMPUTE_64F
        # The product of two bfloat16 numbers is exact in float32, so they need no rounding.
        return cublas.COMPUTE_32F if data_type == cublas.R_16BF else _COMPUTE_TYPES[self.precision]

    def _check(self, function: str, *arguments: Any) -> None:
        cublas.check(self.library, function, *arguments)


def gemm_twin(
    np: Any,
    A: Array,
    B: Array,
    out: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """Write alpha op(A) op(B) + beta out into ``out`` as `Gemm` does, without rounding operands."""
    A = A.swapaxes(-1, -2) if transpose_a else A
    B = B.swapaxes(-1, -2) if transpose_b else B
    product = np.multiply(np.matmul(A, B), alpha)
    np.copyto(out, product if beta == 0 else np.add(product, np.multiply(out, beta)))
