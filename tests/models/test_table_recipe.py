from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.models.table_estimators import TableClassifier
from gpubp.models.table_recipe import recipe
from gpubp.tables.read import load_dataset


def chosen(rows: int, columns: int = 20, classes: int = 3, **options: Any) -> dict[str, Any]:
    return recipe("classification", rows, columns, classes, **options)


@pytest.mark.parametrize(
    ("rows", "columns", "batch_size"),
    [
        (5, 4, 5),  # no batch is larger than the table
        (32, 4, 8),  # a quarter of very few
        (64, 4, 16),
        (300, 20, 32),
        (3000, 20, 64),  # 75 rows: 64 is nearer than 128
        (337_000, 20, 256),
        (1500, 800, 128),  # 100 by its columns
        (1500, 15_000, 256),
    ],
)
def test_batches_are_a_fortieth_of_the_rows_within_bounds(
    rows: int, columns: int, batch_size: int
) -> None:
    assert chosen(rows, columns)["batch_size"] == batch_size


def test_what_few_rows_need_falls_with_their_number() -> None:
    few, some, many = (chosen(rows) for rows in (100, 3000, 100_000))
    assert [of["weight_decay"] for of in (few, some, many)] == [1.0, 0.1, 0.003]
    assert [of["dropout"] for of in (few, some, many)] == [0.3, 0.15, 0.0]


@pytest.mark.parametrize(
    ("hidden", "rate", "dropout"),
    [
        (None, 0.004, 0.3),
        ((), 0.004, 0.3),
        (64, 0.004, 0.3),
        ((64, 32), 0.004, 0.3),
        (16, 0.016, 0.0),
        ([64, 16], 0.016, 0.0),
        (np.array([4]), 0.032, 0.0),
    ],
)
def test_a_narrow_layer_gets_no_dropout_and_a_higher_rate(
    hidden: Any, rate: float, dropout: float
) -> None:
    found = chosen(100, hidden_layer_sizes=hidden)
    assert (found["learning_rate_init"], found["dropout"]) == (rate, dropout)
    adam = chosen(100, hidden_layer_sizes=hidden, solver="adam")
    assert "learning_rate_init" not in adam
    assert adam["dropout"] == dropout


def test_three_units_learn_three_kinds_of_iris() -> None:
    # With dropout and the rate of wide layers, one kind was never predicted: accuracy .66.
    iris = load_dataset("iris")
    model = TableClassifier(hidden_layer_sizes=(3,), random_state=0, device="cpu")
    assert model.fit(iris, target="target").evaluate(iris)["accuracy"] > 0.9


def test_weight_decay_falls_later_for_few_classes_until_rows_are_held_out() -> None:
    decays = [chosen(1800, classes=k)["weight_decay"] for k in (1, 2, 3, 10, 26)]
    assert decays == [1500 / 1800, 1500 / 1800, 1000 / 1800, 300 / 1800, 300 / 1800]
    assert chosen(2000, classes=2)["weight_decay"] == 0.15
    assert recipe("regression", 1800, 20, 2)["weight_decay"] == 300 / 1800


@pytest.mark.parametrize(("classes", "rows"), [(2, 2000), (3, 3000), (5, 5000), (26, 5000)])
def test_few_classes_have_rows_held_out_sooner(classes: int, rows: int) -> None:
    assert not chosen(rows - 1, classes=classes)["early_stopping"]
    assert chosen(rows, classes=classes)["early_stopping"]


def test_many_rows_have_a_tenth_held_out_and_few_have_none() -> None:
    assert not recipe("regression", 4999, 20, 2)["early_stopping"]
    many = chosen(5000)
    assert (many["early_stopping"], many["validation_fraction"]) == (True, 0.1)
    assert many["n_iter_no_change"] == many["max_iter"] // 2
    assert many["scoring"] == "loss"
    assert recipe("regression", 5000, 20, 1)["scoring"] is None  # R²


def test_gradients_of_a_regression_are_clipped() -> None:
    # One target in 100 is far out: the error of the others is .5, without clipping 2.7.
    rng = np.random.default_rng(2)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    y = X[:, 0] + X[:, 1] * X[:, 2]
    far = np.where(np.arange(600) % 100 == 0, 300.0, y)
    parameters = recipe("regression", 600, 5, 1)
    network = MLPRegressor(random_state=0, device="cpu", target_scaling=True, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, far)
    near = y == far
    error = np.abs(network.predict(X[near]) - y[near])
    assert np.median(error) < np.median(np.abs(y - np.median(y)))
    assert "clip_norm" not in chosen(600)


def test_steps_are_bounded_and_fewer_for_wide_rows() -> None:
    long, longer, wide = chosen(200_000), chosen(10_000_000), chosen(200_000, 5000)
    assert long["max_iter"] == 26  # 20,000 steps of 256 rows are 25.6 epochs
    assert longer["max_iter"] == wide["max_iter"] == 10


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("solver", [None, "adamw", "adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("rows", [2, 300, 6000])
def test_the_estimators_have_these_parameters(task: Any, solver: str | None, rows: int) -> None:
    kind = MLPClassifier if task == "classification" else MLPRegressor
    parameters = recipe(task, rows, 5, 2, solver=solver)
    assert set(parameters) <= set(inspect.signature(kind).parameters)
    network = kind(**parameters, random_state=0, device="cpu")
    if solver is not None:
        network.set_params(solver=solver)
    X = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    y = X[:, 0] > 0 if task == "classification" else X[:, 0].astype(np.float64)
    network.set_params(max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X, y)
    assert np.isfinite(network.predict(X)).all()


def test_another_solver_keeps_its_own_rates() -> None:
    adam = chosen(300, solver="adam")
    assert {"learning_rate", "learning_rate_init", "weight_decay", "alpha"}.isdisjoint(adam)
    assert adam["max_iter"] == chosen(300)["max_iter"]
    assert chosen(300, solver="lbfgs") == {"hidden_layer_sizes": (256,)}
    assert chosen(300, solver="adamw") == chosen(300)


def test_the_recipe_learns_a_small_and_noisy_table() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(700, 10)).astype(np.float32)
    y = X[:, 0] * X[:, 1] + X[:, 2] + 0.3 * rng.normal(size=700)
    parameters = recipe("regression", 350, 10, 1)
    network = MLPRegressor(random_state=0, device="cpu", target_scaling=True, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(X[:350], y[:350])
    # A linear model explains half of it.
    assert network.score(X[350:], y[350:]) > 0.7
