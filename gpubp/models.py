"""A trained model with the columns it was trained on: raw rows in, labels or units out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from gpubp.columns import DataError, Table, is_text
from gpubp.estimators import MLPClassifier, MLPRegressor
from gpubp.schema import Schema, Standardizer, Task, feature_names
from gpubp.training import Epoch, History

Estimator = MLPClassifier | MLPRegressor


@dataclass(eq=False)
class TableModel:
    """An estimator with the columns it was trained on: raw rows in, labels or units out.

    Features are standardised before the network sees them, and a regression target's scaling is
    undone after it, by the numbers that `schema` keeps from training.
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
        on_epoch: Callable[[Epoch], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> tuple[Self, History]:
        """Train ``estimator`` on every column of ``table`` that is no target.

        Return the model and how training went: whoever calls judges why it stopped.
        note : takes a line that says where training runs, and why there.
        """
        dtype = np.float64 if estimator.dtype == "float64" else np.float32
        features = feature_names(table, targets)
        X = table.matrix(features)
        scaling, y = None, None
        if isinstance(estimator, MLPClassifier):
            y = table.labels(targets[0])
        else:
            Y = table.matrix(targets)
            scaling = Standardizer.fit(Y)
            y = scaling.transform(Y, dtype)
            y = y.ravel() if len(targets) == 1 else y
        task: Task = "regression" if scaling else "classification"
        schema = Schema(features, tuple(targets), task, Standardizer.fit(X), scaling)
        X = schema.feature_scaling.transform(X, dtype)
        history = estimator._train(X, y, on_epoch=on_epoch, note=note)
        return cls(schema, estimator), history

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of predict_proba's columns."""
        return self.estimator.classes_  # type: ignore[no-any-return]

    def predict(self, rows: Any) -> np.ndarray:
        """Return labels (n,), or numbers (n,) or (n, n_targets), for raw ``rows``.

        rows : a Table or frame, whose columns are matched by name, or an array (n, n_features)
            with the columns in the order of training.
        """
        predictions = self.estimator.predict(self._transform(rows))
        scaling = self.schema.target_scaling
        if scaling is None:
            return predictions
        return scaling.inverse(predictions.reshape(len(predictions), -1)).reshape(predictions.shape)

    def predict_proba(self, rows: Any) -> np.ndarray:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`."""
        if not isinstance(self.estimator, MLPClassifier):
            raise ValueError("this model is a regression and has no probabilities; use predict")
        return self.estimator.predict_proba(self._transform(rows))

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
        truth = table.labels(target)
        if is_text(truth) != is_text(self.classes_):
            raise DataError(
                f"{table.source}: column {target!r} has labels such as {truth[0].item()!r}, but "
                f"the model's are such as {self.classes_[0].item()!r}; name the column with the "
                "labels of training"
            )
        P = self.predict_proba(table).astype(np.float64)
        metrics = {"accuracy": float(accuracy_score(truth, self.classes_[P.argmax(axis=1)]))}
        if np.isin(truth, self.classes_).all():
            P /= P.sum(axis=1, keepdims=True)
            metrics["log_loss"] = float(log_loss(truth, P, labels=self.classes_))
        return metrics

    def _transform(self, rows: Any) -> np.ndarray:
        dtype = self.estimator.coefs_[0].dtype
        return self.schema.transform(_as_table(rows, self.schema.features), dtype)


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
    numbers = X if len(kept) == len(columns) else X[:, wanted]
    if numbers.dtype.kind not in "fiub":
        numbers = numbers.astype(np.float64)
    return Table(kept, numbers, {}, "rows", kept)
