"""The nodes of the encoder: every kind of column, gaps, unseen values and extremes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import TableEncoder
from gpubp.models.onnx.dates import FIRST, LAST, MISSING_DATE
from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.encoding.strays import StrayCellWarning
from gpubp.tables.table import Table
from tests.models.onnx.agreement import RUNTIMES, encode_both, feed_of

pytest.importorskip("onnx", reason="needs onnx")

RNG = np.random.default_rng(0)
N = 60
NAN = np.nan
PLAIN = {"a": RNG.normal(size=N)}
runtimes = pytest.mark.parametrize("name", RUNTIMES)


def _agree(encoder: TableEncoder, table: dict[str, Any], feed: dict[str, Any], name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrayCellWarning)
        ours = encoder.transform(table)
    theirs = encode_both(encoder, feed, name)
    assert theirs.dtype == ours.dtype == encoder.dtype
    assert_allclose(theirs, ours, rtol=1e-6, atol=1e-12)


def _with_gap(values: Any) -> np.ndarray:
    found = np.array(values, float)
    found[3] = NAN
    return found


NUMBERS = {
    "normal": PLAIN["a"],
    "with a gap": _with_gap(PLAIN["a"]),
    "far from 0": 1e9 + PLAIN["a"],
    "timestamps": 1.7e9 + np.arange(N) * 3600.0,
    "heavy tails": _with_gap(np.sinh(8 * PLAIN["a"]) * 1e3),
    "two values": (np.arange(N) % 2) * 1.0,
    "tiny": PLAIN["a"] * 1e-30,
    "huge": PLAIN["a"] * 1e150,
}


@runtimes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers(kind: str, scaling: Any, dtype: str, name: str) -> None:
    values = NUMBERS[kind]
    encoder = TableEncoder(scaling=scaling, dtype=dtype, numeric=("x",)).fit({"x": values})
    spread = np.nanstd(values)
    new = np.concatenate([values, [0.0, NAN, np.inf, -np.inf], values[:9] + 30 * spread])
    _agree(encoder, {"x": new}, {"x": new}, name)


@runtimes
def test_robust_numbers_of_any_size(name: str) -> None:
    encoder = TableEncoder(scaling="robust").fit({"x": NUMBERS["heavy tails"]})
    assert encoder.n_features_out_ == 3
    new = np.array([NAN, 1e8, -1e12, 1e20, -1e300, np.finfo(float).max, 1e-300] * 4)
    _agree(encoder, {"x": new}, {"x": new}, name)


def test_float32_inputs_would_lose_numbers_far_from_0() -> None:
    """The reason for inputs of type double."""
    values = NUMBERS["far from 0"]
    encoder = TableEncoder(dtype="float64").fit({"x": values})
    ours = encoder.transform({"x": values})
    lost = encoder.transform({"x": values.astype(np.float32)})
    assert np.abs(ours - lost).max() > 1


@runtimes
def test_markers_of_missing_values(name: str) -> None:
    columns = {"x": [1.0, 2.5, -999, 4.5] * 9, "c": ["u", "v", "none", "w"] * 9}
    encoder = TableEncoder(na=("-999", "none"), categorical=("c",)).fit(columns)
    assert encoder.n_features_out_ == 6
    cells = {
        "x": np.array([-999, NAN, 1.0, 7, -998, -999.5, 2, 3, 4]),
        "c": np.array(["none", "", "NA", "u", "other", "w", "v", "u", "?"], object),
    }
    _agree(encoder, cells, cells, name)


@runtimes
@pytest.mark.parametrize("words", ["False True", "no yes", "F T", "n y"])
@pytest.mark.parametrize("gaps", [False, True])
def test_booleans(words: str, gaps: bool, name: str) -> None:
    false, true = words.split()
    column = [false, true, true, *([""] if gaps else [true])] * 6
    encoder = TableEncoder().fit({"flag": column} | {"a": np.arange(24.0)})
    assert encoder.types_[0].kind == "boolean"
    texts = [false, true, false.upper(), true.lower(), "0", "1", "0.0", "1.0", "TRUE", "false"]
    cells = np.array([*texts * 2, "", "maybe", "NA"], object)
    numbers = {"a": np.arange(float(len(cells)))}
    _agree(encoder, {"flag": cells} | numbers, {"flag": cells} | numbers, name)


@runtimes
@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize("gaps", [False, True])
def test_categories(least: int, gaps: bool, name: str) -> None:
    """Zürich has one row, so with a least of 3 it shares an output with other values."""
    column = ["red", "blue", "red, dark", "blue"] * 5 + ["Zürich", "" if gaps else "red"]
    encoder = TableEncoder(categorical=("c",), min_frequency=least).fit({"c": column})
    assert encoder.n_features_out_ == 3 + 1 + gaps
    cells = np.array(["red", "blue", "Zürich", "red, dark", "mauve", "", "NA", "Red"], object)
    _agree(encoder, {"c": cells}, {"c": cells}, name)


@runtimes
def test_categories_that_were_numbers(name: str) -> None:
    column = np.array([1, 2, 10, 2.5] * 8)
    encoder = TableEncoder(categorical=("c",)).fit({"c": column})
    cells = np.array(["1", "1.0", "2", "2.0", "2.5", "10.0", "10", "3", "x", ""], object)
    _agree(encoder, {"c": cells}, {"c": cells}, name)
    kept = encode_both(encoder, {"c": cells}, name)
    assert_array_equal(kept.sum(axis=1), [1] * 7 + [0] * 3)


def test_texts_that_are_equal_as_numbers_stay_apart() -> None:
    encoder = TableEncoder(categorical=("c",)).fit({"c": ["1", "1.0", "2"] * 8})
    cells = np.array(["1", "1.0", "2", "2.0"], object)
    for name in RUNTIMES:
        _agree(encoder, {"c": cells}, {"c": cells}, name)


_FIRSTS = [f"{y}-{m:02}-01" for y in (1600, 1899, 1900, 2000, 2024, 2100) for m in (1, 3)]
_MIDNIGHTS = np.array(_FIRSTS, "M8[s]").view(np.int64)
SECONDS = {
    "days": np.arange(N) * 86_400 * 17 + 1_600_000_000 // 86_400 * 86_400,
    "minutes": np.arange(N) * 60 * 7 + 1_704_067_200,
    "before 1970": -np.arange(N) * 86_400 * 411 - 12_345,
    "many centuries": np.linspace(FIRST, LAST, N).astype(np.int64),
    "ends of months": np.concatenate([_MIDNIGHTS, _MIDNIGHTS - 1] * 3),
}


@runtimes
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", SECONDS)
def test_dates(kind: str, gaps: bool, name: str) -> None:
    seconds = SECONDS[kind].copy()
    if gaps:
        seconds[4] = MISSING_DATE
    encoder = TableEncoder(date=("t",), dtype="float64").fit({"t": seconds.view("M8[s]")})
    others = np.concatenate(list(SECONDS.values()))
    new = np.array([*seconds, *others, MISSING_DATE])
    _agree(encoder, {"t": new.view("M8[s]")}, {"t": new}, name)


@runtimes
def test_times_outside_of_the_years_1_to_9999_are_gaps(name: str) -> None:
    encoder = TableEncoder().fit({"t": np.array(["2024-01-01", "NaT", "2024-02-03"] * 9, "M8[s]")})
    outside = np.array([FIRST - 1, LAST + 1, MISSING_DATE, np.iinfo(np.int64).max])
    rows = encode_both(encoder, {"t": outside}, name)
    assert_array_equal(rows, np.tile(rows[2], (4, 1)))
    assert_array_equal(rows[:, -1], 1)


@runtimes
def test_columns_of_each_kind_in_one_table(name: str) -> None:
    """The order of the outputs is that of the encoder; a column that is left out has no input."""
    columns = {
        "x": NumberColumn(_with_gap(PLAIN["a"])),
        "same": NumberColumn(np.ones(N)),
        "c": TextColumn.of(["u", "v", ""] * (N // 3)),
        "t": TextColumn.of(np.datetime_as_string(SECONDS["minutes"].view("M8[s]")).tolist()),
        "flag": TextColumn.of(["yes", "no", "no"] * (N // 3)),
        "y": NumberColumn(np.arange(N) // 7 % 5),
    }
    table = Table(columns, N, "t")
    encoder = TableEncoder(categorical=("y",)).fit(table)
    feed = feed_of(encoder, table)
    assert list(feed) == ["x", "c", "t", "flag", "y"]
    assert_allclose(encode_both(encoder, feed, name), encoder.transform(table), rtol=1e-6)
