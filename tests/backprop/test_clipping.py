"""Clipping: gradients above a norm are shortened to it, and others are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPRegressor
from gpubp.backends.protocol import Backend
from gpubp.backprop.clipping import Clipping

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
X = np.random.RandomState(0).normal(size=(40, 3))
Y = 10 * X @ [1.0, -2.0, 0.5]


@pytest.mark.parametrize("size", [1, 32, 100, 40_000])
@pytest.mark.parametrize("n_sums", [1, 7, 2000])
def test_a_gradient_is_shortened_to_the_limit(backend: Backend, size: int, n_sums: int) -> None:
    values = np.random.RandomState(0).normal(size=size)
    norm, before = float(np.linalg.norm(values)), backend.n_partial_sums
    backend.n_partial_sums = n_sums  # type: ignore[misc]
    try:
        for limit in (0.5 * norm, 2 * norm):
            gradient = backend.asarray(values.copy())
            Clipping(backend, gradient, limit).run()
            wanted = values * min(1, limit / norm)
            assert_allclose(backend.to_numpy(gradient), wanted, rtol=1e-13)
    finally:
        backend.n_partial_sums = before  # type: ignore[misc]


def test_the_first_step_of_plain_descent_has_the_limits_length(backend: Backend) -> None:
    device = "cpu" if backend.name == "cpu" else "cuda"
    options = {"hidden_layer_sizes": (4,), "solver": "sgd", "momentum": 0.0, "alpha": 0.0}
    options |= {"device": device, "dtype": "float64", "max_iter": 1, "batch_size": 40}
    options |= {"learning_rate_init": 0.01, "random_state": 0}
    start = MLPRegressor(**options | {"learning_rate_init": 1e-300}).fit(X, Y)
    free, clipped = (MLPRegressor(**options, clip_norm=c).fit(X, Y) for c in (None, 0.5))
    unclipped = MLPRegressor(**options, clip_norm=1e6).fit(X, Y)

    def moved(model: MLPRegressor) -> float:
        pairs = zip(model.coefs_ + model.intercepts_, start.coefs_ + start.intercepts_, strict=True)
        return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs)))

    assert moved(free) > 0.1
    assert_allclose(moved(clipped), 0.01 * 0.5, rtol=1e-9)
    for a, b in zip(free.coefs_, unclipped.coefs_, strict=True):
        assert_array_equal(a, b)


def test_a_limit_has_to_be_above_0() -> None:
    with pytest.raises(ValueError, match="'clip_norm' parameter of MLPRegressor must be"):
        MLPRegressor(clip_norm=0).fit(X, Y)
