"""The ROC curves of the classes, each against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics

MOST_CURVES = 5
MOST_POINTS = 60


@dataclass(frozen=True)
class RocCurve:
    """The ROC curve of a class.

    rows : with this label. auc : area under the curve. false_positives, true_positives : rates at
    at most MOST_POINTS thresholds, from (0, 0) to (1, 1).
    """

    label: Any
    rows: int
    auc: float
    false_positives: Sequence[float]
    true_positives: Sequence[float]


def roc_curves(
    labels: Sequence[Any], truth: np.ndarray, P: np.ndarray, positive: int | None
) -> list[RocCurve]:
    """Return the curves of the MOST_CURVES classes with most rows, of two classes one.

    labels : of the columns of the probabilities P (n, k). truth : place of the true label (n,).
    positive : the place of the positive class of two, else None.
    A class that none or all of the rows have has no curve.
    """
    rows = np.bincount(truth, minlength=len(labels))[: len(labels)]
    usable = [j for j in range(len(labels)) if 0 < rows[j] < len(truth)]
    if positive is not None:
        usable = [j for j in usable if j == positive]
    largest = sorted(usable, key=lambda j: (-rows[j], j))[:MOST_CURVES]
    return [_curve(labels[j], truth == j, P[:, j]) for j in largest]


def _curve(label: Any, is_class: np.ndarray, probabilities: np.ndarray) -> RocCurve:
    fpr, tpr, _ = metrics.roc_curve(is_class, probabilities)
    along = np.abs(np.diff(fpr)) + np.abs(np.diff(tpr))
    length = np.concatenate([[0.0], np.cumsum(along)])
    # Points at equal distances along the curve, each one of its own points.
    wanted = np.linspace(0, length[-1], MOST_POINTS)
    places = np.unique(np.searchsorted(length, wanted - 1e-12).clip(0, len(length) - 1))
    return RocCurve(
        label=label,
        rows=int(is_class.sum()),
        auc=float(metrics.auc(fpr, tpr)),
        false_positives=[round(float(x), 4) for x in fpr[places]],
        true_positives=[round(float(y), 4) for y in tpr[places]],
    )
