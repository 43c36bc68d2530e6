"""The target of a table: its columns, the task, and its cells as labels or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gpubp.tables.column import Array, Column, NumberColumn, TextColumn, told_markers
from gpubp.tables.column_types.numbers import doubt, is_ambiguous, parse_numbers
from gpubp.tables.table import DataError, Table, listed

Task = Literal["classification", "regression"]
TASKS: tuple[Task, ...] = ("classification", "regression")

# Consecutive whole numbers from 0 or 1 are classes if there are at most this many of them, each in
# at least so many rows.
MOST_NUMBERED_CLASSES = 100
FEWEST_ROWS_OF_A_NUMBERED_CLASS = 20
# Text with more distinct values may be numbers with a few cells of text, or not be classes at all.
MOST_TEXTS = 20
# More than MOST_CLASSES classes need so many rows each, on average; else they are probably ids.
# Training on 10,000 classes in 20,000 rows took 2.8 GB.
MOST_CLASSES, FEWEST_ROWS_OF_MANY = 1000, 10
LONGEST_LABEL = 1000
_EXACT = 2**53  # float64 holds every whole number up to here


def resolve_targets(table: Table, asked: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names of the targets: ``asked``, or the default targets of the table.

    Raises DataError for an unknown or repeated name, and for a table without a target.
    """
    targets = tuple(asked) if asked else table.targets
    if not targets:
        raise DataError(f"{table.source} has no target; add an array y or name the target column")
    table.require(targets)
    if len(set(targets)) < len(targets):
        raise DataError(f"targets are {listed(targets)}; give every column only once")
    return targets


def without_targets(table: Table, targets: Sequence[str]) -> Table:
    """Return the table without its target columns; raise DataError if no column is left."""
    left_out = {*targets, *(table.targets if table.only_targets else ())}
    names = tuple(name for name in table.names if name not in left_out)
    if not names:
        raise DataError(
            f"{table.source} has only the target {listed(targets or table.targets)} and no other "
            "column; add features"
        )
    return table.select(names)


def rows_with_target(table: Table, targets: Sequence[str]) -> tuple[Table, int]:
    """Return the rows in which no target is missing, and the number of other rows.

    Raises DataError if no row is left, or a target is not among the columns.
    """
    try:
        table.require(targets)
    except DataError as error:
        raise DataError(f"{error}; add the target, or in Python pass it as y") from None
    gap = np.zeros(len(table), np.bool_)
    for name in targets:
        gap |= table.column(name).is_gap()
    left_out = int(gap.sum())
    if not left_out:
        return table, 0
    if left_out == len(table):
        noun = "the target" if len(targets) == 1 else "one of the targets"
        raise DataError(
            f"{table.source}: {noun} {listed(targets)} is missing in every row"
            f"{told_markers(map(table.column, targets))}; give another column"
        )
    return table.take(np.flatnonzero(~gap)), left_out


def infer_task(
    table: Table, targets: Sequence[str], *, by_default: bool = False
) -> tuple[Task, str]:
    """Return the task of the targets, and the reason as a line for the user.

    A single target is a classification if it is text, if it has two distinct values, or if its
    values are consecutive whole numbers from 0 or 1, at most MOST_NUMBERED_CLASSES of them, each in
    at least FEWEST_ROWS_OF_A_NUMBERED_CLASS rows. Everything else is a regression.

    by_default : whether the target is the default one; the reason then says so.

    Raises DataError for numbers with a few cells of text among them.
    """
    if len(targets) > 1:
        return "regression", f"{len(targets)} targets: {listed(targets)}"
    name = targets[0]
    column = table.column(name)
    default = by_default and not table.only_targets
    what = f"target {name!r}{' (the last column; --target names another)' if default else ''}"
    numbers, counts = _distinct_numbers(column, table.decimal)
    if numbers is None:
        _check_stray_text(table, name)
        return "classification", f"{what} is text"
    count, whole = len(numbers), bool((numbers == np.floor(numbers)).all())
    kind = "whole number" if whole else "number"
    found = f"{what} has {count} distinct {kind}{'' if count == 1 else 's'} in {len(table)} rows"
    found += _read_as(column, table.decimal)
    if count == 2 or (whole and _counts_classes(numbers, counts)):
        return "classification", f"{found}, taken as classes; --task regression predicts numbers"
    hint = "; --task classification predicts classes" if whole else ""
    return "regression", f"{found}{hint}"


def _counts_classes(numbers: Array, counts: Array) -> bool:
    """Return whether whole numbers, ascending, are consecutive from 0 or 1, with enough rows."""
    return bool(
        1 < len(numbers) <= MOST_NUMBERED_CLASSES
        and numbers[0] in (0, 1)
        and numbers[-1] - numbers[0] == len(numbers) - 1
        and counts.min() >= FEWEST_ROWS_OF_A_NUMBERED_CLASS
    )


def _distinct_numbers(column: Column, decimal: str | None) -> tuple[Array | None, Array]:
    """Return the distinct numbers of a column, ascending, and the number of rows of each.

    The first item is None for a column of text.
    """
    if isinstance(column, NumberColumn):
        values = column.values[~column.is_gap()]
        return np.unique(values.astype(np.float64), return_counts=True)
    texts, counts = _used(column)
    numbers = parse_numbers(texts, decimal)
    if numbers is None or not len(texts):
        return None, counts
    distinct, places = np.unique(numbers, return_inverse=True)
    return distinct, np.bincount(places, weights=counts).astype(np.int64)


def _used(column: TextColumn) -> tuple[Array, Array]:
    """Return the distinct texts of the rows, and the number of rows of each."""
    counts = column.counts()
    return column.values[counts > 0], counts[counts > 0]


def _read_as(column: Column, decimal: str | None) -> str:
    """Return a remark on how thousands separators or decimal commas were read; "" without any."""
    if isinstance(column, NumberColumn):
        return ""
    texts, _ = _used(column)
    odd = next((j for j, text in enumerate(texts) if "," in text or "'" in text), None)
    if odd is None:
        return ""
    numbers = parse_numbers(texts, decimal)
    assert numbers is not None
    if decimal is None and (doubtful := is_ambiguous(texts)):
        return f" ({doubt(doubtful, '.')})"
    return f", such as {texts[odd]!r}, read as {float(numbers[odd])!r}"


def _check_stray_text(table: Table, name: str) -> None:
    """Raise DataError for a column of text that is mostly numbers."""
    column = table.column(name)
    assert isinstance(column, TextColumn)
    texts, _ = _used(column)
    if len(texts) <= MOST_TEXTS:
        return
    is_text = _is_text(texts, table.decimal)
    if 2 * is_text.sum() >= len(texts):
        return
    stray = texts[np.argmax(is_text)]
    raise DataError(
        f"{_place(table, name, stray)}: {stray!r} is not a number, but most cells of this target "
        f"are; correct it, mark it as missing with --na {stray!r}, or use --task classification"
    )


def _is_text(texts: Array, decimal: str | None, codes: bool = False) -> Array:
    """Return a mask (k,) of the ``texts`` that are not numbers; codes: see `parse_numbers`."""
    each = (texts[j : j + 1] for j in range(len(texts)))
    return np.array([parse_numbers(text, decimal, codes=codes) is None for text in each])


def _place(table: Table, name: str, text: str) -> str:
    """Return the place of the first row that has ``text`` in a column of text, for messages."""
    column = table.column(name)
    assert isinstance(column, TextColumn)
    code = int(np.flatnonzero(column.values == text)[0])
    return table.where(int(np.argmax(column.codes == code)), name)


def labels_of(column: Column) -> Array:
    """Return the labels of a column, (n,): int64 if all are whole numbers, else str.

    "01" stays text, and so do whole numbers beyond int64.

    Raises ValueError for a missing label.
    """
    if (gaps := column.is_gap()).any():
        raise ValueError(f"row {int(np.argmax(gaps))} (from 0) has no label; leave it out")
    if isinstance(column, TextColumn):
        used = column.counts() > 0
        values = np.where(used, column.values, "0")
        labels = _as_integers(values) if used.any() else None
        return (values.astype(np.str_) if labels is None else labels)[column.codes]
    values = column.values
    if values.dtype.kind in "ib" or (values.dtype.kind == "u" and values.itemsize < 8):
        return values.astype(np.int64)
    if values.dtype.kind == "f" and _is_whole(values):
        return values.astype(np.int64)
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.array([str(value) for value in distinct.tolist()], object)
    return labels_of(TextColumn(places.astype(np.int32), texts))


def _is_whole(values: Array) -> bool:
    return bool(((values == np.floor(values)) & (np.abs(values) <= _EXACT)).all())


def _as_integers(texts: Array) -> Array | None:
    """Return the texts as int64 if each is how Python writes a whole number, else None."""
    try:
        numbers = np.array([int(text) for text in texts.tolist()], np.int64)
    except (ValueError, OverflowError):
        return None
    return numbers if [str(n) for n in numbers.tolist()] == texts.tolist() else None


def numbers_of(table: Table, targets: Sequence[str]) -> Array:
    """Return targets (n, k) as float64; raise DataError for a cell that is not a finite number."""
    Y = np.empty((len(table), len(targets)))
    for j, name in enumerate(targets):
        column = table.column(name)
        if isinstance(column, NumberColumn):
            Y[:, j] = column.values
        else:
            Y[:, j] = _parsed(table, name, column)
        _check_finite(table, name, Y[:, j])
    return Y


def _parsed(table: Table, name: str, column: TextColumn) -> Array:
    """Return the numbers (n,) of a column of text; NaN for gaps."""
    used = column.counts() > 0
    numbers = np.full(len(column.values) + 1, np.nan)  # the last one is for gaps (code -1)
    texts = column.values[used]
    parsed = parse_numbers(texts, table.decimal, codes=True)
    if parsed is None:
        stray = texts[np.argmax(_is_text(texts, table.decimal, codes=True))]
        raise DataError(
            f"{_place(table, name, stray)}: {stray!r} is not a number, which a regression needs; "
            "correct it, or use classification"
        )
    numbers[:-1][used] = parsed
    cells: Array = numbers[column.codes]
    return cells


def _check_finite(table: Table, name: str, y: Array) -> None:
    is_finite = np.isfinite(y)
    if is_finite.all():
        return
    row = int(np.argmin(is_finite))
    if np.isnan(y[row]):
        raise DataError(f"{table.where(row, name)}: the target is missing; leave the row out")
    raise DataError(f"{table.where(row, name)}: {float(y[row])!r} is not a finite number")


def check_count(targets: Sequence[str], task: Task) -> None:
    """Raise DataError for several targets of a classification."""
    if task == "classification" and len(targets) > 1:
        raise DataError(
            f"targets are {listed(targets)}, but classification takes one; give one, or use "
            "regression"
        )


def check_targets(
    table: Table, targets: Sequence[str], task: Task, whole: Table | None = None
) -> None:
    """Raise DataError unless the targets suit the task.

    whole : the rows of ``table`` and others, such as test rows, used to check whether labels
    repeat; None for ``table``.
    """
    check_count(targets, task)
    if task == "classification":
        _check_labels(table, targets[0], whole)
        return
    Y = numbers_of(table, targets)
    for name, y in zip(targets, Y.T, strict=True):
        if y.min() == y.max():
            raise DataError(
                f"{table.source}, column {name!r}: the target is {float(y[0])!r} in every row; "
                "give a target that varies"
            )


def _check_labels(table: Table, name: str, whole: Table | None) -> None:
    """Raise DataError for a single class, overlong labels, and labels that hardly repeat."""
    column, where = table.column(name), f"{table.source}, column {name!r}"
    if (
        isinstance(column, TextColumn)
        and len(longest := max(_used(column)[0], key=len)) > LONGEST_LABEL
    ):
        raise DataError(
            f"{_place(table, name, longest)}: a label of {len(longest)} characters, "
            f"{longest!r:.60}; labels have at most {LONGEST_LABEL}: choose another target"
        )
    labels = labels_of(column)
    classes = np.unique(labels)
    if len(classes) == 1:
        raise DataError(
            f"{where}: the target has one class only, {classes[0].item()!r:.200}"
            f"{told_markers([column])}; give rows of at least two classes"
        )
    if whole is not None and len(whole) > len(table):
        labels = labels_of(rows_with_target(whole, (name,))[0].column(name))
    classes, rows = np.unique(labels, return_counts=True)
    alone = int((rows == 1).sum())
    hardly = len(classes) > MOST_CLASSES and len(labels) < FEWEST_ROWS_OF_MANY * len(classes)
    if hardly or (len(classes) > MOST_TEXTS and 2 * alone > len(labels)):
        raise DataError(
            f"{where}: the target has {len(classes)} different labels in {len(labels)} rows, and "
            f"{alone} of them occur only once; choose a column with classes that repeat"
        )
