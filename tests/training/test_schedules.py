"""Schedules of learning rate, dropout and weight decay: their values, and training by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.solvers import STEPWISE
from gpubp.training.data import TrainingData
from gpubp.training.fit import Start
from gpubp.training.fit import fit as train
from gpubp.training.recipe import Recipe
from gpubp.training.schedules import CONSTANT, SCHEDULES

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


def test_warm_cosine_rises_in_the_first_quarter_and_falls_to_nothing() -> None:
    schedule = Recipe(8, learning_rate=0.1, schedule="warm_cosine")
    rates = np.concatenate([schedule.rates(epoch, 10, 0.1) for epoch in range(8)])
    t = np.arange(80) / 80
    rise = 0.04 + 0.96 * np.sin(2 * np.pi * t) ** 2  # (1 - cos 2a) / 2 = sin(a)^2
    fall = np.cos(2 * np.pi * (t - 0.25) / 3) ** 2
    assert_allclose(rates, 0.1 * np.where(t <= 0.25, rise, fall), rtol=1e-12)
    assert_allclose(rates[[0, 10, 20, 50]], [0.004, 0.052, 0.1, 0.05])


def test_late_cosine_is_constant_in_the_first_half_and_then_falls_to_nothing() -> None:
    recipe = Recipe(5, dropout_schedule="late_cosine")
    each = [recipe.strengths(epoch, 10) for epoch in range(5)]
    assert each[0] == each[1] == CONSTANT
    t = np.arange(50) / 50
    wanted = np.where(t <= 0.5, 1.0, np.sin(np.pi * t) ** 2)  # sin^2 is 1 in the middle, 0 at 1
    got = np.concatenate([np.broadcast_to(of.dropout, 10) for of in each])
    assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
    assert all(of.weight_decay == 1.0 for of in each)
    both = replace(recipe, weight_decay_schedule="late_cosine").strengths(3, 10)
    assert_array_equal(both.weight_decay, each[3].dropout)
    assert_array_equal(both.dropout, each[3].dropout)
    assert Recipe(5).strengths(4, 10) is CONSTANT


@pytest.mark.parametrize("solver", ["adamw", "lion"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_weight_decay_of_each_step_is_that_of_the_schedule(
    backend: Backend, solver: str, schedule: str
) -> None:
    """Of a linear network, by hand: the published update with the decay of each step."""
    recipe = Recipe(
        epochs=4,
        batch_size=15,
        solver=solver,
        solver_numbers={"weight_decay": 2.0},
        learning_rate=0.05,
        schedule=schedule,
        shuffle=False,
        precision="float64",
        weight_decay_schedule="late_cosine",
    )
    network, data = Network((3, 1), ()), TrainingData(X, Y, Y[:, None], None)
    start = Start.new(network, recipe)
    (W,), (b,) = network.unpack(start.theta)
    fitted = train(backend, network, LOSSES["squared_error"], data, recipe, start=start)
    theta = np.append(W.ravel(), b)
    m, v = np.zeros(4), np.zeros(4)
    for k in range(12):  # steps: three for each of four epochs
        t, rows = k / 12, slice(15 * (k % 3), 15 * (k % 3) + 15)
        delta = (X[rows] @ theta[:3] + theta[3] - Y[rows]) / len(Y[rows])
        g = np.append(X[rows].T @ delta, delta.sum())
        rate = 0.05 * (np.cos(np.pi * t / 2) ** 2 if schedule == "cosine" else 1)
        decay = np.array([1, 1, 1, 0]) * 2.0 * (1 if t < 0.5 else np.sin(np.pi * t) ** 2)
        if solver == "adamw":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            update = m / (1 - 0.9 ** (k + 1)) / (np.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8)
        else:
            update = np.sign(0.9 * m + 0.1 * g)
            m = 0.99 * m + 0.01 * g
        theta = theta - rate * (update + decay * theta)
    Ws, bs = network.unpack(fitted.theta)
    assert_allclose(np.append(Ws[0].ravel(), bs[0]), theta, rtol=1e-9)


def test_a_schedule_of_the_decay_changes_no_other_solver() -> None:
    options = {"hidden_layer_sizes": (3,), "max_iter": 4, "random_state": 0, "device": "cpu"}
    for solver in STEPWISE:
        late, constant = (
            MLPRegressor(**options, solver=solver, weight_decay_schedule=name).fit(X, Y)
            for name in ("late_cosine", "constant")
        )
        same = np.array_equal(late.coefs_[0], constant.coefs_[0])
        assert same == (solver not in ("adamw", "lion"))


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
