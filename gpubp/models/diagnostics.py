"""What the errors of a table model look like, on rows with known targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, r2_score

from gpubp.estimators.quantiles import level_of
from gpubp.models.calibration import Calibration, Coverage, calibration, coverage
from gpubp.models.confusion_matrix import ConfusionMatrix, confusion_matrix
from gpubp.models.permutation_importance import Importance, Score, permutation_importance
from gpubp.models.residuals import MOST_TARGETS, Residuals, residuals
from gpubp.models.roc_curves import RocCurve, roc_curves
from gpubp.models.scores import as_columns, main_score, quietly
from gpubp.models.table_estimators import TableClassifier, TableRegressor
from gpubp.tables.target import numbers_of


@dataclass(frozen=True)
class Diagnostics:
    """The errors of a model on ``rows`` rows; what does not suit the task is None or empty.

    level : the quantile that a regression predicts; None for the mean.
    """

    rows: int
    confusion_matrix: ConfusionMatrix | None = None
    calibration: Calibration | None = None
    roc_curves: Sequence[RocCurve] = field(default_factory=list)
    residuals: Sequence[Residuals] = field(default_factory=list)
    coverage: Sequence[Coverage] = field(default_factory=list)
    importance: Importance | None = None
    level: float | None = None

    def values(self) -> dict[str, Any]:
        """Return the values for JSON."""
        found: dict[str, Any] = _rounded(asdict(self))
        return found


def diagnostics(
    model: TableClassifier | TableRegressor, table: Any, targets: Any = None, seed: int = 0
) -> Diagnostics:
    """Return the errors of a model on the rows of ``table`` whose target is known.

    targets : names of the columns with the true values; None for those of the training.
    seed : of the rows and orders that are drawn.

    Raises DataError as `evaluate` does.
    """
    with quietly():
        if isinstance(model, TableClassifier):
            return _of_classes(model, table, targets, seed)
        return _of_numbers(model, table, targets, seed)


def _of_classes(model: TableClassifier, table: Any, targets: Any, seed: int) -> Diagnostics:
    rows, truth, unknown = model._truth(table, targets)
    if not len(truth):
        return Diagnostics(0)
    classes = model.classes_.tolist()
    P = model.predict_proba(rows)
    found = P.argmax(axis=1)
    positive = None
    if model.positive_class_ is not None:
        positive = classes.index(model.positive_class_)
        event = positive, P[:, positive], truth == positive
    else:
        event = None, P.max(axis=1), found == truth
    place, probabilities, happened = event

    def score(places: np.ndarray) -> Score:
        return lambda outputs: log_loss(truth[places], outputs)

    importance = permutation_importance(model, model.encode(rows), score, "log_loss", -1, seed)
    return Diagnostics(
        rows=len(truth),
        confusion_matrix=confusion_matrix([*classes, *unknown], truth, found),
        calibration=calibration(None if place is None else classes[place], probabilities, happened),
        roc_curves=roc_curves(classes, truth, P, positive),
        importance=importance,
    )


def log_loss(truth: np.ndarray, P: np.ndarray) -> float:
    """Return the log loss of the rows whose label is a class; NaN if there are none.

    Unlike shares of right labels, it also changes for a model that always gives the same label.

    truth : (n,), place of the true label, from k on for a label that is not a class.
    P : (n, k), the probabilities of the classes.
    """
    known = truth < P.shape[1]
    if not known.any():
        return float("nan")
    own = P[known, truth[known]].astype(np.float64)
    return float(-np.log(np.maximum(own, np.finfo(np.float32).eps)).mean())


def _of_numbers(model: TableRegressor, table: Any, targets: Any, seed: int) -> Diagnostics:
    rows, names = model._with_truth(table, targets)
    if not len(rows):
        return Diagnostics(0)
    Y = as_columns(numbers_of(rows, names))
    predicted = as_columns(model.predict(rows))
    level = level_of(model.network_)
    metric = main_score(level)
    sign = 1 if metric == "r2" else -1

    def score(places: np.ndarray) -> Score:
        return lambda outputs: _number_score(metric, level)(Y[places], as_columns(outputs))

    of_targets = list(zip(model.target_names_, Y.T, predicted.T, strict=True))
    return Diagnostics(
        rows=len(Y),
        residuals=[residuals(*of, seed) for of in of_targets[:MOST_TARGETS]],
        coverage=_coverage(model, rows, Y),
        level=level,
        importance=permutation_importance(model, model.encode(rows), score, metric, sign, seed),
    )


def _rounded(value: Any) -> Any:
    """Return values for JSON with numbers of at most six significant digits."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _number_score(metric: str, level: float | None) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return the function from true and predicted numbers (n, k) to their score."""

    def score(Y: np.ndarray, outputs: np.ndarray) -> float:
        if not np.isfinite(outputs).all() or (metric == "r2" and len(Y) < 2):
            return float("nan")
        if metric == "r2":
            return float(r2_score(Y, outputs))
        if metric == "mae":
            return float(mean_absolute_error(Y, outputs))
        return float(mean_pinball_loss(Y, outputs, alpha=level))

    return score


def _coverage(model: TableRegressor, rows: Any, Y: np.ndarray) -> list[Coverage]:
    """Return the coverage of the levels of a quantile regression; [] for another loss."""
    if model.loss != "quantile":
        return []
    levels = np.atleast_1d(model.quantile).tolist()
    quantiles = model.predict_quantiles(rows).reshape(*Y.shape, len(levels))
    return coverage(model.target_names_, levels, Y, quantiles)
