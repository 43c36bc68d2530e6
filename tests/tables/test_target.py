"""The target of a table: its columns, its task, its cells as labels or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.known_labels import class_indices
from gpubp.tables.table import DataError, Table
from gpubp.tables.target import (
    check_targets,
    infer_task,
    labels_of,
    numbers_of,
    resolve_targets,
    rows_with_target,
    without_targets,
)


def column(cells: Any) -> Column:
    cells = list(cells)
    if any(isinstance(cell, str) for cell in cells):
        return TextColumn.of(cells)
    return NumberColumn(np.array(cells, np.float64))


def table_of(**columns: Any) -> Table:
    made = {name: column(cells) for name, cells in columns.items()}
    return Table(made, len(next(iter(made.values()))), "data.csv", (list(made)[-1],))


# Which columns.


def test_targets_and_features() -> None:
    table = table_of(a=[1, 2], price=[3, 4], y=[5, 6])
    assert resolve_targets(table, None) == ("y",)
    assert resolve_targets(table, ["price", "a"]) == ("price", "a")
    assert without_targets(table, ("price",)).names == ("a", "y")
    with pytest.raises(DataError, match=r"data.csv has no column 'prise'; did you mean 'price'\?"):
        resolve_targets(table, ["prise"])
    with pytest.raises(DataError, match="targets are 'a', 'a'; give every column only once"):
        resolve_targets(table, ["a", "a"])
    with pytest.raises(DataError, match=r"data.csv has only the target 'y' and no other"):
        without_targets(table_of(y=[1, 2]), ("y",))


def test_targets_of_arrays_are_never_features() -> None:
    columns = {name: NumberColumn(np.ones(4)) for name in ("x0", "x1", "y0", "y1")}
    table = Table(columns, 4, "data.npz", ("y0", "y1"), only_targets=True)
    assert resolve_targets(table) == ("y0", "y1")
    assert without_targets(table, ("y0",)).names == ("x0", "x1")
    assert without_targets(table, ("x0",)).names == ("x1",)
    with pytest.raises(DataError, match=r"data.npz has no target; add an array y"):
        resolve_targets(Table({"x0": columns["x0"]}, 4, "data.npz"))


def test_rows_without_a_target_are_left_out_and_counted() -> None:
    table = table_of(a=[1, 2, 3, 4], y=["u", "NA", "v", ""], z=[1, 2, np.nan, 4])
    rows, left_out = rows_with_target(table, ["y"])
    assert (left_out, len(rows)) == (2, 2)
    assert rows.columns["a"].values.tolist() == [1, 3]
    assert rows.where(1, "y") == "data.csv, data row 3, column 'y'"
    rows, left_out = rows_with_target(table, ["y", "z"])
    assert (left_out, rows.columns["a"].values.tolist()) == (3, [1])
    whole, left_out = rows_with_target(table, ["a"])
    assert (whole is table, left_out) == (True, 0)


def test_markers_that_the_user_has_named() -> None:
    table = Table({"y": TextColumn.of(["yes", "no", "yes"], {"yes"})}, 3, "data.csv", ("y",))
    rows, _ = rows_with_target(table, ("y",))
    with pytest.raises(DataError, match=r"'no' \(2 rows with 'yes' taken as missing; see --na\);"):
        check_targets(rows, ("y",), "classification")


def test_no_row_has_a_target() -> None:
    with pytest.raises(DataError, match=": the target 'y' is missing in every row"):
        rows_with_target(table_of(a=[1, 2], y=["NA", ""]), ["y"])
    with pytest.raises(DataError, match=r"row \(1 row with 'NA' taken as missing; --na '' keeps"):
        rows_with_target(table_of(a=[1, 2], y=["NA", ""]), ["y"])
    with pytest.raises(DataError, match="one of the targets 'a', 'y' is missing in every row"):
        rows_with_target(table_of(a=[1, np.nan], y=[np.nan, 1]), ["a", "y"])


# Which task.


@pytest.mark.parametrize(
    ("target", "task", "reason"),
    [
        ([0, 1] * 5, "classification", "2 distinct whole numbers in 10 rows, taken as classes; "),
        ([-1, 7, 7], "classification", "2 distinct whole numbers in 3 rows, taken as classes; "),
        ([0.5, 1.5] * 20, "classification", "2 distinct numbers in 40 rows, taken as classes; "),
        ([1, 2, 3] * 20, "classification", "3 distinct whole numbers in 60 rows, taken as cl"),
        ([0, 1, 2] * 20, "classification", "3 distinct whole numbers in 60 rows, taken as cl"),
        ([2, 3, 4] * 20, "regression", "3 distinct whole numbers in 60 rows; --task classif"),
        ([0, 1, 3] * 20, "regression", "3 distinct whole numbers in 60 rows; --task classif"),
        ([0, 1, 2] * 20 + [2], "classification", "3 distinct whole numbers in 61 rows, taken as"),
        ([0, 1, 2] * 19 + [1, 2], "regression", "3 distinct whole numbers in 59 rows; --task cl"),
        (list(range(100)) * 20, "classification", "100 distinct whole numbers in 2000 rows, ta"),
        (list(range(101)) * 20, "regression", "101 distinct whole numbers in 2020 rows; --task"),
        ([3] * 40, "regression", "1 distinct whole number in 40 rows; --task classification"),
        ([0.5, 1, 2.5] * 20, "regression", "3 distinct numbers in 60 rows"),
        (["1", "2", "3"] * 20, "classification", "3 distinct whole numbers in 60 rows, taken "),
        (["1.5", "2", "3"] * 20, "regression", "3 distinct numbers in 60 rows"),
        (["2,288", "1,100", "3,000"] * 2, "regression", "3 distinct whole numbers in 6 rows ("),
        (["True", "False"] * 3, "classification", "is text"),
        (["1", "2", "3+"] * 2, "classification", "is text"),
        (["01", "02"] * 2, "classification", "is text"),
    ],
)
def test_the_task_of_a_column(target: list[Any], task: str, reason: str) -> None:
    got, line = infer_task(table_of(a=range(len(target)), y=target), ("y",))
    assert got == task
    assert line.startswith(("target 'y' has " if "text" not in reason else "target 'y' ") + reason)


def test_the_reason_names_the_option() -> None:
    table = table_of(a=range(60), y=[0, 1, 2] * 20)
    assert infer_task(table, ("y",))[1].endswith("classes; --task regression predicts numbers")
    assert infer_task(table, ("a",))[1].endswith("; --task classification predicts classes")


def test_a_target_taken_by_default_is_said() -> None:
    table = table_of(a=[1, 2], y=["u", "v"])
    line = infer_task(table, ("y",), by_default=True)[1]
    assert line == "target 'y' (the last column; --target names another) is text"
    arrays = Table(table.columns, 2, "data.npz", ("y",), only_targets=True)
    assert infer_task(arrays, ("y",), by_default=True)[1] == "target 'y' is text"


def test_numbers_with_separators_are_said() -> None:
    line = infer_task(table_of(a=range(3), y=["2,288", "3,100", "950"]), ("y",))[1]
    doubt = "('2,288' could be 2288 or 2.288: read as 2288; --decimal , reads 2.288); --task"
    assert doubt in line
    line = infer_task(table_of(a=range(3), y=["2,5", "3,25", "0,5"]), ("y",))[1]
    assert ", such as '0,5', read as 0.5" in line


def test_several_targets_are_a_regression() -> None:
    table = table_of(a=[1, 2], y=[0, 1], z=[0, 1])
    assert infer_task(table, ("y", "z")) == ("regression", "2 targets: 'y', 'z'")


def test_a_stray_cell_among_many_numbers_is_an_error_not_a_class() -> None:
    values = [f"{v / 10}" for v in range(40)]
    values[17] = "n.b."
    with pytest.raises(
        DataError, match=r"data.csv, data row 18, column 'y': 'n.b.' is not a number, "
    ):
        infer_task(table_of(a=range(40), y=values), ("y",))
    values[17] = "n/a"  # which is a gap
    assert infer_task(table_of(a=range(40), y=values), ("y",))[0] == "regression"


def test_text_that_is_half_numbers_is_labels() -> None:
    words = [f"w{j}" for j in range(11)]
    half = table_of(a=range(22), y=[*words, *map(str, range(11))])
    assert infer_task(half, ("y",)) == ("classification", "target 'y' is text")
    more = table_of(a=range(22), y=[*words[:9], *map(str, range(13))])
    with pytest.raises(DataError, match=r"data row 1, column 'y': 'w0' is not a number"):
        infer_task(more, ("y",))


# Labels.


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["b", "a", "b"], np.array(["b", "a", "b"])),
        (["2", "-1", "10"], np.array([2, -1, 10])),
        (["01", "2"], np.array(["01", "2"])),
        (["1.0", "2"], np.array(["1.0", "2"])),
        (["+1", "2"], np.array(["+1", "2"])),
        (["9007199254740993", "9007199254740992"], np.array([2**53 + 1, 2**53])),
        (["9223372036854775807", "1"], np.array([2**63 - 1, 1])),
        (["9223372036854775808", "1"], np.array(["9223372036854775808", "1"])),
        ([3.0, 1.0], np.array([3, 1])),
        ([0.5, 1.0], np.array(["0.5", "1.0"])),
        ([2.0**53, 1.0], np.array([2**53, 1])),
        ([1e30, 1.0], np.array(["1e+30", "1.0"])),
        (["True", "False"], np.array(["True", "False"])),
    ],
)
def test_labels_are_as_they_were_written(cells: list[Any], labels: np.ndarray) -> None:
    got = labels_of(column(cells))
    assert_array_equal(got, labels)
    assert got.dtype.kind == labels.dtype.kind


@pytest.mark.parametrize("dtype", ["i1", "u4", "i8", "u8", "f4", "b1"])
def test_labels_of_numbers_of_any_dtype(dtype: str) -> None:
    got = labels_of(NumberColumn(np.array([1, 0, 1]).astype(dtype)))
    assert_array_equal(got, np.array([1, 0, 1]), strict=True)


def test_values_that_no_row_has_are_no_labels() -> None:
    text = TextColumn.of(["1", "2", "x"]).rows(0, 2)
    assert_array_equal(labels_of(text), np.array([1, 2]), strict=True)


@pytest.mark.parametrize("cells", [["a", ""], [1.0, np.nan]])
def test_a_gap_is_no_label(cells: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"row 1 \(from 0\) has no label"):
        labels_of(column(cells))


@pytest.mark.parametrize(
    ("classes", "cells", "places", "unknown"),
    [
        (np.array(["a", "b"]), ["b", "x", "a"], [1, 2, 0], ["x"]),
        (np.array([1, 2]), ["2", "1.0", "3"], [1, 0, 2], ["3"]),
        (np.array([1, 2]), [2.0, 1.0, 1.5], [1, 0, 2], ["1.5"]),
        (np.array([1.0, 2.0]), ["2", "1.0"], [1, 0], []),
        (np.array(["1", "2", "3+"]), [2.0, 1.0], [1, 0], []),
        (np.array(["01", "02"]), ["02", "1", "2"], [1, 2, 3], ["1", "2"]),
        (np.array([False, True]), ["True", "False"], [1, 0], []),
        (np.array([False, True]), [1.0, 0.0], [1, 0], []),
        (np.array([2**53, 2**53 + 1]), ["9007199254740993"], [1], []),
        (np.array(["u", "v"], object), ["v"], [1], []),
    ],
)
def test_places_of_labels(
    classes: np.ndarray, cells: list[Any], places: list[int], unknown: list[str]
) -> None:
    got, others = class_indices(table_of(y=cells), "y", classes)
    assert (got.tolist(), others) == (places, unknown)


def test_no_known_label_at_all() -> None:
    message = "data.csv: column 'y' has labels such as 'x', but the model was trained"
    with pytest.raises(DataError, match=message):
        class_indices(table_of(y=["x", "y"]), "y", np.array([1, 2]))


@pytest.mark.parametrize(
    ("cells", "classes", "expected"),
    [
        ([2.0, 1.0], ["1.0", "2.0"], [1, 0]),  # a CSV file, and the same as a frame
        ([1.5, 2.0], ["1.50", "2"], [0, 1]),
        ([1.0, 2.0], ["1.0", "1.00", "2"], [3, 2]),  # which of the two?
        (["1_000", "0"], [0, 1000], [2, 0]),
        (["9007199254740993", "0"], [0, 2**53], [2, 0]),
        (["9007199254740993", "0"], [0, 2**53 + 1], [1, 0]),
        (["01", "0"], [0, 1], [2, 0]),  # a code
        (["true", "False"], [False, True], [1, 0]),
        (["True", "False"], ["false", "true"], [1, 0]),
        (["1.0", "2"], ["1", "2"], [2, 1]),  # text is as it is written
    ],
)
def test_labels_that_are_written_otherwise(cells: Any, classes: Any, expected: list[int]) -> None:
    found, _ = class_indices(table_of(y=cells), "y", np.array(classes))
    assert found.tolist() == expected


# Numbers.


def test_numbers() -> None:
    table = table_of(a=["2,288", "1.5"], y=[1, 2])
    assert_array_equal(numbers_of(table, ["y", "a"]), [[1, 2288], [2, 1.5]], strict=True)
    commas = Table({"a": TextColumn.of(["2,288", "1,5"])}, 2, "data.csv", decimal=",")
    assert_array_equal(numbers_of(commas, ["a"]), [[2.288], [1.5]])
    codes = table_of(y=["01", "1700000000000000001", "10006062850343884328956262"])
    assert_array_equal(numbers_of(codes, ["y"]).ravel(), [1, 1.7e18, 10006062850343884328956262.0])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1", "b", "a"],
            "data.csv, data row 3, column 'y': 'a' is not a number, which a regression",
        ),
        (["1", ""], "data.csv, data row 2, column 'y': the target is missing; leave the row out"),
        ([1, np.nan], "data.csv, data row 2, column 'y': the target is missing; leave the row out"),
        ([1, np.inf], "data.csv, data row 2, column 'y': inf is not a finite number"),
    ],
)
def test_cells_that_are_no_numbers(cells: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        numbers_of(table_of(y=cells), ["y"])


# What can be learned.


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        (["u"] * 4, "classification", "data.csv, column 'y': the target has one class only, 'u'"),
        ([3] * 4, "classification", "data.csv, column 'y': the target has one class only, 3;"),
        ([3.5] * 4, "regression", "column 'y': the target is 3.5 in every row"),
        (["u", "v"], "regression", "data.csv, data row 1, column 'y': 'u' is not a number"),
        ([f"id{j}" for j in range(30)], "classification", "has 30 different labels in 30 rows"),
        ([j // 9 for j in range(9009)], "classification", "has 1001 different labels in 9009 rows"),
        (
            [*"abcdefghijklmnopqrstuvwxyz", *"abcde", *"abcde"],
            "classification",
            "26 different labels in 36 rows, and 21 of them occur only once; choose",
        ),
        (
            ["EU"] * 3 + ["NA"] * 2 + [""],
            "classification",
            r"one class only, 'EU' \(2 rows with 'NA' taken as missing; --na '' keeps such cells\)",
        ),
        ([j / 8 for j in range(30)], "classification", "has 30 different labels in 30 rows"),
        (["u", "v" * 1001], "classification", "data row 2, column 'y': a label of 1001 characters"),
    ],
)
def test_targets_that_cannot_be_learned(target: list[Any], task: Any, message: str) -> None:
    table, _ = rows_with_target(table_of(a=range(len(target)), y=target), ("y",))
    with pytest.raises(DataError, match=message):
        check_targets(table, ("y",), task)


def test_classification_takes_one_target() -> None:
    with pytest.raises(DataError, match="targets are 'y', 'z', but classification takes one"):
        check_targets(table_of(a=[1, 2], y=[0, 1], z=[0, 1]), ("y", "z"), "classification")


def test_targets_that_can_be_learned() -> None:
    table = table_of(a=[1, 2, 3], y=["u", "v", "u"], z=[0.5, 1, 2])
    check_targets(table, ("y",), "classification")
    check_targets(table, ("z", "a"), "regression")


def test_all_rows_tell_whether_labels_repeat() -> None:
    whole = table_of(a=range(60), y=[chr(65 + i % 26) for i in range(60)])
    check_targets(whole, ("y",), "classification")
    part = whole.take(np.arange(26))  # one row of each
    with pytest.raises(DataError, match="26 different labels in 26 rows"):
        check_targets(part, ("y",), "classification")
    check_targets(part, ("y",), "classification", whole)
