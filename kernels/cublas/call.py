"""Converts a matrix product of row-major arrays to a call of cuBLAS, which is column-major.

The row-major Y (M, N) with `ld` elements from row to row has the same bytes as the column-major
Y^T (N, M) with leading dimension `ld`, and Y = A B is equivalent to Y^T = B^T A^T. Therefore the
operands are exchanged, with m = N and n = M. A row-major matrix needs no transposition; a
column-major one (a transposed view) takes CUBLAS_OP_T. See "Data Layout" and
"cublasGemmStridedBatchedEx" in NVIDIA's cuBLAS documentation.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy

from .library import OP_N, OP_T, R_16BF, R_32F, R_64F

Array = Any  # cupy.ndarray, or an object with the same shape, strides, dtype and data.ptr

_DATA_TYPES = {"float32": R_32F, "float64": R_64F, "bfloat16": R_16BF}
# (type of A and B, type of out).
_ALLOWED_TYPES = {(R_32F, R_32F), (R_64F, R_64F), (R_16BF, R_32F), (R_16BF, R_16BF)}
_INT_MAX = 2**31 - 1


class GemmCall(NamedTuple):
    """The arguments of cublasGemmStridedBatchedEx, column-major: C = op(A) op(B).

    m, n, k : C is (m, n), op(A) is (m, k), op(B) is (k, n).
    transa, transb : OP_N or OP_T.
    a, b, c : addresses. a_type, b_type, c_type : numbers of library_types.h.
    lda, ldb, ldc : elements from column to column.
    stride_a, stride_b, stride_c : elements from one matrix of the batch to the next; 0 for an
        operand that the whole batch shares.
    batch : number of matrices.
    """

    transa: int
    transb: int
    m: int
    n: int
    k: int
    a: int
    a_type: int
    lda: int
    stride_a: int
    b: int
    b_type: int
    ldb: int
    stride_b: int
    c: int
    c_type: int
    ldc: int
    stride_c: int
    batch: int


class Operand(NamedTuple):
    """An array whose last two axes are a matrix; strides in elements."""

    name: str
    pointer: int
    type: int
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def transposed(self) -> Operand:
        """Return the transposed view of the same memory."""
        *lead, rows, columns = self.shape
        *over, row, column = self.strides
        return self._replace(shape=(*lead, columns, rows), strides=(*over, column, row))


def marshal(
    A: Array, B: Array, out: Array, transpose_a: bool = False, transpose_b: bool = False
) -> GemmCall:
    """Return the call of cuBLAS that writes op(A) op(B) into ``out``, without copying an array.

    A, B, out : (…, M, K), (…, K, N) and (…, M, N), the first two after transposition. Leading axes
        are broadcast to those of ``out``.
    transpose_a, transpose_b : whether op transposes the last two axes of A and B.

    Raises
    ------
    ValueError
        If shapes or types do not match, if ``out`` shares memory with an operand, or if cuBLAS
        cannot express the memory layout: one axis of each matrix must have stride 1, and all
        leading axes together one stride.
    """
    left, right, product = operand("A", A), operand("B", B), operand("out", out)
    left = left.transposed() if transpose_a else left
    right = right.transposed() if transpose_b else right
    _check_types(left, right, product)
    _check_shapes(left, right, product)
    if layout(product)[0] == OP_T:  # out^T = op(B)^T op(A)^T is row-major
        left, right, product = right.transposed(), left.transposed(), product.transposed()
    (transa, lda), (transb, ldb), (_, ldc) = map(layout, (right, left, product))
    call = GemmCall(
        *(transa, transb),
        *(product.shape[-1], product.shape[-2], left.shape[-1]),
        *(right.pointer, right.type, lda, batch_stride(right, product.shape)),
        *(left.pointer, left.type, ldb, batch_stride(left, product.shape)),
        *(product.pointer, product.type, ldc, batch_stride(product, product.shape)),
        math.prod(product.shape[:-2]),
    )
    _check_sizes(call)
    _check_memory(call, left, right, product)
    return call


def operand(name: str, array: Array) -> Operand:
    """Return ``array`` as an `Operand`; raise ValueError if cuBLAS cannot take it."""
    dtype, shape, strides = array.dtype, array.shape, array.strides
    size, data_type = dtype.itemsize, _data_type(dtype)
    if data_type is None:
        raise ValueError(f"{name} is {dtype.name}; cast it to one of {sorted(_DATA_TYPES)}")
    if len(shape) < 2:
        raise ValueError(f"{name} has shape {shape!r}, but a matrix has two axes; reshape it")
    if any(stride % size for stride in strides):
        raise ValueError(
            f"{name} has strides {strides!r} that are not multiples of its item size {size}; "
            "pass a contiguous copy"
        )
    in_elements = tuple(stride // size for stride in strides)
    return Operand(name, array.data.ptr, data_type, size, shape, in_elements)


@cache  # NumPy builds the name of a dtype at each access
def _data_type(dtype: Any) -> int | None:
    return _DATA_TYPES.get(dtype.name)


def _check_types(A: Operand, B: Operand, out: Operand) -> None:
    if A.type != B.type or (A.type, out.type) not in _ALLOWED_TYPES:
        names = {number: name for name, number in _DATA_TYPES.items()}
        raise ValueError(
            f"A, B and out are {names[A.type]}, {names[B.type]} and {names[out.type]}; cast them "
            "to one type (out may also be float32 where A and B are bfloat16)"
        )


def _check_shapes(A: Operand, B: Operand, out: Operand) -> None:
    fit = A.shape[-1] == B.shape[-2] and out.shape[-2:] == (A.shape[-2], B.shape[-1])
    for X in (A, B):
        lead = zip(reversed(X.shape[:-2]), reversed(out.shape[:-2]), strict=False)
        fit &= len(X.shape) <= len(out.shape) and all(size in (1, whole) for size, whole in lead)
    if not fit:
        raise ValueError(
            f"op(A) {A.shape!r} times op(B) {B.shape!r} does not fit into out {out.shape!r}; pass "
            "(…, M, K), (…, K, N) and (…, M, N), with leading axes that broadcast to those of out"
        )


def layout(X: Operand) -> tuple[int, int]:
    """Return OP_N for a row-major matrix or OP_T for a column-major one, and its ld."""
    rows, columns = X.shape[-2:]
    row, column = X.strides[-2:]
    if 0 in X.shape:
        return OP_N, max(columns, 1)
    # The stride of an axis of one element means nothing.
    if (column == 1 or columns == 1) and (row >= columns or rows == 1):
        return OP_N, columns if rows == 1 else row
    if (row == 1 or rows == 1) and column >= rows:
        return OP_T, column
    raise ValueError(
        f"{X.name} has matrices {(rows, columns)!r} with strides {(row, column)!r} in elements, "
        "but cuBLAS takes a stride of 1 and another that skips at least a whole row or column; "
        "pass a contiguous copy"
    )


def batch_stride(X: Operand, whole: tuple[int, ...]) -> int:
    """Return the elements from one matrix of ``X`` to the next, after broadcasting to ``whole``."""
    if len(whole) == 2:
        return 0
    lead = whole[:-2]
    missing = len(whole) - len(X.shape)
    broadcast = [n == 1 for n in (1,) * missing + X.shape[:-2]]
    strides = (0,) * missing + X.strides[:-2]
    axes = [
        (n, 0 if one else stride)
        for n, one, stride in zip(lead, broadcast, strides, strict=True)
        if n > 1
    ]
    even = all(outer == n * inner for (_, outer), (n, inner) in pairwise(axes))
    if not even or any(stride < 0 for _, stride in axes):
        raise ValueError(
            f"{X.name} has leading axes {lead!r} with strides {strides!r} in elements, but cuBLAS "
            "takes one stride, of 0 or more, for all of them; pass a contiguous copy"
        )
    return axes[-1][1] if axes else 0


def _check_sizes(call: GemmCall) -> None:
    largest = max(call.m, call.n, call.k, call.lda, call.ldb, call.ldc, call.batch)
    if largest > _INT_MAX:
        raise ValueError(
            f"a size or a stride between rows is {largest}, but cuBLAS takes at most {_INT_MAX}; "
            "multiply fewer rows at a time"
        )


def _check_memory(call: GemmCall, A: Operand, B: Operand, out: Operand) -> None:
    if 0 in out.shape:
        return
    apart = call.stride_c >= (call.n - 1) * call.ldc + call.m
    interleaved = call.stride_c >= call.m and call.ldc >= (call.batch - 1) * call.stride_c + call.m
    if call.batch > 1 and not apart and not interleaved:
        raise ValueError(
            f"the matrices of out {out.shape!r}, with strides {out.strides!r} in elements, overlap "
            "each other; pass an array whose matrices do not overlap"
        )
    for X in (A, B):
        if _overlap(X, out):
            raise ValueError(f"out shares memory with {X.name}; pass another array")


def _overlap(X: Operand, Y: Operand) -> bool:
    if 0 in X.shape or X.pointer >= _end(Y) or Y.pointer >= _end(X):
        return False
    # Views of one array may interleave. NumPy decides this exactly, but takes 100 times as long.
    return numpy.shares_memory(_described(X), _described(Y))


def _end(X: Operand) -> int:
    spans = ((n - 1) * stride for n, stride in zip(X.shape, X.strides, strict=True))
    return X.pointer + X.itemsize * (sum(spans) + 1)


def _described(X: Operand) -> Any:
    """Return a NumPy array with the address and strides of ``X``, only for overlap checks.

    Its memory may be on the device, so it must not be read.
    """
    interface = {
        "version": 3,
        "shape": X.shape,
        "typestr": f"|V{X.itemsize}",
        "data": (X.pointer, True),
        "strides": tuple(stride * X.itemsize for stride in X.strides),
    }
    return numpy.asarray(SimpleNamespace(__array_interface__=interface))
