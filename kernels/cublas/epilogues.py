"""Epilogues: operations in the same launch as a matrix product, with their arrays and twins."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from ..activations import ACTIVATIONS
from .call import Array, GemmCall, Operand, batch_stride, layout, operand
from .library import OP_N


class Epilogue(IntEnum):
    """An operation on A B, with its number in cublasLt.h; `epilogue_twin` does it in NumPy."""

    BIAS = 4  # out = A B + bias
    RELU_BIAS = 6  # out = max(A B + bias, 0), which is 0 for NaN
    RELU_AUX_BIAS = 134  # Z = A B + bias, out = max(Z, 0), and a mask of where Z > 0
    DRELU_BGRAD = 152  # out = A B where the mask is set, else 0; bias = column sums of out
    GELU_AUX_BIAS = 164  # Z = A B + bias into the mask, out = gelu(Z) by its tanh form
    DGELU_BGRAD = 208  # out = A B gelu'(Z), with Z as the mask; bias = column sums of out
    BGRADA = 256  # out = A B; bias = column sums of op(B), which is A in the call of cuBLAS


BITS = {Epilogue.RELU_AUX_BIAS, Epilogue.DRELU_BGRAD}  # their mask is one bit per number
NUMBERS = {Epilogue.GELU_AUX_BIAS, Epilogue.DGELU_BGRAD}  # their mask is Z
_BIAS_IS_READ = {
    *(Epilogue.BIAS, Epilogue.RELU_BIAS),
    *(Epilogue.RELU_AUX_BIAS, Epilogue.GELU_AUX_BIAS),
}
_BIAS_IS_WRITTEN = {Epilogue.DRELU_BGRAD, Epilogue.DGELU_BGRAD, Epilogue.BGRADA}
MASK_BITS = 128  # the row length of a mask of bits is a multiple of this
MASK_NUMBERS = 8  # the row length of a mask of numbers is a multiple of this


def is_safe(call: GemmCall, epilogue: Epilogue) -> bool:
    """Return whether cuBLASLt computes ``epilogue`` for this product without a fault.

    The gradient epilogues with an inner size k of 1, and BGRADA with m or k of 1, access memory
    outside their arrays; the CUDA context is then lost. Networks with one output and batches with
    one row have such products. See the release notes of nvmath-python 0.2.0, and NVIDIA/apex#1392.
    """
    if epilogue in (Epilogue.DRELU_BGRAD, Epilogue.DGELU_BGRAD):
        return call.k > 1
    return epilogue != Epilogue.BGRADA or min(call.m, call.k) > 1


class Extras(NamedTuple):
    """Addresses and strides of the additional arrays of an epilogue; 0 for absent arrays.

    bias, mask : addresses. bias_stride : elements from one bias vector of the batch to the next.
    mask_ld, mask_stride : bits (or numbers) per row of the mask, and from one mask to the next.
    """

    bias: int = 0
    bias_stride: int = 0
    mask: int = 0
    mask_ld: int = 0
    mask_stride: int = 0


def mask_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the uint8 mask for an ``out`` of ``shape``.

    cuBLASLt decides the order of its bits.
    """
    return (*shape[:-1], -(-shape[-1] // MASK_BITS) * MASK_BITS // 8)


def extras_of(out: Array, call: GemmCall, epilogue: Epilogue, bias: Array, mask: Array) -> Extras:
    """Return the additional arrays of ``epilogue``; the arguments are those of `EpilogueGemm`.

    Raises
    ------
    ValueError
        For arrays whose layout cuBLASLt cannot express.
    """
    if bias is None:
        raise ValueError(f"bias is None, but {epilogue.name} takes one; pass (1, {call.m})")
    Y, b = operand("out", out), operand("bias", bias)
    if layout(Y)[0] != OP_N or 0 in Y.shape or call.k == 0:
        raise ValueError(
            f"out {Y.shape!r} has strides {Y.strides!r} in elements, but an epilogue takes an out "
            "that is row-major and is not empty; pass a contiguous array"
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
            f"bias {b.shape!r} has strides {b.strides!r} in elements; pass contiguous rows, "
            "one per matrix if the epilogue writes them"
        )
    if epilogue in NUMBERS:
        return _with_numbers(out, Y, b.pointer, stride, mask)
    if epilogue not in BITS:
        return Extras(b.pointer, stride)
    expected = mask_shape(Y.shape)
    got = None if mask is None else (mask.dtype.name, mask.shape)
    if got != ("uint8", expected) or not mask.flags.c_contiguous:
        raise ValueError(f"mask must be contiguous uint8 {expected!r}, got {got!r}")
    bits = expected[-1] * 8
    return Extras(b.pointer, stride, mask.data.ptr, bits, bits * Y.shape[-2])


def _with_numbers(out: Array, Y: Operand, bias: int, stride: int, mask: Array) -> Extras:
    got = None if mask is None else (mask.dtype.name, mask.shape)
    if got != (out.dtype.name, Y.shape) or not mask.flags.c_contiguous:
        raise ValueError(f"mask must be contiguous, like out {Y.shape!r}, got {got!r}")
    rows, columns = Y.shape[-2:]
    return Extras(bias, stride, mask.data.ptr, columns, columns * rows)


def epilogue_twin(
    np: Any,
    A: Array,
    B: Array,
    out: Array,
    *,
    epilogue: Epilogue,
    bias: Array = None,
    mask: Array = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> None:
    """Do in NumPy what `EpilogueGemm` does; only the order of the bits in a mask may differ."""
    A = A.swapaxes(-1, -2) if transpose_a else A
    B = B.swapaxes(-1, -2) if transpose_b else B
    product = np.matmul(A, B)
    if epilogue in _BIAS_IS_READ:
        product = product + bias
    if epilogue == Epilogue.RELU_AUX_BIAS:
        bits = np.packbits(product > 0, axis=-1, bitorder="little")
        mask[..., : bits.shape[-1]] = bits
    if epilogue in (Epilogue.RELU_BIAS, Epilogue.RELU_AUX_BIAS):
        product = np.where(product > 0, product, 0)
    if epilogue == Epilogue.DRELU_BGRAD:
        bits = np.unpackbits(mask, axis=-1, bitorder="little")[..., : out.shape[-1]]
        product = np.where(bits == 1, product, 0)
        bias[...] = product.sum(axis=-2, keepdims=True)
    if epilogue in NUMBERS:
        gelu: Any = ACTIVATIONS["gelu"]
        result = np.empty_like(product)
        if epilogue == Epilogue.GELU_AUX_BIAS:
            np.copyto(mask, product)
            gelu.forward.numpy(np, product, result)
        else:
            gelu.delta.numpy(np, product, mask, result)
            bias[...] = result.sum(axis=-2, keepdims=True)
        product = result
    if epilogue == Epilogue.BGRADA:
        bias[...] = B.sum(axis=-2, keepdims=True)
    np.copyto(out, product)
