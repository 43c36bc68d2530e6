"""The BLAS library that NumPy uses, by the addresses of its functions."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

# What NumPy's builds call cblas_sgemm, and whether its integers have 64 bits.
_NAMES = (
    ("scipy_cblas_{}64_", True),
    ("cblas_{}64_", True),
    ("scipy_cblas_{}", False),
    ("cblas_{}", False),
)


@cache
def address(function: str) -> int | None:
    """Return the address of "sgemm", "dgemv", …, or None where it cannot be told.

    It takes its integers as 64-bit ones.
    """
    for path in _paths():
        library = ctypes.CDLL(path)
        for pattern, wide in _NAMES:
            # Arguments of 32 bits share the stack's words on Apple's processors.
            if (wide or sys.platform == "linux") and hasattr(library, pattern.format(function)):
                found = getattr(library, pattern.format(function))
                return ctypes.cast(found, ctypes.c_void_p).value
    return None


@cache
def _paths() -> tuple[str, ...]:
    """Return the BLAS libraries in this process, NumPy's own first."""
    from threadpoolctl import ThreadpoolController

    info: list[dict[str, Any]] = ThreadpoolController().info()
    paths = [str(library["filepath"]) for library in info if library["user_api"] == "blas"]
    return tuple(sorted(paths, key=lambda path: "numpy" not in path))
