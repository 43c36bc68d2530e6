"""The option --memory, and sizes of memory as text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class MemorySize(click.ParamType):  # type: ignore[type-arg]
    """A size such as 500MB, 2GB or 512MiB, in bytes."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the bytes in ``value``."""
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)(i?)b?", str(value).strip().lower())
        size = 0.0
        if found and not (found[3] and not found[2]):
            size = float(found[1]) * (_BINARY if found[3] else _UNITS)[found[2]]
        if not 1 <= size < 2**62:
            self.fail(f"{value!r} is not a size of memory; give one, such as 500MB, 2GB or 512MiB")
        return int(size)


def size_text(size: float) -> str:
    """Return a number of bytes as "2.1 GB", "612 MB" or "3 kB"."""
    for unit, of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= of:
            return f"{size / of:.1f} {unit}" if unit == "GB" else f"{size / of:.0f} {unit}"
    return f"{size:.0f} bytes"


def memory_option(text: str) -> Callable[[F], F]:
    """Return a decorator that adds the option --memory; ``text`` is its help."""
    return click.option("--memory", type=MemorySize(), help=text)
