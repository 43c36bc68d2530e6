"""Tables that do not suit the options or the fitted encoder."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.encoding.strays import StrayCellWarning
from gpubp.tables.table import DataError, Table


def _table(source: str = "data.csv", **columns: Any) -> Table:
    made: dict[str, Column] = {}
    for name, cells in columns.items():
        array = np.asarray(cells)
        numbers = array.dtype.kind in "biuf"
        made[name] = NumberColumn(array) if numbers else TextColumn.of(list(cells))
    return Table(made, len(next(iter(columns.values()))), source)


TRAINING = _table(
    a=[1.0, 2, 4],
    b=["x", "y", "x"],
    c=["yes", "no", "no"],
    d=["2020-01-01", "2020-01-01", "2020-02-02"],
)


def _message(table: Table, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        TableEncoder(**options).fit(table)
    return str(caught.value)


def test_all_columns_that_cannot_be_used_are_listed_at_once() -> None:
    table = _table(a=["1", "z"], b=["5", "x"], c=["1", "y"], d=[1.0, 2])
    table = replace(table, row_numbers=np.array([3, 7]))
    assert _message(table, numeric=["a", "b"], date=["c"]) == (
        "data.csv has 3 columns that cannot be used: "
        "'a' has no number in 1 of 2 cells, such as 'z' in data row 7; "
        "'b' has no number in 1 of 2 cells, such as 'x' in data row 7; "
        "'c' has no date in 2 of 2 cells, such as '1' in data row 3; leave them out with "
        "--drop 'a,b,c'"
    )
    assert TableEncoder(drop=["a", "b", "c"]).fit(table).n_features_out_ == 1


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_one_column_that_cannot_be_scaled(scaling: str) -> None:
    assert _message(_table(a=[-1e308, 1e308], d=[1.0, 2]), scaling=scaling) == (
        "data.csv has a column that cannot be used: 'a' cannot be scaled: its range, -1e+308 to "
        "1e+308, is too wide for float64; leave it out with --drop 'a'"
    )


def test_unknown_names_of_all_options_are_listed_at_once() -> None:
    message = _message(TRAINING, drop=["A"], numeric=["bb"], date=["d", "zzz:mdy"])
    assert message == ("data.csv lacks 3 columns 'A', 'bb', 'zzz'; did you mean 'a', 'b'?")
    assert "has no column 'q'" in _message(TRAINING, features=["a", "q"])


def test_a_column_cannot_be_two_kinds() -> None:
    message = _message(TRAINING, numeric=["a"], categorical=["b", "a"])
    assert message == "column 'a' is given as category and as number; choose one"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": "ab"}, "drop is 'ab'; give a list of column names"),
        ({"numeric": 3}, "numeric is 3; give a list"),
        ({"features": [1.5]}, "features is [1.5]; give names as text"),
        ({"min_frequency": 0}, "min_frequency is 0; give 'auto' or an integer of 1 or more"),
        ({"min_frequency": 2.5}, "min_frequency is 2.5; give"),
        ({"min_frequency": "x"}, "min_frequency is 'x'; give"),
        ({"max_categories": 0}, "max_categories is 0; give an integer of 1 or more"),
        ({"max_categories": None}, "max_categories is None; give"),
        ({"dtype": "int8"}, "dtype is 'int8'; give 'float32' or 'float64'"),
        ({"sparse": "yes"}, "sparse is 'yes'; give True, False or 'auto'"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TableEncoder(**options).fit(TRAINING)


def test_a_table_without_a_useful_column_says_why() -> None:
    assert _message(_table(k=[1, 1], e=[None, None])) == (
        "data.csv has no column to learn from: 'k' left out: 1 in every row; "
        "'e' left out: no cell has a value"
    )
    assert "no column to learn from" in _message(TRAINING, features=[])
    assert "has no rows" in _message(TRAINING.rows(0, 0))


def test_missing_columns_are_listed_with_the_nearest_names() -> None:
    encoder = TableEncoder().fit(TRAINING)
    with pytest.raises(DataError, match=r"new.csv lacks 3 columns 'a', 'b', 'd'; did you mean"):
        encoder.transform(_table("new.csv", A=[1], B=["x"], c=["no"]))


def test_a_needed_column_must_not_be_doubled() -> None:
    encoder = TableEncoder().fit(TRAINING)
    doubled = _table(**{name: [None] for name in "abcd"}, **{"b.1": ["x"], "e": [1]})
    encoder.transform(replace(doubled, doubled=frozenset("e")))
    with pytest.raises(DataError, match="several columns 'b', but the model has one"):
        encoder.transform(replace(doubled, doubled=frozenset("be")))
    both = TableEncoder().fit(_table(**{"b": ["x", "y"] * 2, "b.1": ["x", "y"] * 2}))
    assert both.transform(replace(doubled, doubled=frozenset("b"))).shape == (1, 4)


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        (
            "a",
            ["1", "abc", "abc"],
            "data row 2, column 'a': 'abc' is not a number (2 of 3 cells); correct the",
        ),
        (
            "a",
            ["1", "2", "3,5"],
            "data row 3, column 'a': '3,5' is not a number with a decimal point",
        ),
        ("a", [1, 2, np.inf], "data row 3, column 'a': inf is not a finite number (1 of 3 cells)"),
        ("a", [1, -np.inf, 2], "data row 2, column 'a': -inf is not a finite number"),
        ("a", [1, 2, 1e39], "data row 3, column 'a': 1e+39 is too large; training had 1 to 4"),
        ("a", ["1", "1e39", "2"], "data row 2, column 'a': 1e+39 is too large"),
        ("c", ["yes", "no", "maybe"], "data row 3, column 'c': 'maybe' is neither 'no' nor 'yes'"),
        ("c", [0, 1, 2], "data row 3, column 'c': '2' is neither 'no' nor 'yes'"),
        (
            "d",
            ["2020-01-01", "soon", ""],
            "data row 2, column 'd': 'soon' is not a date such as 2020-",
        ),
        ("d", [20200101, 2, 3], "data row 1, column 'd': '20200101' is not a date"),
    ],
)
def test_a_cell_that_cannot_be_encoded_is_named(
    column: str, cells: list[Any], message: str
) -> None:
    encoder = TableEncoder().fit(TRAINING)
    columns: dict[str, Any] = {name: [None] * 3 for name in "abcd"}
    with pytest.raises(DataError, match=re.escape(f"new.csv, {message}")):
        encoder.transform(_table("new.csv", **{**columns, column: cells}))


def test_cells_of_several_columns_are_named_with_their_row_of_the_source() -> None:
    encoder = TableEncoder().fit(TRAINING)
    bad = _table(a=["1", "u"], b=["x", "x"], c=["v", "no"], d=["2020-01-01"] * 2)
    with pytest.raises(DataError) as caught:
        encoder.transform(replace(bad, first_row=101))
    assert str(caught.value) == (
        "data.csv, data row 102, column 'a': 'u' is not a number (1 of 2 cells); "
        "data.csv, data row 101, column 'c': 'v' is neither 'no' nor 'yes' (1 of 2 cells); correct "
        "the cells, or give texts that mean 'missing' as na (option --na)"
    )


def _rows(**columns: Any) -> Table:
    """Ten rows of gaps but for some columns."""
    return _table("new.csv", **({name: [None] * 10 for name in "abcd"} | columns))


@pytest.mark.parametrize(
    ("column", "cells", "message"),
    [
        (
            "a",
            ["1", "u", "3", "w", *"1234"],
            "'u' is not a number and counts as empty (2 such cells)",
        ),
        ("a", [1, -np.inf, *range(7)], "-inf is not a finite number and counts as empty"),
        ("c", ["yes", "v", *["no"] * 7], "'v' is neither 'no' nor 'yes' and counts as empty"),
        (
            "d",
            ["2020-01-01", "2020-31-31", "2020-02-02"],
            "'2020-31-31' is not a date such as 2020-02-02 and counts as empty",
        ),
    ],
)
def test_few_cells_that_do_not_fit_are_gaps_with_a_warning(
    column: str, cells: list[Any], message: str
) -> None:
    encoder = TableEncoder().fit(TRAINING)
    filler = np.nan if isinstance(cells[0], int) else None
    cells = [*cells, *[filler] * (10 - len(cells))]
    with pytest.warns(StrayCellWarning) as caught:
        encoded = encoder.transform(_rows(**{column: cells}))
    assert [str(each.message) for each in caught] == [
        f"new.csv, data row 2, column {column!r}: {message}"
    ]
    wrong = {"u", "w", "v", "2020-31-31", "-inf"}
    fits = [filler if str(cell) in wrong else cell for cell in cells]
    np.testing.assert_array_equal(encoded, encoder.transform(_rows(**{column: fits})))


def test_float64_takes_what_float32_cannot() -> None:
    encoder = TableEncoder(features=["a"], dtype="float64").fit(TRAINING)
    assert np.isfinite(encoder.transform(_table(a=[1e300]))).all()


def test_bad_cells_without_a_row_do_no_harm() -> None:
    encoder = TableEncoder().fit(TRAINING)
    for cell in ("u", "1e39"):
        bad = _table(a=["1", cell], b=["x", "x"], c=["no", "v"], d=["2020-01-01", "w"])
        assert encoder.transform(bad.take(np.array([0, 0]))).shape == (2, encoder.n_features_out_)


def test_columns_that_are_all_left_out_by_the_user() -> None:
    with pytest.raises(DataError, match="--drop names 'a', 'b', 'c', 'd'; keep one"):
        TableEncoder(drop=["a", "b", "c", "d"]).fit(TRAINING)
    with pytest.raises(DataError, match="--drop names 'a'; keep one"):
        TableEncoder(drop=["a"], features=["a"]).fit(TRAINING)


def test_an_order_of_dates_that_is_none() -> None:
    with pytest.raises(DataError, match="'d:ymd' gives the order 'ymd' for dates in 'd'; give dmy"):
        TableEncoder(date=["d:ymd"]).fit(TRAINING)


def test_a_stray_boolean_is_a_gap() -> None:
    encoder = TableEncoder().fit(_table(c=["yes", "yes", "no", None]))
    with pytest.warns(StrayCellWarning, match="'v' is neither 'no' nor 'yes' and counts as empty"):
        encoded = encoder.transform(_table(c=["no", "v", "no", "yes"]))
    np.testing.assert_array_equal(encoded, [[0, 0], [1, 1], [0, 0], [1, 0]])
