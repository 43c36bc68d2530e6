"""The addresses of the functions of the BLAS library that NumPy uses."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

# Names of cblas_sgemm and others in NumPy's builds, and whether their integers have 64 bits.
_NAMES = (
    ("scipy_cblas_{}64_", True),
    ("cblas_{}64_", True),
    ("scipy_cblas_{}", False),
    ("cblas_{}", False),
)


@cache
def address(function: str) -> int | None:
    """Return the address of "sgemm", "dgemv", …; None if it is not found.

    The function can be called with 64-bit integers.
    """
    for path in _paths():
        library = ctypes.CDLL(path)
        for pattern, wide in _NAMES:
            # On Linux, 64-bit arguments work for 32-bit parameters. On Apple's processors, 32-bit
            # arguments share words of the stack.
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
