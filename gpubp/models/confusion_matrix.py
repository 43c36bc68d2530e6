"""How often each class is predicted as each other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_CLASSES = 26  # of a whole matrix; of more, there are only the most confused pairs
MOST_PAIRS = 20


@dataclass(frozen=True)
class ConfusedPair:
    """Rows with the label ``true`` that the model gives the label ``predicted``."""

    true: Any
    predicted: Any
    rows: int


@dataclass(frozen=True)
class ConfusionMatrix:
    """The true labels against the predicted ones.

    labels : of the rows and columns of ``counts``, those that no row has or is given left out.
    counts : for each true label, the rows per predicted label; () with more than MOST_CLASSES.
    pairs : the most frequent mistakes, at most MOST_PAIRS. wrong : the rows of all mistakes.
    """

    labels: Sequence[Any]
    counts: Sequence[Sequence[int]]
    pairs: Sequence[ConfusedPair]
    wrong: int


def confusion_matrix(
    labels: Sequence[Any], truth: np.ndarray, found: np.ndarray
) -> ConfusionMatrix:
    """Return the confusion matrix of rows with the places ``truth`` and ``found`` (n,) in labels.

    labels : those of the model, then others of the rows.
    """
    # scikit-learn's function warns of many classes.
    used, places = np.unique(np.concatenate([truth, found]), return_inverse=True)
    rows, columns = places.reshape(2, -1)
    counts = np.bincount(rows * len(used) + columns, minlength=len(used) ** 2)
    counts = counts.reshape(len(used), len(used))
    names = [labels[place] for place in used.tolist()]
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_PAIRS]
    cells = zip(*np.unravel_index(order, mistakes.shape), strict=True)
    pairs = [ConfusedPair(names[i], names[j], int(mistakes[i, j])) for i, j in cells]
    return ConfusionMatrix(
        labels=names,
        counts=counts.tolist() if len(names) <= MOST_CLASSES else (),
        pairs=[pair for pair in pairs if pair.rows],
        wrong=int(mistakes.sum()),
    )
