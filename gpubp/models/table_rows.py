"""Check the arguments of fit of a table estimator, and split off validation rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y

from gpubp.backends.foreign_arrays import on_host
from gpubp.estimators.class_weights import checked_weights
from gpubp.estimators.validation_split import TOO_SMALL
from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.find_type import as_text
from gpubp.tables.decimal_sign import settled
from gpubp.tables.frame import as_table, has_names
from gpubp.tables.table import Table, listed
from gpubp.tables.target import (
    MOST_TEXTS,
    Task,
    check_count,
    labels_of,
    numbers_of,
    resolve_targets,
    rows_with_target,
    without_targets,
)

_BOOLEANS = {bool, np.bool_}
_NAMES = str | int | np.integer  # of a column; frames may number theirs


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from.

    X : table, frame or array for the encoder. y : labels or numbers, (n,) or (n, k).
    names : names of the targets. weights : (n,) or None.
    left_out : number of rows that were left out because a target is missing.
    """

    X: Any
    y: np.ndarray
    names: tuple[str, ...]
    weights: Any = None
    left_out: int = 0


def rows_of_table(table: Table, targets: Sequence[str], task: Task) -> Rows:
    """Return the rows of a table in which no target is missing.

    Raises DataError if no row is left, or if the targets do not suit the task.
    """
    names = resolve_targets(table, targets)
    check_count(names, task)
    table, left_out = rows_with_target(table, names)
    if task == "classification":
        y = labels_of(table.column(names[0]))
    else:
        y = numbers_of(table, names)
        y = y.ravel() if len(names) == 1 else y
    return Rows(without_targets(table, names), y, names, None, left_out)


def rows_given(
    X: Any, y: Any, target: Any, weights: Any, task: Task, caller: str, na: Any = None
) -> Rows:
    """Return the rows of fit(X, y), or of fit(X, target=...).

    caller : name of the estimator, for messages. na : texts that mean "no value"; see `as_table`.

    Raises the errors of scikit-learn for invalid arguments.
    """
    if target is not None and y is not None:
        raise ValueError(f"y and target={target!r} were both given; give one of the two")
    if target is None and y is None and isinstance(X, Table):
        target = X.targets
    if target is None:
        if y is None:
            raise ValueError(
                f"{caller} requires y to be passed, but the target y is None; pass y, or the name "
                "of a column of X as target"
            )
        return _rows_with_y(X, y, weights, task, caller, na)
    names = (target,) if isinstance(target, _NAMES) else target
    if not isinstance(names, list | tuple) or not all(isinstance(name, _NAMES) for name in names):
        many = np.shape(target) and not isinstance(target, list | tuple)
        text = f"of {len(target)} values in a {type(target).__name__}" if many else repr(target)
        hint = ", or pass the values as y" if many else ", or a list of them"
        raise ValueError(f"target is {text}; give the name of a column of X{hint}")
    table = as_table(X, na=na)
    table = table if isinstance(X, Table) else settled(table)
    return _rows_of_frame(X, table, tuple(map(str, names)), weights, task)


def _rows_with_y(X: Any, y: Any, weights: Any, task: Task, caller: str, na: Any) -> Rows:
    """Return the rows of fit(X, y); warn if a column of X equals y."""
    if isinstance(X, str | PathLike):
        as_table(X)  # raises DataError with advice
    table = settled(as_table(X, na=na)) if has_names(X) and not isinstance(X, Table) else X
    y_host = on_host(y)
    if task == "regression":
        y_host = numbers_of_text(y_host, table if isinstance(table, Table) else None)
    checked = checked_y(y_host, task, caller)
    check_consistent_length(_first_column(X), checked)
    if isinstance(table, Table) and checked.ndim == 1:
        _warn_of_copies(table, checked)
    return Rows(table, checked, _names_of(y, checked), weights)


def numbers_of_text(y: Any, table: Table | None = None, decimal: str | None = None) -> Any:
    """Return y as float64 if it has text such as "$1,200"; return any other y unchanged.

    table : the columns of X, which help to find the decimal sign. decimal : the sign, if known.

    Raises DataError for text that is not a number.
    """
    if issparse(y):
        return y
    cells = np.asarray(y)
    kind = cells.dtype.kind
    if kind not in "OUS" or (kind == "O" and not any(map(_is_text, cells.ravel().tolist()))):
        return y
    names = [f"y{j}" for j in range(cells.shape[1])] if cells.ndim > 1 else ["y"]
    targets = as_table(dict(zip(names, cells.reshape(len(cells), -1).T, strict=True)), source="y")
    if decimal is None:
        others = table.columns if table is not None and len(table) == len(targets) else {}
        known = None if table is None else table.decimal
        together = {f"X {name}": column for name, column in others.items()} | dict(targets.columns)
        decimal = known or settled(replace(targets, columns=together)).decimal
    numbers = numbers_of(replace(targets, decimal=decimal), names)
    return numbers if cells.ndim > 1 else numbers.ravel()


def _is_text(cell: object) -> bool:
    return isinstance(cell, str | bytes)


def _warn_of_copies(table: Table, y: np.ndarray) -> None:
    """Warn of columns of X that equal y: the network would only learn to copy them."""
    (target,) = as_table({"y": y}).columns.values()
    known = table.targets if table.only_targets else ()  # not used as features
    for name, column in table.columns.items():
        if name not in known and _equal(column, target):
            warnings.warn(
                f"column {name!r} of X equals y: leave it out, or call fit(X, target={name!r})",
                UserWarning,
                stacklevel=5,
            )


def _equal(a: Column, b: Column) -> bool:
    """Return whether two columns have equal cells; boolean numbers are compared as text."""
    a, b = (
        as_text(each) if isinstance(each, NumberColumn) and each.values.dtype.kind == "b" else each
        for each in (a, b)
    )
    if isinstance(a, NumberColumn) and isinstance(b, NumberColumn):
        return bool(np.array_equal(a.values, b.values, equal_nan=True))
    if isinstance(a, TextColumn) and isinstance(b, TextColumn):
        return np.array_equal(a.values, b.values) and np.array_equal(a.codes, b.codes)
    return False


def warn_of_many_classes(y: np.ndarray) -> None:
    """Warn if labels hardly repeat, as the numbers of a regression do."""
    if y.ndim == 1 and (count := len(np.unique(y))) > max(MOST_TEXTS, len(y) // 2):
        warnings.warn(
            f"{count:,} classes in {len(y):,} rows: use TableRegressor for numbers",
            UserWarning,
            stacklevel=3,
        )


def _rows_of_frame(X: Any, table: Table, names: tuple[str, ...], weights: Any, task: Task) -> Rows:
    rows = rows_of_table(table, names, task)
    y = rows.y
    kept = slice(None)
    if rows.left_out:
        gaps = np.any([table.column(name).is_gap() for name in rows.names], axis=0)
        kept = np.flatnonzero(~gaps)  # type: ignore[assignment]
    if task == "classification" and has_names(X) and not isinstance(X, Table):
        name = next(name for name in _names_in(X) if str(name) == names[0])
        y = _labels_of_frame(np.asarray(X[name])[kept], y)
    if weights is not None:
        weights = checked_weights(np.empty(len(table)), weights)
        weights = None if weights is None else weights[kept]
    return Rows(rows.X, y, rows.names, weights, rows.left_out)


def _names_in(X: Any) -> Any:
    """Return the names of the columns of a frame or dict, in their own type."""
    if isinstance(X, Mapping):
        return X
    return X.column_names if hasattr(X, "column_names") else X.columns  # pyarrow: arrays


def _first_column(X: Any) -> Any:
    """Return an object with as many entries as X has rows: X itself, or a dict's first column."""
    named = isinstance(X, Mapping) and not issparse(X)
    return next(iter(X.values()), ()) if named else X


def _labels_of_frame(cells: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels of a frame's column in the type of its cells.

    Text "1" stays text, and True stays a bool.

    cells : (n,), as the frame has them. labels : (n,), as they would be read from a file, whose
    cells have no type.
    """
    if cells.dtype.kind == "f":
        check_classification_targets(cells)  # raises for fractions
    kinds = {type(cell) for cell in cells.tolist()}
    if kinds <= _BOOLEANS:
        return cells.astype(np.bool_)
    if kinds == {str} and labels.dtype.kind != "U":
        return labels.astype(np.str_)
    return labels


def _names_of(y: Any, checked: np.ndarray) -> tuple[str, ...]:
    """Return the names of the targets: from a frame or series ``y``, else "y" or y0, y1, ..."""
    count = checked.shape[1] if checked.ndim > 1 else 1
    names = getattr(y, "columns", None)
    if names is None:
        name = getattr(y, "name", None)
        names = [name] if isinstance(name, str) and name else []
    if len(names) == count:
        return tuple(str(name) for name in names)
    return tuple(f"y{j}" for j in range(count)) if count > 1 else ("y",)


def _is_missing(cell: object) -> bool:
    """Return whether a cell is None, NaN, or pandas' NA or NaT."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float) and cell != cell


def checked_y(y: Any, task: Task, caller: str) -> np.ndarray:
    """Return y as an array for training, (n,) or (n, k).

    Raises the errors of scikit-learn for an invalid y.
    """
    if not issparse(y):
        y = np.asarray(y)
    if y.dtype.kind == "O" and any(_is_missing(cell) for cell in y.ravel().tolist()):
        raise ValueError(f"Input y of {caller} contains NaN: a value is missing; leave its row out")
    checked: np.ndarray = _check_y(
        y, multi_output=True, y_numeric=task == "regression", estimator=caller
    )
    if checked.ndim == 2 and checked.shape[1] == 1:
        checked = column_or_1d(checked, warn=True)
    if checked.dtype.kind == "O" and set(map(type, checked.ravel().tolist())) <= _BOOLEANS:
        checked = checked.astype(np.bool_)
    if task == "classification":
        check_classification_targets(checked)
    return checked


def hold_out(
    y: np.ndarray, part: float, task: Task, rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the rows to train on and of the validation rows, both ascending.

    Validation rows are drawn evenly over the sorted y. So each class, and each range of numbers,
    has its share of them. At least one row of each class is left to train on.

    part : fraction of the rows to hold out.

    Raises ValueError if the validation set would be too small.
    """
    n = len(y)
    draws = rng.permutation(n)
    order = draws if y.ndim > 1 else np.lexsort((draws, np.unique(y, return_inverse=True)[1]))
    at = (np.arange(int(np.ceil(part * n))) + rng.uniform()) / max(part, 1 / n)
    held = order[at[at < n].astype(np.int64)]
    if task == "classification" and y.ndim == 1:
        firsts = order[np.unique(y[order], return_index=True)[1]]
        held = np.setdiff1d(held, firsts)
    if len(held) < 2 or len(held) == n:
        raise ValueError(TOO_SMALL)
    is_held = np.zeros(n, np.bool_)
    is_held[held] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def left_out_text(rows: int, targets: Sequence[str]) -> str:
    """Return a line with the number of rows without a target, for the user."""
    what = "target" if len(targets) == 1 else "value in one of the targets"
    count = f"1 row has no {what}" if rows == 1 else f"{rows:,} rows have no {what}"
    return f"{count} ({listed(targets)}) and {'is' if rows == 1 else 'are'} left out"


def count_outputs(y: np.ndarray, task: Task) -> int:
    """Return the number of classes of y, or of its columns."""
    classes = task == "classification" and y.ndim == 1
    return len(np.unique(y)) if classes else int(np.prod(y.shape[1:]))
