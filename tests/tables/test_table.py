"""Columns of numbers and of coded text, rows taken from tables, and messages about places."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.tables.column import MISSING, NumberColumn, TextColumn
from gpubp.tables.table import DataError, Table, listed


def _table(**columns) -> Table:
    return Table(columns, len(next(iter(columns.values()))), "some.csv")


def test_text_is_coded_by_its_sorted_values_and_stripped():
    column = TextColumn.of(["b", " a", None, "NA", "b ", float("nan"), "B"])
    assert column.values.tolist() == ["B", "a", "b"]
    assert column.codes.tolist() == [2, 1, -1, -1, 2, -1, 0]
    assert column.codes.dtype == np.int32
    assert column.texts("?").tolist() == ["b", "a", "?", "?", "b", "?", "B"]
    assert column.counts().tolist() == [1, 1, 2]
    assert column.is_gap().tolist() == [False, False, True, True, False, True, False]
    assert [column.cell(row) for row in (0, 2)] == ["b", ""]


def test_used_values_are_those_of_some_row():
    column = TextColumn.of(["b", "a", None, "c"]).take(np.array([2, 3, 0]))
    used = column.used()
    assert used.values.tolist() == ["b", "c"]
    assert used.codes.tolist() == [-1, 1, 0]
    assert used.codes.dtype == np.int32
    assert used.used() is used


@pytest.mark.parametrize("text", sorted(MISSING))
def test_each_text_of_the_built_in_list_is_a_gap(text):
    assert TextColumn.of([text, "x"]).codes.tolist() == [-1, 0]


def test_a_list_of_ones_own_takes_the_place_of_the_built_in_one():
    column = TextColumn.of(["NA", "", "none"], missing=("none",))
    assert column.values.tolist() == ["", "NA"]
    assert column.codes.tolist() == [1, 0, -1]


def test_text_of_no_rows_has_no_values():
    column = TextColumn.of([])
    assert (len(column), len(column.values), column.codes.dtype) == (0, 0, np.int32)


@pytest.mark.parametrize(
    ("values", "gaps"),
    [([1.5, np.nan], [False, True]), ([1, 2], [False, False]), ([True, False], [False, False])],
)
def test_nan_is_the_gap_of_numbers(values, gaps):
    column = NumberColumn(np.array(values))
    assert column.is_gap().tolist() == gaps
    assert [column.cell(row) == "" for row in (0, 1)] == gaps


def test_rows_are_views_and_know_their_places():
    table = _table(x=NumberColumn(np.arange(5.0)), t=TextColumn.of("abcab"))
    part = table.rows(1, 4)
    assert len(part) == 3
    assert np.shares_memory(part.columns["x"].values, table.columns["x"].values)
    assert part.column("t").texts().tolist() == ["b", "c", "a"]
    assert part.where(0, "x") == "some.csv, data row 2, column 'x'"
    assert part.rows(1, 9).where(1) == "some.csv, data row 4"
    assert len(table.rows(4, 2)) == 0


def test_taken_rows_keep_their_places():
    table = _table(x=NumberColumn(np.arange(5.0)), t=TextColumn.of("abcab"))
    taken = table.rows(1, 5).take(np.array([3, 0]))
    assert taken.column("x").values.tolist() == [4, 1]
    assert taken.where(0) == "some.csv, data row 5"
    assert taken.take(np.array([1])).where(0) == "some.csv, data row 2"
    assert taken.rows(1, 2).where(0) == "some.csv, data row 2"


def test_reordered_rows_stay_in_their_memory_and_keep_their_places():
    table = _table(x=NumberColumn(np.arange(3.0)), t=TextColumn.of("abc"))
    memory = table.columns["x"].values
    ordered = table.reorder(np.array([2, 0, 1]))
    assert np.shares_memory(ordered.columns["x"].values, memory)
    assert ordered.columns["x"].values.tolist() == [2, 0, 1]
    assert ordered.columns["t"].texts().tolist() == ["c", "a", "b"]
    assert [ordered.where(row) for row in (0, 1)] == [
        "some.csv, data row 3",
        "some.csv, data row 1",
    ]


def test_rows_that_cannot_be_written_are_copied_to_be_reordered():
    values = np.arange(3.0)
    values.flags.writeable = False
    assert NumberColumn(values).reorder(np.array([1, 0, 2])).values.tolist() == [1, 0, 2]
    assert values.tolist() == [0, 1, 2]


def test_selected_columns_come_in_the_order_asked_for():
    table = _table(a=NumberColumn(np.zeros(1)), b=NumberColumn(np.ones(1)))
    assert table.select(["b", "a"]).names == ("b", "a")


def test_missing_columns_come_with_the_nearest_names():
    table = _table(Age=NumberColumn(np.zeros(1)), income=NumberColumn(np.ones(1)))
    with pytest.raises(DataError, match=r"has no column 'age'; did you mean 'Age'\?"):
        table.column("age")
    with pytest.raises(DataError, match=r"lacks 2 columns 'p', 'q'; it has 'Age', 'income'"):
        table.select(["p", "q"])


def test_long_lists_are_cut_and_counted():
    assert listed([f"x{j}" for j in range(12)], 2) == "'x0', 'x1' and 10 more"
