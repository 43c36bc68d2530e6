"""A stand-in for cuBLASLt on host memory; see host_cublas."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from host_cublas import (
    EXECUTION_FAILED,
    INTERNAL_ERROR,
    INVALID_VALUE,
    NOT_SUPPORTED,
    PROTOTYPES,
    SUCCESS,
    SUPPORTED,
    HostCublas,
    Product,
)
from numpy.lib.stride_tricks import as_strided

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
WORKSPACE = 512  # bytes that the only algorithm needs
BIAS, RELU, AUX, DRELU, BGRAD, BGRADA = 4, 2, 128, 8, 16, 256  # bits of an epilogue's number


class HostCublasLt(HostCublas):
    """cuBLAS with cuBLASLt.

    offered : the epilogues for which the heuristic finds an algorithm.
    objects : kind and attributes of each descriptor that was made and not destroyed.
    answer : how many algorithms the heuristic finds, and the state of the first.
    asked : how often the heuristic was asked.
    """

    prototypes = PROTOTYPES | LT_PROTOTYPES
    makers = (*HostCublas.makers, *(name for name in LT_PROTOTYPES if name.endswith("Create")))

    def __init__(self) -> None:
        self.objects: dict[int, tuple[str, dict[str, Any]]] = {}
        self.offered = {4, 134, 152, 256}
        self.answer, self.asked = (1, 0), 0
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

    def _cublasLtMatmulAlgoGetHeuristic(
        self, handle: int, product: int, a: int, b: int, c: int, d: int, preference: int,
        count: int, results: int, found: int,
    ) -> int:  # fmt: skip
        self.asked += 1
        wanted, made = self._of(preference), self._of(product)
        if wanted["reduction"] & ~2 or count != 1:  # 1 and 4 are in place, and in the output's type
            return INVALID_VALUE
        if made["epilogue"] not in self.offered:
            return NOT_SUPPORTED
        needs = int.from_bytes(min(wanted[name], 16) for name in "abcd")
        algorithm = (ctypes.c_uint64 * 8).from_address(results)
        algorithm[:] = [product, a, b, c, d, needs, WORKSPACE, 0xA160]
        count = self.answer[0] if wanted["workspace"] >= WORKSPACE else 0
        ctypes.c_int.from_address(found).value = count
        ctypes.c_int.from_address(results + 72).value = self.answer[1]
        return SUCCESS

    def _cublasLtMatmul(
        self, handle: int, product: int, alpha: int, A: int, a: int, B: int, b: int, beta: int,
        C: int, c: int, D: int, d: int, algorithm: int, workspace: int, size: int, stream: int,
    ) -> int:  # fmt: skip
        *objects, needs, room, mark = (ctypes.c_uint64 * 8).from_address(algorithm)
        if objects != [product, a, b, c, d] or mark != 0xA160 or workspace % 256 or size < room:
            return INVALID_VALUE
        if stream != self.handles[handle]["stream"] or (C, c) != (D, d):
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
        self.calls.append(call)
        return self._finish(call, made)

    def _finish(self, call: Product, made: dict[str, Any]) -> int:
        epilogue, result = made["epilogue"], call.result()
        dtype = call.matrices()[2].dtype
        bias = _vectors(made["bias"], dtype, (call.batch, call.m), made["bias_stride"])
        if epilogue & AUX:
            if made["aux_ld"] % 128 or made["aux_stride"] % 128 or made["aux_ld"] < call.m:
                return INVALID_VALUE
            bits = np.dtype(np.uint8)
            shape = (call.batch, call.n, (call.m + 7) // 8)
            strides = (made["aux_stride"] // 8, made["aux_ld"] // 8, 1)
            mask = as_strided(_vectors(made["aux"], bits, (1, 1), 0), shape, strides)
        if epilogue & BIAS:
            result += bias[:, :, None]
        if epilogue & RELU:
            mask[...] = np.packbits(result > 0, axis=1, bitorder="big").transpose(0, 2, 1)
            result = np.maximum(result, 0)
        if epilogue & DRELU:
            positive = np.unpackbits(mask, axis=2, bitorder="big")[:, :, : call.m]
            result *= positive.transpose(0, 2, 1)
        if epilogue & BGRAD:
            bias[...] = result.sum(axis=2)
        if epilogue & BGRADA:
            A = call.matrices()[0]
            bias[...] = A.sum(axis=1 if call.transa else 2)
        call.store(result)
        return SUCCESS


def _vectors(address: int, dtype: np.dtype, shape: tuple[int, int], stride: int) -> np.ndarray:
    element = (ctypes.c_byte * dtype.itemsize).from_address(address)
    strides = (stride * dtype.itemsize, dtype.itemsize)
    return as_strided(np.frombuffer(element, dtype), shape, strides)
