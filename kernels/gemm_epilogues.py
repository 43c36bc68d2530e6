"""Matrix products with an epilogue: cuBLASLt adds the bias, rectifies or sums in the same launch.

By rows, Y = X W + b is by columns Y^T = W^T X^T + b 1^T: what cuBLASLt calls the rows of D are
the units of a layer, so its bias vector, one number a row, is ours. See "cublasLtEpilogue_t" in
NVIDIA's cuBLAS documentation. Not every type and size is offered: ask `EpilogueGemm.supported`.
"""

from __future__ import annotations

import ctypes
import weakref
from enum import IntEnum
from typing import Any, NamedTuple

from . import cublas
from .cublas import OP_N
from .gemm import Array, Gemm
from .gemm_call import GemmCall, batch_stride, layout, marshal, operand


class Epilogue(IntEnum):
    """What is done to A B, by its number in cublasLt.h; `epilogue_twin` says it in NumPy."""

    BIAS = 4  # out = A B + bias
    RELU_AUX_BIAS = 134  # Z = A B + bias, out = max(Z, 0), and a mask of where Z > 0
    DRELU_BGRAD = 152  # out = A B where that mask is set, else 0; bias = column sums of out
    BGRADA = 256  # out = A B; bias = column sums of op(B), which cuBLAS has as its A


_WITH_MASK = {Epilogue.RELU_AUX_BIAS, Epilogue.DRELU_BGRAD}
_BIAS_IS_WRITTEN = {Epilogue.DRELU_BGRAD, Epilogue.BGRADA}

# Attributes of a product, a matrix and a preference, and the C type of each, from cublasLt.h.
_TRANSA, _TRANSB, _EPILOGUE = (3, ctypes.c_int32), (4, ctypes.c_int32), (7, ctypes.c_uint32)
_BIAS_POINTER, _BIAS_BATCH_STRIDE = (8, ctypes.c_void_p), (10, ctypes.c_int64)
_AUX_POINTER, _AUX_LD = (11, ctypes.c_void_p), (12, ctypes.c_int64)
_AUX_BATCH_STRIDE = (13, ctypes.c_int64)
_BATCH_COUNT, _STRIDED_BATCH_OFFSET = (5, ctypes.c_int32), (6, ctypes.c_int64)
_MAX_WORKSPACE_BYTES, _REDUCTION_SCHEME_MASK = (1, ctypes.c_uint64), (3, ctypes.c_uint32)
_MIN_ALIGNMENT_A_BYTES, _MIN_ALIGNMENT_B_BYTES = (5, ctypes.c_uint32), (6, ctypes.c_uint32)
_MIN_ALIGNMENT_C_BYTES, _MIN_ALIGNMENT_D_BYTES = (7, ctypes.c_uint32), (8, ctypes.c_uint32)
# Partial sums in float32, added in a step of their own: no atomics.
_REDUCTION_SCHEME_COMPUTE_TYPE = 2
_NOT_SUPPORTED = 15
_MASK_BITS = 128  # a row of the mask takes a multiple of this


class _Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", ctypes.c_uint64 * 8),
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


class _Extras(NamedTuple):
    """What an epilogue reads or writes beside the matrices; mask sizes in bits."""

    bias: int
    bias_stride: int
    mask: int = 0
    mask_ld: int = 0
    mask_stride: int = 0


class _Plan(NamedTuple):
    """A product's descriptors, and cuBLASLt's choice for it: None where it has none."""

    product: ctypes.c_void_p
    matrices: tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    choice: _Heuristic | None


def mask_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the uint8 mask of an ``out`` of ``shape``; its bits are cuBLASLt's."""
    return (*shape[:-1], -(-shape[-1] // _MASK_BITS) * _MASK_BITS // 8)


class EpilogueGemm:
    """Products with an epilogue, on the handle, stream and workspace of ``gemm``."""

    def __init__(self, gemm: Gemm) -> None:
        self._gemm = gemm
        self._library = cublas.declare(gemm.library, SIGNATURES)
        self._plans: dict[Any, _Plan] = {}

    def supported(
        self,
        A: Array,
        B: Array,
        out: Array,
        *,
        epilogue: Epilogue,
        bias: Array,
        mask: Array = None,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> bool:
        """Return whether cuBLASLt offers this product on this device; nothing is computed."""
        call = marshal(A, B, out, transpose_a, transpose_b)
        extras = _extras(out, call, epilogue, bias, mask)
        return self._plan(call, epilogue, extras).choice is not None

    def __call__(
        self,
        A: Array,
        B: Array,
        out: Array,
        *,
        epilogue: Epilogue,
        bias: Array,
        mask: Array = None,
        transpose_a: bool = False,
        transpose_b: bool = False,
    ) -> None:
        """Write the product and what the epilogue says; see `epilogue_twin`.

        A, B, out : as in `marshal`; out has to lie by rows.
        bias : (…, 1, N), read by BIAS and RELU_AUX_BIAS, written by the others.
        mask : uint8 of `mask_shape`, written by RELU_AUX_BIAS and read by DRELU_BGRAD.

        Raises
        ------
        ValueError
            For arrays that cannot be expressed, or where `supported` is False.
        CublasError
            If cuBLASLt refuses the call.
        """
        call = marshal(A, B, out, transpose_a, transpose_b)
        extras = _extras(out, call, epilogue, bias, mask)
        plan = self._plan(call, epilogue, extras)
        if plan.choice is None:
            raise ValueError(
                f"cuBLASLt has no {epilogue.name} for {call!r} on this device; ask supported() "
                "first, and take the product and the elementwise steps apart"
            )
        self._point(plan.product, extras)
        scalar = ctypes.c_double if call.a_type == cublas.R_64F else ctypes.c_float
        one, zero, (a, b, d) = scalar(1), scalar(0), plan.matrices
        gemm, workspace = self._gemm, self._gemm.workspace
        self._check(
            "cublasLtMatmul",
            *(gemm.handle, plan.product, ctypes.byref(one)),
            *(call.a, a, call.b, b),
            *(ctypes.byref(zero), call.c, d, call.c, d),
            *(plan.choice.algorithm, workspace.data.ptr, workspace.nbytes, gemm.stream.ptr),
        )

    def _plan(self, call: GemmCall, epilogue: Epilogue, extras: _Extras) -> _Plan:
        """Return the plan for such a call, made once: addresses count by their alignment."""
        aligned = {name: _alignment(getattr(call, name)) for name in ("a", "b", "c")}
        bias, mask = _alignment(extras.bias), _alignment(extras.mask)
        key = call._replace(**aligned), extras._replace(bias=bias, mask=mask), epilogue
        if key not in self._plans:
            self._plans[key] = self._new_plan(call, epilogue, extras)
        return self._plans[key]

    def _new_plan(self, call: GemmCall, epilogue: Epilogue, extras: _Extras) -> _Plan:
        compute = self._gemm.compute_type(call.a_type)
        scale = cublas.R_64F if call.a_type == cublas.R_64F else cublas.R_32F
        product = self._new("MatmulDesc", compute, scale)
        self._set("MatmulDesc", product, _TRANSA, call.transa)
        self._set("MatmulDesc", product, _TRANSB, call.transb)
        self._set("MatmulDesc", product, _EPILOGUE, epilogue)
        self._set("MatmulDesc", product, _BIAS_BATCH_STRIDE, extras.bias_stride)
        if epilogue in _WITH_MASK:
            self._set("MatmulDesc", product, _AUX_LD, extras.mask_ld)
            self._set("MatmulDesc", product, _AUX_BATCH_STRIDE, extras.mask_stride)
        self._point(product, extras)  # the choice depends on the alignment of both
        shape_a = (call.m, call.k) if call.transa == OP_N else (call.k, call.m)
        shape_b = (call.k, call.n) if call.transb == OP_N else (call.n, call.k)
        matrices = (
            self._matrix(call.a_type, shape_a, call.lda, call.stride_a, call.batch),
            self._matrix(call.b_type, shape_b, call.ldb, call.stride_b, call.batch),
            self._matrix(call.c_type, (call.m, call.n), call.ldc, call.stride_c, call.batch),
        )
        return _Plan(product, matrices, self._choose(call, product, matrices))

    def _matrix(
        self, type_: int, shape: tuple[int, int], ld: int, stride: int, batch: int
    ) -> ctypes.c_void_p:
        matrix = self._new("MatrixLayout", type_, *shape, ld)
        self._set("MatrixLayout", matrix, _BATCH_COUNT, batch)
        self._set("MatrixLayout", matrix, _STRIDED_BATCH_OFFSET, stride)
        return matrix

    def _choose(
        self,
        call: GemmCall,
        product: ctypes.c_void_p,
        matrices: tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p],
    ) -> _Heuristic | None:
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
        a, b, d = matrices
        best, found = _Heuristic(), ctypes.c_int()
        try:
            self._check(
                "cublasLtMatmulAlgoGetHeuristic",
                *(self._gemm.handle, product, a, b, d, d, preference, 1),
                *(ctypes.byref(best), ctypes.byref(found)),
            )
        except cublas.CublasError as error:
            if error.status != _NOT_SUPPORTED:
                raise
            return None
        return best if found.value and best.state == 0 else None

    def _point(self, product: ctypes.c_void_p, extras: _Extras) -> None:
        self._set("MatmulDesc", product, _BIAS_POINTER, extras.bias)
        if extras.mask:
            self._set("MatmulDesc", product, _AUX_POINTER, extras.mask)

    def _new(self, kind: str, *arguments: int) -> ctypes.c_void_p:
        """Return a descriptor that cuBLASLt takes back with this object."""
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

    def _check(self, function: str, *arguments: Any) -> None:
        cublas.check(self._library, function, *arguments)


def _alignment(address: int) -> int:
    """Return the bytes that ``address`` is aligned to, up to 256, where cuBLASLt stops to look."""
    return min(address & -address, 256)


def _extras(out: Array, call: GemmCall, epilogue: Epilogue, bias: Array, mask: Array) -> _Extras:
    Y, b = operand("out", out), operand("bias", bias)
    if layout(Y)[0] != OP_N or 0 in Y.shape or call.k == 0:
        raise ValueError(
            f"out {Y.shape!r} has strides {Y.strides!r} in elements, but an epilogue takes an out "
            "that lies by rows and is not empty; pass a contiguous array"
        )
    lead = Y.shape[:-2]
    if b.type != Y.type or b.shape not in ((1, call.m), (*lead, 1, call.m)):
        raise ValueError(
            f"bias has shape {b.shape!r}; pass (1, {call.m}) or {(*lead, 1, call.m)!r}, of the "
            "type of out"
        )
    stride = batch_stride(b, Y.shape)
    shared = call.batch > 1 and stride < call.m and epilogue in _BIAS_IS_WRITTEN
    if (call.m > 1 and b.strides[-1] != 1) or shared:
        raise ValueError(
            f"bias {b.shape!r} has strides {b.strides!r} in elements; pass rows without gaps, and "
            "where they are written one for each matrix"
        )
    if epilogue not in _WITH_MASK:
        return _Extras(b.pointer, stride)
    expected = mask_shape(Y.shape)
    got = None if mask is None else (mask.dtype.name, mask.shape)
    if got != ("uint8", expected) or not mask.flags.c_contiguous:
        raise ValueError(f"mask must be contiguous uint8 {expected!r}, got {got!r}")
    bits = expected[-1] * 8
    return _Extras(b.pointer, stride, mask.data.ptr, bits, bits * Y.shape[-2])


def epilogue_twin(
    np: Any,
    A: Array,
    B: Array,
    out: Array,
    *,
    epilogue: Epilogue,
    bias: Array,
    mask: Array = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> None:
    """Do what `EpilogueGemm` means. The order of the bits of a mask is this twin's own."""
    A = A.swapaxes(-1, -2) if transpose_a else A
    B = B.swapaxes(-1, -2) if transpose_b else B
    product = np.matmul(A, B)
    if epilogue in (Epilogue.BIAS, Epilogue.RELU_AUX_BIAS):
        product = product + bias
    if epilogue == Epilogue.RELU_AUX_BIAS:
        bits = np.packbits(product > 0, axis=-1, bitorder="little")
        mask[..., : bits.shape[-1]] = bits
        product = np.maximum(product, 0)
    if epilogue == Epilogue.DRELU_BGRAD:
        bits = np.unpackbits(mask, axis=-1, bitorder="little")[..., : out.shape[-1]]
        product = np.where(bits == 1, product, 0)
        bias[...] = product.sum(axis=-2, keepdims=True)
    if epilogue == Epilogue.BGRADA:
        bias[...] = B.sum(axis=-2, keepdims=True)
    np.copyto(out, product)
