"""Schedules of dropout and weight decay, full batches and initial weights, through estimators."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from gpubp import MLPClassifier, MLPSearchCV, TableClassifier, load, save
from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.estimators.cases import BASE, OURS, PROBLEMS, X, fit

OPTIONS: dict[str, dict[str, Any]] = {
    "dropout_schedule": {"dropout": 0.4, "dropout_schedule": "late_cosine"},
    "input dropout": {"input_dropout": 0.3, "dropout_schedule": "late_cosine"},
    "weight_decay_schedule": {"weight_decay_schedule": "late_cosine"},
    "drop_last": {"drop_last": True},
    "weights_init": {"weights_init": "he_normal"},
    "learning_rate": {"learning_rate": "warm_cosine"},
}
OFF = {
    "dropout_schedule": "constant",
    "weight_decay_schedule": "constant",
    "drop_last": False,
    "weights_init": "glorot_uniform",
}
ALL = {name: value for options in OPTIONS.values() for name, value in options.items()}


def classifier(**options: Any) -> MLPClassifier:
    given = {**BASE, "solver": "adamw", "weight_decay": 0.5, "learning_rate_init": 0.02}
    return MLPClassifier(**given | options)


def coefs(model: Any) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


Y = PROBLEMS["multi-class"][1]


@pytest.mark.parametrize("name", OPTIONS)
def test_each_changes_the_network_and_every_engine_agrees(backend: Backend, name: str) -> None:
    options = {"device": backend.name, "dtype": "float64", "compiled": backend.engine == "compiled"}
    got = fit(classifier(**options, **OPTIONS[name]), X, Y)
    wanted = fit(classifier(device="cpu", compiled=False, **OPTIONS[name]), X, Y)
    assert got.engine_ == backend.engine
    assert_allclose(coefs(got), coefs(wanted), rtol=1e-7, atol=1e-9)
    assert_allclose(got.loss_curve_, wanted.loss_curve_, rtol=1e-9)
    off = {key: OFF[key] for key in OPTIONS[name] if key in OFF} or {"learning_rate": "constant"}
    plain = fit(classifier(device="cpu", compiled=False, **OPTIONS[name] | off), X, Y)
    assert not np.allclose(coefs(plain), coefs(wanted), rtol=1e-3)


@pytest.mark.parametrize("kind", OURS)
def test_the_defaults_are_those_of_before(kind: str) -> None:
    y = PROBLEMS["regression" if kind == "regressor" else "binary"][1]
    assert OFF.items() <= OURS[kind]().get_params().items()
    models = [fit(OURS[kind](**BASE, **of), X, y) for of in ({}, OFF)]
    assert_array_equal(coefs(models[0]), coefs(models[1]))


def test_initial_weights_are_drawn_from_the_seed() -> None:
    model = fit(classifier(max_iter=1, learning_rate_init=1e-300, weights_init="he_normal"), X, Y)
    network = Network((4, 7, 5, 3), ("relu", "relu"))
    theta = network.initial_theta(np.random.RandomState(3), np.dtype(float), "he_normal")
    for got, wanted in zip(model.coefs_, network.unpack(theta)[0], strict=True):
        assert_allclose(got, wanted)
    assert all(np.abs(b).max() < 1e-200 for b in model.intercepts_)


def test_rows_that_are_left_out_are_not_counted() -> None:
    model = fit(classifier(drop_last=True, max_iter=3), X, Y)
    assert model.t_ == 3 * 64
    part = classifier(drop_last=True).partial_fit(X[:70], Y[:70], classes=[0, 1, 2])
    assert part.t_ == 64
    part.partial_fit(X[:32], Y[:32])
    assert part.t_ == 96


def test_a_partial_fit_is_a_whole_schedule() -> None:
    """As a rate by 'cosine': the second half of its steps decays less."""
    options = {"shuffle": False, "batch_size": 15, "device": "cpu"}
    late = classifier(**options, weight_decay_schedule="late_cosine")
    once = classifier(**options, weight_decay_schedule="late_cosine", max_iter=1)
    late.partial_fit(X, Y, classes=[0, 1, 2])
    assert_array_equal(coefs(late), coefs(fit(once, X, Y)))
    before = late.t_
    late.partial_fit(X, Y)
    assert late.t_ == 2 * before


def test_members_of_an_ensemble_are_networks_trained_alone() -> None:
    options = {**ALL, "device": "cpu"}
    model = fit(classifier(**options, n_members=3), X, Y)
    for member in model.members_:
        one = fit(classifier(**options | {"random_state": member.random_state}), X, Y)
        assert_allclose(coefs(member), coefs(one), rtol=1e-9, atol=1e-12)


def test_a_compiled_ensemble_has_the_bits_of_its_networks() -> None:
    skip_without_compiler()
    options = {**ALL, "device": "cpu", "compiled": True, "dtype": "float32"}
    model = fit(classifier(**options, n_members=3), X, Y)
    for member in model.members_:
        one = fit(classifier(**options | {"random_state": member.random_state}), X, Y)
        assert_allclose(coefs(member), coefs(one), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [*OPTIONS, "all"])
def test_models_keep_them(name: str, tmp_path: Path) -> None:
    options = ALL if name == "all" else OPTIONS[name]
    model = fit(classifier(**options), X, Y)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert options.items() <= loaded.get_params().items()
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert_array_equal(coefs(fit(clone(loaded), X, Y)), coefs(model))
    changed = fit(classifier().set_params(**options), X, Y)
    assert_array_equal(coefs(changed), coefs(model))


def test_a_search_and_a_table_take_them() -> None:
    choices = {"drop_last": [False, True], "weights_init": ["glorot_uniform", "he_normal"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = MLPSearchCV(classifier(device="cpu", max_iter=3), choices, cv=2).fit(X, Y)
        table = TableClassifier(**ALL, max_iter=3, device="cpu", random_state=0).fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert ALL.items() <= table.network_.get_params().items()


def test_lbfgs_ignores_them() -> None:
    options = {**BASE, "solver": "lbfgs", "max_iter": 5}
    models = [
        fit(MLPClassifier(**options, **of), X, Y)
        for of in ({}, {"drop_last": True, "weight_decay_schedule": "late_cosine"})
    ]
    assert_array_equal(coefs(models[0]), coefs(models[1]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dropout_schedule", "cosine"),
        ("weight_decay_schedule", None),
        ("drop_last", 1),
        ("weights_init", "he"),
    ],
)
@pytest.mark.parametrize("kind", OURS)
def test_bad_values_are_named(kind: str, name: str, value: Any) -> None:
    y = PROBLEMS["regression" if kind == "regressor" else "binary"][1]
    with pytest.raises(ValueError, match=f"'{name}' parameter of MLP.* must be .* Got {value!r}"):
        OURS[kind](**BASE, **{name: value}).fit(X, y)
