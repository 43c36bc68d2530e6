"""Markdown: text, code, lists and tables, with names of the data as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def text(value: Any) -> str:
    """Return a value as text in which no character has a meaning in Markdown."""
    return _SPECIAL.sub(r"\\\1", _printable(value))


def code(value: Any) -> str:
    """Return a value as code, for a line or a cell of a table; an empty one as quotes."""
    shown = _printable(value).replace("|", "\\|") or '""'
    ticks = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if "`" in shown or shown != shown.strip() else ""
    return f"{ticks}{space}{shown}{space}{ticks}"


def bullets(items: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a list."""
    return (f"- {item}" for item in items)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table; the cells are Markdown, without a bare "|"."""
    yield from (_row(head), _row(["---"] * len(head)))
    for row in rows:
        yield _row(row)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _printable(value: Any) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
