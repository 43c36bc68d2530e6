"""Rows on which a graph is compared with its model, made from the stored data of the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.estimators.fitted_stage import fitted_stage
from gpubp.models.onnx.dates import FIRST, LAST, MISSING_DATE
from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.dates import parse_dates
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.encoding.encode_dates import DateEncoding
from gpubp.tables.encoding.encodings import (
    BooleanEncoding,
    CategoryEncoding,
    Encoding,
    NumberEncoding,
)
from gpubp.tables.frame import missing_markers
from gpubp.tables.table import Table

N_ROWS = 256
MOST_VALUES = 48  # of a category
UNSEEN = "a value that training has not seen"


def table_rows(encoder: TableEncoder) -> tuple[Table, dict[str, np.ndarray]]:
    """Return the same rows as a table for the encoder, and as the inputs of the graph.

    Each column has typical values, extremes, gaps and unseen values, in an order of its own.
    """
    rng = np.random.default_rng(0)
    missing = missing_markers(encoder.na)
    columns: dict[str, Column] = {}
    feed: dict[str, np.ndarray] = {}
    for encoding in encoder.encodings_:
        values = _values(encoding, rng)
        cells = values[rng.permutation(N_ROWS) % len(values)]
        feed[encoding.type.name] = cells
        columns[encoding.type.name] = _column(encoding, cells, missing)
    return Table(columns, N_ROWS, "check rows", decimal=encoder.decimal_), feed


def _values(encoding: Encoding, rng: np.random.Generator) -> np.ndarray:
    """Return values to check a column with, as the graph takes them."""
    if isinstance(encoding, NumberEncoding):
        of = encoding.statistics
        around = of.mean + of.scale * np.array([-3, -1, -0.5, 0, 0.5, 1, 3])
        inside = of.low + rng.uniform(size=20) * (of.high - of.low)
        values = np.array([of.low, of.high, of.median, *around, *inside])
        # Sums may overflow if the training had numbers near the largest float64.
        return np.append(values[np.isfinite(values)], np.nan)
    if isinstance(encoding, DateEncoding):
        return _dates(encoding, rng)
    if isinstance(encoding, BooleanEncoding):
        false, true = encoding.words
        return np.array([false, true, false.upper(), true.title(), "0", "1", ""], object)
    assert isinstance(encoding, CategoryEncoding)
    kept = list(encoding.values)
    some = [kept[k] for k in np.linspace(0, len(kept) - 1, MOST_VALUES).astype(int)]
    others = [f"{kept[0]}.0"] if encoding.from_numbers else []
    return np.array([*dict.fromkeys(some), *others, UNSEEN, "", "NA"], object)


def _dates(encoding: DateEncoding, rng: np.random.Generator) -> np.ndarray:
    """Return dates as int64: around those of training, at the ends of years, and any."""
    (latest,) = parse_dates([encoding.example], encoding.type.order).astype("M8[s]").view(np.int64)
    spread = 86_400 * 365 * 4
    near = latest - rng.integers(0, spread, 40)
    ends = [
        *("1970-01-01", "1969-12-31T23:59:59", "1900-02-28", "1900-03-01", "2000-02-29"),
        *("2023-12-31T23:59:59", "2024-02-29T12:30:15", "2024-03-01"),
    ]
    fixed = np.array(ends, "M8[s]").view(np.int64)
    return np.concatenate([near, [latest], fixed, [MISSING_DATE]]).clip(MISSING_DATE, LAST)


def _column(encoding: Encoding, cells: np.ndarray, missing: frozenset[str]) -> Column:
    """Return the cells as a column of a table."""
    if isinstance(encoding, NumberEncoding):
        return NumberColumn(cells)
    if isinstance(encoding, DateEncoding):
        texts = np.datetime_as_string(np.where(cells < FIRST, MISSING_DATE, cells).view("M8[s]"))
        return TextColumn.of(["" if text == "NaT" else text for text in texts.tolist()], {""})
    return TextColumn.of(cells.tolist(), missing)


def array_rows(model: Any, dtype: np.dtype) -> np.ndarray:
    """Return rows X (n, n_features) of several sizes, with the levels of categories in range."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, model.n_features_in_))
    X *= np.array([0.1, 1, 3])[np.arange(N_ROWS) % 3, None]
    if (stage := fitted_stage(model)) is not None:
        for column, levels in stage.tables:
            X[:, column] = rng.integers(-1, levels + 1, N_ROWS)
    return X.astype(dtype)
