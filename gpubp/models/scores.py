"""Scores on rows with known targets, computed by scikit-learn.

A score that is undefined for the given rows is left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn import metrics

Scores = dict[str, float]


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress scikit-learn's warnings (undefined scores, no convergence) and NumPy's."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def indices_of(classes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the index (n,) in ``classes`` of each label; unknown labels get k, k + 1, ..."""
    unknown = np.setdiff1d(y, classes)
    order = {label: i for i, label in enumerate([*classes.tolist(), *unknown.tolist()])}
    labels, inverse = np.unique(y, return_inverse=True)
    return np.array([order[label] for label in labels.tolist()], dtype=np.intp)[inverse]


def positive_class(classes: np.ndarray, y: np.ndarray) -> Any:
    """Return the positive class, of F1 and average precision, for two ``classes``.

    It is the second class, as in scikit-learn (1 of 0 and 1). For text labels, whose order has no
    meaning, it is the class with fewer rows.

    y : (n,), labels of the training rows.
    """
    labels = classes.tolist()
    if classes.dtype.kind in "OUST":
        counts = [np.count_nonzero(y == label) for label in labels]
        return labels[0 if counts[0] < counts[1] else 1]
    return labels[1]


def class_scores(
    classes: np.ndarray, y: np.ndarray, P: np.ndarray, *, positive: Any = None
) -> Scores:
    """Return the scores of probabilities ``P`` (n, k) for rows with the labels ``y`` (n,).

    classes : (k,), the label of each column of P. positive : the positive class of two, see
    `positive_class`; None for the second one.

    accuracy : fraction of rows with the right label.
    balanced_accuracy : mean recall of the classes in y.
    log_loss : by the natural logarithm.
    f1 : of the positive class of two; for more classes, the mean over those in y or predicted.
    roc_auc, average_precision : of the positive class of two; for more classes, the mean over the
    classes in y, each against the rest.

    A row whose label is not in ``classes`` counts as wrong in accuracy, balanced accuracy and F1,
    and makes the other scores undefined. roc_auc and average_precision need rows of at least two
    classes.
    """
    if not len(y):
        return {}
    k, truth = len(classes), indices_of(classes, y)
    P = P.astype(np.float64)
    P /= P.sum(axis=1, keepdims=True)
    one = 1 if positive is None else int(np.flatnonzero(classes == positive)[0])
    found = P.argmax(axis=1)
    with quietly():
        scores = {
            "accuracy": metrics.accuracy_score(truth, found),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, found),
        }
        if truth.max() < k:
            scores["log_loss"] = metrics.log_loss(truth, P, labels=np.arange(k)) if k > 1 else 0.0
            scores |= _ranking_scores(truth, P, one)
        if (f1 := _f1(truth, found, k, one)) is not None:
            scores["f1"] = f1
    return {name: float(score) for name, score in scores.items()}


def _f1(truth: np.ndarray, found: np.ndarray, k: int, one: int) -> float | None:
    if k == 2:
        truth, found = truth == one, found == one
        if not (truth | found).any():
            return None
        return float(metrics.f1_score(truth, found, zero_division=0))
    return float(metrics.f1_score(truth, found, average="macro", zero_division=0))


def _ranking_scores(truth: np.ndarray, P: np.ndarray, one: int) -> Scores:
    """Return ROC AUC and average precision; an empty dict if all rows have the same class."""
    present = np.unique(truth)
    if len(present) < 2:
        return {}
    columns = np.array([one]) if P.shape[1] == 2 else present
    is_class = truth[:, None] == columns
    ranked = [(is_class[:, j], P[:, c]) for j, c in enumerate(columns)]
    return {
        "roc_auc": float(np.mean([metrics.roc_auc_score(*pair) for pair in ranked])),
        "average_precision": float(
            np.mean([metrics.average_precision_score(*pair) for pair in ranked])
        ),
    }


def per_class(classes: np.ndarray, y: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class of the model, then of other labels in ``y``.

    Each dict has the label, the number of "rows" with it in y, the number of rows "predicted" to
    have it, "precision", "recall" and "f1". These are None if undefined: precision without
    predicted rows, recall without rows, f1 without either.

    y : (n,), true labels. labels : (n,), predicted labels.
    """
    names = [*classes.tolist(), *np.setdiff1d(y, classes).tolist()]
    truth, found = indices_of(classes, y), indices_of(classes, labels)
    kinds = np.arange(len(names))
    rows, predicted = (np.bincount(of, minlength=len(names)) for of in (truth, found))
    with quietly():
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            truth, found, labels=kinds, zero_division=0
        )
    return [
        {
            "label": names[c],
            "rows": int(rows[c]),
            "predicted": int(predicted[c]),
            "precision": float(precision[c]) if predicted[c] else None,
            "recall": float(recall[c]) if rows[c] else None,
            "f1": float(f1[c]) if rows[c] or predicted[c] else None,
        }
        for c in kinds
    ]


def number_scores(
    Y: np.ndarray,
    found: np.ndarray,
    names: Sequence[str] | None = None,
    level: float | None = None,
) -> dict[str, Any]:
    """Return r2, rmse and mae, the latter two in the units of the targets.

    With a ``level`` other than 0.5, "pinball_loss" is first, also in the units of the targets.

    For several targets these are means; "per_output" is a list with the scores of each target,
    and "per_target" a dict of them by name, if ``names`` are given. r2 needs two rows.

    Y : true numbers, (n,) or (n, k). found : predicted numbers, of the same shape.
    level : the quantile level that ``found`` estimates; None for the mean.
    """
    Y, found = as_columns(Y), as_columns(found)
    if not len(Y):
        return {}
    scores: dict[str, Any] = _number_scores(Y, found, level)
    if Y.shape[1] > 1:
        columns = ([j] for j in range(Y.shape[1]))
        scores["per_output"] = [_number_scores(Y[:, j], found[:, j], level) for j in columns]
        if names is not None:
            scores["per_target"] = dict(zip(names, scores["per_output"], strict=True))
    return scores


def main_score(level: float | None) -> str:
    """Return the name of the score that suits predictions of the quantile ``level``, or mean."""
    return "r2" if level is None else "mae" if level == 0.5 else "pinball_loss"


def _number_scores(Y: np.ndarray, found: np.ndarray, level: float | None) -> Scores:
    scores = {
        "rmse": float(metrics.root_mean_squared_error(Y, found)),
        "mae": float(metrics.mean_absolute_error(Y, found)),
    }
    if len(Y) > 1:
        scores = {"r2": float(metrics.r2_score(Y, found)), **scores}
    if main_score(level) == "pinball_loss":
        pinball = metrics.mean_pinball_loss(Y, found, alpha=level)
        scores = {"pinball_loss": float(pinball), **scores}
    return scores


def as_columns(Y: np.ndarray) -> np.ndarray:
    """Return numbers (n,) or (n, k) as float64 (n, k)."""
    Y = np.asarray(Y, dtype=np.float64)
    return Y[:, None] if Y.ndim == 1 else Y
