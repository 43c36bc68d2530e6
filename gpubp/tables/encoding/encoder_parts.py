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
from gpubp.tables.encoding.robust_scale import SCALINGS, RobustScale

Array = NDArray[Any]
STATISTICS = "encoder.statistics"  # (k, 5), one row per standardised output
# (k, 4), scale, tail, mean and spread of each number column; only with robust scaling
ROBUST = "encoder.robust"
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

    @property
    def scaling(self) -> Literal["standard", "robust"]:
        """The scaling of the number columns; "standard" if there are none."""
        robust = any(isinstance(each, NumberEncoding) and each.robust for each in self.encodings)
        return "robust" if robust else "standard"


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
    header = {
        "names": list(parts.names),
        "named": parts.named,
        "columns": columns,
        "dtype": parts.dtype,
        "sparse": parts.sparse,
        "decimal": parts.decimal,
    }
    # Left out for "standard", as in files of earlier versions.
    return header | ({"scaling": "robust"} if parts.scaling == "robust" else {})


def tensors_of(parts: Parts) -> dict[str, Array]:
    """Return the arrays by name."""
    rows: list[tuple[float, ...]] = []
    for encoding in parts.encodings:
        if isinstance(encoding, NumberEncoding):
            rows.append(astuple(encoding.statistics))
        elif isinstance(encoding, DateEncoding):
            rows += [astuple(statistics) for _, statistics in encoding.parts if statistics]
    tensors = {STATISTICS: np.array(rows, np.float64).reshape(len(rows), 5)}
    if parts.scaling == "robust":
        numbers = [each for each in parts.encodings if isinstance(each, NumberEncoding)]
        # The first field is the median, which the statistics have.
        scales = [astuple(each.robust)[1:] for each in numbers if each.robust]
        tensors[ROBUST] = np.array(scales, np.float64)
    return tensors


def parts_from(header: Mapping[str, Any], tensors: Mapping[str, Array]) -> Parts:
    """Return the parts saved by `header_of` and `tensors_of`.

    Raises ModelFileError, a ValueError, for anything missing, unknown or inconsistent.
    """
    if not isinstance(header, Mapping):
        raise ModelFileError(f"the encoder is {header!r:.200}; it must be a dict")
    only_keys(header, ("names", "named", "columns", "dtype", "sparse", "decimal", "scaling"))
    names = tuple(require_list(header, "names", str))
    statistics = iter(_rows_of(tensors, STATISTICS, 5))
    robust = _robust_of(header, tensors)
    types, encodings = [], []
    for column in require_list(header, "columns", dict):
        found = _type_from(column, statistics)
        types.append(found)
        if found.used:
            encodings.append(_encoding_from(found, column, statistics, robust))
    for name, rows in ((STATISTICS, statistics), (ROBUST, robust)):
        if rows is not None and next(rows, None) is not None:
            raise ModelFileError(f"tensor {name!r} has more rows than there are number columns")
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
        found = _statistics(statistics)
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


def _rows_of(tensors: Mapping[str, Array], name: str, width: int) -> list[list[float]]:
    array = require_tensor(tensors, name, (None, width))
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ModelFileError(f"tensor {name!r} must hold finite float64")
    rows: list[list[float]] = array.tolist()
    return rows


def _robust_of(
    header: Mapping[str, Any], tensors: Mapping[str, Array]
) -> Iterator[list[float]] | None:
    """Return the robust scales of the number columns; None if these are standardised.

    Files of earlier versions have no key "scaling".
    """
    if choose({"scaling": "standard", **header}, "scaling", SCALINGS) == "standard":
        return None
    return iter(_rows_of(tensors, ROBUST, 4))


def _next(rows: Iterator[list[float]], name: str) -> list[float]:
    row = next(rows, None)
    if row is None:
        raise ModelFileError(f"tensor {name!r} has too few rows")
    return row


def _statistics(rows: Iterator[list[float]]) -> Statistics:
    found = Statistics(*_next(rows, STATISTICS))
    if not found.scale > 0:
        raise ModelFileError(f"a column has the scale {found.scale!r}; it must be above 0")
    return found


def _number_from(found: ColumnType, robust: Iterator[list[float]] | None) -> NumberEncoding:
    if robust is None or found.statistics is None:
        return NumberEncoding(found)
    scale, tail, mean, spread = _next(robust, ROBUST)
    if not (scale > 0 and tail >= 0):
        raise ModelFileError(
            f"a column has the scale {scale!r} and tails of {tail!r}; they must be above 0 and at "
            "least 0"
        )
    if not spread > 0:
        raise ModelFileError(
            f"a column has clipped numbers of spread {spread!r}; it must be above 0"
        )
    return NumberEncoding(found, RobustScale(found.statistics.median, scale, tail, mean, spread))


def _encoding_from(
    found: ColumnType,
    column: Mapping[str, Any],
    statistics: Iterator[list[float]],
    robust: Iterator[list[float]] | None,
) -> Encoding:
    if found.kind == "number":
        return _number_from(found, robust)
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
    pairs = [(part, None if part in CIRCLES else _statistics(statistics)) for part in parts]
    return DateEncoding(found, tuple(pairs), require(column, "example", str))
