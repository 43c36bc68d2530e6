"""Convert frames and arrays to tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_array

from gpubp.tables.column import MISSING, Column, NumberColumn, TextColumn, without_markers
from gpubp.tables.column_types.numbers import LARGEST_INTEGER, written
from gpubp.tables.table import DataError, Table, listed

Array = NDArray[Any]


def as_table(
    X: Any,
    names: Sequence[str] | None = None,
    *,
    na: Sequence[str] | None = None,
    source: str = "X",
    estimator: Any = None,
    min_rows: int = 0,
) -> Table:
    """Return X as a table.

    X: a frame of pandas, polars or pyarrow, a dict of columns, an array (n, d), or a Table, which
        is returned unchanged.
    names: names of the columns of an array; None: x0, x1, ...
    na: texts that mean "no value" in addition to the built-in list; ("",): only the empty text.
    source: name of the data in messages.
    estimator, min_rows: for scikit-learn's checks of arrays and their messages.

    Raises ValueError for arrays that scikit-learn refuses, DataError for unusable columns.
    """
    if isinstance(X, Table):
        return X
    if isinstance(X, str | PathLike):
        path = str(X)
        raise DataError(f"{source} is {path!r}; read the file first, as gpubp.read_table({path!r})")
    if isinstance(X, list | tuple) and X and isinstance(X[0], Mapping):
        raise DataError(
            f"{source} is a list of dicts, one per row; pass a dict of columns, such as "
            f"{{'a': [1, 2], 'b': ['x', 'y']}}, or a frame, such as pandas.DataFrame({source})"
        )
    missing = missing_markers(na)
    if _is_dict(X):
        _check_names(list(map(str, X)), source)
        return _table({str(k): _cells(str(k), v, missing) for k, v in X.items()}, source)
    if hasattr(X, "collect") and hasattr(X, "lazy"):
        raise DataError(f"{source} is a lazy frame; pass {source}.collect()")
    if is_frame(X):
        return _frame_table(X, missing, source)
    array = check_array(
        X,
        dtype=None,
        ensure_all_finite=False,
        ensure_min_samples=min_rows,
        estimator=estimator,
        input_name="X",
    )
    if names is None:
        names = [f"x{j}" for j in range(array.shape[1])]
    if len(names) != array.shape[1] or len(set(names)) < len(names):
        raise DataError(
            f"{source} has {array.shape[1]} columns for the names {listed(names)}; give one name "
            "per column, each once"
        )
    columns = {name: _column(array[:, j], missing) for j, name in enumerate(names)}
    return _table(columns, source)


def has_names(X: Any) -> bool:
    """Return whether X has named columns: a table, a dict of columns or a frame."""
    return isinstance(X, Table) or _is_dict(X) or is_frame(X)


def _is_dict(X: Any) -> bool:
    # Sparse DOK matrices are mappings too.
    return isinstance(X, Mapping) and not hasattr(X, "tocsr")


def is_frame(X: Any) -> bool:
    """Return whether X is a frame that narwhals supports; import nothing for arrays and lists."""
    if isinstance(X, np.ndarray | list | tuple) or hasattr(X, "tocsr"):
        return False
    import narwhals.stable.v1 as nw

    return nw.dependencies.is_into_dataframe(X)


def missing_markers(na: Sequence[str] | None) -> frozenset[str]:
    """Return the texts that mean "no value": the built-in list and ``na``.

    If ``na`` is ("",), only the empty text means "no value".
    """
    if na is None:
        return MISSING
    extra = (na,) if isinstance(na, str) else tuple(na)
    return frozenset(("",)) if extra == ("",) else MISSING.union(extra)


def _check_names(names: list[str], source: str) -> None:
    if len(set(names)) < len(names):
        doubled = next(name for name, count in Counter(names).items() if count > 1)
        raise DataError(f"{source} has several columns {doubled!r}; rename them")


def _cells(name: str, cells: Any, missing: frozenset[str]) -> Column:
    """Return a value of a dict as a column."""
    array = np.asarray(cells)
    if array.ndim != 1:
        raise DataError(
            f"column {name!r} has shape {array.shape}; give one cell per row, of shape (n,)"
        )
    if isinstance(cells, np.ma.MaskedArray):
        array = array.astype(object)
        array[np.ma.getmaskarray(cells)] = None
    return _column(array, missing)


def _table(columns: dict[str, Column], source: str) -> Table:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{source} has columns of different lengths: {lengths}; give equal ones")
    return Table(columns, next(iter(lengths.values()), 0), source)


def _frame_table(X: Any, missing: frozenset[str], source: str) -> Table:
    import narwhals.stable.v1 as nw

    try:
        frame = nw.from_native(X, eager_only=True)
        names = frame.columns
    except Exception as error:  # of pandas, polars or narwhals
        raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}") from None
    texts = [str(name) for name in names]
    _check_names(texts, source)
    series = dict(zip(texts, frame.iter_columns(), strict=True))
    table = _table({name: _series(each, missing) for name, each in series.items()}, source)
    kinds = (nw.Categorical, nw.Enum)
    return replace(
        table, categories=frozenset(name for name, each in series.items() if each.dtype in kinds)
    )


def _series(series: Any, missing: frozenset[str]) -> Column:
    import narwhals.stable.v1 as nw

    dtype = series.dtype
    if dtype == nw.Boolean:
        cells = [None if _is_null(cell) else bool(cell) for cell in series.to_list()]
        return TextColumn.of(map(_text, cells), missing)
    wide = dtype in (nw.Int128, nw.UInt128)  # NumPy has no such types
    if dtype.is_decimal() or wide or (dtype.is_integer() and series.null_count()):
        if _beyond_floats(cells := series.to_list()):
            return TextColumn.of((None if _is_null(c) else str(int(c)) for c in cells), missing)
        series, dtype = series.cast(nw.Float64), nw.Float64()
    if dtype.is_numeric():
        return _column(series.to_numpy(), missing)
    if dtype == nw.Datetime and dtype.time_zone is not None:
        # In UTC, as in a Parquet file of this frame.
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if dtype in (nw.Duration, nw.Datetime, nw.Date):
        return _column(np.asarray(series.to_numpy()), missing)
    if dtype.is_nested():
        raise DataError(f"column {series.name!r} has cells of type {dtype}; flatten or drop it")
    return _objects(series.to_list(), missing)


def _column(array: Array, missing: frozenset[str]) -> Column:
    """Return an array (n,) as a column."""
    kind = array.dtype.kind
    if kind in "iu" and len(array) and _beyond(array):
        return TextColumn.of(map(str, array.tolist()), missing)
    if kind in "biuf":
        return without_markers(NumberColumn(array), missing)
    if kind == "m":
        # In microseconds, as in Parquet files of most frames.
        spans = array.astype("timedelta64[us]").astype(np.float64)
        return NumberColumn(np.where(np.isnat(array), np.nan, spans))
    if kind == "M":
        return _times(array)
    if kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return _objects(array.tolist(), missing)


def _times(array: Array) -> TextColumn:
    """Return datetime64 values (n,) as ISO texts, which sort in the order of the times."""
    times, places = np.unique(array.astype("datetime64[us]"), return_inverse=True)
    known = times[~np.isnat(times)]  # NaT comes last
    texts = known.astype(str)
    for unit in ("D", "s"):  # leave out the time if it is always midnight
        coarse = known.astype(f"M8[{unit}]")
        if (known == coarse).all():
            texts = coarse.astype(str)
            break
    codes = np.where(places < len(known), places, -1).astype(np.int32)
    return TextColumn(codes, texts.astype(object))


def _beyond_floats(cells: list[Any]) -> bool:
    """Return whether cells, some perhaps null, are integers, some too large for float64."""
    known = [cell for cell in cells if not _is_null(cell)]
    return bool(
        known
        and max(map(abs, known)) > LARGEST_INTEGER
        and all(cell == int(cell) for cell in known)
    )


def _beyond(array: Array) -> bool:
    return int(array.max()) > LARGEST_INTEGER or int(array.min()) < -LARGEST_INTEGER


def _objects(cells: list[Any], missing: frozenset[str]) -> Column:
    """Return Python objects as a column: numbers if all are numbers, else text."""
    if all(cell is None or type(cell) in (int, float) or _is_number(cell) for cell in cells):
        try:
            values = np.array([np.nan if _is_null(cell) else cell for cell in cells], np.float64)
        except (OverflowError, TypeError, ValueError):
            values = np.empty(0)
        found = values[~np.isnan(values)]
        exact = not len(found) or np.abs(found).max() < LARGEST_INTEGER or not _integers(cells)
        if len(values) == len(cells) and len(found) and exact:
            return without_markers(NumberColumn(values), missing)
    return TextColumn.of([c if type(c) is str else _text(c) for c in cells], missing)


def _integers(cells: Iterable[Any]) -> bool:
    return any(isinstance(cell, int | np.integer) for cell in cells)


def _is_number(cell: Any) -> bool:
    number = isinstance(cell, int | float | np.integer | np.floating)
    return _is_null(cell) or (number and not isinstance(cell, bool))


def _is_null(cell: Any) -> bool:
    """Return whether a cell is None, NaN, NaT or pandas' NA."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and bool(cell != cell)


def _text(cell: Any) -> str | None:
    """Return a cell as text, as it would be written to a file; None for a gap."""
    if _is_null(cell):
        return None
    if isinstance(cell, float | np.floating):
        return written(np.array([cell]))[0]
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if not isinstance(cell, datetime):
        return str(cell)
    return (cell if cell.tzinfo is None else cell.astimezone(UTC)).isoformat(sep=" ")
