"""Data and comparisons for the tests of the search."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.testing import assert_allclose
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor


def classes(n: int = 60, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return make_classification(
        n, n_features=5, n_informative=4, n_redundant=0, n_classes=n_classes, random_state=seed
    )


def numbers(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    X, y = make_regression(n, n_features=5, noise=0.1, random_state=0)
    return X, y / y.std()


def classifier(**parameters: Any) -> MLPClassifier:
    return MLPClassifier(**_small(parameters))


def regressor(**parameters: Any) -> MLPRegressor:
    return MLPRegressor(**_small(parameters))


def _small(parameters: dict[str, Any]) -> dict[str, Any]:
    # tol=-inf would not end early; ConvergenceWarning is silenced where the tests allow it.
    return {"hidden_layer_sizes": (4,), "max_iter": 4, "random_state": 0} | parameters


SPACE = {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 0.05, 0.1]}


def warnings_of(call: Callable[[], Any]) -> str:
    """Return the text of all warnings of a call, except ConvergenceWarning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    kept = [each for each in caught if each.category is not ConvergenceWarning]
    return "\n".join(str(each.message) for each in kept)


def assert_same_results(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Assert that both cv_results_ have the same keys and, except for times, the same values."""
    assert set(ours) == set(theirs)
    assert ours["params"] == theirs["params"]
    for key, expected in theirs.items():
        if key.startswith("param_"):
            assert isinstance(ours[key], np.ma.MaskedArray)
            assert ours[key].dtype == expected.dtype
            assert ours[key].tolist() == expected.tolist()
        elif key.endswith("_time"):
            assert ours[key].shape == expected.shape
            assert (ours[key] >= 0).all()
        elif key != "params":
            assert ours[key].dtype == expected.dtype
            assert_allclose(ours[key], expected, rtol=0, atol=1e-12, err_msg=key)
