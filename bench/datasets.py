"""Named data sets for benchmarks: small ones that are part of scikit-learn, and XOR."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """The properties of a data set.

    outputs : number of outputs of a network for it.
    """

    rows: int
    features: int
    outputs: int
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"


DATASETS = {
    "digits": Dataset(1797, 64, 10),
    "breast_cancer": Dataset(569, 30, 1),
    "wine": Dataset(178, 13, 3),
    "iris": Dataset(150, 4, 3),
    "diabetes": Dataset(442, 10, 1, "squared_error"),
    "xor": Dataset(4, 2, 1),
}


def load_dataset(name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return X (rows, d) float64 and y (rows,): classes from 0 on, or standardised values.

    The features of digits are scaled to [0, 1], those of other sets are standardised (XOR: 0 and
    1). If ``rows`` is larger than the data set, its rows are repeated from the first on.
    """
    if name == "xor":
        X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        y = np.array([0, 1, 1, 0])
    else:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        X = X / 16 if name == "digits" else _standardised(X)
    if DATASETS[name].loss == "squared_error":
        y = _standardised(y)
    chosen = np.arange(rows) % len(X)
    return X[chosen], y[chosen]


def _standardised(values: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = (values - values.mean(axis=0)) / values.std(axis=0)
    return scaled
