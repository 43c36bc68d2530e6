"""A stand-in for the cuBLAS library: what gpubp calls of it, as C sees it, on host memory.

It refuses what cuBLAS refuses, with the same status, and starts in states that differ from what
gpubp needs, so that every setting has to be made. It was written from NVIDIA's documentation and
headers, apart from gpubp's binding: no name or number is shared with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gpubp.kernels.cublas.gemm import Gemm, Precision
from gpubp.kernels.cublas.library import declare

STATUS_NAMES = {
    0: "CUBLAS_STATUS_SUCCESS",
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
}
SUCCESS, NOT_INITIALIZED, INVALID_VALUE, EXECUTION_FAILED, INTERNAL_ERROR, NOT_SUPPORTED = (
    *(0, 1, 7, 13, 14, 15),
)

# By (type of A and B, type of C, compute type), of those that gpubp may use: the C type of alpha
# and beta, and how many low bits of a float32 operand may be rounded away.
SUPPORTED = {
    (0, 0, 68): (ctypes.c_float, 0),
    (0, 0, 77): (ctypes.c_float, 13),
    (0, 0, 75): (ctypes.c_float, 16),
    (1, 1, 70): (ctypes.c_double, 0),
    (14, 14, 68): (ctypes.c_float, 0),
    (14, 0, 68): (ctypes.c_float, 0),
}
ELEMENTS = {0: np.dtype(np.float32), 1: np.dtype(np.float64), 14: np.dtype(np.uint16)}

_INT, _LONG, _SIZE, _POINTER = ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t, ctypes.c_void_p
PROTOTYPES: dict[str, list[Any]] = {
    "cublasCreate_v2": [_POINTER],
    "cublasDestroy_v2": [_POINTER],
    "cublasSetStream_v2": [_POINTER, _POINTER],
    "cublasSetWorkspace_v2": [_POINTER, _POINTER, _SIZE],
    "cublasSetPointerMode_v2": [_POINTER, _INT],
    "cublasSetAtomicsMode": [_POINTER, _INT],
    "cublasSetMathMode": [_POINTER, _INT],
    "cublasGemmStridedBatchedEx": [
        _POINTER, _INT, _INT, _INT, _INT, _INT,
        _POINTER, _POINTER, _INT, _INT, _LONG,
        _POINTER, _INT, _INT, _LONG,
        _POINTER, _POINTER, _INT, _INT, _LONG,
        _INT, _INT, _INT,
    ],
}  # fmt: skip


class Product(NamedTuple):
    """The arguments of cublasGemmStridedBatchedEx after the handle, in the header's order."""

    transa: int
    transb: int
    m: int
    n: int
    k: int
    alpha: int
    a: int
    a_type: int
    lda: int
    stride_a: int
    b: int
    b_type: int
    ldb: int
    stride_b: int
    beta: int
    c: int
    c_type: int
    ldc: int
    stride_c: int
    batch: int
    compute: int
    algorithm: int

    @property
    def types(self) -> tuple[int, int, int]:
        return self.a_type, self.c_type, self.compute

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of A and B, as stored, and of C."""
        m, n, k = self.m, self.n, self.k
        return (k, m) if self.transa else (m, k), (n, k) if self.transb else (k, n), (m, n)

    def is_valid(self) -> bool:
        (rows_a, _), (rows_b, _), (rows_c, _) = self.shapes
        return (
            {self.transa, self.transb} <= {0, 1}
            and min(self.m, self.n, self.k, self.batch) >= 0
            and self.lda >= max(1, rows_a)
            and self.ldb >= max(1, rows_b)
            and self.ldc >= max(1, rows_c)
            and self.algorithm == -1
        )

    def matrices(self) -> tuple[np.ndarray, ...]:
        """A, B and C as stored, (batch, rows, columns), over the memory itself."""
        A, B, C = self.shapes
        return (
            by_columns(self.a, self.a_type, (self.batch, *A), self.lda, self.stride_a),
            by_columns(self.b, self.b_type, (self.batch, *B), self.ldb, self.stride_b),
            by_columns(self.c, self.c_type, (self.batch, *C), self.ldc, self.stride_c),
        )

    def execute(self) -> None:
        self.store(self.result())

    def result(self) -> np.ndarray:
        """alpha op(A) op(B) + beta C, in float64."""
        scalar, bits = SUPPORTED[self.types]
        A, B, C = self.matrices()
        A, B = values_of(A, bits), values_of(B, bits)
        A = A.transpose(0, 2, 1) if self.transa else A
        B = B.transpose(0, 2, 1) if self.transb else B
        result = np.einsum("bij,bjk->bik", A, B) * scalar.from_address(self.alpha).value
        factor = scalar.from_address(self.beta).value
        if factor:  # else C is not read: it may hold NaN
            result += factor * values_of(C, 0)
        return result

    def store(self, result: np.ndarray) -> None:
        C = self.matrices()[2]
        C[...] = stored(result, C.dtype)


class DeviceArray(np.ndarray):
    """A NumPy array whose address is asked for as of a CuPy array."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


class HostCublas:
    """The library.

    prototypes : the arguments of each function, from NVIDIA's headers; all return a status.

    handles : the state of each handle that was created and not destroyed.
    calls : the products, in order.
    failing : status to return, by function, instead of doing anything.
    memory : first and last + 1 address of the blocks that products may touch; None: any.
    execute : whether products are computed, or only checked.
    """

    prototypes = PROTOTYPES
    makers = ("cublasCreate_v2",)  # the functions without a handle or an object before them

    def __init__(self) -> None:
        self.handles: dict[int, dict[str, Any]] = {}
        self.calls: list[Product] = []
        self.failing: dict[str, int] = {}
        self.memory: list[tuple[int, int]] | None = None
        self.execute = True
        self.created = 0
        self._texts = {k: ctypes.create_string_buffer(v.encode()) for k, v in STATUS_NAMES.items()}
        for name, arguments in self.prototypes.items():
            c_function = ctypes.CFUNCTYPE(_INT, *arguments)(self._guarded(name))
            setattr(self, name, c_function)
        text = ctypes.CFUNCTYPE(_POINTER, _INT)
        self.cublasGetStatusName = text(lambda status: ctypes.addressof(self._texts[status]))
        self.cublasGetStatusString = text(lambda status: ctypes.addressof(self._texts[status]))

    def array(self, values: np.ndarray) -> DeviceArray:
        """Return ``values`` as an array of the device, in memory that products may touch."""
        self.memory = self.memory or []
        self.memory.append((values.ctypes.data, values.ctypes.data + values.nbytes))
        return values.view(DeviceArray)

    def _guarded(self, name: str) -> Callable[..., int]:
        function = getattr(self, f"_{name.removesuffix('_v2')}")

        def call(*arguments: Any) -> int:
            if name in self.failing:
                return self.failing[name]
            if name not in self.makers and not self._knows(name, arguments[0]):
                return NOT_INITIALIZED
            return int(function(*arguments))

        return call

    def _knows(self, name: str, address: int) -> bool:
        return address in self.handles

    def _cublasCreate(self, handle: int) -> int:
        self.created += 1
        number = 0x7F00_0000_0000 + self.created  # an address of 64 bits
        ctypes.c_void_p.from_address(handle).value = number
        self.handles[number] = {"stream": 0, "workspace": None, "pointers": 1, "atomics": 1}
        return SUCCESS

    def _cublasDestroy(self, handle: int) -> int:
        del self.handles[handle]
        return SUCCESS

    def _cublasSetStream(self, handle: int, stream: int | None) -> int:
        self.handles[handle] |= {"stream": stream, "workspace": None}
        return SUCCESS

    def _cublasSetWorkspace(self, handle: int, address: int, size: int) -> int:
        if address % 256:
            return INVALID_VALUE
        self.handles[handle]["workspace"] = (address, size)
        return SUCCESS

    def _cublasSetPointerMode(self, handle: int, mode: int) -> int:
        self.handles[handle]["pointers"] = mode
        return SUCCESS

    def _cublasSetAtomicsMode(self, handle: int, mode: int) -> int:
        self.handles[handle]["atomics"] = mode
        return SUCCESS

    def _cublasSetMathMode(self, handle: int, mode: int) -> int:
        self.handles[handle]["math"] = mode
        return SUCCESS

    def _cublasGemmStridedBatchedEx(self, handle: int, *arguments: Any) -> int:
        call = Product(*arguments)
        state = self.handles[handle]
        if state["workspace"] is None or state["pointers"] != 0 or state["atomics"] != 0:
            return INTERNAL_ERROR
        if not call.is_valid():
            return INVALID_VALUE
        if call.a_type != call.b_type or call.types not in SUPPORTED:
            return NOT_SUPPORTED
        self.calls.append(call)
        if not self.execute:
            return SUCCESS
        if not all(self._may_touch(X) for X in call.matrices()):
            return EXECUTION_FAILED
        call.execute()
        return SUCCESS

    def _may_touch(self, X: np.ndarray) -> bool:
        if self.memory is None:
            return True
        first, size = extent(X)
        return any(low <= first and first + size <= high for low, high in self.memory)


def extent(X: np.ndarray) -> tuple[int, int]:
    """Return the first address and the bytes that X spreads over."""
    last = sum((n - 1) * s for n, s in zip(X.shape, X.strides, strict=True))
    return X.ctypes.data, last + X.itemsize


def by_columns(
    address: int, type_: int, shape: tuple[int, int, int], ld: int, stride: int
) -> np.ndarray:
    dtype = ELEMENTS[type_]
    size = dtype.itemsize
    element = (ctypes.c_byte * size).from_address(address)
    return as_strided(np.frombuffer(element, dtype), shape, (stride * size, size, ld * size))


def stored(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return float64 numbers as memory of ``dtype`` holds them."""
    if dtype == np.uint16:
        return (_rounded(values.astype(np.float32), 16) >> 16).astype(dtype)
    return values.astype(dtype)


def values_of(X: np.ndarray, bits: int = 0) -> np.ndarray:
    if X.dtype == np.uint16:  # bfloat16: the upper half of a float32
        return (X.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if bits:
        return _rounded(X, bits).view(np.float32).astype(np.float64)
    return X.astype(np.float64)


def _rounded(X: np.ndarray, bits: int) -> np.ndarray:
    """Return the bits of X rounded to nearest, half away from zero, so that the last are zero."""
    pattern = np.ascontiguousarray(X).view(np.uint32) + np.uint32(1 << (bits - 1))
    return pattern & np.uint32(2**32 - (1 << bits))


LAYOUTS = ["rows", "padded rows", "columns", "padded columns"]
ALIGNED = {"rows": 0, "padded rows": 3, "columns": 0, "padded columns": 3}


class Machine:
    """A host stand-in for a device, with a stream, a workspace and arrays in any layout."""

    def __init__(self, library: HostCublas) -> None:
        self.library = declare(library)
        block = np.empty(2048, np.uint8)
        start = -block.ctypes.data % 256
        self.workspace = block[start : start + 1024].view(DeviceArray)
        self.stream = SimpleNamespace(ptr=0x5555_0000_1000)

    def gemm(self, precision: Precision = "float32") -> Gemm:
        return Gemm(self.stream, self.workspace, precision, self.library)

    def array(self, values: np.ndarray, layout: str = "rows") -> DeviceArray:
        """Return ``values`` in ``layout``, with NaN around whatever is padded."""
        *lead, rows, columns = values.shape
        pad = ALIGNED[layout]
        by_columns = "columns" in layout
        inner = (columns, rows) if by_columns else (rows, columns)
        block = np.full((*lead, inner[0] + 2 * (pad > 0), inner[1] + pad), np.nan, values.dtype)
        view = self.library.array(block)[..., (pad > 0) : inner[0] + (pad > 0), : inner[1]]
        view = view.swapaxes(-1, -2) if by_columns else view
        view[...] = values
        return view


def untouched(view: DeviceArray) -> bool:
    """Whether the padding around ``view`` still is NaN; this overwrites ``view``."""
    view[...] = np.nan
    block = view
    while isinstance(block.base, np.ndarray):
        block = block.base
    return bool(np.isnan(block).all())
