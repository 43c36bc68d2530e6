"""Typed columns: matrices, labels, missing names and the place of a bad cell."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.tables.table import DataError, Table


def _table(X, names=None, lines=None, first_row=0, **others):
    names = tuple(names or (f"x{j}" for j in range(X.shape[1])))
    columns = {name: np.asarray(column) for name, column in others.items()}
    every = (*names, *columns)
    return Table(every, X, columns, "some.csv", every, tuple(columns), lines, first_row)


def test_matrix_picks_columns_in_the_order_asked_for():
    X = np.arange(12.0).reshape(3, 4)
    table = _table(X)
    for js in ([0, 1, 2, 3], [1, 2], [3, 0], [2]):
        got = table.matrix([f"x{j}" for j in js])
        np.testing.assert_array_equal(got, X[:, js])
        assert got.flags.c_contiguous
        assert got.dtype == np.float64


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("float16", "float32"),
        (">f8", "float64"),
        ("uint8", "float32"),
        ("int64", "float64"),
        ("bool", "float32"),
    ],
)
def test_matrix_without_dtype_is_the_narrower_float_that_holds_the_columns(stored, expected):
    X = np.asfortranarray(np.array([[1, 0, 1], [0, 1, 1]]).astype(stored))
    got = _table(X).matrix(("x0", "x1", "x2"), None)
    assert got.dtype == np.dtype(expected)
    assert got.dtype.isnative
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, [[1, 0, 1], [0, 1, 1]])


def test_matrix_of_the_whole_float32_block_copies_nothing():
    X = np.ones((5, 3), np.float32)
    assert np.shares_memory(_table(X).matrix(("x0", "x1", "x2"), None), X)


def test_matrix_mixes_the_block_with_other_numeric_columns():
    table = _table(np.array([[1.5], [2.5]]), y=np.array([3, 4]), z=np.array([True, False]))
    got = table.matrix(("y", "x0", "z"))
    np.testing.assert_array_equal(got, [[3, 1.5, 1], [4, 2.5, 0]])
    assert got.flags.c_contiguous


def test_rows_keep_their_place_in_the_source():
    table = _table(np.array([[1.0], [2.0], [np.nan]]), first_row=10, y=["a", "b", "c"])
    part = table.rows(1, 3)
    assert len(part) == 2
    assert part.labels("y").tolist() == ["b", "c"]
    with pytest.raises(
        DataError, match=r"some.csv, row 12 \(counted from 0\), column 'x0': nan is not a finite"
    ):
        part.matrix(("x0",))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_number_that_is_not_finite_is_named_with_line_and_column(value, dtype):
    X = np.ones((4, 3), dtype)
    X[2, 1] = value
    table = _table(X, lines=np.array([2, 3, 5, 6]))
    with pytest.raises(DataError, match=f"some.csv, line 5, column 'x1': {value!r} is not a fini"):
        table.matrix(("x0", "x1", "x2"), dtype)
    np.testing.assert_array_equal(table.matrix(("x0", "x2")), np.ones((4, 2)))


def test_a_number_beyond_float32_is_an_error_in_float32_only():
    table = _table(np.array([[1.0], [1e300]]), lines=np.array([2, 3]))
    with pytest.raises(DataError, match=r"line 3, column 'x0': 1e\+300 is out of the range of fl"):
        table.matrix(("x0",), np.float32)
    assert table.matrix(("x0",))[1, 0] == 1e300


@pytest.mark.parametrize("cell", ["", "abc", "n/a", "a,5", "1_000", "١"])
def test_the_first_cell_that_is_no_number_is_named(cell):
    city = np.array(["1", cell, "x"], dtype=object)
    table = _table(np.ones((3, 1)), lines=np.array([2, 7, 8]), age=city)
    with pytest.raises(
        DataError,
        match=f"some.csv, line 7, column 'age': '{cell}' is not a number; fill in or remove the ro",
    ):
        table.matrix(("x0", "age"))


def test_a_column_of_words_is_to_be_encoded():
    table = _table(np.ones((2, 1)), lines=np.array([2, 3]), city=["Paris", "Rome"])
    with pytest.raises(DataError, match="line 2, column 'city': 'Paris' is not a number; encode"):
        table.matrix(("city",))


def test_text_that_is_all_numbers_can_be_a_matrix():
    table = _table(np.ones((2, 1)), code=["1.5", "-2e3"])
    np.testing.assert_array_equal(table.matrix(("code",)), [[1.5], [-2000]])


def test_labels_keep_text_and_make_whole_numbers_int():
    table = _table(
        np.array([[0.0, 0.5], [2.0, 1.0]]),
        word=np.array(["a", "bcd"], dtype=object),
        flag=np.array([True, False]),
        small=np.array([3, 250], np.uint8),
    )
    expected = {"x0": [0, 2], "x1": [0.5, 1.0], "word": ["a", "bcd"], "flag": [True, False]}
    for name, values in expected.items():
        assert table.labels(name).tolist() == values
    kinds = {"x0": "i", "x1": "f", "word": "U", "flag": "b", "small": "u"}
    for name, kind in kinds.items():
        assert table.labels(name).dtype.kind == kind


def test_labels_too_large_for_exact_integers_stay_floats():
    assert _table(np.array([[1e300], [1.0]])).labels("x0").tolist() == [1e300, 1.0]


def test_a_blank_label_and_a_nan_label_are_named():
    lines = np.array([2, 3])
    table = _table(np.array([[1.0], [np.nan]]), lines=lines, word=np.array(["a", ""], object))
    with pytest.raises(DataError, match=r"some.csv, line 3, column 'word' is blank; fill in or"):
        table.labels("word")
    with pytest.raises(DataError, match=r"some.csv, line 3, column 'x0': nan is not a finite"):
        table.labels("x0")


def test_missing_columns_come_with_the_nearest_names():
    table = _table(np.ones((2, 3)), names=("price", "area", "ROOMS"))
    with pytest.raises(DataError, match=r"some.csv has no column 'prize'; did you mean 'price'\?"):
        table.matrix(("area", "prize"))
    with pytest.raises(DataError, match=r"no column 'rooms'; did you mean 'ROOMS'\?"):
        table.labels("rooms")
    with pytest.raises(DataError, match="no column 'zzz'; it has 'price', 'area', 'ROOMS'"):
        table.column("zzz")


def test_many_missing_columns_are_counted():
    table = _table(np.ones((2, 1)), names=("q",))
    names = [f"wave{j}" for j in range(14)]
    with pytest.raises(DataError, match=r"no 14 columns 'wave0', .*'wave9' and 4 more; it has 'q'"):
        table.matrix(names)


def test_taken_rows_keep_their_places() -> None:
    numbers = np.array([[1.0], [2.0], [np.nan]])
    table = Table(("a",), numbers, {}, "x.npz", ("a",), first_row=10).take(np.array([2, 0]))
    assert table.column("a").tolist()[1] == 1.0
    with pytest.raises(DataError, match=r"x\.npz, row 12 \(counted from 0\), column 'a'"):
        table.matrix(("a",))
    lines = np.array([2, 3, 5])
    table = Table(("a",), numbers, {}, "x.csv", ("a",), lines=lines).take(np.array([1, 2]))
    with pytest.raises(DataError, match="line 5"):
        table.rows(1, 2).matrix(("a",))
