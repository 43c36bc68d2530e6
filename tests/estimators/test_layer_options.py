"""One activation a layer, layers without biases, and AdamW, through the estimators."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from gpubp import MLPClassifier, load, save
from gpubp.backends.protocol import Backend
from gpubp.backprop.solvers import SOLVERS, STEPWISE
from gpubp.explain.trace import trace_step
from gpubp.explain.trained_model import of_model
from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.table import Table
from tests.estimators.cases import BASE, OURS, PROBLEMS, TARGETS, WEIGHTS, X, assert_agree, fit

MIXED = ("tanh", "relu")


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier(**{**BASE, **options})


def coefs(model: Any) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


# ---- one activation a layer ------------------------------------------------------------------


@pytest.mark.parametrize("problem", TARGETS)
def test_one_name_for_each_layer_is_that_name(problem: str) -> None:
    kind, y = PROBLEMS[problem]
    wanted = fit(OURS[kind](**BASE, activation="tanh"), X, y)
    got = fit(OURS[kind](**BASE, activation=["tanh", "tanh"]), X, y)
    assert_array_equal(coefs(got), coefs(wanted))


def test_each_layer_has_its_own(backend: Backend) -> None:
    model = classifier(activation=MIXED, device=backend.name, dtype="float64")
    fit(model, X, PROBLEMS["multi-class"][1])
    (W1, W2, W3), (b1, b2, b3) = model.coefs_, model.intercepts_
    logits = np.maximum(np.tanh(X @ W1 + b1) @ W2 + b2, 0) @ W3 + b3
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_allclose(model.predict_proba(X), wanted, rtol=1e-10)
    assert model.score(X, PROBLEMS["multi-class"][1]) > 0.6


def test_the_first_layer_s_name_sets_its_initial_bound() -> None:
    def bounds(activation: Any) -> list[float]:
        options = {"hidden_layer_sizes": (50, 50), "learning_rate_init": 1e-300, "max_iter": 1}
        model = classifier(activation=activation, **options)
        fit(model, X, PROBLEMS["multi-class"][1])
        return [np.abs(W).max() / np.sqrt(6 / sum(W.shape)) for W in model.coefs_]

    low, middle, _ = bounds(["logistic", "relu"])
    assert low < 3**-0.5 < 0.9 < middle < 1


@pytest.mark.parametrize("given", [[], ["relu"], ["relu"] * 3, ["relu", "no_such_one"], ["relu", 3],
                                   [["relu"], "relu"]], ids=str)  # fmt: skip
def test_names_that_do_not_fit_the_layers_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"one per hidden layer, 2 here, got \["):
        classifier(activation=given).fit(X, PROBLEMS["binary"][1])


@pytest.mark.parametrize("given", ["sigmoid", ["relu", "sigmoid"]])
def test_a_name_of_other_libraries_gets_the_name_here(given: Any) -> None:
    with pytest.raises(ValueError, match=r"[Dd]id you mean 'logistic'"):
        classifier(activation=given).fit(X, PROBLEMS["binary"][1])


def test_a_name_that_is_none_is_refused_as_before() -> None:
    with pytest.raises(InvalidParameterError, match=r"among .*or an array-like. Got 'no_such_one'"):
        classifier(activation="no_such_one").fit(X, PROBLEMS["binary"][1])


# ---- no biases -------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", TARGETS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_without_biases_intercepts_are_zeros(backend: Backend, problem: str, solver: str) -> None:
    kind, y = PROBLEMS[problem]
    options = {**BASE, "solver": solver, "device": backend.name, "dtype": "float64"}
    model = fit(OURS[kind](**options, fit_intercept=False), X, y)
    for b, W in zip(model.intercepts_, model.coefs_, strict=True):
        assert_array_equal(b, np.zeros(W.shape[1]), strict=True)
    # A network of relu without biases is homogeneous: twice the input, twice the logits.
    A = X
    for W in model.coefs_[:-1]:
        A = np.maximum(A @ W, 0)
    logits = A @ model.coefs_[-1]
    if kind == "regressor":
        assert_allclose(model.predict(X), logits.ravel(), rtol=1e-9, atol=1e-12)
        assert_allclose(model.predict(2 * X), 2 * model.predict(X), rtol=1e-9, atol=1e-12)
    else:
        labels = logits.argmax(axis=1) if problem == "multi-class" else (logits > 0).astype(int)
        assert_array_equal(model.predict(X), labels.ravel() if problem == "binary" else labels)


def test_training_without_biases_goes_on() -> None:
    whole = classifier(fit_intercept=False, max_iter=6, shuffle=False)
    parts = classifier(fit_intercept=False, shuffle=False)
    y = PROBLEMS["multi-class"][1]
    fit(whole, X, y)
    for _ in range(6):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    assert_array_equal(coefs(parts), coefs(whole))
    again = fit(classifier(fit_intercept=False, warm_start=True), X, y)
    before = again.loss_
    assert fit(again, X, y).loss_ < before
    assert not np.any(again.intercepts_[0])


def test_biases_can_be_taken_in_and_not_dropped() -> None:
    y = PROBLEMS["multi-class"][1]
    model = fit(classifier(fit_intercept=False), X, y)
    model.set_params(fit_intercept=True).partial_fit(X, y)
    assert all(np.any(b) for b in model.intercepts_)
    with pytest.raises(ValueError, match="fit_intercept=False need intercepts_ that are 0"):
        model.set_params(fit_intercept=False).partial_fit(X, y)
    model.intercepts_ = [np.zeros_like(b) for b in model.intercepts_]
    model.partial_fit(X, y)
    assert not any(np.any(b) for b in model.intercepts_)


# ---- AdamW -----------------------------------------------------------------------------------


def published(start: MLPClassifier, y: np.ndarray, alpha: float, decay: float) -> list[np.ndarray]:
    """Return the weights and biases of 15 steps of softmax regression, by the paper's lines."""
    rate, (b1, b2), eps = 0.05, (0.9, 0.999), 1e-3
    theta, m, v = [start.coefs_[0], start.intercepts_[0]], [0.0, 0.0], [0.0, 0.0]
    for t in range(1, 16):
        Z = X @ theta[0] + theta[1]
        P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
        delta = (P - np.eye(3)[y]) / len(X)
        grads = [X.T @ delta + alpha / len(X) * theta[0], delta.sum(axis=0)]
        for k, g in enumerate(grads):
            m[k], v[k] = b1 * m[k] + (1 - b1) * g, b2 * v[k] + (1 - b2) * g * g
            step = m[k] / (1 - b1**t) / (np.sqrt(v[k] / (1 - b2**t)) + eps)
            theta[k] = theta[k] - rate * (step + (decay if k == 0 else 0) * theta[k])
    return theta


@pytest.mark.parametrize("alpha", [0.1, 0])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_is_the_published_one(backend: Backend, decay: float, alpha: float) -> None:
    y, options = PROBLEMS["multi-class"][1], {"hidden_layer_sizes": (), "batch_size": 90}
    options |= {"device": backend.name, "dtype": "float64", "epsilon": 1e-3, "alpha": alpha}
    start = fit(classifier(**{**options, "learning_rate_init": 1e-300, "max_iter": 1}), X, y)
    model = classifier(**options, solver="adamw", weight_decay=decay)
    W, b = published(start, y, alpha, decay)
    fit(model, X, y)
    assert_allclose(model.coefs_[0], W, rtol=1e-10)
    assert_allclose(model.intercepts_[0], b, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:weight_decay")
def test_weight_decay_is_for_the_solvers_that_take_it() -> None:
    y = PROBLEMS["regression"][1]
    for solver in STEPWISE:
        same = "weight_decay" not in [parameter.name for parameter in SOLVERS[solver].parameters]
        fits = [
            fit(OURS["regressor"](**{**BASE, "learning_rate_init": 0.01}, solver=solver,
                                  weight_decay=decay), X, y, sample_weight=WEIGHTS)
            for decay in (0.0, 0.5)
        ]  # fmt: skip
        assert np.array_equal(coefs(fits[0]), coefs(fits[1])) == same
        norms = [np.linalg.norm(coefs(model)) for model in fits]
        assert same or norms[1] < norms[0]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weight_decay_without_effect_is_warned_of(solver: str) -> None:
    y, options = PROBLEMS["multi-class"][1], {"solver": solver, "max_iter": 1000, "tol": 0.1}
    with pytest.warns(UserWarning, match="weight_decay") as told:
        classifier(**options, weight_decay=0.5, hidden_layer_sizes=(2,)).fit(X, y)
    (text,) = [str(each.message) for each in told if "weight_decay" in str(each.message)]
    assert text == (
        f"weight_decay=0.5 has no effect with solver='{solver}'; use a solver among ['adamw', "
        "'lion'], or alpha for an L2 penalty"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier(**options, weight_decay=0.01).fit(X, y)
        classifier(**options | {"solver": "lion"}, weight_decay=0.5).fit(X, y)


def test_adamw_keeps_its_state_from_call_to_call() -> None:
    y, options = PROBLEMS["multi-class"][1], {"solver": "adamw", "shuffle": False}
    whole, parts = fit(classifier(**options, max_iter=5), X, y), classifier(**options)
    for _ in range(5):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    assert_array_equal(coefs(parts), coefs(whole))
    other = clone(parts).set_params(solver="adam").partial_fit(X, y, classes=[0, 1, 2])
    other.set_params(solver="adamw").partial_fit(X, y)
    assert other._optimizer_state.updates == parts._optimizer_state.updates / 5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weight_decay": -1}, r"'weight_decay' parameter .* float in the range \[0.0, inf\)"),
        ({"weight_decay": "some"}, "'weight_decay' parameter .* Got 'some'"),
        ({"fit_intercept": None}, "'fit_intercept' parameter .* Got None"),
        ({"solver": "AdamW"}, "'solver' parameter .* among .*'adamw'.* Got 'AdamW'"),
    ],
)
def test_bad_values_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        classifier(**parameters).fit(X, PROBLEMS["binary"][1])


# ---- kept and shown --------------------------------------------------------------------------

OPTIONS: list[dict[str, Any]] = [
    {"activation": MIXED},
    {"fit_intercept": False},
    {"solver": "adamw", "weight_decay": 0.5},
    {"activation": MIXED, "fit_intercept": False, "solver": "adamw", "label_smoothing": 0.1},
    *({"solver": solver} for solver in STEPWISE),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_models_keep_them(options: dict[str, Any], tmp_path: Path) -> None:
    y = PROBLEMS["multi-class"][1]
    model = fit(classifier(**options), X, y)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert_agree(loaded, model)
    loaded.partial_fit(X, y)
    assert np.isfinite(coefs(loaded)).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_step_of_such_a_model_is_shown(options: dict[str, Any]) -> None:
    y = PROBLEMS["multi-class"][1]
    model = fit(classifier(**options), X, y)
    names = ("a", "b", "c", "d")
    columns: dict[str, Column] = {name: NumberColumn(X[:, j]) for j, name in enumerate(names)}
    columns["y"] = NumberColumn(y) if y.dtype.kind in "iuf" else TextColumn.of(y.tolist())
    table = Table(columns, len(X), "rows", ("y",))
    trace = trace_step(of_model(model, table, 5))
    assert_allclose(trace.prediction, model.predict_proba(X)[5], rtol=1e-9)
    assert trace.new_loss < trace.loss
