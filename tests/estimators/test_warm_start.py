"""A warm start that keeps the optimizer's state goes on where the last fit stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.protocol import Backend
from gpubp.backprop.solvers import STEPWISE
from tests.estimators.cases import BASE, OURS, PROBLEMS, WEIGHTS, X, fit

OPTIONS = BASE | {"shuffle": False, "tol": 0.0, "n_iter_no_change": np.inf, "max_iter": 10}


def estimator(problem: str, **options: Any) -> Any:
    return OURS[PROBLEMS[problem][0]](**OPTIONS | options)


def coefs(model: Any) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


def two_fits(problem: str, weights: Any = None, **options: Any) -> Any:
    model, y = estimator(problem, warm_start=True, **options), PROBLEMS[problem][1]
    for _ in range(2):
        fit(model, X, y, sample_weight=weights)
    return model


@pytest.mark.parametrize("problem", ["binary", "multi-class", "multi-label", "regression"])
@pytest.mark.parametrize("solver", STEPWISE)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_two_fits_are_one_of_twice_the_epochs(problem: str, solver: str, weights: Any) -> None:
    options: dict[str, Any] = {"solver": solver, "device": "cpu", "alpha": 0.1}
    whole = estimator(problem, **options | {"max_iter": 20})
    fit(whole, X, PROBLEMS[problem][1], sample_weight=weights)
    parts = two_fits(problem, weights, keep_optimizer_state=True, **options)
    assert_array_equal(coefs(parts), coefs(whole), strict=True)
    assert parts.loss_curve_ == whole.loss_curve_
    assert (parts.t_, parts.best_epoch_) == (whole.t_, whole.best_epoch_)
    assert not np.array_equal(coefs(two_fits(problem, weights, **options)), coefs(whole))


@pytest.mark.parametrize("options", [{"shuffle": True}, {"dropout": 0.2},
                                     {"learning_rate": "cosine"}], ids=str)  # fmt: skip
def test_what_begins_anew_in_each_fit_makes_other_numbers(options: dict[str, Any]) -> None:
    """As the documentation of the parameter says."""
    whole = fit(estimator("binary", **options, max_iter=20), X, PROBLEMS["binary"][1])
    parts = two_fits("binary", keep_optimizer_state=True, **options)
    assert not np.array_equal(coefs(parts), coefs(whole))


def test_so_they_are_on_every_device(backend: Backend) -> None:
    options: dict[str, Any] = {"device": backend.name, "dtype": "float32", "activation": "tanh"}
    whole = fit(estimator("multi-class", **options, max_iter=20), X, PROBLEMS["multi-class"][1])
    parts = two_fits("multi-class", keep_optimizer_state=True, **options)
    assert_array_equal(coefs(parts), coefs(whole), strict=True)


@pytest.mark.parametrize("schedule", ["adaptive", "invscaling", "plateau"])
def test_learning_rates_go_on(schedule: str) -> None:
    options: dict[str, Any] = {"solver": "sgd", "learning_rate": schedule, "device": "cpu"}
    if schedule != "invscaling":  # which would stop where the others lower the rate
        options |= {"tol": 1.0, "n_iter_no_change": 4}  # no epoch improves by so much
    whole = fit(estimator("binary", **options, max_iter=20), X, PROBLEMS["binary"][1])
    parts = two_fits("binary", keep_optimizer_state=True, **options)
    assert_array_equal(coefs(parts), coefs(whole), strict=True)
    assert parts._optimizer_state.rate == whole._optimizer_state.rate < 0.05


def test_another_solver_and_another_start_have_a_state_of_their_own() -> None:
    y = PROBLEMS["binary"][1]
    model = two_fits("binary", keep_optimizer_state=True, device="cpu")
    epochs = model._optimizer_state.updates // 20
    fit(model.set_params(solver="adamw"), X, y)
    assert model._optimizer_state.updates == 10 * epochs
    fit(model.set_params(solver="lbfgs", shuffle=True), X, y)
    fit(model.set_params(solver="adam"), X, y)
    assert model._optimizer_state.updates == 10 * epochs
    fit(model.set_params(warm_start=False), X, y)
    assert model._optimizer_state.updates == 10 * epochs


def test_a_state_that_is_not_to_be_kept_is_a_boolean() -> None:
    with pytest.raises(ValueError, match=r"'keep_optimizer_state' parameter .* Got 'yes'"):
        estimator("binary", keep_optimizer_state="yes").fit(X, PROBLEMS["binary"][1])


# ---- other data ----------------------------------------------------------------------------------

EARLY: dict[str, Any] = BASE | {"device": "cpu", "warm_start": True, "early_stopping": True}
EASY = (X[:, 0] > 0).astype(int)


def learned(**options: Any) -> Any:
    """A classifier whose best validation score is 1."""
    model = fit(OURS["classifier"](**EARLY | {"max_iter": 60} | options), X, EASY)
    assert model.best_validation_score_ == 1
    return model


@pytest.mark.parametrize("other", ["labels", "rows", "rows given"])
def test_the_best_score_is_that_of_the_rows_it_was_measured_on(other: str) -> None:
    model = learned()
    before, given = coefs(model), {}
    data: Any = X, 1 - EASY
    if other == "rows":
        data = X[::-1] * [-1, 1, 1, 1], EASY[::-1]
    if other == "rows given":
        given = {"X_val": X, "y_val": 1 - EASY}
    fit(model.set_params(max_iter=200, n_iter_no_change=20), *data, **given)
    assert not np.array_equal(coefs(model), before)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(*data) > 0.8


def test_on_the_same_rows_it_stays_as_in_theirs() -> None:
    model = learned()
    best, epochs, before = model.best_epoch_, len(model.validation_scores_), coefs(model)
    fit(model, X, EASY)
    assert (model.best_epoch_, model.best_validation_score_) == (best, 1)
    assert len(model.validation_scores_) == epochs + model.n_iter_
    assert_array_equal(coefs(model), before)


def test_weights_changed_by_hand_have_another_score() -> None:
    model = learned()
    model.coefs_ = [-W for W in model.coefs_]
    fit(model.set_params(max_iter=200, n_iter_no_change=50), X, EASY)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(X, EASY) > 0.9


@pytest.mark.parametrize("change", ["y", "X", "weights", "loss", "alpha", "nothing"])
def test_the_best_loss_is_that_of_the_rows_and_the_loss(change: str) -> None:
    y = PROBLEMS["regression"][1]
    model = OURS["regressor"](**EARLY | {"early_stopping": False, "max_iter": 100})
    fit(model, X, y)
    rows, targets = (-X if change == "X" else X), (9 * y if change == "y" else y)
    weights = 5 * WEIGHTS if change == "weights" else None
    options: dict[str, Any] = {"loss": {"loss": "poisson"}, "alpha": {"alpha": 90.0}}
    model.set_params(max_iter=1, **options.get(change, {}))
    before = model.best_loss_
    fit(model, rows, np.abs(targets) if change == "loss" else targets, sample_weight=weights)
    if change == "nothing":
        assert model.best_loss_ == min(before, model.loss_)
    else:
        assert model.best_loss_ == model.loss_
