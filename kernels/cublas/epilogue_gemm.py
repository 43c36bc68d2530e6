"""Matrix products with an epilogue: bias, activation or sums of cuBLASLt in the same launch.

The row-major Y = X W + b is the column-major Y^T = W^T X^T + b 1^T. The rows of cuBLASLt's matrix D
are therefore the units of a layer, and its bias vector, one number per row, is b. See
"cublasLtEpilogue_t" in NVIDIA's cuBLAS documentation. cuBLASLt does not support every type and
size; a call returns whether it computed the product.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, NamedTuple

from . import library as cublas
from .call import GemmCall, marshal
from .epilogues import (
    MASK_NUMBERS,
    NUMBERS,
    Epilogue,
    Extras,
    epilogue_twin,
    extras_of,
    is_safe,
    mask_shape,
)
from .gemm import Array, Gemm
from .library import OP_N

__all__ = [
    "SIGNATURES",
    "Epilogue",
    "EpilogueGemm",
    "epilogue_twin",
    "library_version",
    "mask_shape",
]

# Attributes of a product, a matrix and a preference, and the C type of each, from cublasLt.h.
_TRANSA, _TRANSB, _EPILOGUE = (3, ctypes.c_int32), (4, ctypes.c_int32), (7, ctypes.c_uint32)
_BIAS_POINTER, _BIAS_BATCH_STRIDE = (8, ctypes.c_void_p), (10, ctypes.c_int64)
_AUX_POINTER, _AUX_LD = (11, ctypes.c_void_p), (12, ctypes.c_int64)
_AUX_BATCH_STRIDE = (13, ctypes.c_int64)
_BATCH_COUNT, _STRIDED_BATCH_OFFSET = (5, ctypes.c_int32), (6, ctypes.c_int64)
_MAX_WORKSPACE_BYTES, _REDUCTION_SCHEME_MASK = (1, ctypes.c_uint64), (3, ctypes.c_uint32)
_MIN_ALIGNMENT_A_BYTES, _MIN_ALIGNMENT_B_BYTES = (5, ctypes.c_uint32), (6, ctypes.c_uint32)
_MIN_ALIGNMENT_C_BYTES, _MIN_ALIGNMENT_D_BYTES = (7, ctypes.c_uint32), (8, ctypes.c_uint32)
# Partial sums in float32, added in a separate step without atomics.
_REDUCTION_SCHEME_COMPUTE_TYPE = 2
# Status codes for an unsupported product: invalid value, architecture mismatch, not supported.
_REFUSALS = frozenset({7, 8, 15})
_INTERNAL_ERROR = 14
_Algorithm = ctypes.c_uint64 * 8  # cublasLtMatmulAlgo_t


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", _Algorithm),
        ("workspace", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("waves", ctypes.c_float),
        ("reserved", ctypes.c_int * 4),
    )


_int, _size, _pointer = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
_new, _set = ctypes.POINTER(_pointer), (_pointer, _int, _pointer, _size)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasLtMatmulDescCreate": (_new, _int, _int),
    "cublasLtMatmulDescDestroy": (_pointer,),
    "cublasLtMatmulDescSetAttribute": _set,
    "cublasLtMatrixLayoutCreate": (_new, _int, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64),
    "cublasLtMatrixLayoutDestroy": (_pointer,),
    "cublasLtMatrixLayoutSetAttribute": _set,
    "cublasLtMatmulPreferenceCreate": (_new,),
    "cublasLtMatmulPreferenceDestroy": (_pointer,),
    "cublasLtMatmulPreferenceSetAttribute": _set,
    "cublasLtMatmulAlgoGetHeuristic": (
        *(_pointer, _pointer),  # handle, product
        *(_pointer, _pointer, _pointer, _pointer),  # A, B, C and D
        *(_pointer, _int, ctypes.POINTER(_Heuristic), ctypes.POINTER(_int)),
    ),
    "cublasLtMatmul": (
        *(_pointer, _pointer, _pointer),  # handle, product, alpha
        *(_pointer, _pointer, _pointer, _pointer),  # A, B
        *(_pointer, _pointer, _pointer, _pointer, _pointer),  # beta, C, D
        *(_pointer, _pointer, _size, _pointer),  # algorithm, workspace, stream
    ),
}


_Key = tuple[GemmCall, Extras, Epilogue]
_Matrices = tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]


class _Plan(NamedTuple):
    """The descriptors of a product, and its algorithm; None if cuBLASLt has none."""

    product: ctypes.c_void_p
    matrices: _Matrices
    algorithm: bytes | None


def library_version(library: Any) -> int:
    """Return the version of cuBLASLt."""
    get_version = library.cublasLtGetVersion
    get_version.argtypes, get_version.restype = (), ctypes.c_size_t
    return int(get_version())


class EpilogueGemm:
    """Products with an epilogue, on the handle, stream and workspace of ``gemm``.

    Each product uses the first algorithm of cuBLASLt's heuristic.
    """

    def __init__(self, gemm: Gemm) -> None:
        self._gemm = gemm
        self._library = cublas.declare(gemm.library, SIGNATURES)
        self._plans: dict[_Key, _Plan] = {}

    def __call__(
        self,
        A: Array,
        B: Array,
        out: Array,
        *,
        epilogue: Epilogue,
        bias: Array = None,
        mask: Array = None,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> bool:
        """Compute the product with its epilogue; return whether it was computed.

        `epilogue_twin` defines the result. If cuBLASLt does not support the product on this
        device, or is known to fault (`is_safe`), nothing is written, and the result is False.

        A, B, out : as in `marshal`; ``out`` has to be row-major.
        bias : (…, 1, N); read by BIAS and the epilogues with _BIAS in their name, written by the
            others.
        mask : written by the epilogues with AUX_BIAS in their name, read by their gradients. For
            ReLU uint8 of `mask_shape`; for GELU an array like ``out``, with a row length that is a
            multiple of 8.

        Raises
        ------
        ValueError
            For arrays whose layout cuBLASLt cannot express.
        CublasError
            If cuBLASLt fails.
        """
        call = marshal(A, B, out, transpose_a, transpose_b)
        if (epilogue in NUMBERS and call.m % MASK_NUMBERS) or not is_safe(call, epilogue):
            return False
        extras = extras_of(out, call, epilogue, bias, mask)
        key = self._key(call, epilogue, extras)
        if key not in self._plans:
            self._plans[key] = self._planned(call, extras, epilogue)
        plan = self._plans[key]
        done = self._launch(call, extras, plan)
        if not done:
            self._plans[key] = plan._replace(algorithm=None)  # refused despite the heuristic
        return done

    def _launch(self, call: GemmCall, extras: Extras, plan: _Plan) -> bool:
        """Launch the product on the stream; return False if cuBLASLt refuses it."""
        if plan.algorithm is None:
            return False
        self._point(plan.product, extras)
        scalar = ctypes.c_double if call.a_type == cublas.R_64F else ctypes.c_float
        one, zero, (a, b, d) = scalar(1), scalar(0), plan.matrices
        gemm, workspace = self._gemm, self._gemm.workspace
        return self._accepted(
            "cublasLtMatmul",
            *(gemm.handle, plan.product, ctypes.byref(one)),
            *(call.a, a, call.b, b),
            *(ctypes.byref(zero), call.c, d, call.c, d),
            _Algorithm.from_buffer_copy(plan.algorithm),
            *(workspace.data.ptr, workspace.nbytes, gemm.stream.ptr),
        )

    def _key(self, call: GemmCall, epilogue: Epilogue, extras: Extras) -> _Key:
        """Return the arguments on which the heuristic depends, with alignments for addresses."""
        aligned = {name: _alignment(getattr(call, name)) for name in ("a", "b", "c")}
        bias, mask = _alignment(extras.bias), _alignment(extras.mask)
        return call._replace(**aligned), extras._replace(bias=bias, mask=mask), epilogue

    def _planned(self, call: GemmCall, extras: Extras, epilogue: Epilogue) -> _Plan:
        """Return the descriptors of this product and the heuristic's first algorithm."""
        compute = self._gemm.compute_type(call.a_type)
        scale = cublas.R_64F if call.a_type == cublas.R_64F else cublas.R_32F
        product = self._new("MatmulDesc", compute, scale)
        self._set("MatmulDesc", product, _TRANSA, call.transa)
        self._set("MatmulDesc", product, _TRANSB, call.transb)
        self._set("MatmulDesc", product, _EPILOGUE, epilogue)
        self._set("MatmulDesc", product, _BIAS_BATCH_STRIDE, extras.bias_stride)
        if extras.mask:
            self._set("MatmulDesc", product, _AUX_LD, extras.mask_ld)
            self._set("MatmulDesc", product, _AUX_BATCH_STRIDE, extras.mask_stride)
        shape_a = (call.m, call.k) if call.transa == OP_N else (call.k, call.m)
        shape_b = (call.k, call.n) if call.transb == OP_N else (call.n, call.k)
        matrices = (
            self._matrix(call.a_type, shape_a, call.lda, call.stride_a, call.batch),
            self._matrix(call.b_type, shape_b, call.ldb, call.stride_b, call.batch),
            self._matrix(call.c_type, (call.m, call.n), call.ldc, call.stride_c, call.batch),
        )
        self._point(product, extras)  # the heuristic reads the alignment of bias and mask
        return _Plan(product, matrices, self._algorithm(call, product, matrices))

    def _matrix(
        self, type_: int, shape: tuple[int, int], ld: int, stride: int, batch: int
    ) -> ctypes.c_void_p:
        matrix = self._new("MatrixLayout", type_, *shape, ld)
        self._set("MatrixLayout", matrix, _BATCH_COUNT, batch)
        self._set("MatrixLayout", matrix, _STRIDED_BATCH_OFFSET, stride)
        return matrix

    def _algorithm(
        self, call: GemmCall, product: ctypes.c_void_p, matrices: _Matrices
    ) -> bytes | None:
        """Return the first algorithm of cuBLASLt's heuristic; None if it has none."""
        preference = self._new("MatmulPreference")
        for attribute, value in (
            (_MAX_WORKSPACE_BYTES, self._gemm.workspace.nbytes),
            (_REDUCTION_SCHEME_MASK, _REDUCTION_SCHEME_COMPUTE_TYPE),
            (_MIN_ALIGNMENT_A_BYTES, _alignment(call.a)),
            (_MIN_ALIGNMENT_B_BYTES, _alignment(call.b)),
            (_MIN_ALIGNMENT_C_BYTES, _alignment(call.c)),
            (_MIN_ALIGNMENT_D_BYTES, _alignment(call.c)),
        ):
            self._set("MatmulPreference", preference, attribute, value)
        (a, b, d), result, found = matrices, _Heuristic(), ctypes.c_int()
        offered = self._accepted(
            "cublasLtMatmulAlgoGetHeuristic",
            *(self._gemm.handle, product, a, b, d, d, preference, 1),
            *(ctypes.byref(result), ctypes.byref(found)),
            # Nothing has been launched, so an internal error can count as a refusal.
            refusals=_REFUSALS | {_INTERNAL_ERROR},
        )
        valid = offered and found.value and result.state == 0
        return bytes(result.algorithm) if valid else None

    def _point(self, product: ctypes.c_void_p, extras: Extras) -> None:
        if extras.bias:
            self._set("MatmulDesc", product, _BIAS_POINTER, extras.bias)
        if extras.mask:
            self._set("MatmulDesc", product, _AUX_POINTER, extras.mask)

    def _new(self, kind: str, *arguments: int) -> ctypes.c_void_p:
        """Return a new descriptor, which is destroyed together with this object."""
        made = ctypes.c_void_p()
        self._check(f"cublasLt{kind}Create", ctypes.byref(made), *arguments)
        destroy = getattr(self._library, f"cublasLt{kind}Destroy")
        weakref.finalize(self, destroy, made).atexit = False
        return made

    def _set(
        self, kind: str, made: ctypes.c_void_p, attribute: tuple[int, Any], value: int
    ) -> None:
        number, c_type = attribute
        held = c_type(value)
        size = ctypes.sizeof(c_type)
        self._check(f"cublasLt{kind}SetAttribute", made, number, ctypes.byref(held), size)

    def _accepted(
        self, function: str, *arguments: Any, refusals: frozenset[int] = _REFUSALS
    ) -> bool:
        try:
            self._check(function, *arguments)
        except cublas.CublasError as error:
            if error.status not in refusals:
                raise
            return False
        return True

    def _check(self, function: str, *arguments: Any) -> None:
        cublas.check(self._library, function, *arguments)


def _alignment(address: int) -> int:
    """Return the alignment of ``address`` in bytes, at most 256, the largest that cuBLASLt uses."""
    return min(address & -address, 256)
