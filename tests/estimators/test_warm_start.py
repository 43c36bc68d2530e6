"""A warm start that keeps the optimizer's state goes on where the last fit stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.protocol import Backend
from gpubp.backprop.optimizers import STEPWISE
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
