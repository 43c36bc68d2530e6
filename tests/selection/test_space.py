"""Spaces of hyperparameters in TOML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import ParameterSampler

from gpubp import MLPSearchCV, TableClassifier, TableRegressor
from gpubp.selection.default_space import DEFAULT_SPACE
from gpubp.selection.space import (
    Range,
    SpaceError,
    WholeNumbers,
    description,
    parsed,
    ranges,
    space_of,
)

Y = np.arange(60) % 3


def space(text: str, estimator: Any = None) -> Any:
    return space_of(parsed(text), estimator or TableClassifier(), Y)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hidden_layer_sizes = [[64], [128, 64]]", [(64,), (128, 64)]),
        ("hidden_layer_sizes = [64, 32]", [64, 32]),
        ('activation = ["relu", "tanh"]', ["relu", "tanh"]),
        ("max_iter = 30", [30]),
        ('weight_decay = ["auto", 0.1]', ["auto", 0.1]),
        ('clip_norm = ["none", 0.1]', [None, 0.1]),
        ("early_stopping = [true, false]", [True, False]),
        ('drop = [[], ["a", "b"]]', [(), ("a", "b")]),
        ("alpha = { low = 1e-4, high = 1, log = true }", Range(1e-4, 1.0, True)),
        ("dropout = { low = 0, high = 0.5 }", Range(0.0, 0.5)),
        ("alpha = { low = 0, high = 2 }", Range(0.0, 2.0)),  # alpha need not be whole
        ("max_iter = { low = 5, high = 50, log = true }", WholeNumbers(5, 50, True)),
    ],
)
def test_entries(text: str, expected: Any) -> None:
    ((name, entry),) = space(text).items()
    assert entry == expected
    assert type(entry) is type(expected)
    assert parsed(text).keys() == {name}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "it is not TOML"),
        ("# nothing", "it has no parameter; give at least one"),
        ("droput = [0.1]", "unknown parameter 'droput'; did you mean 'dropout'?"),
        ("epochs = [1]", "did you mean 'max_iter'?"),
        ("zzz = [1]", "unknown parameter 'zzz'; see the parameters of TableClassifier"),
        ("alpha = []", "alpha is an empty list"),
        ("dropout = [0.1, 1.5]", r"dropout = 1.5: it must be a float in the range \[0.0, 1.0\)"),
        ("hidden_layer_sizes = [[0]]", "hidden_layer_sizes must be > 0"),
        ("alpha = { high = 1 }", "alpha has no 'low'; a range has low, high and log"),
        ("alpha = { low = 1 }", "alpha has no 'high'"),
        ("alpha = { low = 1, hihg = 2 }", "alpha has the key 'hihg'; did you mean 'high'?"),
        ("alpha = { low = 1, high = 2, q = 3 }", "alpha has the key 'q'; a range has"),
        ("alpha = { low = 2, high = 2 }", "low is 2, which must be below high, 2"),
        ("alpha = { low = 0, high = 1, log = true }", "a log scale needs low above 0"),
        ('alpha = { low = "a", high = 1 }', "must be finite numbers, and log true or false"),
        ("alpha = { low = 0, high = inf }", "must be finite numbers"),
        ("alpha = { low = 0, high = 1, log = 1 }", "log true or false"),
        ("alpha = { low = -1, high = 1 }", r"alpha = -1: it must be a float in the range \[0.0"),
        ("dropout = { low = 0, high = 1 }", "dropout = 1: it must be"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        space(text)


@pytest.mark.parametrize("of", [Range(1e-3, 10.0, True), Range(-1.0, 1.0)])
def test_draws_of_a_range(of: Range) -> None:
    rng = np.random.RandomState(0)
    draws = np.array([of.rvs(random_state=rng) for _ in range(2000)])
    assert draws.min() >= of.low
    assert draws.max() <= of.high
    part = np.log(draws / of.low) / np.log(of.high / of.low) if of.log else (draws + 1) / 2
    quantiles = np.quantile(part, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.04)
    assert all(f"{draw:.4g}" == f"{draw:.12g}" for draw in draws)
    assert (of.ppf(0.0), of.ppf(1.0)) == (of.low, of.high)


@pytest.mark.parametrize("log", [False, True])
def test_draws_of_whole_numbers(log: bool) -> None:
    of, rng = WholeNumbers(2, 6, log), np.random.RandomState(0)
    draws = [of.rvs(rng) for _ in range(4000)]
    assert {type(draw) for draw in draws} == {int}
    found = np.bincount(draws, minlength=9) / 4000
    expected = [of.pmf(k) for k in range(9)]
    assert sum(expected) == pytest.approx(1)
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert (of.ppf(0.0), of.ppf(1.0)) == (2, 6)


def test_samplers_take_the_ranges() -> None:
    entries = space("alpha = { low = 1e-4, high = 1.0 }\nmax_iter = { low = 1, high = 3 }")
    draws = list(ParameterSampler(entries, 5, random_state=0))
    assert draws == list(ParameterSampler(entries, 5, random_state=0))
    pytest.importorskip("optuna")
    model = TableClassifier(hidden_layer_sizes=(2,), random_state=0)
    search = MLPSearchCV(model, entries, sampler="tpe", n_iter=3, cv=2, refit=False)
    search.fit(np.random.default_rng(0).normal(size=(60, 2)), Y)
    for params in search.cv_results_["params"]:
        assert isinstance(params["alpha"], float)
        assert params["max_iter"] in (1, 2, 3)


@pytest.mark.parametrize("estimator", [TableClassifier(), TableRegressor()])
def test_the_built_in_space_suits_both_tasks(estimator: Any) -> None:
    entries = space(DEFAULT_SPACE, estimator)
    assert len(entries) >= 3
    assert max(map(len, DEFAULT_SPACE.splitlines())) <= 100
    assert set(ranges(entries)) < set(entries)
    assert description(entries) == description(space(DEFAULT_SPACE + "\n", estimator))


def test_parameters_of_one_task_only() -> None:
    assert space('loss = ["huber"]', TableRegressor()) == {"loss": ["huber"]}
    with pytest.raises(SpaceError, match="unknown parameter 'loss'"):
        space('loss = ["huber"]')
