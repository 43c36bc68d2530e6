from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.column_types.find_type import ColumnError, ColumnType, as_text, find_type


def _text(*cells: Any) -> TextColumn:
    return TextColumn.of(cells)


def _type(column: TextColumn | NumberColumn, name: str = "a", **options: Any) -> ColumnType:
    return find_type(name, column, **options)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["red", "green", "red"], "category"),
        (["True", "False"], "boolean"),
        (["yes", "No", "YES", None], "boolean"),
        (["t", "f"], "boolean"),
        (["y", "n"], "boolean"),
        (["yes", "false"], "category"),
        (["yes", "no", "maybe"], "category"),
        (["True", None], "category"),
        (["1,5", "2,25"], "number"),
        (["2,288", "1"], "number"),
        (["12%", "5%"], "number"),
        (["01", "02"], "category"),
        (["9007199254740993", "2"], "category"),
        (["2020-01-31", "2020-02-29"], "date"),
        (["31.12.2020", "1.1.2021", None], "date"),
        (["2020-01-31", "2020-02-30"], "category"),
        (["2020-01-31", "2020/01/31"], "constant"),
        (["x", "x"], "constant"),
        (["x", None], "category"),
        ([None, ""], "empty"),
        ([f"C{i:03}" for i in range(30)], "id"),
        ([f"C{i:03}" for i in range(29)], "category"),
        ([*(f"C{i:03}" for i in range(95)), *["C001"] * 5], "id"),
        ([*(f"C{i:03}" for i in range(94)), *["C001"] * 6], "text"),
        ([f"name {i} of many" for i in range(40)], "text"),
        ([*(f"C{i:03}" for i in range(51)), *["x"] * 48], "text"),
        ([*(f"C{i:03}" for i in range(50)), *["x"] * 50], "category"),
        ([f"{i % 15}" + "long" * 20 for i in range(100)], "text"),
        ([f"{i % 10}" + "long" * 20 for i in range(100)], "category"),
    ],
)
def test_the_kind_of_text(cells: list[Any], kind: str) -> None:
    found = _type(TextColumn.of(cells))
    assert found.kind == kind
    assert found.used == (kind in ("number", "boolean", "category", "date"))


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("a", [1.5, 2, np.nan], "number"),
        ("a", [1, 0, 1], "number"),
        ("a", np.array([True, False]), "boolean"),
        ("a", np.array([True, True]), "constant"),
        ("a", [7, 7], "constant"),
        ("a", [7, np.nan], "number"),
        ("a", [np.nan, np.nan], "empty"),
        ("a", [], "empty"),
        ("a", np.arange(30), "id"),
        ("a", np.arange(29), "number"),
        ("a", np.arange(1000.0, 1040), "id"),
        ("a", np.arange(40) * 2, "number"),
        ("a", np.arange(1981, 2021), "number"),  # years
        ("a", np.arange(40)[::-1], "number"),
        ("a", np.arange(300, dtype=np.int32).astype(np.uint8), "number"),
        ("customer_id", np.arange(40)[::-1], "id"),
        ("PassengerId", np.arange(40)[::-1], "id"),
        ("paid", np.arange(40)[::-1], "number"),
        ("id", np.arange(40) // 2, "number"),
        ("id", np.arange(40) + 0.5, "number"),
        ("day", [20200131, 20200229, 20210101, 20210102, 20211231], "date"),
        ("day", [20200131, 20200230, 20210101, 20210102, 20211231], "number"),
        ("day", [20200131, 20200229, 20210101, 20210102], "number"),
    ],
)
def test_the_kind_of_numbers(name: str, values: Any, kind: str) -> None:
    assert _type(NumberColumn(np.asarray(values)), name).kind == kind


def test_counts_and_remarks_of_what_is_left_out() -> None:
    ids = _type(TextColumn.of([f"C{i:03}" for i in range(40)]))
    assert ids.distinct == 40
    assert ids.remarks == ("left out: all 40 values differ, as ids do",)
    rows = _type(NumberColumn(np.arange(40)), "row of it")
    assert rows.remarks == (
        "left out: all 40 values differ, as ids do; use --numeric 'row of it' if they are numbers",
    )
    assert _type(NumberColumn(np.arange(40)), "row of it", asked="number").used
    texts = [f"a text of {i}" for i in range(1200)]
    assert _type(TextColumn.of([*texts, None])).remarks == (
        "left out: 1,200 different texts in 1,200 rows, such as 'a text of 0'",
    )
    assert _type(_text("x", "x")).remarks == ("left out: 'x' in every row",)
    assert _type(_text(None)).remarks == ("left out: no cell has a value",)


def test_values_without_a_row_do_not_count() -> None:
    column = _text("x", "1", "2", "1").take(np.array([1, 2, 3]))
    found = _type(column)
    assert (found.kind, found.distinct, found.gaps) == ("number", 2, 0)


def test_numbers_in_text_have_the_statistics_of_their_rows() -> None:
    found = _type(_text("1,5", "1,5", "4,5", None))
    assert found.decimal == ","
    assert found.gaps == 1
    assert found.statistics is not None
    assert found.statistics.mean == 2.5
    assert found.remarks == ("'1,5' is read as 1.5",)


def test_an_ambiguous_comma_names_the_option() -> None:
    doubt = "'1,066' could be 1066 or 1.066: read as 1066; --decimal , reads 1.066"
    assert _type(_text("2,288", "1,066")).remarks == (doubt,)
    found = _type(_text("2,288", "1,066"), decimal=",")
    assert found.remarks == ("'1,066' is read as 1.066",)
    assert found.statistics is not None
    assert found.statistics.high == 2.288


def test_few_strays_among_numbers_are_gaps() -> None:
    cells = [str(i) for i in range(30)]
    found = _type(_text(*cells, *["unknown"] * 12))
    assert (found.kind, found.gaps, found.strays) == ("number", 12, ("unknown",))
    assert found.remarks == ("'unknown' in 12 rows is not a number and counts as a gap",)
    # Too many rows, too many texts, too few numbers.
    assert _type(_text(*cells, *["unknown"] * 13)).kind != "number"
    assert _type(_text(*cells * 9, "u", "v", "w", "x")).kind != "number"
    assert _type(_text(*cells[:9], "x")).kind != "number"


def test_a_number_beyond_float64_is_a_gap() -> None:
    cells = [f"{i / 8}" for i in range(30)]
    for huge in ("1e400", "-1e400", "9" * 400):
        found = _type(_text(*cells, huge))
        assert (found.kind, found.gaps, found.strays) == ("number", 1, (huge,))
        assert found.remarks[0].endswith(
            "in 1 row is not a number that float64 holds and counts as a gap"
        )
    # Codes are codes, with such a number among them too.
    codes = [f"{i:02}" for i in range(40)]
    assert _type(_text(*codes)).kind != "number"
    assert _type(_text("1e400", *codes)).kind != "number"
    with pytest.raises(ColumnError, match="has no number that float64 holds in 4 of 34 cells"):
        _type(_text(*cells, *(f"1e{i}" for i in range(400, 404))), asked="number")


def test_few_strays_among_dates_are_gaps() -> None:
    found = _type(_text(*(f"{day}.3.2020" for day in range(1, 21)), "later"))
    assert (found.kind, found.order, found.strays, found.gaps) == ("date", "dmy", ("later",), 1)
    assert found.remarks == (
        "day before month, as 13.3.2020 shows",
        "'later' in 1 row is not a date and counts as a gap",
    )


def test_sentinels_are_pointed_out() -> None:
    values = np.append(np.linspace(-5, 40, 50), [-999] * 12)
    remark = "-999 in 12 rows is an outlier: give it as na (--na) if it means missing"
    assert _type(NumberColumn(values)).remarks == (remark,)
    assert _type(NumberColumn(np.append(values[:50], -998))).remarks == ()
    days = [f"2020-01-{day:02}" for day in range(1, 31)]
    far = "9999-12-31 in 2 rows is an outlier: give it as na (--na) if it means missing"
    assert _type(_text(*days, "9999-12-31", "9999-12-31")).remarks == (far,)
    # float64 does not have the last digit of these microseconds.
    assert "0001-01-01 00:00:00.000001 in 1 row is an outlier" in str(
        _type(_text(*days, "0001-01-01 00:00:00.000001")).remarks
    )


def test_an_assumed_order_names_the_option() -> None:
    column = _text("05/02/2020", "02/11/2020")
    assert _type(column, "when").remarks == (
        "day before month is assumed in 02/11/2020, as no value shows the order; "
        "otherwise give --date 'when:mdy'",
    )
    assert _type(column, "when", asked="date", order="mdy").remarks == ()


@pytest.mark.parametrize(
    ("values", "rows", "said"),
    [
        ([80331, 1067, 10115, 20095, 50667], 200, True),
        ([80331, 1067, 10115, 20095, 50667], 100, False),  # too few rows
        (list(range(10115, 10136)), 210, False),  # 21 different ones
        ([80331, 967, 10115], 102, False),
        ([9999, 1067, 5555], 102, False),  # four digits
        ([100331, 10115], 102, False),
        ([80331.5, 10115], 102, False),
        ([20000, 35000, 49900], 102, False),  # wages
    ],
)
def test_whole_numbers_that_may_be_codes(values: list[float], rows: int, said: bool) -> None:
    column = NumberColumn(np.resize(np.array(values), rows))
    remark = f"{len(values)} distinct whole numbers; --categorical 'the zip' if they are codes"
    assert _type(column, "the zip").remarks == ((remark,) if said else ())
    assert _type(column, "the zip", asked="number").remarks == ()


def test_a_usual_word_for_a_gap_needs_no_remark() -> None:
    found = _type(_text(*map(str, range(30)), "N/a", "k.A.", "soon"))
    assert found.strays == ("N/a", "k.A.", "soon")
    assert found.remarks == ("'soon' in 1 row is not a number and counts as a gap",)


def test_infinite_numbers_are_gaps() -> None:
    found = _type(NumberColumn(np.array([1, -np.inf, np.nan, np.inf, 4, np.inf])))
    assert (found.kind, found.gaps, found.strays) == ("number", 4, ("-inf", "inf"))
    assert found.statistics is not None
    assert (found.statistics.low, found.statistics.median) == (1, 2.5)
    assert found.remarks == (
        "-inf in 1 row is not a finite number and counts as a gap",
        "inf in 2 rows is not a finite number and counts as a gap",
    )
    assert _type(NumberColumn(np.array([np.inf, np.inf]))).kind == "empty"


def test_the_user_decides_on_the_kind() -> None:
    assert _type(NumberColumn(np.array([1, 2, 1])), asked="category").kind == "category"
    assert _type(NumberColumn(np.arange(40)), asked="number").kind == "number"
    assert _type(_text("01", "02"), asked="number").kind == "number"
    assert _type(_text("1,5", "2,5"), asked="category").kind == "category"
    assert _type(TextColumn.of([f"C{i}" for i in range(99)]), asked="category").kind == "category"
    digits = NumberColumn(np.array([20200131, 20200229]))
    assert _type(digits, asked="date").order == "compact"


@pytest.mark.parametrize(
    ("column", "asked", "message", "row"),
    [
        (_text("1", "b", "2", "b"), "number", "has no number in 2 of 4 cells, such as 'b'", 1),
        (_text(None, "b"), "date", "has no date in 1 of 1 cells, such as 'b'", 1),
        (NumberColumn(np.array([1, 7])), "date", "has no date in 2 of 2 cells, such as '1'", 0),
        (NumberColumn(np.array([-1e308, 1e308])), None, "too wide for float64", None),
    ],
)
def test_a_column_that_cannot_be_used(
    column: TextColumn, asked: Any, message: str, row: int | None
) -> None:
    with pytest.raises(ColumnError) as caught:
        find_type("a", column, asked=asked)
    assert message in str(caught.value)
    assert caught.value.row == row


def test_numbers_as_text_are_sorted_by_code_points() -> None:
    column = as_text(NumberColumn(np.array([10, 9, np.nan, 0.5, 10])))
    assert column.values.tolist() == ["0.5", "10", "9"]
    assert_array_equal(column.codes, [1, 2, -1, 0, 1])
    assert as_text(column) is column
