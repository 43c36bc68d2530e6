"""What a model remembers about its table: columns, task and standardisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import DTypeLike

from gpubp.estimators.standardizer import Standardizer
from gpubp.tables.table import (
    Array,
    DataError,
    Table,
    has_comma,
    is_text,
    is_whole,
    listed,
    parse_floats,
)

Task = Literal["classification", "regression"]

MOST_CLASSES = 20
FEWEST_ROWS_A_CLASS = 3


@dataclass(frozen=True, eq=False)
class Schema:
    """The columns, the task and the standardisation that a model was trained with.

    Raises ValueError for parts that do not fit together.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    task: Task
    feature_scaling: Standardizer

    def __post_init__(self) -> None:
        if self.task not in ("classification", "regression"):
            raise ValueError(f"task is {self.task!r}; give 'classification' or 'regression'")
        names = (*self.features, *self.targets)
        if not self.features or not self.targets or not all(names) or len(set(names)) < len(names):
            raise ValueError(
                f"features are {listed(self.features)} and targets {listed(self.targets)}; give at "
                "least one of each, every name once"
            )
        if self.feature_scaling.mean.size != len(self.features):
            raise ValueError(
                f"feature scaling has {self.feature_scaling.mean.size} columns for "
                f"{len(self.features)} features; give equal numbers"
            )
        if self.task == "classification" and len(self.targets) > 1:
            raise ValueError(f"classification has one target, got {listed(self.targets)}")

    def transform(self, table: Table, dtype: DTypeLike = np.float32) -> Array:
        """The standardised features (n, d) of a table, matched by name; other columns are ignored.

        Raises DataError for missing columns and for a cell that is no number or out of range.
        """
        X = table.matrix(self.features, None)
        Z = self.feature_scaling.transform(X, dtype)
        table.check_finite(Z, self.features)
        return Z

    def to_header(self) -> dict[str, Any]:
        """The parts that JSON can hold."""
        return {
            "features": list(self.features),
            "targets": list(self.targets),
            "task": self.task,
        }

    def tensors(self) -> dict[str, Array]:
        """The arrays, by names that from_parts knows."""
        return {
            "features.mean": self.feature_scaling.mean,
            "features.scale": self.feature_scaling.scale,
        }

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], tensors: Mapping[str, Array]) -> Schema:
        """The schema of to_header and tensors; tensors may hold others, of other names.

        Raises ValueError for anything missing, unknown or inconsistent.
        """
        expected = {"features", "targets", "task"}
        if not isinstance(header, Mapping) or set(header) != expected:
            raise ValueError(f"schema is {header!r:.200}; it needs the keys {sorted(expected)}")
        names = {}
        for key in ("features", "targets"):
            value = header[key]
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise ValueError(f"{key} is {value!r:.200}; give a list of names")
            names[key] = tuple(value)
        task, scaling = cast(Task, header["task"]), stored_standardizer("features", tensors)
        return cls(names["features"], names["targets"], task, scaling)


def stored_standardizer(prefix: str, tensors: Mapping[str, Array]) -> Standardizer:
    """The standardisation stored under a prefix; ValueError names the tensor at fault."""
    for part in ("mean", "scale"):
        if f"{prefix}.{part}" not in tensors:
            raise ValueError(f"tensor '{prefix}.{part}' is missing")
    try:
        return Standardizer(tensors[f"{prefix}.mean"], tensors[f"{prefix}.scale"])
    except ValueError as error:
        raise ValueError(f"{prefix}.{error}") from None


def resolve_targets(table: Table, asked: Sequence[str] | None = None) -> tuple[str, ...]:
    """The columns asked for, else the table's own targets.

    Raises DataError for an unknown column, one asked for twice, and a table without a target.
    """
    targets = tuple(asked) if asked else table.targets
    if not targets:
        raise DataError(f"{table.source} has no target; add an array y or name the target column")
    table.require(targets)
    if len(set(targets)) < len(targets):
        raise DataError(f"targets are {listed(targets)}; name every column once")
    return targets


def feature_names(table: Table, targets: Sequence[str]) -> tuple[str, ...]:
    """The columns to learn from: all that are no target; DataError where none is left."""
    names = tuple(name for name in table.features if name not in targets)
    if not names:
        raise DataError(
            f"{table.source} has no column besides the target {listed(targets)}; add features"
        )
    return names


def infer_task(table: Table, targets: Sequence[str]) -> tuple[Task, str]:
    """Classification or regression, and the reason in a line for the user.

    One target is classified if it is text or bool, or whole numbers with at most MOST_CLASSES
    distinct values and either two of these or FEWEST_ROWS_A_CLASS rows to a value on average.
    Everything else is regression. DataError for numbers with stray text in them.
    """
    if len(targets) > 1:
        return "regression", f"{len(targets)} targets: {listed(targets)}"
    name = targets[0]
    column = table.column(name)
    if is_text(column):
        if _mostly_numbers(column):
            table.matrix((name,))
        return "classification", f"target {name!r} is text"
    if column.dtype.kind == "b":
        return "classification", f"target {name!r} is true or false"
    table.check_finite(column[:, None], (name,))
    count, whole = len(np.unique(column)), is_whole(column)
    few = count <= MOST_CLASSES and (count <= 2 or count * FEWEST_ROWS_A_CLASS <= len(table))
    kind = "whole number" if whole else "number"
    reason = f"target {name!r} has {count} distinct {kind}{'' if count == 1 else 's'}"
    return "classification" if whole and few else "regression", f"{reason} in {len(table)} rows"


def _mostly_numbers(column: Array) -> bool:
    """Whether text is rather a column of numbers with some cells that are none."""
    distinct = np.unique(column)
    numbers = sum(parse_floats((cell,)) is not None or has_comma(cell) for cell in distinct)
    return len(distinct) > MOST_CLASSES and 2 * numbers > len(distinct)


def check_targets(table: Table, targets: Sequence[str], task: Task) -> None:
    """Raise DataError unless the targets can be learned as the task says."""
    if task == "classification":
        if len(targets) > 1:
            raise DataError(
                f"targets are {listed(targets)}, but classification takes one; name one, or use "
                "regression"
            )
        _check_labels(table, targets[0])
        return
    Y = table.matrix(targets)
    for name, y in zip(targets, Y.T, strict=True):
        if y.min() == y.max():
            raise DataError(
                f"{table.source}, column {name!r}: the target is {float(y[0])!r} in every row; "
                "give a target that varies"
            )


def _check_labels(table: Table, name: str) -> None:
    """Raise DataError for one class only, fractions, and text that hardly repeats."""
    labels = table.labels(name)
    where = f"{table.source}, column {name!r}"
    if labels.dtype.kind == "f":
        odd = float(labels[np.argmax(labels != np.floor(labels))])
        raise DataError(f"{where}: the target has {odd!r}, which is no class; use regression")
    classes = np.unique(labels)
    if len(classes) == 1:
        raise DataError(
            f"{where}: the target has one class only, {classes[0].item()!r}; give rows of at least "
            "two classes"
        )
    if is_text(labels) and len(classes) > max(MOST_CLASSES, len(labels) // 2):
        raise DataError(
            f"{where}: the target has {len(classes)} different texts in {len(labels)} rows; choose "
            "a column with classes that repeat"
        )
