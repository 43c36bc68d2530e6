"""A stand-in for cuBLASLt on host memory; see `cublas`."""

from __future__ import annotations

import ctypes
import math
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tests.cuda_stand_in.cublas import (
    ELEMENTS,
    EXECUTION_FAILED,
    INTERNAL_ERROR,
    INVALID_VALUE,
    NOT_SUPPORTED,
    PROTOTYPES,
    SUCCESS,
    SUPPORTED,
    HostCublas,
    Product,
    by_columns,
    stored,
    values_of,
)

_INT, _LONG, _SIZE, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t, ctypes.c_void_p
_SET = [_POINTER, _INT, _POINTER, _SIZE]
LT_PROTOTYPES: dict[str, list[Any]] = {
    "cublasLtMatmulDescCreate": [_POINTER, _INT, _INT],
    "cublasLtMatmulDescDestroy": [_POINTER],
    "cublasLtMatmulDescSetAttribute": _SET,
    "cublasLtMatrixLayoutCreate": [_POINTER, _INT, ctypes.c_uint64, ctypes.c_uint64, _LONG],
    "cublasLtMatrixLayoutDestroy": [_POINTER],
    "cublasLtMatrixLayoutSetAttribute": _SET,
    "cublasLtMatmulPreferenceCreate": [_POINTER],
    "cublasLtMatmulPreferenceDestroy": [_POINTER],
    "cublasLtMatmulPreferenceSetAttribute": _SET,
    "cublasLtMatmulAlgoGetHeuristic": [*[_POINTER] * 7, _INT, _POINTER, _POINTER],
    "cublasLtMatmul": [*[_POINTER] * 14, _SIZE, _POINTER],
}
# Attributes that gpubp may set: name and bytes, by number.
ATTRIBUTES = {
    "MatmulDesc": {
        3: ("transa", 4), 4: ("transb", 4), 7: ("epilogue", 4), 8: ("bias", 8),
        10: ("bias_stride", 8), 11: ("aux", 8), 12: ("aux_ld", 8), 13: ("aux_stride", 8),
    },
    "MatrixLayout": {5: ("batch", 4), 6: ("stride", 8)},
    "MatmulPreference": {
        1: ("workspace", 8), 3: ("reduction", 4),
        5: ("a", 4), 6: ("b", 4), 7: ("c", 4), 8: ("d", 4),
    },
}  # fmt: skip
WORKSPACE = 512  # bytes that an algorithm needs
MARK, ALGORITHMS = 0xA160, 3
RESULT = 96  # bytes of cublasLtMatmulHeuristicResult_t
# The bits of an epilogue's number.
RELU, BIAS, DRELU, BGRAD, GELU, DGELU, AUX, BGRADA = 2, 4, 8, 16, 32, 64, 128, 256


class Extras(NamedTuple):
    """An epilogue, and the memory that it uses beside the matrices."""

    epilogue: int
    bias: int
    bias_stride: int
    aux: int
    aux_ld: int
    aux_stride: int

    def is_valid(self, call: Product) -> bool:
        if self.epilogue & (BIAS | BGRAD | BGRADA) and not self.bias:
            return False
        if not self.epilogue & AUX:
            return True
        whole = 8 if self.epilogue & (GELU | DGELU) else 128
        odd = self.aux_ld % whole or self.aux_stride % whole
        return bool(self.aux) and not odd and self.aux_ld >= call.m

    def faults(self, call: Product) -> bool:
        """Whether the real library is known to access memory outside of the arrays.

        nvmath-python 0.2.0, release notes; NVIDIA/apex#1392.
        """
        if self.epilogue & (DRELU | DGELU) and call.k == 1:
            return True
        return bool(self.epilogue & BGRADA) and 1 in (call.m, call.k)

    def arrays(self, call: Product) -> list[tuple[np.ndarray, bool]]:
        """The bias and the mask or Z, and whether they are written."""
        used = []
        if self.epilogue & (BIAS | BGRAD | BGRADA):
            used.append((self._bias(call), not self.epilogue & BIAS))
        if self.epilogue & AUX:
            aux = self._mask(call) if self.epilogue & (RELU | DRELU) else self._aux(call)
            used.append((aux, not self.epilogue & (DRELU | DGELU)))
        return used

    def finish(self, call: Product) -> None:
        """Compute the product, with all that the epilogue does."""
        epilogue, result = self.epilogue, call.result()
        if epilogue & BIAS:
            result += values_of(self._bias(call))[:, :, None]
        if epilogue & RELU and epilogue & AUX:
            bits = np.packbits(result > 0, axis=1, bitorder="big")
            self._mask(call)[...] = bits.transpose(0, 2, 1)
        if epilogue & RELU:
            result = np.where(result > 0, result, 0)  # 0 for NaN: NVIDIA's forum, 329783
        if epilogue & GELU:
            Z = self._aux(call)
            Z[...] = stored(result, Z.dtype)
            result = gelu(result)
        if epilogue & DRELU:
            positive = np.unpackbits(self._mask(call), axis=2, bitorder="big")[:, :, : call.m]
            result *= positive.transpose(0, 2, 1)
        if epilogue & DGELU:
            result *= gelu_slope(values_of(self._aux(call)))
        if epilogue & BGRAD:
            bias = self._bias(call)
            bias[...] = stored(result.sum(axis=2), bias.dtype)
        if epilogue & BGRADA:
            A, bias = values_of(call.matrices()[0]), self._bias(call)
            bias[...] = stored(A.sum(axis=1 if call.transa else 2), bias.dtype)
        call.store(result)

    def _bias(self, call: Product) -> np.ndarray:
        dtype = ELEMENTS[call.c_type]
        return _vectors(self.bias, dtype, (call.batch, call.m), self.bias_stride)

    def _mask(self, call: Product) -> np.ndarray:
        """Return the mask as bytes (batch, columns, rows / 8)."""
        shape = (call.batch, call.n, (call.m + 7) // 8)
        first = _vectors(self.aux, np.dtype(np.uint8), (1, 1), 0)
        return as_strided(first, shape, (self.aux_stride // 8, self.aux_ld // 8, 1))

    def _aux(self, call: Product) -> np.ndarray:
        shape = (call.batch, call.m, call.n)
        return by_columns(self.aux, call.c_type, shape, self.aux_ld, self.aux_stride)


def gelu(Z: np.ndarray) -> np.ndarray:
    """The approximation by tanh of Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016)."""
    return 0.5 * Z * (1 + np.tanh(math.sqrt(2 / math.pi) * (Z + 0.044715 * Z**3)))


def gelu_slope(Z: np.ndarray) -> np.ndarray:
    scale = math.sqrt(2 / math.pi)
    t = np.tanh(scale * (Z + 0.044715 * Z**3))
    return 0.5 * (1 + t) + 0.5 * Z * (1 - t * t) * scale * (1 + 3 * 0.044715 * Z * Z)


class HostCublasLt(HostCublas):
    """cuBLAS with cuBLASLt.

    offered : the epilogues for which the heuristic finds algorithms, by number.
    refused : of these by (number, type of the output), for which it finds none all the same.
    objects : kind and attributes of each descriptor that was made and not destroyed.
    answer : how many algorithms the heuristic finds, and the state of the first.
    asked : how often the heuristic was asked.
    version : of cuBLASLt.
    """

    prototypes = PROTOTYPES | LT_PROTOTYPES
    makers = (*HostCublas.makers, *(name for name in LT_PROTOTYPES if name.endswith("Create")))

    def __init__(self) -> None:
        self.objects: dict[int, tuple[str, dict[str, Any]]] = {}
        self.offered = {4, 6, 134, 152, 164, 208, 256}
        self.refused: set[tuple[int, int]] = set()
        self.answer, self.asked = (ALGORITHMS, 0), 0
        self.version = 130100
        self.cublasLtGetVersion = ctypes.CFUNCTYPE(_SIZE)(lambda: self.version)
        for kind in ATTRIBUTES:
            setattr(self, f"_cublasLt{kind}Destroy", self._destroy)
            setattr(self, f"_cublasLt{kind}SetAttribute", self._set)
        super().__init__()

    def _knows(self, name: str, address: int) -> bool:
        of_object = name.endswith(("Destroy", "SetAttribute"))
        return address in self.objects if of_object else super()._knows(name, address)

    def _make(self, address: int, kind: str, **attributes: Any) -> int:
        self.created += 1
        number = 0x7E00_0000_0000 + self.created
        ctypes.c_void_p.from_address(address).value = number
        self.objects[number] = kind, attributes
        return SUCCESS

    def _cublasLtMatmulDescCreate(self, address: int, compute: int, scale: int) -> int:
        defaults = {"transa": 0, "transb": 0, "epilogue": 1, "bias": 0, "bias_stride": 0}
        aux = {"aux": 0, "aux_ld": 0, "aux_stride": 0}
        return self._make(address, "MatmulDesc", compute=compute, scale=scale, **defaults, **aux)

    def _cublasLtMatrixLayoutCreate(
        self, address: int, type_: int, rows: int, columns: int, ld: int
    ) -> int:
        shape = {"type": type_, "rows": rows, "columns": columns, "ld": ld}
        return self._make(address, "MatrixLayout", **shape, batch=1, stride=0)

    def _cublasLtMatmulPreferenceCreate(self, address: int) -> int:
        aligned = dict.fromkeys("abcd", 256)
        return self._make(address, "MatmulPreference", workspace=0, reduction=7, **aligned)

    def _destroy(self, number: int) -> int:
        del self.objects[number]
        return SUCCESS

    def _set(self, number: int, attribute: int, value: int, size: int) -> int:
        kind, attributes = self.objects[number]
        name, expected = ATTRIBUTES[kind].get(attribute, ("", -1))
        if size != expected:
            return INVALID_VALUE
        content = ctypes.string_at(value, size)
        attributes[name] = int.from_bytes(content, "little", signed=True)
        return SUCCESS

    def _of(self, number: int) -> dict[str, Any]:
        return self.objects[number][1]

    def _kinds(self, *objects: int) -> list[int]:
        """Return a number for all that an algorithm knows of each descriptor: not its addresses."""
        known = (self._of(number) | {"bias": 0, "aux": 0} for number in objects)
        return [zlib.crc32(repr(attributes).encode()) for attributes in known]

    def _cublasLtMatmulAlgoGetHeuristic(
        self, handle: int, product: int, a: int, b: int, c: int, d: int, preference: int,
        count: int, results: int, found: int,
    ) -> int:  # fmt: skip
        self.asked += 1
        wanted, made = self._of(preference), self._of(product)
        if wanted["reduction"] & ~2 or count < 1:  # 1 and 4 are in place, and in the output's type
            return INVALID_VALUE
        epilogue = made["epilogue"]
        if epilogue not in self.offered or (epilogue, self._of(d)["type"]) in self.refused:
            return NOT_SUPPORTED
        needs = int.from_bytes(min(wanted[name], 16) for name in "abcd")
        count = min(count, self.answer[0]) if wanted["workspace"] >= WORKSPACE else 0
        ctypes.c_int.from_address(found).value = count
        for k in range(count):
            at = results + k * RESULT
            algorithm = (ctypes.c_uint64 * 8).from_address(at)
            kinds = self._kinds(product, a, b, c, d)
            algorithm[:] = [*kinds, needs, WORKSPACE, MARK + k]
            ctypes.c_size_t.from_address(at + 64).value = WORKSPACE
            ctypes.c_int.from_address(at + 72).value = 0 if k else self.answer[1]
        return SUCCESS

    def _cublasLtMatmul(
        self, handle: int, product: int, alpha: int, A: int, a: int, B: int, b: int, beta: int,
        C: int, c: int, D: int, d: int, algorithm: int, workspace: int, size: int, stream: int,
    ) -> int:  # fmt: skip
        if not algorithm or not workspace or workspace % 256:
            return INVALID_VALUE
        *objects, needs, room, mark = (ctypes.c_uint64 * 8).from_address(algorithm)
        known = mark - MARK in range(ALGORITHMS) and objects == self._kinds(product, a, b, c, d)
        if not known or size < room:
            return INVALID_VALUE
        if not self._takes(stream, handle) or (C, c) != (D, d):
            return INTERNAL_ERROR
        aligned = zip((A, B, C, D), needs.to_bytes(4), strict=True)
        if any(address % need for address, need in aligned):
            return EXECUTION_FAILED
        made, left, right, out = (self._of(number) for number in (product, a, b, d))
        if len({left["batch"], right["batch"], out["batch"]}) > 1:
            return INVALID_VALUE
        call = Product(
            *(made["transa"], made["transb"], out["rows"], out["columns"]),
            *(left["rows" if made["transa"] else "columns"], alpha),
            *(A, left["type"], left["ld"], left["stride"]),
            *(B, right["type"], right["ld"], right["stride"]),
            *(beta, D, out["type"], out["ld"], out["stride"]),
            *(out["batch"], made["compute"], -1),
        )
        stored = ((X["rows"], X["columns"]) for X in (left, right, out))
        if not call.is_valid() or call.shapes != tuple(stored):
            return INVALID_VALUE
        scale = 1 if call.compute == 70 else 0
        if call.types not in SUPPORTED or made["scale"] != scale:
            return NOT_SUPPORTED
        extras = Extras(*(made[name] for name in Extras._fields))
        if not extras.is_valid(call):
            return INVALID_VALUE
        if extras.faults(call):
            return self._fault(handle)
        self.calls.append(call)
        return self._multiply(call, extras, handle, workspace, size, stream)

    def _fault(self, handle: int) -> int:
        """An illegal memory access, after which a context answers nothing any more."""
        return EXECUTION_FAILED

    def _takes(self, stream: int, handle: int) -> bool:
        return stream == self.handles[handle]["stream"]

    def _multiply(self, call: Product, extras: Extras, *where: int) -> int:
        extras.finish(call)
        return SUCCESS


def _vectors(address: int, dtype: np.dtype, shape: tuple[int, int], stride: int) -> np.ndarray:
    element = (ctypes.c_byte * dtype.itemsize).from_address(address)
    strides = (stride * dtype.itemsize, dtype.itemsize)
    return as_strided(np.frombuffer(element, dtype), shape, strides)
