"""Convert a fitted encoder to JSON and arrays, and back; model files are not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from gpubp.storage.model_file import (
    ModelFileError,
    choose,
    only_keys,
    require,
    require_list,
    require_tensor,
)
from gpubp.tables.column_types.column_type import KINDS, ColumnType, Kind
from gpubp.tables.column_types.dates import ORDERS
from gpubp.tables.column_types.statistics import Statistics
from gpubp.tables.column_types.text_types import BOOLEANS
from gpubp.tables.encoding.encode_dates import CIRCLES, PARTS, DateEncoding
from gpubp.tables.encoding.encodings import (
    BooleanEncoding,
    CategoryEncoding,
    Encoding,
    NumberEncoding,
)

Array = NDArray[Any]
STATISTICS = "encoder.statistics"  # (k, 5), one row per standardised output
_COLUMN_KEYS = ("name", "kind", "gaps", "distinct", "remarks", "decimal", "strays", "order")


@dataclass(frozen=True)
class Parts:
    """The parts of a fitted encoder; see `TableEncoder`.

    names: of all columns given to fit. named: whether X had these names.
    """

    names: tuple[str, ...]
    named: bool
    types: tuple[ColumnType, ...]
    encodings: tuple[Encoding, ...]
    dtype: str
    sparse: bool | Literal["auto"]
    decimal: str | None = None


def header_of(parts: Parts) -> dict[str, Any]:
    """Return the parts that can be saved as JSON."""
    encodings = {encoding.type.name: encoding for encoding in parts.encodings}
    columns = []
    for found in parts.types:
        column: dict[str, Any] = {key: getattr(found, key) for key in _COLUMN_KEYS}
        column |= {"remarks": list(found.remarks), "strays": list(found.strays)}
        encoding = encodings.get(found.name)
        if isinstance(encoding, CategoryEncoding):
            column["values"] = list(encoding.values)
            column["other"] = encoding.other
            column["from_numbers"] = encoding.from_numbers
        elif isinstance(encoding, BooleanEncoding):
            column["words"], column["common"] = list(encoding.words), encoding.common
        elif isinstance(encoding, DateEncoding):
            column["parts"] = [part for part, _ in encoding.parts]
            column["example"] = encoding.example
        columns.append(column)
    return {
        "names": list(parts.names),
        "named": parts.named,
        "columns": columns,
        "dtype": parts.dtype,
        "sparse": parts.sparse,
        "decimal": parts.decimal,
    }


def tensors_of(parts: Parts) -> dict[str, Array]:
    """Return the arrays by name."""
    rows: list[tuple[float, ...]] = []
    for encoding in parts.encodings:
        if isinstance(encoding, NumberEncoding):
            rows.append(astuple(encoding.statistics))
        elif isinstance(encoding, DateEncoding):
            rows += [astuple(statistics) for _, statistics in encoding.parts if statistics]
    return {STATISTICS: np.array(rows, np.float64).reshape(len(rows), 5)}


def parts_from(header: Mapping[str, Any], tensors: Mapping[str, Array]) -> Parts:
    """Return the parts saved by `header_of` and `tensors_of`.

    Raises ModelFileError, a ValueError, for anything missing, unknown or inconsistent.
    """
    if not isinstance(header, Mapping):
        raise ModelFileError(f"the encoder is {header!r:.200}; it must be a dict")
    only_keys(header, ("names", "named", "columns", "dtype", "sparse", "decimal"))
    names = tuple(require_list(header, "names", str))
    array = require_tensor(tensors, STATISTICS, (None, 5))
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ModelFileError(f"tensor {STATISTICS!r} must hold finite float64")
    statistics = iter(array.tolist())
    types, encodings = [], []
    for column in require_list(header, "columns", dict):
        found = _type_from(column, statistics)
        types.append(found)
        if found.used:
            encodings.append(_encoding_from(found, column, statistics))
    if next(statistics, None) is not None:
        raise ModelFileError(f"tensor {STATISTICS!r} has more rows than there are number columns")
    known = [found.name for found in types]
    if len(set(names)) < len(names) or len(set(known)) < len(known) or not set(known) <= set(names):
        raise ModelFileError(
            "the encoder has a column twice, or a column that is not among its column names"
        )
    if not encodings:
        raise ModelFileError("the encoder uses no column")
    sparse = header.get("sparse")
    if sparse != "auto" and not isinstance(sparse, bool):
        raise ModelFileError(f"'sparse' is {sparse!r:.200}; it must be true, false or 'auto'")
    named = require(header, "named", bool)
    dtype = choose(header, "dtype", ("float32", "float64"))
    decimal = None if header.get("decimal", "") is None else choose(header, "decimal", (".", ","))
    of = cast(bool | Literal["auto"], sparse)
    return Parts(names, named, tuple(types), tuple(encodings), dtype, of, decimal)


def _type_from(column: Mapping[str, Any], statistics: Iterator[list[float]]) -> ColumnType:
    kind = cast(Kind, choose(column, "kind", KINDS))
    extra: dict[str, tuple[str, ...]] = {
        "category": ("values", "other", "from_numbers"),
        "boolean": ("words", "common"),
        "date": ("parts", "example"),
    }
    only_keys(column, (*_COLUMN_KEYS, *extra.get(kind, ())))
    counts = [require(column, key, int) for key in ("gaps", "distinct")]
    if min(counts) < 0:
        raise ModelFileError(f"a column has {min(counts)} gaps or values; it must be 0 or more")
    found = None
    if kind == "number":
        found = _next(statistics)
    return ColumnType(
        require(column, "name", str),
        kind,
        counts[0],
        counts[1],
        tuple(require_list(column, "remarks", str)),
        choose(column, "decimal", (".", ",")),
        tuple(require_list(column, "strays", str)),
        choose(column, "order", ORDERS if kind == "date" else ("",)),
        found,
    )


def _next(statistics: Iterator[list[float]]) -> Statistics:
    row = next(statistics, None)
    if row is None:
        raise ModelFileError(f"tensor {STATISTICS!r} has too few rows")
    found = Statistics(*row)
    if not found.scale > 0:
        raise ModelFileError(f"a column has the scale {found.scale!r}; it must be above 0")
    return found


def _encoding_from(
    found: ColumnType, column: Mapping[str, Any], statistics: Iterator[list[float]]
) -> Encoding:
    if found.kind == "number":
        return NumberEncoding(found)
    if found.kind == "boolean":
        words = tuple(require_list(column, "words", str))
        if words not in BOOLEANS:
            raise ModelFileError(
                f"the words of a boolean column are {words!r:.200}; they must be one of {BOOLEANS}"
            )
        return BooleanEncoding(found, words, require(column, "common", bool))
    if found.kind == "category":
        values = tuple(require_list(column, "values", str))
        if list(values) != sorted(set(values)):
            raise ModelFileError(f"the values of column {found.name!r:.200} are not in order")
        other, numbers = (require(column, key, bool) for key in ("other", "from_numbers"))
        return CategoryEncoding(found, values, other, numbers)
    parts = require_list(column, "parts", str)
    if parts != [part for part in PARTS if part in parts] or not (parts or found.gaps):
        raise ModelFileError(f"the parts of a date are {parts!r:.200}; allowed are {PARTS}")
    pairs = [(part, None if part in CIRCLES else _next(statistics)) for part in parts]
    return DateEncoding(found, tuple(pairs), require(column, "example", str))
