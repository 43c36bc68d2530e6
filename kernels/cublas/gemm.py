"""Matrix products through cuBLAS, in a way that a CUDA graph can capture.

CuPy refuses every cuBLAS call on a capturing stream (cupy#6290), so these products go through a
handle of our own, on the library that CuPy uses.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, Literal, get_args

from . import library as cublas
from .call import GemmCall, marshal

__all__ = ["UNIT_ROUNDOFF", "Gemm", "GemmCall", "Precision", "gemm_twin", "marshal"]

Array = Any

# What cuBLAS may do to float32 operands; sums are float32 under all three, and arrays stay float32
# in memory. "float32": nothing. "tf32": round them to 10 bits of mantissa. "bfloat16": to 7 bits,
# or to TF32. float64 arrays are multiplied in float64 under all three.
Precision = Literal["float32", "tf32", "bfloat16"]

# Relative error u of one rounded operand. A product of inner size k is then within
# (2 u + k 2^-24) |A| |B|: Higham, Accuracy and Stability of Numerical Algorithms, section 3.5.
UNIT_ROUNDOFF: dict[Precision, float] = {"float32": 0.0, "tf32": 2.0**-11, "bfloat16": 2.0**-8}

_COMPUTE_TYPES: dict[Precision, int] = {
    "float32": cublas.COMPUTE_32F,
    "tf32": cublas.COMPUTE_32F_FAST_TF32,
    "bfloat16": cublas.COMPUTE_32F_FAST_16BF,
}


class Gemm:
    """Products on one stream, with a cuBLAS handle and a workspace of their own.

    stream : cupy.cuda.Stream, of the current device.
    workspace : device array of `cublas.workspace_bytes`, which no other stream may use.
    precision : what may be done to float32 operands; see `Precision`.
    library : as `cublas.load_cublas` returns it (None), or a stand-in that was declared.

    The same call on the same device and library gives the same bits: there are no atomics, and
    the workspace is this handle's alone ("Results Reproducibility" in the cuBLAS documentation).
    Keep a Gemm for as long as a graph that was captured through it, and let none be collected
    during a capture: giving back a handle synchronizes the device.

    Raises
    ------
    GemmUnavailableError
        If there is no cuBLAS library.
    CublasError
        If cuBLAS does not start.
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
        self.stream, self.workspace = stream, workspace  # alive while cuBLAS has their addresses
        self.handle = handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", ctypes.byref(handle))
        self._destroy = weakref.finalize(self, self.library.cublasDestroy_v2, handle)
        self._destroy.atexit = False  # the driver may have shut down by then
        self._check("cublasSetStream_v2", handle, stream.ptr)
        # After the stream, which puts the library's own workspace back.
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

        A, B, out : as in `marshal`, and its ValueError.
        alpha, beta : host numbers; a capture freezes them.

        Raises
        ------
        CublasError
            If cuBLAS refuses the call.
        """
        call = marshal(A, B, out, transpose_a, transpose_b)
        if 0 in (call.m, call.n, call.batch):
            return
        if call.k == 0:  # cuBLAS does not say what an empty sum is; this runs on CuPy's stream
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
        """Give the handle back to cuBLAS, once; this waits for the device."""
        self._destroy()

    def compute_type(self, data_type: int) -> int:
        """Return cuBLAS's number for how operands of ``data_type`` are multiplied."""
        if data_type == cublas.R_64F:
            return cublas.COMPUTE_64F
        # Nothing to round: the product of two bfloat16 numbers is exact in float32.
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
    """Write what `Gemm` means, alpha op(A) op(B) + beta out, without rounding of operands."""
    A = A.swapaxes(-1, -2) if transpose_a else A
    B = B.swapaxes(-1, -2) if transpose_b else B
    product = np.multiply(np.matmul(A, B), alpha)
    np.copyto(out, product if beta == 0 else np.add(product, np.multiply(out, beta)))
