"""A trained model with the columns it was trained on: raw rows in, labels or units out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.metrics import (
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.fitted_attributes import rollback
from gpubp.estimators.mlp import fit_estimator
from gpubp.estimators.regressor import MLPRegressor, can_scale_targets
from gpubp.estimators.standardizer import Standardizer
from gpubp.tables.schema import Schema, Task, feature_names, resolve_targets
from gpubp.tables.table import DataError, Table, check_names, is_text, listed
from gpubp.training.history import History, OnEpoch

Estimator = MLPClassifier | MLPRegressor


class NonFiniteOutputError(DataError):
    """A row for which the network's output is NaN or infinite, so that it says nothing."""


@dataclass(eq=False)
class TableModel:
    """An estimator with the columns it was trained on: raw rows in, labels or units out.

    Features are standardised before the network sees them, by the numbers that `schema` keeps from
    training. Targets of a regression are scaled by the estimator (``target_scaling``), if its loss
    takes scaled ones.
    """

    schema: Schema
    estimator: Estimator

    @classmethod
    def fit(
        cls,
        estimator: Estimator,
        table: Table,
        targets: Sequence[str],
        *,
        on_epoch: OnEpoch | None = None,
        note: Callable[[str], None] | None = None,
    ) -> tuple[Self, History]:
        """Train ``estimator`` on every column of ``table`` that is no target.

        Return the model and how training went: whoever calls judges why it stopped.
        note : takes a line that says where training runs, and why there.
        """
        features, classifies = feature_names(table, targets), isinstance(estimator, MLPClassifier)
        X = table.matrix(features)
        if classifies:
            y = table.labels(targets[0])
        else:
            y = table.matrix(targets)
            y = y.ravel() if len(targets) == 1 else y
        task: Task = "classification" if classifies else "regression"
        try:
            schema = Schema(features, tuple(targets), task, Standardizer.fit(X))
        except ValueError as error:
            raise DataError(f"{table.source}: {error}") from None
        dtype = np.float64 if estimator.dtype == "float64" else np.float32
        X = schema.feature_scaling.transform(X, dtype)
        with rollback(estimator):
            if not classifies and can_scale_targets(estimator, len(targets)):
                estimator.set_params(target_scaling=True)
            history = fit_estimator(estimator, X, y, on_epoch=on_epoch, note=note)
        return cls(schema, estimator), history

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of predict_proba's columns."""
        return self.estimator.classes_  # type: ignore[no-any-return]

    def predict(self, rows: Any) -> np.ndarray:
        """Return labels (n,), or numbers (n,) or (n, n_targets), for raw ``rows``.

        rows : a Table or frame, whose columns are matched by name, or an array (n, n_features)
            with the columns in the order of training.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        if isinstance(self.estimator, MLPClassifier):
            labels: np.ndarray = self.classes_[np.argmax(self.predict_proba(rows), axis=1)]
            return labels
        return self._finite(self.estimator.predict, rows)

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        if not isinstance(self.estimator, MLPClassifier):
            raise ValueError("this model is a regression and has no probabilities; use predict")
        return self._finite(self.estimator.predict_proba, rows)

    def evaluate(self, table: Table, targets: Sequence[str] | None = None) -> dict[str, float]:
        """Return metrics on rows with known targets, in the units of training.

        Classification: "accuracy" and "log_loss" (natural logarithm; absent where a row has a
        label that training had not). Regression: "r2", "rmse" and "mae", means over the targets.
        targets : columns with the truth, by default those of training.
        """
        names = tuple(targets or self.schema.targets)
        if len(names) != len(self.schema.targets):
            raise DataError(
                f"{len(names)} targets were given, but the model has {len(self.schema.targets)}: "
                f"{', '.join(self.schema.targets)}"
            )
        if self.schema.task == "classification":
            return self._evaluate_labels(table, names[0])
        truth, found = table.matrix(names), self.predict(table)
        return {
            "r2": float(r2_score(truth, found)) if len(truth) > 1 else float("nan"),
            "rmse": float(root_mean_squared_error(truth, found)),
            "mae": float(mean_absolute_error(truth, found)),
        }

    def _evaluate_labels(self, table: Table, target: str) -> dict[str, float]:
        truth = self._labels_like_training(table, target)
        P = self.predict_proba(table).astype(np.float64)
        metrics = {"accuracy": float(np.mean(truth == self.classes_[P.argmax(axis=1)]))}
        if np.isin(truth, self.classes_).all():
            P /= P.sum(axis=1, keepdims=True)
            indices = np.searchsorted(self.classes_, truth)
            metrics["log_loss"] = float(log_loss(indices, P, labels=np.arange(len(self.classes_))))
        return metrics

    def known_labels(self, table: Table, target: str) -> np.ndarray:
        """Return the labels in a column; DataError for one that training had not."""
        truth = self._labels_like_training(table, target)
        unknown = np.flatnonzero(~np.isin(truth, self.classes_))
        if len(unknown):
            raise DataError(
                f"{table.where(int(unknown[0]), target)}: {truth[unknown[0]].item()!r} is no label "
                f"of the model, which knows {listed([str(label) for label in self.classes_])}"
            )
        return truth

    def unknown_labels(self, table: Table, target: str) -> np.ndarray:
        """Return the labels in a column that training had not, each once."""
        return np.setdiff1d(self._labels_like_training(table, target), self.classes_)

    def _labels_like_training(self, table: Table, target: str) -> np.ndarray:
        truth = table.labels(target)
        found, known = is_text(truth), is_text(self.classes_)
        # "1" and "2" are read as numbers where no "3+" is near.
        labels = truth.astype(np.str_) if known and not found else truth
        if (found and not known) or (
            known and not found and not np.isin(labels, self.classes_).any()
        ):
            raise DataError(
                f"{table.source}: column {target!r} has labels such as {truth[0].item()!r}, but "
                f"the model's are such as {self.classes_[0].item()!r}; name the column with the "
                "labels of training"
            )
        return labels

    def _finite(self, predict: Callable[[np.ndarray], np.ndarray], rows: Any) -> np.ndarray:
        """Return what ``predict`` gives for the standardised features of raw ``rows``."""
        table = _as_table(rows, self.schema.features)
        Z = self.schema.transform(table, self.estimator.coefs_[0].dtype)
        outputs = predict(Z)
        is_finite = np.isfinite(outputs.reshape(len(Z), -1)).all(axis=1)
        if not is_finite.all():
            row = int(np.argmin(is_finite))
            raise NonFiniteOutputError(self._reason(table, row, np.abs(Z[row])))
        return outputs

    def _reason(self, table: Table, row: int, distances: np.ndarray) -> str:
        """Return in a sentence why a row has an output that is not finite.

        distances : (n_features,), of the row from the mean of training, in standard deviations.
        """
        largest = max(float(np.abs(W).max()) for W in self.estimator.coefs_)
        j = int(np.argmax(distances))
        where = table.where(row, self.schema.features[j])
        if distances[j] < largest:
            return (
                f"{where.rpartition(', ')[0]}: the network's output is not finite, as its weights "
                f"reach {largest:.3g}; train the model again with a smaller learning rate"
            )
        return (
            f"{where}: the network's output is not finite, as this cell is {distances[j]:.3g} "
            "standard deviations from the mean of training; correct the cell or remove the row"
        )


def with_columns_of(estimator: Estimator, table: Table) -> TableModel:
    """Return a model that takes the columns of ``table`` as they are, all but its target.

    Raises DataError if there are not as many as the estimator was fitted with.
    """
    targets = resolve_targets(table)
    features = feature_names(table, targets)
    if len(features) != estimator.n_features_in_:
        raise DataError(
            f"{table.source} has {len(features)} columns besides {listed(targets)}, but the model "
            f"was fitted with {estimator.n_features_in_}; give a table with those"
        )
    classifies = isinstance(estimator, MLPClassifier)
    task: Task = "classification" if classifies else "regression"
    unscaled = Standardizer(np.zeros(len(features)), np.ones(len(features)))
    return TableModel(Schema(features, targets, task, unscaled), estimator)


def _as_table(rows: Any, features: tuple[str, ...]) -> Table:
    """Return a frame's columns, or an array's in the order of ``features``, as a Table."""
    if isinstance(rows, Table):
        return rows
    names = getattr(rows, "columns", None)
    X = np.asarray(rows)
    if X.ndim != 2 or (names is None and X.shape[1] != len(features)):
        raise ValueError(
            f"rows has shape {X.shape}, but the model takes (n, {len(features)}); pass its "
            "columns in the order of training, or a frame with their names"
        )
    columns = features if names is None else tuple(str(name) for name in names)
    wanted = [j for j, name in enumerate(columns) if name in set(features)]
    kept = tuple(columns[j] for j in wanted)
    check_names(kept, "rows")
    numbers = X if len(kept) == len(columns) else X[:, wanted]
    others: dict[str, np.ndarray] = {}
    if numbers.dtype.kind not in "fiub":
        # What is no number becomes text, for the table to name the row and the column.
        parsed = {name: _as_numbers(cells) for name, cells in zip(kept, numbers.T, strict=True)}
        others = {name: cells for name, cells in parsed.items() if is_text(cells)}
        numeric = [cells for name, cells in parsed.items() if name not in others]
        numbers = np.stack(numeric, axis=1) if numeric else np.empty((len(X), 0))
    return Table(kept, numbers, others, "rows", kept)


def _as_numbers(cells: np.ndarray) -> np.ndarray:
    """Return cells (n,) of any type as float64, or as text where one is no number."""
    try:
        return cells.astype(np.float64)
    except (TypeError, ValueError):
        return np.array([str(cell) for cell in cells], dtype=object)
