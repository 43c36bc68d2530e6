"""The options of reading a file."""

from __future__ import annotations

from dataclasses import dataclass

from gpubp.tables.column import MISSING
from gpubp.tables.table import DataError


@dataclass(frozen=True)
class ReadOptions:
    """How a file is to be read where that is not found out.

    delimiter: one character between the fields of CSV, or "\\t".
    decimal: "," where numbers are written 1,5.
    encoding: a codec of Python; None: UTF-8, and UTF-16 or UTF-32 with their mark.
    header: whether the first line has the names of the columns.
    na: texts that mean "no value"; None: MISSING; () and ("",): only the empty cell.
    query: one SELECT from the table "data", or from the tables of a DuckDB file.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    na: tuple[str, ...] | None = None
    query: str | None = None

    @property
    def missing(self) -> frozenset[str]:
        """The texts that mean "no value", the empty one among them."""
        return MISSING if self.na is None else frozenset(self.na) | {""}

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise DataError(f"decimal is {self.decimal!r}; give '.' or ','")
        if self.na is not None:
            named = {text.strip() for text in self.na} - {""}
            # Values named are taken besides the built-in ones; none named turns those off.
            object.__setattr__(self, "na", tuple(sorted(named | MISSING)) if named else ("",))
