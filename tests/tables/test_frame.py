"""Frames and arrays as tables; pandas, polars and pyarrow are no dependencies."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from gpubp.tables.column import NumberColumn
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.frame import as_table, missing_markers
from gpubp.tables.table import DataError, Table

NAN = float("nan")
DAY = datetime.datetime(2020, 1, 31, 12, 30)
COLUMNS: dict[str, list[Any]] = {
    "float": [1.5, None, 2.0],
    "integer": [1, 2, 3],
    "gaps": [1, None, 3],
    "text": ["a ", "n/a", None],
    "flag": [True, None, False],
    "time": [DAY, None, DAY.replace(month=3)],
    "day": [DAY.date(), None, DAY.date().replace(day=1)],
    "length": [datetime.timedelta(seconds=90), None, datetime.timedelta(0)],
    "large": [2**60, 1, 2],
    "nothing": [None, None, None],
}
CELLS = {
    "float": [1.5, NAN, 2.0],
    "integer": [1, 2, 3],
    "gaps": [1.0, NAN, 3.0],
    "text": ["a", "", ""],
    "flag": ["True", "", "False"],
    "time": ["2020-01-31T12:30:00", "", "2020-03-31T12:30:00"],
    "day": ["2020-01-31", "", "2020-01-01"],
    "length": [90e6, NAN, 0.0],
    "large": [str(2**60), "1", "2"],
    "nothing": ["", "", ""],
}


def _cells(table: Table) -> dict[str, list[Any]]:
    return {
        name: column.values.tolist()
        if isinstance(column, NumberColumn)
        else column.texts().tolist()
        for name, column in table.columns.items()
    }


def _same(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        assert repr(found[name]) == repr(expected[name]) or found[name] == expected[name], name


def _frame(library: str, columns: dict[str, list[Any]]) -> Any:
    module = pytest.importorskip(library, reason=f"needs {library}")
    if library == "pyarrow":
        return module.table(columns)
    return module.DataFrame(columns)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_frame_gives_the_table_of_a_file(library: str) -> None:
    found = _cells(as_table(_frame(library, COLUMNS)))
    numbers = {
        name: [float(c) if isinstance(c, int) else c for c in found[name]]
        for name in ("gaps", "length")
    }
    _same({**found, **numbers}, {**CELLS, "gaps": [1.0, NAN, 3.0], "length": [90e6, NAN, 0.0]})


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_cells_that_pandas_has_not(library: str) -> None:
    columns = {"price": [decimal.Decimal("1.50"), None], "clock": [datetime.time(3, 4), None]}
    _same(
        _cells(as_table(_frame(library, columns))), {"price": [1.5, NAN], "clock": ["03:04:00", ""]}
    )
    with pytest.raises(DataError, match=r"column 'a' has cells of type List.*flatten or drop it"):
        as_table(_frame(library, {"a": [[1], [2]]}))


def test_columns_of_pandas_alone() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    frame = pd.DataFrame(
        {
            "integer": pd.array([1, None], "Int64"),
            "flag": pd.array([True, None], "boolean"),
            "text": pd.array(["x", None], "string"),
            "kind": pd.Categorical(["u", None]),
            "zone": pd.to_datetime(["2020-01-01 05:00", None]).tz_localize("Europe/Berlin"),
            "mixed": pd.Series([1.0, "x"], dtype=object),
            "objects": pd.Series([1, None], dtype=object),
        }
    )
    expected = {
        "integer": [1.0, NAN],
        "flag": ["True", ""],
        "text": ["x", ""],
        "kind": ["u", ""],
        "zone": ["2020-01-01T04:00:00", ""],
        "mixed": ["1", "x"],
        "objects": [1.0, NAN],
    }
    _same(_cells(as_table(frame)), expected)
    numbered = pd.DataFrame([[1, 2]], columns=[0, "b"])
    assert as_table(numbered).names == ("0", "b")
    for names in (["a", "a"], [1, "1"]):
        with pytest.raises(DataError, match=r"X has several columns '1'|X cannot be read: .*'a'"):
            as_table(pd.DataFrame([[1, 2]], columns=names))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_an_encoder_takes_frames_by_name(library: str) -> None:
    columns = {"n": [1.0, 3.0] * 2, "c": ["x", "y"] * 2}
    encoder = TableEncoder().fit(_frame(library, columns))
    assert encoder.feature_names_in_.tolist() == ["n", "c"]
    later = _frame(library, {"c": ["y"], "new": [0], "n": [3.0]})
    np.testing.assert_array_equal(encoder.transform(later), [[1, 0, 1]])
    np.testing.assert_array_equal(encoder.transform({"c": ["y"], "n": [3]}), [[1, 0, 1]])


@pytest.mark.parametrize(
    ("array", "cells"),
    [
        (np.array([[1, 2], [3, 4]], np.int8), [[1, 3], [2, 4]]),
        (np.array([[1.5, NAN]], np.float32), [[1.5], [NAN]]),
        (np.array([["1.5", " x"], ["NA", "y"]]), [["1.5", ""], ["x", "y"]]),
        (np.array([[b"x"], [b"\xff"]]), [["x", "\ufffd"]]),
        (np.array([[1, "x"], [None, 2.0]], object), [[1.0, NAN], ["x", "2"]]),
        (np.array([[True, None], [1, None]], object), [["True", "1"], ["", ""]]),
        (np.array([[2**53 + 1, 10**400]], object), [["9007199254740993"], [str(10**400)]]),
        (np.array([[2**53 + 1, 5]]), [["9007199254740993"], [5]]),
        (np.array([["2020-01-31", "NaT"]], "M8[D]"), [["2020-01-31"], [""]]),
        (np.array([["2020-01-31T00:00:01"]], "M8[ns]"), [["2020-01-31T00:00:01"]]),
        (np.array([[1500, "NaT"]], "m8[ms]"), [[1.5e6], [NAN]]),
        ([["a", 1], ["b", 2.5]], [["a", "b"], ["1", "2.5"]]),
    ],
)
def test_an_array_gives_a_column_per_column(array: Any, cells: list[list[Any]]) -> None:
    names = [f"x{j}" for j in range(len(cells))]
    _same(_cells(as_table(array)), dict(zip(names, cells, strict=True)))


def test_numbers_of_an_array_are_not_copied() -> None:
    X = np.zeros((3, 2), np.float32)
    column = as_table(X, ["a", "b"]).columns["b"]
    assert isinstance(column, NumberColumn)
    assert np.shares_memory(column.values, X)


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (np.zeros((2, 2)), {"names": ["a"]}, DataError, "X has 2 columns for the names 'a'"),
        (np.zeros((2, 2)), {"names": ["a", "a"]}, DataError, "give one name per column"),
        (np.zeros(2), {}, ValueError, "Expected 2D array"),
        (np.zeros((1, 2, 2)), {}, ValueError, "dim"),
        (np.zeros((2, 0)), {}, ValueError, r"0 feature\(s\)"),
        (np.zeros((2, 2), complex), {}, ValueError, "Complex data not supported"),
        (sp.eye(3).tocsr(), {}, TypeError, "toarray"),
        (sp.eye(3).todok(), {}, TypeError, "toarray"),
        ({"a": [1], "b": [1, 2]}, {}, DataError, "columns of different lengths"),
    ],
)
def test_what_is_no_table(X: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_table(X, **options)


def test_markers_of_missing_values() -> None:
    assert "NA" in missing_markers(None)
    assert {"NA", "-999"} <= missing_markers(["-999"])
    assert missing_markers([""]) == {""}
    table = {"a": ["NA", "None", "x", ""], "b": [-999, 1, 2.5, 3], "c": [True] * 4}
    found = _cells(as_table(table, na=["x", "-999"]))
    _same(found, {"a": ["", "", "", ""], "b": [NAN, 1.0, 2.5, 3.0], "c": [True] * 4})
    assert _cells(as_table(table, na=[""]))["a"] == ["NA", "None", "x", ""]
    assert TableEncoder(na=["-999"]).fit(table).types_[1].gaps == 1


def test_an_encoder_needs_no_duckdb() -> None:
    code = (
        "import sys; from gpubp.tables.encoder import TableEncoder; "
        "TableEncoder().fit([[1, 'a'], [2, 'b']]); sys.exit('duckdb' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
