"""Data, and both libraries' estimators side by side, for the tests of the estimators."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor

NO_CALLBACKS = "scikit-learn before 1.9 has no callbacks"
with_callbacks = pytest.mark.skipif(
    not hasattr(MLPClassifier, "set_callbacks"), reason=NO_CALLBACKS
)
N = 90  # not a multiple of the batch size
OURS = {"classifier": MLPClassifier, "regressor": MLPRegressor}
THEIRS = {
    "classifier": sklearn.neural_network.MLPClassifier,
    "regressor": sklearn.neural_network.MLPRegressor,
}
BASE: dict[str, Any] = {
    "hidden_layer_sizes": (7, 5),
    "batch_size": 32,
    "learning_rate_init": 0.05,
    "max_iter": 15,
    "random_state": 3,
}
X, CLASSES = make_blobs(N, 4, centers=3, cluster_std=4.0, random_state=0)
X = (X - X.mean(axis=0)) / X.std(axis=0)
WEIGHTS = np.random.RandomState(1).uniform(0.1, 3, N)
# Each problem's y, with the kind of the estimator that learns it.
PROBLEMS = {
    "binary": ("classifier", (CLASSES > 0).astype(int)),
    "multi-class": ("classifier", CLASSES),
    "multi-label": ("classifier", np.stack([CLASSES > 0, CLASSES < 2, X[:, 0] > 0], 1).astype(int)),
    "regression": ("regressor", X @ [1.0, -2, 0.5, 1] + np.sin(3 * X[:, 1])),
    "text labels": ("classifier", np.array(["no", "yes", "Zürich"])[CLASSES]),
    "truth labels": ("classifier", CLASSES > 0),
    "integer regression": ("regressor", CLASSES),
}
TARGETS = ("binary", "multi-class", "multi-label", "regression")
NUMBERS = ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
FACTS = ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_")


def pair(kind: str, **parameters: Any) -> tuple[Any, Any]:
    """Our estimator and scikit-learn's, with the same parameters."""
    parameters = {**BASE, **parameters}
    return OURS[kind](**parameters, device="cpu"), THEIRS[kind](**parameters)


def watched(call: Callable[[], Any]) -> set[tuple[type, str]]:
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return {(warning.category, str(warning.message)) for warning in caught}


def fit(estimator: Any, *data: Any, **arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*data, **arguments)


def assert_agree(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    for name in ("coefs_", "intercepts_"):
        for layer, (got, wanted) in enumerate(
            zip(getattr(ours, name), getattr(theirs, name), strict=True)
        ):
            assert got.dtype == wanted.dtype
            assert_allclose(got, wanted, rtol, atol=1e-3 * rtol, err_msg=f"{name}[{layer}]")
    for name in FACTS:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in NUMBERS:
        got, wanted = getattr(ours, name), getattr(theirs, name)
        if wanted is None:
            assert got is None, name
        else:
            assert_allclose(got, wanted, rtol, err_msg=name)
    methods = ["predict"]
    if hasattr(theirs, "classes_"):
        assert_array_equal(ours.classes_, theirs.classes_, strict=True)
        methods += ["predict_proba", "predict_log_proba"]
    for name in methods:
        got, wanted = getattr(ours, name)(X), getattr(theirs, name)(X)
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        if wanted.dtype.kind == "f":
            assert_allclose(got, wanted, rtol, atol=1e-3 * rtol, err_msg=name)
        else:
            assert_array_equal(got, wanted, err_msg=name)
