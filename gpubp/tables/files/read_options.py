"""The options for reading a file."""

from __future__ import annotations

from dataclasses import dataclass

from gpubp.tables.column import MISSING
from gpubp.tables.table import DataError


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file; None means that the option is detected.

    delimiter: the character between the fields of CSV.
    decimal: decimal sign of numbers: "," or ".".
    encoding: name of a Python codec; None: UTF-8, or UTF-16 or UTF-32 with a byte order mark.
    header: whether the first line of CSV has the names of the columns.
    na: texts that mean "no value" in addition to MISSING; None: only MISSING; () and ("",): only
        the empty cell.
    query: one SELECT from the table "data", or from the tables of a DuckDB file; None: no query.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    na: tuple[str, ...] | None = None
    query: str | None = None

    @property
    def missing(self) -> frozenset[str]:
        """All texts that mean "no value"; the empty text is always one of them."""
        return MISSING if self.na is None else frozenset(self.na) | {""}

    def __post_init__(self) -> None:
        if self.decimal not in (None, ".", ","):
            raise DataError(f"decimal is {self.decimal!r}; give '.' or ','")
        if self.na is not None:
            named = {text.strip() for text in self.na} - {""}
            # Given texts are added to the built-in ones; no text at all turns those off.
            object.__setattr__(self, "na", tuple(sorted(named | MISSING)) if named else ("",))
