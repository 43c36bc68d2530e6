"""The kind of a column is found by all rows, its numbers by those that are learned from."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.column_type import ColumnType
from gpubp.tables.column_types.part_types import type_of_part
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.table import DataError, Table

NUMBERS = [str(k * k % 97) for k in range(60)]
FIRST = np.arange(40)


def _of_first(column: Column) -> ColumnType:
    return type_of_part("a", column.take(FIRST), column)


@pytest.mark.parametrize("row", [3, 50])
def test_a_stray_cell_is_a_gap_wherever_it_is(row: int) -> None:
    cells = [*NUMBERS[:row], "abc", *NUMBERS[row + 1 :]]
    found = _of_first(TextColumn.of(cells))
    assert (found.kind, found.strays) == ("number", ("abc",))
    assert found.gaps == (row < 40)
    assert found.statistics is not None
    kept = [float(cell) for cell in cells[:40] if cell != "abc"]
    assert found.statistics.mean == pytest.approx(np.mean(kept))
    assert any("'abc' in 1 row" in remark for remark in found.remarks)


def test_text_in_many_other_rows_makes_categories() -> None:
    found = _of_first(TextColumn.of(["1", "2"] * 20 + ["x", "y"] * 10))
    assert found.kind == "category"
    assert found.distinct == 2


def test_numbers_that_count_the_rows_are_ids_in_any_part() -> None:
    counted = NumberColumn(np.arange(100.0))
    part = counted.take(np.random.default_rng(0).permutation(100)[:80])
    assert type_of_part("n", part, counted).kind == "id"
    assert type_of_part("n", part, counted.take(np.arange(100)[::-1])).kind == "number"


def test_ids_are_found_among_rows_that_were_reordered() -> None:
    names = ("n", "a")
    table = Table({name: NumberColumn(np.arange(100.0)) for name in names}, 100, "t")
    table.columns["a"].values[7] = 40
    whole = table.reorder(np.random.default_rng(0).permutation(100))
    encoder = TableEncoder().fit(whole.rows(0, 80), whole=whole)
    assert [found.kind for found in encoder.types_] == ["id", "number"]


def test_an_error_names_the_first_row_of_the_source_among_reordered_ones() -> None:
    cells = [f"x{k % 7}" if k % 50 >= 20 and k % 5 == 0 else str(k) for k in range(100)]
    table = Table({"a": TextColumn.of(cells)}, 100, "t")
    for seed in range(3):
        whole = table.take(np.random.default_rng(seed).permutation(100))
        with pytest.raises(DataError, match=r"such as 'x6'.* in data row 21"):
            TableEncoder(numeric=["a"]).fit(whole.rows(0, 80), whole=whole)


def test_dates_are_read_as_all_rows_say() -> None:
    days = [f"{k % 12 + 1:02}/{k % 11 + 1:02}/2020" for k in range(40)]
    found = _of_first(TextColumn.of([*days, *["25/01/2020", "26/02/2020"] * 10]))
    assert (found.kind, found.order) == ("date", "dmy")


def test_the_encoder_takes_all_rows_by_whole() -> None:
    column = TextColumn.of([*NUMBERS[:50], "abc", *NUMBERS[51:]])
    whole = Table({"a": column}, 60, "t")
    encoder = TableEncoder().fit(whole.take(FIRST), whole=whole)
    Z = encoder.transform(whole)
    assert Z.shape == (60, 1)
    statistics = encoder.types_[0].statistics
    assert Z[50, 0] == pytest.approx((statistics.median - statistics.mean) / statistics.scale)


def test_infinite_numbers_are_told_without_a_warning() -> None:
    column = NumberColumn(np.full(40, np.inf))
    found = type_of_part("x", column.rows(0, 30), column)
    assert (found.kind, found.strays) == ("empty", ("inf",))


def _kinds(column: Column, *parts: np.ndarray) -> list[str]:
    return [type_of_part("id", column.take(part), column).kind for part in parts]


def test_the_kind_is_that_of_all_rows_whichever_are_learned_from() -> None:
    ids = np.append(np.random.default_rng(0).permutation(60), 5)  # 5 twice, so no ids
    assert _kinds(NumberColumn(ids), np.arange(60), np.arange(61)) == ["number", "number"]
    ids = np.random.default_rng(0).permutation(60)
    assert _kinds(NumberColumn(ids), np.arange(20), np.arange(60)) == ["id", "id"]
    days = np.array([20200101, 20200102, 20200103, 20200104, 20200105, 20201399] * 10)
    every = np.arange(60)
    dates = every[days != 20201399]
    assert _kinds(NumberColumn(days), dates, every) == ["number", "number"]
    assert _kinds(NumberColumn(days[dates]), np.arange(4), np.arange(50)) == ["date", "date"]


def test_a_constant_part_is_left_out() -> None:
    column = NumberColumn(np.repeat([1.0, 2.0], 40))
    assert _kinds(column, np.arange(40), np.arange(41)) == ["constant", "number"]


def test_booleans_stay_booleans_in_a_part_with_gaps() -> None:
    column = TextColumn.of(["yes", None] * 20 + ["no"] * 20)
    found = type_of_part("a", column.take(FIRST), column)
    assert (found.kind, found.gaps, found.distinct) == ("boolean", 20, 1)
    bits = NumberColumn(np.arange(60) % 3 > 0)
    assert _kinds(bits, np.arange(40)) == ["boolean"]
