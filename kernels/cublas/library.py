"""The cuBLAS library that CuPy uses: its constants, C signatures and errors."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

# The numbers are those of cublas_api.h and library_types.h.
OP_N, OP_T = 0, 1
R_32F, R_64F, R_16BF = 0, 1, 14
COMPUTE_32F, COMPUTE_64F = 68, 70
COMPUTE_32F_FAST_16BF, COMPUTE_32F_FAST_TF32 = 75, 77
GEMM_DEFAULT = -1
POINTER_MODE_HOST = 0
ATOMICS_NOT_ALLOWED = 0
# CUBLAS_DEFAULT_MATH, but with partial sums in float32 if the output is bfloat16.
MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16

_int, _long, _size, _pointer = ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t, ctypes.c_void_p
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (ctypes.POINTER(_pointer),),
    "cublasDestroy_v2": (_pointer,),
    "cublasSetStream_v2": (_pointer, _pointer),
    "cublasSetWorkspace_v2": (_pointer, _pointer, _size),
    "cublasSetPointerMode_v2": (_pointer, _int),
    "cublasSetAtomicsMode": (_pointer, _int),
    "cublasSetMathMode": (_pointer, _int),
    "cublasGemmStridedBatchedEx": (
        *(_pointer, _int, _int, _int, _int, _int),  # handle, transa, transb, m, n, k
        *(_pointer, _pointer, _int, _int, _long),  # alpha, A, its type, ld and stride
        *(_pointer, _int, _int, _long),  # B
        *(_pointer, _pointer, _int, _int, _long),  # beta, C
        *(_int, _int, _int),  # batch count, compute type, algorithm
    ),
    "cublasGetStatusName": (_int,),
    "cublasGetStatusString": (_int,),
}
# Names for cuda.pathfinder. On Windows, a library does not export the functions of the other.
_LIBRARIES = ("cublas", "cublasLt")
TEXTS = {"cublasGetStatusName", "cublasGetStatusString"}  # the functions that return a char *
_REMEDIES = {
    1: "check that a CUDA device answers (nvidia-smi)",
    3: "free device memory",
    13: "check that all arrays are on the handle's device, and run the step once before capture",
    15: "use precision 'float32'",
}


class GemmUnavailableError(RuntimeError):
    """The cuBLAS library cannot be loaded; the message gives the reason."""


class CublasError(RuntimeError):
    """A call to cuBLAS failed.

    function : name of the function. status : the number that it returned.
    """

    def __init__(self, library: Any, function: str, status: int) -> None:
        self.function, self.status = function, status
        name = library.cublasGetStatusName(status).decode()
        meaning = library.cublasGetStatusString(status).decode()
        remedy = f"; {_REMEDIES[status]}" if status in _REMEDIES else ""
        super().__init__(f"{function} returned {name} ({status}): {meaning}{remedy}")


def declare(library: Any, signatures: dict[str, tuple[Any, ...]] = SIGNATURES) -> Any:
    """Set the C types of the arguments and results of the functions of ``library``; return it.

    Raises
    ------
    AttributeError
        If a function is missing.
    """
    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = ctypes.c_char_p if name in TEXTS else _int
    return library


def check(library: Any, function: str, *arguments: Any) -> None:
    """Call ``function`` of a declared library.

    Raises
    ------
    CublasError
        If it returns a status other than success.
    """
    status = getattr(library, function)(*arguments)
    if status:
        raise CublasError(library, function, status)


class _Libraries:
    """Several libraries as one: a function is taken from the first library that has it."""

    def __init__(self, *libraries: ctypes.CDLL) -> None:
        self._libraries = libraries

    def __getattr__(self, name: str) -> Any:
        for library in self._libraries:
            if hasattr(library, name):
                function = getattr(library, name)
                setattr(self, name, function)
                return function
        raise AttributeError(f"function {name!r} not found")


@cache
def load_cublas() -> Any:
    """Return the cuBLAS and cuBLASLt that CuPy uses, with declared functions.

    Raises
    ------
    GemmUnavailableError
        If CuPy or its cuBLAS is not installed, if cuBLAS is not NVIDIA's, or if another cuBLAS
        than CuPy's is found first.
    """
    try:
        import cupy
        from cuda import pathfinder

        module = cupy.cuda.cublas  # loads the library with the same pathfinder
        paths = [pathfinder.load_nvidia_dynamic_lib(name).abs_path for name in _LIBRARIES]
        library = declare(_Libraries(*(ctypes.CDLL(path) for path in paths)))
        _check_is_cupys(library, module, paths[0])
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise GemmUnavailableError(
            f"CuPy's cuBLAS library cannot be used ({reason}); check the package "
            "(pip install 'gpubp[cuda12]' or 'gpubp[cuda13]')"
        ) from error
    return library


def _check_is_cupys(library: Any, module: Any, path: str) -> None:
    """Raise OSError if CuPy's ``module`` is linked with another library than that at ``path``.

    dlsym also finds the functions of the libraries that a module is linked with. This is not so on
    Windows; there the loader keeps one library per file name, so equal major versions are enough.
    """
    linked = ctypes.CDLL(module.__file__)
    if hasattr(linked, "cublasCreate_v2"):
        ours, cupys = (_address(of.cublasCreate_v2) for of in (library, linked))
    else:
        import cupy

        major = ctypes.c_int()
        library.cublasGetProperty(0, ctypes.byref(major))
        ours, cupys = major.value, cupy.cuda.runtime.runtimeGetVersion() // 1000
    if ours != cupys:
        raise OSError(f"{path!r} was found, but CuPy uses another")


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


def workspace_bytes(compute_capability: str) -> int:
    """Return the size of a workspace that NVIDIA recommends ("cublasSetWorkspace"), in bytes.

    compute_capability : as CuPy writes it, such as "90" for Hopper.
    """
    return (32 if int(compute_capability) >= 90 else 4) * 2**20
