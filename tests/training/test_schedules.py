"""Learning rates: each schedule's values, and that training takes them step by step."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.protocol import Backend
from gpubp.backprop.solvers import STEPWISE
from gpubp.training.recipe import Recipe
from gpubp.training.schedules import SCHEDULES

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
X = np.random.RandomState(0).normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5]


def test_a_constant_rate_is_one_number() -> None:
    assert Recipe(10, learning_rate=0.1).rates(3, 5, 0.02) == 0.02
    assert Recipe(10, learning_rate=0.1, warmup_epochs=2).rates(2, 5, 0.02) == 0.02


def test_cosine_starts_at_the_rate_is_half_in_the_middle_and_ends_at_nothing() -> None:
    schedule = Recipe(4, learning_rate=0.1, schedule="cosine")
    rates = np.concatenate([schedule.rates(epoch, 10, 0.1) for epoch in range(4)])
    assert_allclose(rates[[0, 20]], [0.1, 0.05])
    assert_allclose(rates[10], 0.1 * (2 + np.sqrt(2)) / 4)  # a quarter of the way
    assert (np.diff(rates) < 0).all()
    assert rates[-1] < 0.1 * 0.002


def test_one_cycle_rises_to_the_rate_and_falls_to_a_trace() -> None:
    schedule = Recipe(10, learning_rate=0.1, schedule="one_cycle")
    rates = np.concatenate([schedule.rates(epoch, 100, 0.1) for epoch in range(10)])
    assert_allclose(rates[[0, 300]], [0.1 / 25, 0.1])
    assert_allclose(rates[150], (0.1 / 25 + 0.1) / 2)
    curve = SCHEDULES["one_cycle"].curve
    assert curve is not None
    assert_allclose(curve(np.array([1.0])), 1 / 250_000)
    assert (np.diff(rates[:301]) > 0).all()
    assert (np.diff(rates[300:]) < 0).all()


@pytest.mark.parametrize("name", ["constant", "cosine"])
def test_warm_up_rises_step_by_step(name: str) -> None:
    plain = Recipe(6, learning_rate=0.1, schedule=name)
    warm = Recipe(6, learning_rate=0.1, schedule=name, warmup_epochs=1.5)
    for epoch, factors in enumerate(([0.25, 0.5], [0.75, 1.0], [1.0, 1.0])):
        wanted = np.multiply(plain.rates(epoch, 2, 0.1), [f * 4 / 3 for f in factors])
        assert_allclose(warm.rates(epoch, 2, 0.1), np.minimum(wanted, plain.rates(epoch, 2, 0.1)))


@pytest.mark.parametrize("solver", STEPWISE)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_training_takes_the_rate_of_each_step(
    solver: str, device: str, request: pytest.FixtureRequest
) -> None:
    """By hand: partial_fit of each batch, at the rate that the schedule has for it."""
    if device == "cuda":
        request.getfixturevalue("host_cupy")
    options = {"hidden_layer_sizes": (4,), "solver": solver, "random_state": 0, "alpha": 0.01}
    options |= {"batch_size": 20, "device": device, "dtype": "float64", "shuffle": False}
    whole = MLPRegressor(
        **options, max_iter=3, learning_rate="cosine", warmup_epochs=1, learning_rate_init=0.05
    ).fit(X, Y)
    schedule = Recipe(3, learning_rate=0.05, schedule="cosine", warmup_epochs=1)
    parts = MLPRegressor(**options)
    for epoch in range(3):
        for rate, rows in zip(schedule.rates(epoch, 2, 0.05), (X[:20], X[20:]), strict=True):
            if not hasattr(parts, "coefs_"):
                parts.set_params(learning_rate_init=rate).partial_fit(rows, Y[:20])
                continue
            parts._optimizer_state.rate = rate
            parts.partial_fit(rows, Y[:20] if rows[0, 0] == X[0, 0] else Y[20:])
    for got, wanted in zip(whole.coefs_, parts.coefs_, strict=True):
        assert_allclose(got, wanted, rtol=1e-11)


def test_plateau_lowers_the_rate_of_every_solver_instead_of_stopping(backend: Backend) -> None:
    device = "cuda" if backend.name != "cpu" else "cpu"
    options = {"hidden_layer_sizes": (3,), "max_iter": 60, "n_iter_no_change": 2, "tol": 10.0}
    options |= {"device": device, "random_state": 0}
    stopped = MLPClassifier(**options, learning_rate="adaptive").fit(X, Y > 0)
    lowered = MLPClassifier(**options, learning_rate="plateau").fit(X, Y > 0)
    assert (stopped.n_iter_, stopped.stopped_by_) == (4, "no_improvement")
    assert lowered.n_iter_ > 12
    assert lowered._optimizer_state.rate <= 1e-6
