"""The installed cuBLAS and its C headers, for tests that compare the binding with them."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gpubp.kernels.cublas.library import GemmUnavailableError, load_cublas

HEADERS = ("cublas_api.h", "cublasLt.h", "library_types.h")
KINDS = {"long long int": "i8", "int64_t": "i8", "size_t": "u8", "uint64_t": "u8"}


def library() -> ctypes.CDLL:
    """Return CuPy's cuBLAS, or skip."""
    pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    try:
        return load_cublas()
    except GemmUnavailableError as error:
        pytest.skip(str(error))


@cache
def _headers() -> str:
    texts = []
    for distribution in metadata.distributions():
        if distribution.name.startswith(("nvidia-cublas", "nvidia-cuda-runtime")):
            for file in distribution.files or []:
                if file.name in HEADERS:
                    texts.append(Path(str(file.locate())).read_text())
    return "\n".join(texts)


def headers() -> str:
    """Return the text of NVIDIA's headers, or skip."""
    if "cublasGemmStridedBatchedEx" not in _headers():
        pytest.skip("no headers of cuBLAS: NVIDIA's package with the library is not installed")
    return _headers()


def kind_of(argument: Any) -> str:
    """Return "pointer", or sign and bytes of a ctypes integer."""
    if argument is ctypes.c_void_p or issubclass(argument, ctypes._Pointer):
        return "pointer"
    sign = "i" if argument(-1).value < 0 else "u"
    return f"{sign}{ctypes.sizeof(argument)}"


def arguments_in_header(function: str) -> list[str]:
    """Return the kinds of the arguments of ``function``, or skip."""
    text = re.sub(r"//.*|/\*.*?\*/", "", headers())
    found = re.search(rf"CUBLASWINAPI {function}\(([^)]*)\);", text)
    assert found is not None, function
    return [_kind(declaration) for declaration in found[1].split(",")]


def _kind(declaration: str) -> str:
    words = declaration.replace("const ", "").split()
    opaque = "cublas(Lt)?Handle_t|cudaStream_t|cublasLt(MatmulDesc|MatrixLayout|MatmulPreference)_t"
    if "*" in declaration or "[" in declaration or re.fullmatch(opaque, words[0]):
        return "pointer"
    # What is not listed is an int or an enumeration.
    return KINDS.get(" ".join(words[:-1]) if len(words) > 1 else words[0], "i4")
