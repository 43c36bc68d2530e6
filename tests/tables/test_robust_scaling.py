"""Numbers scaled by median and interquartile range, clipped smoothly, with outputs for tails."""

from __future__ import annotations

import json
import re
import tracemalloc
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.storage.model_file import ModelFileError, ModelRecord, read_model, write_model
from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.statistics import SortedNumbers
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.encoding.robust_scale import RobustScale
from gpubp.tables.encoding.strays import StrayCellWarning
from gpubp.tables.table import DataError, Table

HEAVY = [0.0, 1, 2, 3, 1000]  # median 2, quartiles 1 and 3, distances 2, 1, 1 and 998


def _table(**columns: Any) -> Table:
    made: dict[str, Column] = {}
    for name, cells in columns.items():
        array = np.asarray(cells)
        numbers = array.dtype.kind in "biuf"
        made[name] = NumberColumn(array) if numbers else TextColumn.of(list(cells))
    return Table(made, len(next(iter(columns.values()))), "data.csv")


def _robust(dtype: str = "float64", **options: Any) -> TableEncoder:
    return TableEncoder(scaling="robust", dtype=dtype, **options)


def _scale(values: Any) -> RobustScale:
    return RobustScale.of(SortedNumbers.of(np.asarray(values)))


def _parts(scale: RobustScale) -> tuple[float, float, float]:
    return scale.median, scale.scale, scale.tail


@pytest.mark.parametrize("cells", [[4.0, 0, 2, 3, 1], [4, 0, 2, 3, 1], ["4", "0", "2", "3", "1"]])
def test_numbers_by_hand(cells: list[Any]) -> None:
    # Median 2, quartiles 1 and 3. z of 4 is (4 - 2) / 2 = 1, and 1 / sqrt(1 + 1/9) = 3 / sqrt(10).
    # Training has ±3 / sqrt(10), ±3 / sqrt(37) and 0, of mean 0.
    spread = sqrt((9 / 10 + 9 / 37) * 2 / 5)
    encoder = _robust(numeric=["a"]).fit(_table(a=cells))
    X = encoder.transform(_table(a=[4.0, 0, 2, 3, 8]))
    # z of 3 is 1/2: 0.5 / sqrt(37 / 36) = 3 / sqrt(37). z of 8 is 3: 3 / sqrt(2).
    by_hand = np.array([3 / sqrt(10), -3 / sqrt(10), 0, 3 / sqrt(37), 3 / sqrt(2)])
    assert_allclose(X[:, 0], by_hand / spread, rtol=1e-14, atol=1e-15)
    assert X.shape == (5, 1)
    assert encoder.encodings_[0].description == "robust, clipped"


def test_quartiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for n in (2, 3, 5, 8, 101, 1000):
        values = rng.normal(size=n)
        low, high = np.quantile(values, [0.25, 0.75])
        assert _scale(values).scale == pytest.approx(high - low, rel=1e-14)


def test_heavy_tails_get_a_second_output_by_hand() -> None:
    encoder = _robust().fit(_table(a=HEAVY))
    # The median of the distances above 0, 1, 1, 2 and 998, is 3/2; 998 is more than 20 times that.
    found = encoder.encodings_[0].robust
    assert _parts(found) == (2, 2, 1.5)
    X = encoder.transform(_table(a=[4, 0, 2, 1000.0]))
    # asinh(2 / 1.5) = ln(4/3 + 5/3) = ln 3; asinh(998 / 1.5) = ln(2 * 998 / 1.5), nearly.
    assert_allclose(X[:3, 1], [log(3), -log(3), 0], rtol=1e-15)
    assert X[3, 1] == pytest.approx(log(2 * 998 / 1.5), rel=1e-6)
    clipped = 499 / sqrt(1 + 499**2 / 9)
    # The other numbers have z = -1, -1/2, 0 and 1/2, of which ±1/2 cancel.
    assert found.mean == pytest.approx((clipped - 3 / sqrt(10)) / 5, rel=1e-15)
    assert X[3, 0] == pytest.approx((clipped - found.mean) / found.spread, rel=1e-15)
    assert encoder.get_feature_names_out().tolist() == ["a", "a tails"]
    assert encoder.summary()[0]["encoding"] == "robust, clipped, + tails"
    assert encoder.summary()[0]["outputs"] == 2


@pytest.mark.parametrize(
    ("number", "far", "rows", "is_heavy"),
    [
        *((20.5, 1, 20, True), (20.5, 1, 1000, True), (20.5, 1, 1001, False)),
        *((20.5, 2, 2000, True), (20.5, 2, 2001, False), (-20.5, 3, 2001, True)),
        *((20, 3, 2001, False), (19.5, 3, 20, False), (0, 3, 20, False)),
    ],
)
def test_tails_are_heavy_from_a_thousandth_of_the_rows_on(
    number: float, far: int, rows: int, is_heavy: bool
) -> None:
    # The median is 0, and all distances above 0 are 1 but for those of the far rows.
    values = np.where(np.arange(rows) % 2, 1.0, -1)
    values[-6:] = 0
    values[:far] = number
    found = _scale(values)
    assert (found.median, found.tail) == (0, 1 if is_heavy else 0)


def test_zeros_in_most_rows() -> None:
    # Both quartiles are 0, so the scale is half the range, 3/2. z of 3 is 2: 2 / sqrt(13 / 9).
    encoder = _robust().fit(_table(a=[0.0] * 8 + [1, 3]))
    X = encoder.transform(_table(a=[0, 3.0]))
    found = encoder.encodings_[0].robust
    assert_allclose(X * found.spread + found.mean, [[0], [6 / sqrt(13)]], rtol=1e-15, atol=1e-16)
    # The distances above 0 are 1, 2 and 100; 100 is more than 20 times 2.
    assert _parts(_scale([0.0] * 10 + [1, 2, 100])) == (0, 50, 2)


def test_a_column_of_0_and_1_has_one_output() -> None:
    for ones in (1, 10, 500, 990):
        values = np.repeat([0, 1], [1000 - ones, ones])
        X = _robust().fit_transform(_table(a=values))
        assert X.shape == (1000, 1)
        assert len(np.unique(X)) == 2
        assert np.ptp(X) > 0.9


def test_gaps_are_the_median_with_an_indicator_that_comes_last() -> None:
    encoder = _robust().fit(_table(a=[*HEAVY, np.nan]))
    zero = -encoder.encodings_[0].robust.mean / encoder.encodings_[0].robust.spread
    assert_array_equal(encoder.transform(_table(a=[np.nan, 2])), [[zero, 0, 1], [zero, 0, 0]])
    assert encoder.get_feature_names_out().tolist() == ["a", "a tails", "a is missing"]
    assert encoder.summary()[0]["encoding"] == "robust, clipped, + tails, + 1 if empty"
    assert encoder.summary()[0]["fill"] == 2
    assert encoder.summary()[0]["remarks"] == ["empty cells count as 2, the median"]
    without = _robust().fit(_table(a=HEAVY))  # a gap that training had not
    assert_array_equal(without.transform(_table(a=[np.nan])), [[zero, 0]])


def test_cells_that_are_not_numbers_do_not_count() -> None:
    numbers = [*range(-20, 21)] * 2
    encoder = _robust().fit(_table(a=[*map(str, numbers), "none so far", "none so far"]))
    assert _parts(encoder.encodings_[0].robust) == (0, 20, 0)
    codes = _robust().fit(_table(a=[*(str(number + 0.5) for number in numbers), "007", "007"]))
    assert _parts(codes.encodings_[0].robust) == (0.5, 20, 0)
    infinite = _robust().fit(_table(a=[*map(float, numbers), np.inf, -np.inf]))
    assert _parts(infinite.encodings_[0].robust) == (0, 20, 0)
    with pytest.warns(StrayCellWarning, match="inf is not a finite number and counts as empty"):
        X = encoder.transform(_table(a=[*map(float, numbers), np.inf]))
    assert_allclose(X[-1], [0, 1], atol=1e-15)


def test_columns_left_out_stay_left_out() -> None:
    table = _table(a=[7.0] * 4, b=[1.0, 2, 3, 4])
    assert _robust().fit(table).get_feature_names_out().tolist() == ["b"]
    # A constant with gaps tells rows with a gap from others.
    assert_array_equal(_robust().fit_transform(_table(a=[7.0, np.nan])), [[0, 0], [0, 1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "cells",
    [
        [1e300, 2e300, 3e300, -1e300],
        [-8e307, 0.0, 1, 2, 8e307],
        [0.0, 1e-3, 2e-3, 1e300],
        [0, 5e-324],
        [0, 0, 0, 5e-324],
        [0, 5e-324, 1e-323, 1.5e-323, 1e300],
        [1e15, 1e15 + 1, 1e15 + 2],
        [1, 1 + 2.0**-52],
        [1e-300, 2e-300, 3e-300],
    ],
)
def test_huge_tiny_and_nearly_constant_columns(cells: list[float], dtype: str) -> None:
    encoder = _robust(dtype).fit(_table(a=cells))
    X = encoder.transform(_table(a=[*cells, 1.7e308, -1.7e308]))
    assert X.dtype == dtype
    assert np.isfinite(X).all()
    found = encoder.encodings_[0].robust
    assert np.abs(X[:, 0] * found.spread + found.mean).max() <= 3 * (1 + np.finfo(dtype).eps)
    order = np.argsort([*cells, 1.7e308, -1.7e308], kind="stable")
    assert (np.diff(X[order], axis=0) >= 0).all()
    assert len(np.unique(X[: len(cells)], axis=0)) > 1


def test_a_cell_beyond_training_is_never_too_large() -> None:
    table = _table(a=[1.0, 2, 4])
    with pytest.raises(DataError, match="too large"):
        TableEncoder().fit(table).transform(_table(a=[1e39]))
    encoder = _robust("float32").fit(table)
    X = encoder.transform(_table(a=[1e39, -1.7e308]))
    found = encoder.encodings_[0].robust
    limits = (np.array([[3], [-3]]) - found.mean) / found.spread
    assert_array_equal(X, limits.astype(np.float32))


def test_float32_numbers_keep_the_rank_of_the_tails() -> None:
    rng = np.random.default_rng(0)
    values = np.unique(rng.standard_cauchy(20_000))
    X = _robust("float32").fit_transform(_table(a=values))
    far = np.abs(values) > 1e3  # clipped to 3 - 2e-5 or closer
    assert far.sum() > 5
    assert len(np.unique(X[far, 1])) == far.sum()
    assert np.ptp(X[far & (values > 0), 0]) < 1e-4


def test_rows_and_blocks_of_rows_give_the_bits_of_the_whole() -> None:
    rng = np.random.default_rng(1)
    columns = {"a": rng.standard_cauchy(10_007), "b": rng.normal(size=10_007)}
    columns["a"][::7] = np.nan
    table = _table(**columns)
    for dtype in ("float32", "float64"):
        encoder = _robust(dtype).fit(table)
        X = encoder.transform(table)
        assert X.shape == (10_007, 4)
        parts = [table.take(places) for places in np.array_split(np.arange(10_007), 97)]
        whole = np.concatenate([encoder.transform(part) for part in parts])
        assert_array_equal(whole, X, strict=True)
        rows = [encoder.transform(table.take(np.array([i])))[0] for i in range(50)]
        assert_array_equal(np.array(rows), X[:50], strict=True)
        sparse = _robust(dtype, sparse=True).fit_transform(table)
        assert_array_equal(sparse.toarray(), X, strict=True)
        again = _robust(dtype).fit_transform_parts(table, np.arange(10_007))[0]
        assert_array_equal(again, X, strict=True)


@pytest.mark.parametrize("draw", ["normal", "uniform", "lognormal", "standard_cauchy"])
def test_the_training_column_has_mean_0_and_deviation_1(draw: str) -> None:
    values = getattr(np.random.default_rng(5), draw)(size=1001)
    X = _robust().fit_transform(_table(a=values))[:, 0]
    assert X.mean() == pytest.approx(0, abs=1e-13)
    assert X.std() == pytest.approx(1, rel=1e-13)


def test_a_constant_column_has_spread_1() -> None:
    assert _scale([7.0] * 4) == RobustScale(7.0, 1.0, 0.0, 0.0, 1.0)


def test_the_order_of_rows_does_not_change_a_bit() -> None:
    values = np.random.default_rng(2).standard_cauchy(5001)
    assert _scale(values).tail > 0
    assert _scale(values[::-1]) == _scale(values)


def test_scales_are_learned_from_the_training_rows_alone() -> None:
    table = _table(a=[0.0, 1, 2, 3, 4, 1000, 2000, 3000])
    encoder = _robust()
    encoder.fit_transform_parts(table, np.arange(5), np.arange(5, 8))
    assert encoder.encodings_[0].robust == _scale([0.0, 1, 2, 3, 4])


def test_other_columns_are_encoded_as_with_standard_scaling() -> None:
    rows = {
        "n": [1.0, 2, np.nan, 5],
        "b": ["yes", "no", "no", None],
        "c": ["u", "v", "u", "w"],
        "d": ["1/2/2020 10:00", "13/2/2020 11:00", "14/3/2020 10:00", None],
    }
    standard, robust = (TableEncoder(categorical=["c"], scaling=each) for each in SCALINGS)
    X, Z = standard.fit_transform(rows), robust.fit_transform(rows)
    assert_array_equal(X[:, 1:], Z[:, 1:])
    assert (X[:, 0] != Z[:, 0]).all()
    assert standard.get_feature_names_out().tolist() == robust.get_feature_names_out().tolist()


def test_an_encoder_comes_back_from_a_file(tmp_path: Any) -> None:
    table = _table(a=HEAVY, t=["1,5", "2,5", "0,5", "2", "3"], d=DATES)
    encoder = _robust().fit(table)
    write_model(tmp_path / "a.model", ModelRecord(encoder.to_header(), encoder.tensors()))
    record = read_model(tmp_path / "a.model")
    again = TableEncoder.from_parts(record.header, record.tensors)
    assert again.encodings_ == encoder.encodings_
    assert again.scaling == "robust"
    assert again.summary() == encoder.summary()
    assert again.to_header() == encoder.to_header()
    assert_array_equal(again.transform(table), encoder.transform(table), strict=True)


def test_files_of_standard_scaling_have_neither_key_nor_tensor() -> None:
    encoder = TableEncoder().fit(_table(a=HEAVY))
    assert "scaling" not in encoder.to_header()
    assert [*encoder.tensors()] == ["encoder.statistics"]
    of_texts = _robust().fit(_table(c=["u", "v"] * 5))  # has no numbers to scale
    assert "scaling" not in of_texts.to_header()


@pytest.mark.parametrize(
    ("scaling", "scales", "message"),
    [
        ("other", [[2, 1.5, 0, 1]], "scaling"),
        (None, [[2, 1.5, 0, 1]], "scaling"),
        ("robust", None, "'encoder.robust' is missing"),
        ("robust", [[2, 1.5]], "has shape"),
        ("robust", [[2, 1.5, 0, 1]] * 2, "'encoder.robust' has more rows"),
        ("robust", np.zeros((0, 4)), "'encoder.robust' has too few rows"),
        ("robust", [[0, 1.5, 0, 1]], "the scale 0.0 and tails of 1.5"),
        ("robust", [[2, -1, 0, 1]], "the scale 2.0 and tails of -1.0"),
        ("robust", [[2, 1.5, 0, 0]], "clipped numbers of spread 0.0; it must be above 0"),
        ("robust", [[2, 1.5, 0, -1]], "clipped numbers of spread -1.0; it must be above 0"),
        ("robust", [[2, np.nan, 0, 1]], "must hold finite float64"),
        ("robust", [[2, 1.5, np.inf, 1]], "must hold finite float64"),
        ("robust", np.ones((1, 4), np.float32), "must hold finite float64"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(scaling: Any, scales: Any, message: str) -> None:
    encoder = _robust().fit(_table(a=HEAVY))
    header = json.loads(json.dumps(encoder.to_header())) | {"scaling": scaling}
    tensors = encoder.tensors()
    del tensors["encoder.robust"]
    if scales is not None:
        keep = isinstance(scales, np.ndarray)
        tensors["encoder.robust"] = scales if keep else np.array(scales, np.float64)
    with pytest.raises(ModelFileError, match=re.escape(message)):
        TableEncoder.from_parts(header, tensors)


@pytest.mark.parametrize("scaling", ["other", None, 1, ["robust"]])
def test_a_scaling_that_is_none(scaling: Any) -> None:
    message = f"scaling is {scaling!r}; give 'standard' or 'robust'"
    with pytest.raises(ValueError, match=re.escape(message)):
        TableEncoder(scaling=scaling).fit(_table(a=HEAVY))


def test_memory_is_that_of_a_few_columns() -> None:
    rows = 200_000
    table = _table(**{f"x{j}": np.random.default_rng(j).normal(size=rows) for j in range(16)})
    encoder = _robust("float32")
    tracemalloc.start()
    encoder.fit(table)
    assert tracemalloc.get_traced_memory()[1] < 6 * 8 * rows  # six columns of 16
    tracemalloc.reset_peak()
    X = encoder.transform(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes + 2 * 8 * rows


SCALINGS: tuple[Any, ...] = ("standard", "robust")
DATES = ["2020-01-01", "2020-01-02", "2020-02-03", "2021-01-05", "2020-07-06"]
