"""Typed columns of a table, and the error for data that cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

_REMEDY = "fill in or remove the row"
_COMMA_REMEDY = "write numbers as 1234.5, with a decimal point and no commas"


class DataError(ValueError):
    """A data file or array that cannot be used; names file, line and column where known."""


@dataclass(frozen=True, eq=False)
class Table:
    """Typed columns of equal length, and where they came from.

    names: every column, in the order of the source.
    numbers: (n, k) the numeric columns as one block, in the order of names; any real dtype.
    others: the remaining columns by name, each (n,): text, and the targets of array files.
    source: path or data set name, for error messages.
    features: columns that may be features: all of a CSV file, those of X in array files.
    targets: columns that are the target unless others are asked for.
    lines: (n,) line of each row in the file, or None where there are no lines.
    first_row: position of the first row in the source; not 0 in later chunks.
    positions: (n,) position of each row in the source, or None where they follow first_row.
    """

    names: tuple[str, ...]
    numbers: Array
    others: dict[str, Array]
    source: str
    features: tuple[str, ...]
    targets: tuple[str, ...] = ()
    lines: Array | None = None
    first_row: int = 0
    positions: Array | None = None
    # What `labels` has found: the rows that are taken from here need not be read again.
    _labels: dict[str, Array] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return int(self.numbers.shape[0])

    def rows(self, start: int, stop: int) -> Table:
        """The rows [start, stop), as views."""
        return replace(
            self,
            numbers=self.numbers[start:stop],
            others={name: column[start:stop] for name, column in self.others.items()},
            lines=None if self.lines is None else self.lines[start:stop],
            positions=None if self.positions is None else self.positions[start:stop],
            first_row=self.first_row + start,
            _labels={name: labels[start:stop] for name, labels in self._labels.items()},
        )

    def take(self, index: Array) -> Table:
        """The rows of an array of positions, copied."""
        positions = self.positions
        if positions is None:
            positions = np.arange(self.first_row, self.first_row + len(self))
        return replace(
            self,
            numbers=self.numbers[index],
            others={name: column[index] for name, column in self.others.items()},
            lines=None if self.lines is None else self.lines[index],
            positions=positions[index],
            _labels={name: labels[index] for name, labels in self._labels.items()},
        )

    def column(self, name: str) -> Array:
        """One column (n,) as it is stored, unchecked: a view; text has dtype object or str."""
        self.require((name,))
        if name in self.others:
            return self.others[name]
        return self.numbers[:, self._positions()[name]]

    def matrix(self, names: Sequence[str], dtype: DTypeLike | None = np.float64) -> Array:
        """Numeric columns as one C-contiguous (n, len(names)) array; perhaps a view: read only.

        dtype: float32, float64, or None for the narrower of the two that holds the columns.
        Raises DataError for a missing column and a cell that is not a finite number.
        """
        self.require(names)
        if self.others.keys().isdisjoint(names):
            block = self._block(names)
        else:
            block = np.stack([self._numeric(name) for name in names], axis=1)
        # A number beyond float32 becomes inf here and is reported below.
        with np.errstate(over="ignore"):
            X = np.ascontiguousarray(block, dtype or _float_type(block.dtype))
        self.check_finite(X, names)
        return X

    def labels(self, name: str) -> Array:
        """One column (n,) as labels: text as str, whole numbers as int64, other numbers as floats.

        Raises DataError for a missing column and a blank, NaN or infinite cell.
        """
        if name not in self._labels:
            self._labels[name] = self._read_labels(name)
        return self._labels[name]

    def _read_labels(self, name: str) -> Array:
        column = self.column(name)
        if is_text(column):
            for row, cell in enumerate(column):
                if not cell:
                    raise DataError(f"{self.where(row, name)} is blank; {_REMEDY}")
            return column.astype(np.str_)
        if column.dtype.kind != "f":
            return column
        self.check_finite(column[:, None], (name,))
        # Up to 2**53 whole float64 numbers stay exact as int64.
        exact = is_whole(column) and np.abs(column).max() <= 2**53
        return column.astype(np.int64) if exact else column

    def check_finite(self, X: Array, names: Sequence[str]) -> None:
        """Raise DataError naming the first NaN or infinity of X (n, len(names)), made from here."""
        # The minimum and maximum keep NaN, and need no (n, d) array of truth values.
        if X.size == 0 or (np.isfinite(X.min()) and np.isfinite(X.max())):
            return
        row, j = (int(i) for i in np.argwhere(~np.isfinite(X))[0])
        value = float(self.column(names[j])[row])
        where = self.where(row, names[j])
        if np.isfinite(value):
            raise DataError(
                f"{where}: {value!r} is out of the range of {X.dtype}; rescale the column or use "
                "a wider dtype"
            )
        raise DataError(f"{where}: {value!r} is not a finite number; {_REMEDY}")

    def where(self, row: int, name: str) -> str:
        """File, line and column of a cell; array files have rows, counted from 0, for lines."""
        position = self.first_row + row if self.positions is None else self.positions[row]
        place = f"row {position} (counted from 0)"
        if self.lines is not None:
            place = f"line {self.lines[row]}"
        return f"{self.source}, {place}, column {name!r}"

    def require(self, names: Sequence[str]) -> None:
        """Raise DataError naming the columns that are missing, with the nearest that there are."""
        known = set(self.names)
        missing = [name for name in names if name not in known]
        if not missing:
            return
        by_case = {name.casefold(): name for name in self.names}
        near: list[str] = []
        for name in missing[:3]:
            near += difflib.get_close_matches(name.casefold(), by_case, n=3)
        hint = f"it has {listed(self.names)}"
        if near:
            hint = f"did you mean {listed([by_case[name] for name in dict.fromkeys(near)])}?"
        noun = "column" if len(missing) == 1 else f"{len(missing)} columns"
        raise DataError(f"{self.source} has no {noun} {listed(missing)}; {hint}")

    def _positions(self) -> dict[str, int]:
        numeric = (name for name in self.names if name not in self.others)
        return {name: j for j, name in enumerate(numeric)}

    def _block(self, names: Sequence[str]) -> Array:
        """Columns of the numeric block: a view where they are neighbours."""
        positions = self._positions()
        js = [positions[name] for name in names]
        if js and js == list(range(js[0], js[0] + len(js))):
            return self.numbers[:, js[0] : js[0] + len(js)]
        return self.numbers[:, js]

    def _numeric(self, name: str) -> Array:
        """One column as numbers; DataError at the first cell that is none."""
        column = self.column(name)
        if not is_text(column):
            return column
        bad = [row for row, cell in enumerate(column) if parse_floats((cell,)) is None]
        if bad:
            remedy = "encode the column as numbers or leave it out"
            remedy = _REMEDY if len(bad) < len(column) else remedy
            cell = str(column[bad[0]])
            remedy = _COMMA_REMEDY if has_comma(cell) else remedy
            raise DataError(f"{self.where(bad[0], name)}: {cell!r} is not a number; {remedy}")
        return column.astype(np.float64)


def is_text(column: Array) -> bool:
    """Whether a column of a table holds text."""
    return column.dtype.kind in "OU"


def listed(names: Sequence[str], limit: int = 10) -> str:
    """The first names in quotes, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more


def _float_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where it holds every value of the dtype, else float64."""
    narrow = np.result_type(dtype, np.float32) == np.float32
    return np.dtype(np.float32 if narrow else np.float64)


def is_whole(values: Array) -> bool:
    """Whether all numbers are whole."""
    return bool(np.all(values == np.floor(values)))


def parse_floats(cells: Sequence[str]) -> Array | None:
    """The cells as float64 (n,), or None where one is not a number."""
    # float() takes '1_000' and the digits of every script, which no other CSV reader does.
    text = "".join(cells)
    if "_" in text or not text.isascii():
        return None
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None


def has_comma(cell: str) -> bool:
    """Whether a cell would be a number but for its commas, as in 1,5 or 1.234,50 or 1,234."""
    return "," in cell and parse_floats((cell.replace(".", "").replace(",", ""),)) is not None


def check_names(names: Sequence[str], source: str) -> None:
    """Raise DataError for a column without a name and for two of one name."""
    seen: set[str] = set()
    for j, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{source}: column {j} has no name; name it or leave it out")
        if name in seen:
            raise DataError(f"{source} has two columns named {name!r}; rename or remove one")
        seen.add(name)
