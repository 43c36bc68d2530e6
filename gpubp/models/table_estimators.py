"""TableClassifier and TableRegressor: networks that learn from tables as they are."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor, can_scale_targets
from gpubp.models.finite_outputs import NonFiniteOutputError
from gpubp.models.scores import (
    class_scores,
    indices_of,
    number_scores,
    per_class,
    positive_class,
)
from gpubp.models.table_parameters import constraints, documented, initializer
from gpubp.models.table_rows import numbers_of_text
from gpubp.models.table_training import TableEstimator
from gpubp.tables.known_labels import class_indices
from gpubp.tables.table import DataError, Table, listed
from gpubp.tables.target import numbers_of

__all__ = ["NonFiniteOutputError", "TableClassifier", "TableEstimator", "TableRegressor"]


@documented(MLPClassifier)
class TableClassifier(ClassifierMixin, TableEstimator):
    """Network for the classes of a table with numbers, categories, dates and gaps.

    Columns become numbers by `TableEncoder`, and an `MLPClassifier` learns from these. Parameters
    are those of the two; "auto" chooses by the size of the table.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    encoder_ : TableEncoder
        How columns become numbers.
    network_ : MLPClassifier
        The network, with all it learned: `coefs_`, `loss_curve_`, `validation_scores_`
        and so on.
    classes_ : ndarray
        The labels as they were given, in the order of predict_proba's columns.
    target_names_ : tuple of str
        The names of the targets.
    n_rows_without_target_ : int
        Rows that were left out, since their target is missing.
    n_features_in_, feature_names_in_ : int, ndarray
        Columns of X, and their names, where X had names.
    n_iter_ : int
        Epochs of the last fit.
    about_ : dict
        What a model file says of the training: versions, and what `gpubp train` adds.
    """

    task = "classification"
    _NETWORK = MLPClassifier
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(MLPClassifier)
    __init__ = initializer(MLPClassifier)

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of predict_proba's columns."""
        return self.network_.classes_  # type: ignore[no-any-return]

    @property
    def positive_class_(self) -> Any:
        """Of two classes, the label that F1 and average precision are about; else None.

        It is the second one, or of text labels the rarer one of the training rows.
        """
        if len(self.classes_) != 2:
            return None
        labels = self.classes_.tolist()
        known = self.about_.get("positive_class")
        return known if known in labels else labels[1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels (n,) of the rows of X, a Table, a frame or an array.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        return self.most_probable(self.predict_proba(X))

    @property
    def is_multilabel_(self) -> bool:
        """Whether each target is a label that a row has or not."""
        check_is_fitted(self)
        return bool(self.network_._binarizer.y_type_.startswith("multilabel"))

    def most_probable(self, P: np.ndarray) -> np.ndarray:
        """Return the labels (n,), or 0 and 1 (n, n_labels), of the probabilities ``P``."""
        classes = self.classes_
        if self.is_multilabel_:
            return (P > 0.5).astype(np.int64)
        places = P.argmax(axis=1) if len(classes) > 1 else np.zeros(len(P), np.intp)
        labels: np.ndarray = classes[places]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        check_is_fitted(self)
        return self._finite(self.network_.predict_proba, X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return log(predict_proba(X))."""
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log(self.predict_proba(X))
        return logs

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy on X and y; without y, on the target column of X."""
        check_is_fitted(self)
        if y is not None:
            return float(super().score(X, y, sample_weight))
        truth = self._table(X).column(self.target_names_[0])
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[~truth.is_gap()]
        rows, places, _ = self._truth(X, None)
        right = self.predict_proba(rows).argmax(axis=1) == places
        return float(np.average(right, weights=sample_weight))

    def evaluate(self, table: Any, targets: Any = None) -> dict[str, Any]:
        """Return scores on the rows of a table or frame whose target is known.

        "accuracy", "balanced_accuracy", "log_loss" (natural logarithm), "roc_auc",
        "average_precision" and "f1", the latter two of `positive_class_`, or means of more classes;
        what the rows leave undefined is absent.

        targets : the column with the truth, by default that of training, or y (n,).
        """
        check_is_fitted(self)
        rows, truth, _ = self._truth(table, targets)
        labels, positive = self.classes_.tolist(), self.positive_class_
        place = None if positive is None else labels.index(positive)
        P = self.predict_proba(rows)
        return class_scores(np.arange(len(labels)), truth, P, positive=place)

    def per_class(self, table: Any, targets: Any = None) -> list[dict[str, Any]]:
        """Return for each class how well it is found: see `gpubp.models.scores.per_class`."""
        rows, truth, unknown = self._truth(table, targets)
        labels = [*self.classes_.tolist(), *unknown]
        places = np.arange(len(self.classes_))
        table_of_places = per_class(places, truth, self.predict_proba(rows).argmax(axis=1))
        return [row | {"label": labels[row["label"]]} for row in table_of_places]

    def known_labels(self, table: Any, target: str | None = None) -> np.ndarray:
        """Return the labels (n,) in a column; DataError for one that training had not."""
        self._check_one_target()
        name = self._names_of_truth(target and (target,))[0]
        table = self._table(table)
        gaps = table.column(name).is_gap()
        if gaps.any():
            raise DataError(f"{table.where(int(np.argmax(gaps)), name)}: the label is missing")
        places, unknown = class_indices(table, name, self.classes_)
        if unknown:
            row = int(np.argmax(places >= len(self.classes_)))
            raise DataError(
                f"{table.where(row, name)}: {table.column(name).cell(row)!r} is no label of the "
                f"model, which knows {listed([str(label) for label in self.classes_])}"
            )
        return self.classes_[places]

    def unknown_labels(self, table: Any, target: str | None = None) -> list[str]:
        """Return the labels in a column that training had not, each once."""
        return self._truth(table, target and (target,))[2]

    def _about_targets(self, y: np.ndarray) -> dict[str, Any]:
        if y.ndim > 1:  # of a multilabel problem
            return {}
        classes = self.classes_
        counts = np.bincount(indices_of(classes, y), minlength=len(classes))
        about: dict[str, Any] = {"class_rows": counts.tolist()}
        positive = positive_class(classes, y) if len(classes) == 2 else None
        if isinstance(positive, str | int | float):  # which a model file can hold
            about["positive_class"] = positive
        return about

    def _truth(self, table: Any, targets: Any) -> tuple[Table, np.ndarray, list[str]]:
        """Return the rows with a label, its place in `classes_`, and the unknown labels.

        The unknown ones count on from len(classes_).
        """
        self._check_one_target()
        rows, (name,) = self._with_truth(table, targets)
        return rows, *class_indices(rows, name, self.classes_)

    def _check_one_target(self) -> None:
        if self.is_multilabel_:
            raise DataError(
                f"the model gives several labels to a row, {listed(self.target_names_)}, which "
                "only models of one target are scored and explained for; compare what predict "
                "gives"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@documented(MLPRegressor)
class TableRegressor(RegressorMixin, TableEstimator):
    """Network for the numbers of a table with numbers, categories, dates and gaps.

    Columns become numbers by `TableEncoder`, and an `MLPRegressor` learns from these. Parameters
    are those of the two; "auto" chooses by the size of the table, and target_scaling by the loss.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    encoder_ : TableEncoder
        How columns become numbers.
    network_ : MLPRegressor
        The network, with all it learned: `coefs_`, `loss_curve_`, `validation_scores_`
        and so on.
    target_names_ : tuple of str
        The names of the targets.
    n_rows_without_target_ : int
        Rows that were left out, since a target is missing.
    n_features_in_, feature_names_in_ : int, ndarray
        Columns of X, and their names, where X had names.
    n_iter_ : int
        Epochs of the last fit.
    about_ : dict
        What a model file says of the training: versions, and what `gpubp train` adds.
    """

    task = "regression"
    _NETWORK = MLPRegressor
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(MLPRegressor)
    __init__ = initializer(MLPRegressor)

    def predict(self, X: Any) -> np.ndarray:
        """Return numbers (n,) or (n, n_targets) for the rows of X, a Table, a frame or an array.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        check_is_fitted(self)
        return self._finite(self.network_.predict, X)

    @available_if(lambda self: self.loss == "quantile")  # type: ignore[untyped-decorator]
    def predict_quantiles(self, X: Any) -> np.ndarray:
        """Return all levels of `quantile` for X: (n, n_levels), or (n, n_targets, n_levels).

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        check_is_fitted(self)
        return self._finite(self.network_.predict_quantiles, X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R² on X and y, which may be text such as "$1,200"; without y, on X's targets."""
        check_is_fitted(self)
        if y is not None:
            y = numbers_of_text(y, decimal=self.encoder_.decimal_)
            return float(super().score(X, y, sample_weight))
        table, names = self._table(X), self.target_names_
        if sample_weight is not None:
            gaps = np.any([table.column(name).is_gap() for name in names], axis=0)
            sample_weight = np.asarray(sample_weight)[~gaps]
        rows, names = self._with_truth(table, None)
        Y = numbers_of(rows, names)
        return float(r2_score(Y, self.predict(rows).reshape(Y.shape), sample_weight=sample_weight))

    def evaluate(self, table: Any, targets: Any = None) -> dict[str, Any]:
        """Return scores on the rows of a table or frame whose targets are known.

        "r2", "rmse" and "mae" in the units of the targets; of several, means, "per_output" and, by
        name, "per_target".

        targets : columns with the truth, by default those of training, or y.
        """
        check_is_fitted(self)
        rows, names = self._with_truth(table, targets)
        return number_scores(numbers_of(rows, names), self.predict(rows), self.target_names_)

    def _chosen(self, y: np.ndarray) -> dict[str, Any]:
        n_targets = int(np.prod(y.shape[1:]))
        return {"target_scaling": can_scale_targets(self, n_targets)}
