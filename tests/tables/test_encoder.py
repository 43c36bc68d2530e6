"""Values of the encoded rows, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.table import Table


def _table(source: str = "data.csv", **columns: Any) -> Table:
    made: dict[str, Column] = {}
    for name, cells in columns.items():
        array = np.asarray(cells)
        if array.dtype.kind in "biuf":
            made[name] = NumberColumn(array)
        else:
            made[name] = TextColumn.of(list(cells))
    return Table(made, len(next(iter(columns.values()))), source)


@parametrize_with_checks([TableEncoder()])
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def test_numbers_are_standardised() -> None:
    # Mean 5, squared deviations 9 + 1 + 1 + 9 = 20, deviation sqrt(20 / 4).
    X = TableEncoder().fit_transform(_table(a=[8.0, 2, 4, 6]))
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert_allclose(X[:, 0], np.array([3, -3, -1, 1]) / 5**0.5, rtol=1e-7)


def test_gaps_in_numbers_are_the_median_with_an_indicator() -> None:
    encoder = TableEncoder(dtype="float64").fit(_table(a=[0.0, 0, 3, np.nan]))
    # Mean 1, deviation sqrt((1 + 1 + 4) / 3) = sqrt(2), median 0.
    X = encoder.transform(_table(a=[np.nan, 1]))
    assert_allclose(X, [[-1 / 2**0.5, 1], [0, 0]], rtol=1e-14)
    assert encoder.get_feature_names_out().tolist() == ["a", "a is missing"]
    assert encoder.summary()[0]["remarks"] == ["empty cells count as 0, the median"]
    assert encoder.encodings_[0].description == "standardised, + 1 if empty"
    assert encoder.summary()[0]["fill"] == 0


def test_a_gap_that_training_had_not_is_the_median() -> None:
    encoder = TableEncoder(dtype="float64").fit(_table(a=[0, 0, 3], b=[True, True, False]))
    X = encoder.transform(_table(a=[np.nan], b=["?"]))
    assert_allclose(X, [[-1 / 2**0.5, 1]], rtol=1e-14)


def test_booleans_are_0_or_1_however_they_are_written() -> None:
    encoder = TableEncoder(dtype="float64").fit(_table(a=["Yes", "no", "no", None]))
    assert encoder.encodings_[0].description == "1 for yes, + 1 if empty"
    assert encoder.summary()[0]["fill"] == "no"
    assert_array_equal(
        encoder.transform(_table(a=["YES", "no", "1", "True", "false", "0", ""])),
        [[1, 0], [0, 0], [1, 0], [1, 0], [0, 0], [0, 0], [0, 1]],
    )
    assert_array_equal(encoder.transform(_table(a=[1.0, 0, np.nan])), [[1, 0], [0, 0], [0, 1]])
    assert_array_equal(encoder.transform(_table(a=[True, False])), [[1, 0], [0, 0]])


def test_categories_are_one_hot_then_others_then_gaps() -> None:
    table = _table(a=["x", "z", "x", "z", "y", None, "z"])
    encoder = TableEncoder(min_frequency=2).fit(table)
    assert encoder.get_feature_names_out().tolist() == [
        *("a=x", "a=z", "a is another", "a is missing"),
    ]
    X = encoder.transform(_table(a=["z", "x", "y", "new", ""]))
    assert_array_equal(X, np.eye(4)[[1, 0, 2, 2, 3]])
    assert encoder.summary() == [
        {
            "column": "a",
            "type": "category",
            "encoding": "one-hot, 2 values + other + missing",
            "outputs": 4,
            "gaps": 1,
            "fill": None,
            "categories": ["x", "z"],
            "reason": None,
            "remarks": ["1 of 3 values occurs once and is input 'other'"],
            "used": True,
        }
    ]


def test_rare_values_are_said_with_their_rows() -> None:
    cells = ["x"] * 5 + ["y"] * 2 + ["z"] * 2
    encoder = TableEncoder(min_frequency=2).fit(_table(a=[*cells, "u", "v"]))
    remark = "2 of 5 values occur once and share one input, 'other'"
    assert encoder.summary()[0]["remarks"] == [remark]
    encoder = TableEncoder(min_frequency=3).fit(_table(a=cells))
    remark = "2 of 3 values occur in fewer than 3 rows and share one input, 'other'"
    assert encoder.summary()[0]["remarks"] == [remark]


def test_the_reason_of_what_is_left_out() -> None:
    table = _table(
        a=[f"C{k}" for k in range(40)],
        b=["x"] * 40,
        c=[None] * 40,
        d=[f"text {k} of {k}" for k in range(40)],
        e=np.arange(40.0) % 3,
    )
    summary = TableEncoder().fit(table).summary()
    assert [row["reason"] for row in summary] == ["id", "constant", "empty", "text", None]
    assert [row["encoding"] for row in summary] == [None] * 4 + ["standardised"]


def test_without_others_in_training_new_values_and_gaps_are_zeros() -> None:
    encoder = TableEncoder().fit(_table(a=["x", "y"] * 2))
    assert_array_equal(encoder.transform(_table(a=["new", None, "y"])), [[0, 0], [0, 0], [0, 1]])


def test_the_most_frequent_categories_are_kept() -> None:
    cells = ["a"] * 2 + ["b"] * 4 + ["c"] * 3 + ["d"] * 3 + ["e"] * 3
    encoder = TableEncoder(max_categories=3).fit(_table(x=cells))
    # Of c, d and e, equally frequent, the first ones.
    assert encoder.encodings_[0].values == ("b", "c", "d")
    assert encoder.summary()[0]["remarks"] == ["5 values, the 3 most frequent are kept"]


def test_categories_that_arrive_as_numbers_match_as_written() -> None:
    encoder = TableEncoder().fit(_table(a=["1", "2", "x", "1.50"] * 2))
    assert encoder.encodings_[0].values == ("1", "1.50", "2", "x")
    X = encoder.transform(_table(a=[1.0, 2, 1.5, 3, np.nan]))
    assert_array_equal(X, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0] * 4, [0] * 4])
    assert_array_equal(encoder.transform(_table(a=np.array([2], np.int8))), [[0, 0, 1, 0]])


def test_numbers_called_categories_match_text() -> None:
    encoder = TableEncoder(categorical=["a"]).fit(_table(a=[1.0, 2, 1, 2.5, 2, 2.5]))
    X = encoder.transform(_table(a=["1", "2.50", "x", "2.0"]))
    assert_array_equal(X, [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])


def test_01_and_1_stay_apart() -> None:
    encoder = TableEncoder(categorical=["a"]).fit(_table(a=["01", "1", "x"] * 2))
    assert_array_equal(encoder.transform(_table(a=["1", "01"])), [[0, 1, 0], [1, 0, 0]])
    assert_array_equal(encoder.transform(_table(a=[1])), [[0, 1, 0]])
    # Neither is as written: 001 could be both.
    assert_array_equal(encoder.transform(_table(a=["001"])), [[0, 0, 0]])
    both = TableEncoder(categorical=["a"]).fit(_table(a=["01", "001", "x"] * 2))
    assert_array_equal(both.transform(_table(a=[1])), [[0, 0, 0]])
    one = TableEncoder(categorical=["a"]).fit(_table(a=["01", "02"] * 2))
    assert_array_equal(one.transform(_table(a=[2])), [[0, 1]])


def test_numbers_of_training_may_be_text_later_and_the_other_way_round() -> None:
    numbers = TableEncoder(dtype="float64").fit(_table(a=[1.0, 3]))
    assert_array_equal(numbers.transform(_table(a=["3", "1,001", None])), [[1], [999], [0]])
    text = TableEncoder(dtype="float64").fit(_table(a=["1,5", "3,5"]))
    assert_array_equal(text.transform(_table(a=["1,5", "2"])), [[-1], [-0.5]])
    assert_array_equal(text.transform(_table(a=[3.5])), [[1]])


def test_dates_become_the_parts_that_vary() -> None:
    encoder = TableEncoder(dtype="float64").fit(_table(d=["2020-01-31", "2020-03-31", None]))
    assert encoder.get_feature_names_out().tolist() == [
        *("d month sine", "d month cosine", "d weekday sine", "d weekday cosine"),
        *("d seconds", "d is missing"),
    ]
    # A Friday, 4, and a Tuesday, 1; the second day is a new one, a Saturday in between.
    X = encoder.transform(_table(d=["2020-01-31", "2020-03-01", ""]))
    turns = 2 * np.pi * np.array([0 / 12, 2 / 12])
    assert_allclose(X[:2, 0], np.sin(turns), atol=1e-15)
    assert_allclose(X[:2, 1], np.cos(turns), atol=1e-15)
    assert_allclose(X[0, 2:4], [np.sin(8 * np.pi / 7), np.cos(8 * np.pi / 7)], rtol=1e-14)
    assert_allclose(X[:2, 4], [-1, 0], atol=1e-9)
    assert_array_equal(X[2], [0, 0, 0, 0, 0, 1])
    assert_array_equal(X[:2, 5], [0, 0])


def test_dates_are_standardised_by_their_rows() -> None:
    days = ["2020-01-01", "2020-01-05", "2020-01-05", "2020-01-05"]
    encoder = TableEncoder(dtype="float64").fit(_table(d=days))
    # Days 1, 5, 5, 5: mean 4, squared deviations 9 + 1 + 1 + 1 = 12, deviation sqrt(3).
    place = encoder.get_feature_names_out().tolist().index("d day")
    assert_allclose(encoder.transform(_table(d=days))[:2, place], [-(3**0.5), 3**-0.5])


def test_strays_are_gaps_later_too() -> None:
    days = [f"2020-01-{day:02}" for day in range(1, 21)]
    numbers = [str(number) for number in range(20)]
    encoder = TableEncoder().fit(_table(d=[*days, "later"], n=[*numbers, "unknown"]))
    X = encoder.transform(_table(d=["later", None], n=["unknown", None]))
    assert_array_equal(X[0], X[1])
    assert X[:, encoder.get_feature_names_out().tolist().index("d is missing")].all()


def test_one_date_or_none_is_an_indicator() -> None:
    encoder = TableEncoder().fit(_table(d=["2020-01-31", None]))
    assert encoder.encodings_[0].description == "+ 1 if empty"
    assert_array_equal(encoder.transform(_table(d=["2021-12-31", None])), [[0], [1]])
    again = TableEncoder.from_parts(encoder.to_header(), encoder.tensors())
    assert again.encodings_ == encoder.encodings_


def test_dates_keep_the_order_of_training() -> None:
    encoder = TableEncoder(dtype="float64").fit(_table(d=["31/01/2020", "02/01/2020"]))
    later, iso = (encoder.transform(_table(d=[text])) for text in ("03/01/2020", "2020-01-03"))
    assert_array_equal(later, iso)
    chosen = TableEncoder(date=["d:mdy"]).fit(_table(d=["01/02/2020", "02/02/2020"]))
    assert chosen.types_[0].order == "mdy"


def test_text_of_dates_in_digits_may_arrive_as_numbers() -> None:
    encoder = TableEncoder(date=["d"]).fit(_table(d=[20200131.0, 20200331]))
    assert_array_equal(
        encoder.transform(_table(d=[20200131])), encoder.transform(_table(d=["2020-01-31"]))
    )


def test_columns_are_taken_by_name() -> None:
    encoder = TableEncoder().fit(_table(a=[1.0, 2], b=["x", "y"], c=[1, 1]))
    assert encoder.feature_names_in_.tolist() == ["a", "b", "c"]
    assert encoder.n_features_in_ == 3
    expected = encoder.transform(_table(a=[1.0], b=["y"], c=[1]))
    # c is constant, so it is not needed.
    assert_array_equal(encoder.transform(_table(new=["?"], b=["y"], a=[1.0])), expected)


def test_columns_of_an_array_are_taken_by_position() -> None:
    encoder = TableEncoder(dtype="float64").fit([[1.0, "x"], [3, "y"], [1, "x"], [3, "y"]])
    assert not hasattr(encoder, "feature_names_in_")
    assert_array_equal(encoder.transform([[1, "y"]]), [[-1, 0, 1]])
    with pytest.raises(ValueError, match="X has 1 features, but TableEncoder is expecting 2"):
        encoder.transform([[1]])
    assert encoder.get_feature_names_out(["p", "q"]).tolist() == ["p", "q=x", "q=y"]


def test_features_and_drop_choose_columns() -> None:
    table = _table(a=[1.0, 2], b=[1.0, 3], c=[2.0, 1])
    for options in ({"features": ["a", "c"]}, {"drop": ["b"]}, {"features": "ab", "drop": "b"}):
        names = {key: list(value) for key, value in options.items()}
        encoder = TableEncoder(**names).fit(table)
        assert [found.name for found in encoder.types_] == ["a", "c"][: encoder.n_features_out_]


def test_what_is_left_out_is_in_the_summary_alone() -> None:
    encoder = TableEncoder().fit(_table(k=[1, 1], a=[1, 2]))
    assert [row["used"] for row in encoder.summary()] == [False, True]
    left_out = encoder.summary()[0]
    assert (left_out["encoding"], left_out["outputs"], left_out["fill"]) == (None, 0, None)
    assert encoder.transform(_table(a=[1])).shape == (1, 1)


def test_values_that_are_all_rare_are_left_out() -> None:
    cells = [f"C{i // 2}" for i in range(20)]
    encoder = TableEncoder(min_frequency=3).fit(_table(a=cells, b=np.arange(20)))
    remark = "left out: none of its 10 values is in 3 rows or more"
    assert encoder.summary()[0]["remarks"] == [remark]
    assert encoder.types_[0].kind == "text"


def test_a_column_that_counts_rows_is_used_if_it_is_the_only_one() -> None:
    encoder = TableEncoder().fit(_table(a=np.arange(50)))
    assert encoder.summary()[0]["remarks"] == [
        "used although it counts rows, as no other column is left"
    ]


def test_columns_to_be_read_as_written() -> None:
    table = _table(
        comma=["1,5", "2"],
        dot=["2,000", "1"],
        code=["01", "x"],
        group=[1, 2],
        day=["12:30", "12:31"],
    )
    encoder = TableEncoder(categorical=["group"], min_frequency=1).fit(table)
    assert len(encoder.encodings_) == 5
    assert encoder.text_columns_ == ("comma", "code")
    # As written, 1.234 is 1234 here; read as a number before, it would be 1.234.
    X = encoder.transform(_table(comma=["1.234"], dot=[1], code=["x"], group=[1], day=["12:30"]))
    assert X[0, 0] == pytest.approx((1234 - 1.75) / 0.25)


def _mixed(rows: int, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    numbers = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(5, 3, rows))
    words = np.array([*"abcdefgh", None], object)[rng.integers(0, 9, rows)]
    days = [f"2020-{month:02}-03 {hour:02}:00" for month, hour in rng.integers(1, 13, (rows, 2))]
    return _table(n=numbers, w=words, d=days, b=rng.random(rows) < 0.5, m=numbers.astype("f4"))


def test_blocks_of_rows_give_the_bits_of_the_whole() -> None:
    table = _mixed(20_011)
    for sparse in (False, True):
        encoder = TableEncoder(sparse=sparse).fit(table)
        whole = encoder.transform(table)
        parts = [encoder.transform(table.rows(i, i + 997)) for i in range(0, 20_011, 997)]
        if sparse:
            whole, parts = whole.toarray(), [part.toarray() for part in parts]
        assert_array_equal(np.concatenate(parts), whole, strict=True)


def test_csr_holds_the_numbers_of_the_dense_array() -> None:
    table = _mixed(300)
    cells = np.where(np.arange(300) < 3, None, np.resize(np.array(["u", "v"], object), 300))
    table = replace(table, columns={**table.columns, "u": TextColumn.of(["u", "v"] * 150)})
    encoder = TableEncoder(sparse=True).fit(table)
    table = replace(table, columns={**table.columns, "u": TextColumn.of(cells)})
    X = encoder.transform(table)
    assert sp.issparse(X)
    assert X.format == "csr"
    assert X.dtype == np.float32
    assert X.indices.dtype == np.int32
    rebuilt = sp.csr_matrix((X.data, X.indices, X.indptr), X.shape)
    assert rebuilt.has_canonical_format
    encoder.sparse = False
    assert_array_equal(X.toarray(), encoder.transform(table), strict=True)


def test_wide_one_hot_rows_are_csr_and_numbers_never() -> None:
    rng = np.random.default_rng(0)
    values = np.array([f"v{i:04}" for i in range(5000)], object)
    columns = {
        f"c{j}": TextColumn(rng.integers(0, 5000, 30_000).astype(np.int32), values)
        for j in range(3)
    }
    table = Table(columns, 30_000, "data.csv")
    X = TableEncoder(min_frequency=1, max_categories=5000).fit_transform(table)
    assert sp.issparse(X)
    assert X.nnz == 90_000
    assert isinstance(TableEncoder(max_categories=3).fit_transform(table), np.ndarray)


def test_numbers_are_dense_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.tables.encoding.encode_rows._DENSE_BYTES", 0)
    assert isinstance(TableEncoder().fit_transform(_table(a=[1, 2], b=[2, 1])), np.ndarray)


def test_a_table_without_rows_is_encoded_as_none() -> None:
    table = _mixed(50)
    for sparse in (False, True):
        encoder = TableEncoder(sparse=sparse).fit(table)
        assert encoder.transform(table.rows(0, 0)).shape == (0, encoder.n_features_out_)
    empty = Table({name: TextColumn.of([]) for name in table.names}, 0, "data.csv")
    assert encoder.transform(empty).shape == (0, encoder.n_features_out_)


def test_a_column_of_gaps_suits_every_encoding() -> None:
    table = _mixed(50)
    encoder = TableEncoder().fit(table)
    for gap in (None, np.nan):
        gaps = _table(**{name: [gap] for name in table.names})
        expected = encoder.transform(_table(**{name: [None] for name in table.names}))
        assert_array_equal(encoder.transform(gaps), expected)
        assert np.isfinite(expected).all()


def test_the_source_is_not_changed() -> None:
    values = np.array([1.0, np.nan, 3])
    values.flags.writeable = False
    TableEncoder().fit_transform(Table({"a": NumberColumn(values)}, 3, "data.csv"))
    assert_array_equal(values, [1, np.nan, 3])
