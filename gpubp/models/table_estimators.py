"""TableClassifier and TableRegressor: networks for tables with columns of mixed types."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.quantiles import level_of
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.target_scaling import can_scale_targets
from gpubp.models.finite_outputs import NonFiniteOutputError
from gpubp.models.scores import (
    class_scores,
    indices_of,
    number_scores,
    per_class,
    positive_class,
)
from gpubp.models.table_parameters import constraints, documented, initializer
from gpubp.models.table_presets import is_auto
from gpubp.models.table_rows import numbers_of_text
from gpubp.models.table_training import TableEstimator
from gpubp.models.unsmoothed import unsmoothed_of
from gpubp.tables.known_labels import class_indices
from gpubp.tables.table import DataError, Table, listed
from gpubp.tables.target import numbers_of

__all__ = ["NonFiniteOutputError", "TableClassifier", "TableEstimator", "TableRegressor"]


@documented(MLPClassifier)
class TableClassifier(ClassifierMixin, TableEstimator):
    """Classifier for tables with numbers, categories, dates and missing values.

    `TableEncoder` converts the columns to numbers, and an `MLPClassifier` learns from them. The
    parameters are those of both, `preset` and `time_limit`; the preset chooses what is "auto".

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    encoder_ : TableEncoder
        The fitted encoder, which converts columns to the inputs of the network.
    network_ : MLPClassifier
        The fitted network, with its attributes `coefs_`, `loss_curve_`, `validation_scores_` and
        so on.
    classes_ : ndarray of shape (n_classes,)
        The class labels, sorted; the order of the columns of predict_proba.
    target_names_ : tuple of str
        Names of the target columns.
    n_rows_without_target_ : int
        Number of rows that fit left out because their target is missing.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X; only set if X has names.
    n_iter_ : int
        Number of epochs of the last fit, or of iterations of solver='lbfgs'.
    about_ : dict
        Information on the training that is saved in a model file: versions of the libraries, and
        the scores and remarks of `gpubp train`.
    """

    task = "classification"
    _NETWORK = MLPClassifier
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(MLPClassifier)
    __init__ = initializer(MLPClassifier)

    @property
    def classes_(self) -> np.ndarray:
        """The class labels (n_classes,), in the order of the columns of predict_proba."""
        return self.network_.classes_  # type: ignore[no-any-return]

    @property
    def positive_class_(self) -> Any:
        """The positive class, of F1 and average precision; None unless there are two classes.

        It is the second class; for text labels, the class with fewer training rows.
        """
        if len(self.classes_) != 2:
            return None
        labels = self.classes_.tolist()
        known = self.about_.get("positive_class")
        return known if known in labels else labels[1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted labels, (n,), or 0 and 1 of shape (n, n_labels) for a multi-label y.

        X : a Table, a frame or an array with the columns of the training.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        return self.most_probable(self.predict_proba(X))

    @property
    def is_multilabel_(self) -> bool:
        """Whether y of the training was multi-label: each target is 0 or 1."""
        check_is_fitted(self)
        return bool(self.network_._binarizer.y_type_.startswith("multilabel"))

    def most_probable(self, P: np.ndarray) -> np.ndarray:
        """Return the most probable labels, (n,), or 0 and 1 of shape (n, n_labels).

        P : probabilities, (n, n_classes), as predict_proba returns them.
        """
        classes = self.classes_
        if self.is_multilabel_:
            return (P > 0.5).astype(np.int64)
        places = P.argmax(axis=1) if len(classes) > 1 else np.zeros(len(P), np.intp)
        labels: np.ndarray = classes[places]
        return labels

    def predict_proba(self, X: Any, *, return_std: bool = False) -> Any:
        """Return the probability of each class, (n, n_classes), in the order of `classes_`.

        X : a Table, a frame or an array with the columns of the training.
        return_std : whether to return a tuple instead: the probabilities and their standard
            deviations over the members of an ensemble.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        check_is_fitted(self)
        return unsmoothed_of(self, self._finite(self.network_.predict_proba, X, return_std))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the natural logarithm of predict_proba(X), (n, n_classes)."""
        with np.errstate(divide="ignore"):
            logs: np.ndarray = np.log(self.predict_proba(X))
        return logs

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy on X and y.

        y : true labels, (n,); None for the target column of X (rows without a target are ignored).
        sample_weight : (n,) or None, the weight of each row.
        """
        check_is_fitted(self)
        if y is not None:
            return float(super().score(X, y, sample_weight))
        rows, places, _ = self._truth(X, None)
        if sample_weight is not None:
            gaps = self._table(X).column(self.target_names_[0]).is_gap()
            sample_weight = np.asarray(sample_weight)[~gaps]
        right = self.predict_proba(rows).argmax(axis=1) == places
        return float(np.average(right, weights=sample_weight))

    def evaluate(self, table: Any, targets: Any = None) -> dict[str, Any]:
        """Return scores on the rows whose target is known, as a dict of floats.

        The keys are "accuracy", "balanced_accuracy", "log_loss" (natural logarithm), "roc_auc",
        "average_precision" and "f1". For two classes, "average_precision" and "f1" are those of
        `positive_class_`; for more, they and "roc_auc" are means over the classes. A score that is
        undefined for these rows is left out.

        table : a Table, a frame or an array. targets : name of the column with the true labels, or
        the labels themselves, (n,); None for the target column of the training.
        """
        check_is_fitted(self)
        rows, truth, _ = self._truth(table, targets)
        labels, positive = self.classes_.tolist(), self.positive_class_
        place = None if positive is None else labels.index(positive)
        P = self.predict_proba(rows)
        return class_scores(np.arange(len(labels)), truth, P, positive=place)

    def per_class(self, table: Any, targets: Any = None) -> list[dict[str, Any]]:
        """Return precision, recall and F1 of each class; see `gpubp.models.scores.per_class`.

        table, targets : as for evaluate.
        """
        rows, truth, unknown = self._truth(table, targets)
        labels = [*self.classes_.tolist(), *unknown]
        places = np.arange(len(self.classes_))
        table_of_places = per_class(places, truth, self.predict_proba(rows).argmax(axis=1))
        return [row | {"label": labels[row["label"]]} for row in table_of_places]

    def known_labels(self, table: Any, target: str | None = None) -> np.ndarray:
        """Return the labels (n,) in a column, as entries of `classes_`.

        target : name of the column; None for the target column of the training.

        Raises DataError for a missing label, and for a label that is not in `classes_`.
        """
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
                f"{table.where(row, name)}: {table.column(name).cell(row)!r} is not a label of the "
                f"model, which knows {listed([str(label) for label in self.classes_])}"
            )
        return self.classes_[places]

    def unknown_labels(self, table: Any, target: str | None = None) -> list[str]:
        """Return the distinct labels in a column that are not in `classes_`.

        target : name of the column; None for the target column of the training.
        """
        return self._truth(table, target and (target,))[2]

    def _about_targets(self, y: np.ndarray) -> dict[str, Any]:
        if y.ndim > 1:  # multi-label
            return {}
        classes = self.classes_
        counts = np.bincount(indices_of(classes, y), minlength=len(classes)).tolist()
        about: dict[str, Any] = {"class_rows": counts, "unsmoothed": is_auto(self.label_smoothing)}
        positive = positive_class(classes, y) if len(classes) == 2 else None
        if isinstance(positive, str | int | float):  # types that a model file can hold
            about["positive_class"] = positive
        return about

    def _truth(self, table: Any, targets: Any) -> tuple[Table, np.ndarray, list[str]]:
        """Return the rows with a label, the class index of each, and the unknown labels.

        Labels that are not in `classes_` have indices from the number of classes on.
        """
        self._check_one_target()
        rows, (name,) = self._with_truth(table, targets)
        return rows, *class_indices(rows, name, self.classes_)

    def _check_one_target(self) -> None:
        if self.is_multilabel_:
            raise DataError(
                f"the model is multi-label, with targets {listed(self.target_names_)}, but only "
                "models with one target can be scored and explained; call predict, and compare its "
                "predictions with the labels"
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@documented(MLPRegressor)
class TableRegressor(RegressorMixin, TableEstimator):
    """Regressor for tables with numbers, categories, dates and missing values.

    `TableEncoder` converts the columns to numbers, and an `MLPRegressor` learns from them. The
    parameters are those of both, `preset` and `time_limit`; the preset chooses what is "auto".

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    encoder_ : TableEncoder
        The fitted encoder, which converts columns to the inputs of the network.
    network_ : MLPRegressor
        The fitted network, with its attributes `coefs_`, `loss_curve_`, `validation_scores_` and
        so on.
    target_names_ : tuple of str
        Names of the target columns.
    n_rows_without_target_ : int
        Number of rows that fit left out because a target is missing.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X; only set if X has names.
    n_iter_ : int
        Number of epochs of the last fit, or of iterations of solver='lbfgs'.
    about_ : dict
        Information on the training that is saved in a model file: versions of the libraries, and
        the scores and remarks of `gpubp train`.
    """

    task = "regression"
    _NETWORK = MLPRegressor
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = constraints(MLPRegressor)
    __init__ = initializer(MLPRegressor)

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """Return the predicted numbers, (n,) or (n, n_targets), in the units of the targets.

        X : a Table, a frame or an array with the columns of the training.
        return_std : whether to return a tuple instead: the numbers and their standard deviations
            over the members of an ensemble.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        check_is_fitted(self)
        return self._finite(self.network_.predict, X, return_std)

    @available_if(lambda self: self.loss == "quantile")  # type: ignore[untyped-decorator]
    def predict_quantiles(self, X: Any) -> np.ndarray:
        """Return the quantiles at all levels of `quantile`.

        The shape is (n, n_levels), or (n, n_targets, n_levels) for several targets.

        X : a Table, a frame or an array with the columns of the training.

        Raises NonFiniteOutputError, a DataError, for a row with an output that is not finite.
        """
        check_is_fitted(self)
        quantiles: np.ndarray = self._finite(self.network_.predict_quantiles, X)
        return quantiles

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R² on X and y.

        y : true numbers, or text such as "$1,200", (n,) or (n, n_targets); None for the target
        columns of X (rows without a target are ignored).
        sample_weight : (n,) or None, the weight of each row.
        """
        check_is_fitted(self)
        if y is not None:
            y = numbers_of_text(y, decimal=self.encoder_.decimal_)
            return float(super().score(X, y, sample_weight))
        table = self._table(X)
        rows, names = self._with_truth(table, None)
        if sample_weight is not None:
            gaps = np.any([table.column(name).is_gap() for name in names], axis=0)
            sample_weight = np.asarray(sample_weight)[~gaps]
        Y = numbers_of(rows, names)
        return float(r2_score(Y, self.predict(rows).reshape(Y.shape), sample_weight=sample_weight))

    def evaluate(self, table: Any, targets: Any = None) -> dict[str, Any]:
        """Return scores on the rows whose targets are known, as a dict.

        The keys are "r2", "rmse" and "mae"; the latter two are in the units of the targets. A model
        of a quantile other than the median also has "pinball_loss" at its level. For several
        targets these are means, "per_output" is a list with the scores of each target, and
        "per_target" a dict of them by name.

        table : a Table, a frame or an array. targets : names of the columns with the true numbers,
        or the numbers themselves, (n,) or (n, n_targets); None for the targets of the training.
        """
        check_is_fitted(self)
        rows, names = self._with_truth(table, targets)
        level = level_of(self.network_)
        return number_scores(numbers_of(rows, names), self.predict(rows), self.target_names_, level)

    def _chosen(self, y: np.ndarray) -> dict[str, Any]:
        n_targets = int(np.prod(y.shape[1:]))
        chosen: dict[str, Any] = {"target_scaling": can_scale_targets(self, n_targets)}
        # R² judges predictions of the mean.
        return chosen if self.loss == "squared_error" else chosen | {"scoring": "loss"}
