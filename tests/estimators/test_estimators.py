from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import MLPClassifier
from gpubp.backends.protocol import Backend
from tests.estimators.cases import (
    BASE,
    CLASSES,
    OURS,
    PROBLEMS,
    TARGETS,
    THEIRS,
    WEIGHTS,
    N,
    X,
    assert_agree,
    fit,
    pair,
    watched,
)

MOMENTA = {
    "plain": {"momentum": 0.0},
    "momentum": {"momentum": 0.9, "nesterovs_momentum": False},
    "nesterov": {"momentum": 0.9},
}
# A tol that leaves epochs stale, so that training stops early, or lowers an adaptive rate.
STALE = {"tol": 0.02, "n_iter_no_change": 1, "max_iter": 40}

Case = tuple[str, dict[str, Any], dict[str, Any]]  # problem, parameters, arguments of fit
CASES: dict[str, Case] = {
    **{
        f"sgd {schedule} {kind}": (
            "multi-class",
            {"solver": "sgd", "learning_rate": schedule, **MOMENTA[kind], **STALE},
            {},
        )
        for schedule, kind in product(("constant", "invscaling", "adaptive"), MOMENTA)
    },
    **{
        f"adam {activation} {problem}": (problem, {"activation": activation}, {})
        for activation, problem in product(("identity", "logistic", "tanh", "relu"), TARGETS)
    },
    **{
        f"{key} {problem}": (problem, parameters, arguments)
        for problem in TARGETS
        for key, parameters, arguments in (
            ("weights", {"alpha": 1.0}, {"sample_weight": WEIGHTS}),
            ("early stopping", {"early_stopping": True, **STALE}, {"sample_weight": WEIGHTS}),
        )
    },
    "early stopping sgd": ("binary", {"early_stopping": True, "solver": "sgd", **STALE}, {}),
    "alpha 0": ("multi-class", {"alpha": 0}, {}),
    "alpha sgd": ("regression", {"alpha": 10, "solver": "sgd", "learning_rate_init": 0.01}, {}),
    "no shuffle": ("multi-class", {"shuffle": False}, {}),
    "batches that divide": ("multi-class", {"batch_size": 30}, {}),
    "last batch of one row": ("multi-class", {"batch_size": 89}, {}),
    "batch of one row": ("multi-class", {"batch_size": 1, "max_iter": 2}, {}),
    "batch too large": ("multi-class", {"batch_size": 1000}, {}),
    "batch auto": ("multi-class", {"batch_size": "auto"}, {}),
    "no hidden layer": ("multi-class", {"hidden_layer_sizes": ()}, {}),
    "one number of units": ("binary", {"hidden_layer_sizes": 6}, {}),
    "adam's parameters": ("binary", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, {}),
    "logistic sgd": ("binary", {"activation": "logistic", "solver": "sgd", "power_t": 0.1}, {}),
    "text labels": ("text labels", {}, {}),
    "truth labels": ("truth labels", {"early_stopping": True}, {}),
    "integer regression": ("integer regression", {}, {}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_numbers_are_those_of_scikit_learn(case: Case) -> None:
    problem, parameters, arguments = case
    kind, y = PROBLEMS[problem]
    ours, theirs = pair(kind, **parameters)
    assert watched(partial(ours.fit, X, y, **arguments)) == watched(
        partial(theirs.fit, X, y, **arguments)
    )
    assert_agree(ours, theirs)
    assert_allclose(ours.score(X, y), theirs.score(X, y), rtol=1e-9)


def test_the_cases_stop_early_and_adapt() -> None:
    """What the table above compares has to happen in it."""

    def fitted(**parameters: Any) -> Any:
        return fit(pair("classifier", solver="sgd", **STALE, **parameters)[0], X, CLASSES)

    constant, adaptive = fitted(), fitted(learning_rate="adaptive")
    assert constant.stopped_by_ == "no_improvement"
    assert constant.n_iter_ < adaptive.n_iter_


@pytest.mark.parametrize("problem", ["binary", "multi-class", "multi-label"])
def test_batches_of_200_rows_and_bounded_losses(problem: str) -> None:
    # Rows this large are predicted wrong with a certainty that scikit-learn reports as log(eps).
    y = np.tile(PROBLEMS[problem][1].T, 3).T
    both = pair("classifier", batch_size="auto", max_iter=3)
    for model in both:
        fit(model, 1000 * np.tile(X, (3, 1)), y)
    # Near that bound the logarithm of its rounded 1 - p is this coarse; ours is from logits.
    assert_allclose(both[0].loss_curve_, both[1].loss_curve_, rtol=1e-4)
    assert_allclose(both[0].coefs_[0], both[1].coefs_[0], rtol=1e-9)
    assert both[0].loss_curve_[0] > 3


@pytest.mark.parametrize("problem", TARGETS)
def test_float32_follows_scikit_learn(problem: str) -> None:
    kind, y = PROBLEMS[problem]
    ours, theirs = pair(kind)
    small = X.astype(np.float32)
    fit(ours, small, y)
    fit(theirs, small, y)
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-4)
    assert {p.dtype for p in ours.coefs_ + ours.intercepts_} == {np.dtype(np.float32)}
    output = "predict" if kind == "regressor" else "predict_proba"
    assert getattr(ours, output)(small).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_dtype_on_request(dtype: str, given: Any) -> None:
    model = fit(MLPClassifier(**BASE, dtype=dtype), X.astype(given), CLASSES)
    assert model.coefs_[0].dtype == dtype
    assert model.predict_proba(X).dtype == dtype


@pytest.mark.parametrize("problem", TARGETS)
def test_every_device_follows_scikit_learn(backend: Backend, problem: str) -> None:
    kind, y = PROBLEMS[problem]
    ours = OURS[kind](**BASE, early_stopping=True, device=backend.name, dtype="float64")
    fit(ours, X, y, sample_weight=WEIGHTS)
    theirs = fit(THEIRS[kind](**BASE, early_stopping=True), X, y, sample_weight=WEIGHTS)
    assert ours.device_ == backend.name
    assert_agree(ours, theirs, rtol=1e-7)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start_goes_on_as_scikit_learn(solver: str, early_stopping: bool) -> None:
    both = pair(
        "classifier", warm_start=True, max_iter=4, solver=solver, early_stopping=early_stopping
    )
    for k in range(3):
        fit(both[0], X, CLASSES)
        if k == 1 and early_stopping:
            # The first fit drew its weights before its split, so that this one holds other rows
            # out; scikit-learn compares their scores with those of the rows before.
            both[1].validation_scores_, both[1].best_validation_score_ = [], -np.inf
            both[1]._no_improvement_count = 0
        fit(both[1], X, CLASSES)
        assert_agree(*both)
        # scikit-learn's next fit would train the best weights in place, and put back the last.
        both[1]._best_coefs = [W.copy() for W in both[1].coefs_]
        both[1]._best_intercepts = [b.copy() for b in both[1].intercepts_]
    assert len(both[0].loss_curve_) == 12


@pytest.mark.parametrize("problem", TARGETS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_follows_scikit_learn(problem: str, solver: str) -> None:
    kind, y = PROBLEMS[problem]
    both = pair(kind, solver=solver, learning_rate="invscaling")
    classes = {"classes": [0, 1] if problem == "binary" else [0, 1, 2]}
    classes = classes if kind == "classifier" else {}
    for rows in (slice(0, 40), slice(40, 75), slice(40, 90)):
        for model in both:
            model.partial_fit(X[rows], y[rows], **classes)
        classes = {}
        assert_agree(*both)
    for model in both:
        model.partial_fit(X, y, sample_weight=WEIGHTS)
    assert_agree(*both)
    assert both[0].t_ == 40 + 35 + 50 + 90


def test_partial_fit_after_fit_keeps_the_optimizer() -> None:
    both = pair("classifier")
    for model in both:
        fit(model, X, CLASSES)
        model.partial_fit(X, CLASSES)
    assert_agree(*both)


def test_partial_fit_takes_another_dtype_than_fit() -> None:
    both = pair("classifier")
    for model in both:
        model.partial_fit(X, CLASSES, classes=[0, 1, 2])
        model.partial_fit(X.astype(np.float32), CLASSES)
    assert_allclose(both[0].loss_curve_, both[1].loss_curve_, rtol=1e-4)


def test_partial_fit_takes_another_solver_than_fit() -> None:
    model = MLPClassifier(**BASE, solver="sgd")
    model.partial_fit(X, CLASSES, classes=[0, 1, 2])
    first = model.loss_
    for _ in range(5):
        model.set_params(solver="adam").partial_fit(X, CLASSES)
    assert model.loss_ < first


@pytest.mark.parametrize("problem", TARGETS)
def test_weights_changed_by_hand_count(problem: str) -> None:
    kind, y = PROBLEMS[problem]
    both = pair(kind)
    for model in both:
        fit(model, X, y)
        model.coefs_[0][1:3] = 0.5
        model.coefs_[1] = model.coefs_[1][::-1] / 2
        model.intercepts_[-1] += 1
    methods = ("predict",) if kind == "regressor" else ("predict", "predict_proba")
    for name in methods:
        got, wanted = (getattr(model, name)(X) for model in both)
        assert_allclose(got, wanted, rtol=1e-9)
    for model in both:
        model.partial_fit(X, y)
    assert_agree(*both)


@pytest.mark.parametrize("momentum", MOMENTA.values(), ids=MOMENTA)
def test_several_outputs_learn_by_their_own_loss(momentum: dict[str, Any]) -> None:
    # scikit-learn's gradient is n_outputs times that of its own loss (its issue 8349), so that
    # its SGD at rate r is ours at rate 3 r.
    Y = np.stack([PROBLEMS["regression"][1], X[:, 0] ** 2, X[:, 1]], axis=1)
    options = {"solver": "sgd", "alpha": 0, **momentum}
    ours, _ = pair("regressor", learning_rate_init=0.03, **options)
    _, theirs = pair("regressor", learning_rate_init=0.01, **options)
    fit(ours, X, Y)
    fit(theirs, X, Y)
    assert_agree(ours, theirs)
    assert ours.predict(X).shape == (N, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", OURS)
def test_one_random_state_gives_one_model_bit_for_bit(kind: str, dtype: Any) -> None:
    models = [
        fit(OURS[kind](**BASE, early_stopping=True, threads=threads), X.astype(dtype), CLASSES)
        for threads in (None, None, 1)
    ]
    for other in models[1:]:
        assert models[0].loss_curve_ == other.loss_curve_
        for got, wanted in zip(other.coefs_, models[0].coefs_, strict=True):
            assert_array_equal(got, wanted)
    different = fit(OURS[kind](**{**BASE, "random_state": 4}), X.astype(dtype), CLASSES)
    assert not np.array_equal(different.coefs_[0], models[0].coefs_[0])


def test_memory_layout_of_the_data_does_not_matter() -> None:
    wanted = fit(MLPClassifier(**BASE), X, CLASSES)
    wide = np.repeat(X, 2, axis=1)
    for same in (np.asfortranarray(X), wide[:, ::2], X.tolist()):
        got = fit(MLPClassifier(**BASE), same, CLASSES)
        assert_array_equal(got.coefs_[0], wanted.coefs_[0])
        assert_array_equal(got.predict_proba(same), wanted.predict_proba(X))
