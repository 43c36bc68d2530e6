"""Ensembles with warm_start: each member goes on as it would alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import MLPRegressor, load, save
from gpubp.estimators import fit_estimators
from tests.estimators.cases import BASE, CLASSES, OURS, PROBLEMS, TARGETS, N, X, fit
from tests.estimators.test_ensembles import M, assert_equal_weights, rows_of_members
from tests.estimators.test_population_workers import Stand, fitted

WARM: dict[str, Any] = BASE | {"n_members": M, "warm_start": True, "device": "cpu", "max_iter": 6}
PLAIN: dict[str, Any] = {"shuffle": False, "tol": 0.0, "n_iter_no_change": np.inf}
OTHER = np.random.RandomState(5).permutation(N)[:70]  # rows of the second fit


def first(problem: str, **options: Any) -> Any:
    kind, y = PROBLEMS[problem]
    return fit(OURS[kind](**WARM | options), X, y)


def theta(model: Any) -> np.ndarray:
    return np.concatenate([np.ravel(p) for p in (*model.coefs_, *model.intercepts_)])


OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "held-out rows": {"early_stopping": True},
    "dropout": {"dropout": 0.3},
    "state": {"keep_optimizer_state": True},
    "stage": {"input_stage": {"periodic": (0, 2)}},
    "lbfgs": {"solver": "lbfgs"},
}


@pytest.mark.parametrize("problem", TARGETS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_members_go_on_as_they_would_alone(problem: str, options: dict[str, Any]) -> None:
    model, y = first(problem, **options), PROBLEMS[problem][1]
    before = theta(model)
    alone = [fit(member, X[OTHER], y[OTHER]) for member in copy.deepcopy(model).members_]
    fit(model, X[OTHER], y[OTHER])
    assert not np.array_equal(theta(model), before)
    for member, single in zip(model.members_, alone, strict=True):
        assert_equal_weights(member, single)
        scores = [getattr(of, "validation_scores_", None) for of in (member, single)]
        assert scores[0] == scores[1]


def test_a_scaled_target_keeps_its_scale() -> None:
    model, y = first("regression", target_scaling=True), PROBLEMS["regression"][1]
    scale = model.target_mean_, model.target_scale_
    alone = [fit(member, X, 9 + 5 * y) for member in copy.deepcopy(model).members_]
    fit(model, X, 9 + 5 * y)
    assert (model.target_mean_, model.target_scale_) == scale
    for member, single in zip(model.members_, alone, strict=True):
        assert_equal_weights(member, single)


def test_clipping_takes_the_range_of_all_fits() -> None:
    model = first("regression", clip_predictions=True)
    y = PROBLEMS["regression"][1]
    fit(model, X, 2 * y)
    assert (model.target_low_, model.target_high_) == (2 * y.min(), 2 * y.max())
    fit(model, X[:40], y[:40])
    assert (model.target_low_, model.target_high_) == (2 * y.min(), 2 * y.max())


@pytest.mark.parametrize("how", ["bootstrap", "folds"])
def test_equal_rows_give_the_members_equal_rows(how: str) -> None:
    model = first("multi-class", member_rows=how)
    members = copy.deepcopy(model).members_
    fit(model, X, CLASSES)
    rows = rows_of_members(how, CLASSES)
    for own, member, single in zip(rows, model.members_, members, strict=True):
        assert_equal_weights(member, fit(single, X[own], CLASSES[own]))
    assert 0 < model.oob_score_ < 1


@pytest.mark.parametrize("problem", ["binary", "multi-class", "regression"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_two_fits_with_the_state_are_one_of_twice_the_epochs(problem: str, solver: str) -> None:
    whole = first(problem, **PLAIN, solver=solver, max_iter=12)
    parts = first(problem, **PLAIN, solver=solver, keep_optimizer_state=True)
    without = first(problem, **PLAIN, solver=solver)
    for model in (parts, without):
        fit(model, X, PROBLEMS[problem][1])
    assert_array_equal(theta(parts), theta(whole), strict=True)
    assert parts.loss_curve_ == whole.loss_curve_
    assert not np.array_equal(theta(without), theta(whole))


def test_a_state_is_forgotten_with_the_solver() -> None:
    one, other = (first("binary", **PLAIN, keep_optimizer_state=keep) for keep in (True, False))
    for model in (one, other):
        fit(model.set_params(solver="sgd"), X, PROBLEMS["binary"][1])
    assert_array_equal(theta(one), theta(other), strict=True)


@pytest.mark.parametrize("change", ["rows", "y", "alpha", "seeds of folds", "nothing"])
def test_the_best_loss_is_that_of_the_rows_and_the_loss(change: str) -> None:
    how = "folds" if change == "seeds of folds" else "all"
    model, y = first("regression", max_iter=60, member_rows=how), PROBLEMS["regression"][1]
    before = [member.best_loss_ for member in model.members_]
    other = {"alpha": {"alpha": 90.0}, "seeds of folds": {"random_state": 9}}
    model.set_params(max_iter=1, learning_rate_init=0.3, **other.get(change, {}))
    fit(model, X[::-1] * 3 if change == "rows" else X, 9 * y if change == "y" else y)
    for member, best in zip(model.members_, before, strict=True):
        kept = min(best, member.loss_) if change == "nothing" else member.loss_
        assert member.best_loss_ == kept


def test_a_loaded_ensemble_goes_on(tmp_path: Path) -> None:
    model = first("multi-class", early_stopping=True)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model", device="cpu")
    for each in (model, again):
        fit(each, X, CLASSES)
    assert_allclose(theta(again), theta(model), rtol=1e-12)
    assert again.loss_curve_ == model.loss_curve_


def test_workers_train_members_on() -> None:
    model = first("multi-class", keep_optimizer_state=True)
    sent, workers = copy.deepcopy(model), Stand()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_estimators, "active_workers", lambda note: workers)
        fitted([sent])
    fit(model, X, CLASSES)
    assert len(workers.trained) > 1
    assert_array_equal(theta(sent), theta(model), strict=True)


# What is refused.


@pytest.mark.parametrize(("before", "now"), [(M, 2), (None, M), (1, None), (M, None), (None, 1)])
def test_the_number_of_members_stays(before: int | None, now: int | None) -> None:
    model = first("multi-class", n_members=before)
    wanted = theta(model)
    with pytest.raises(ValueError, match=f"got n_members={now}; set n_members={before}, or fit"):
        fit(model.set_params(n_members=now), X, CLASSES)
    assert_array_equal(theta(model), wanted)
    fit(model.set_params(n_members=before), X, CLASSES)


def test_other_shapes_are_refused() -> None:
    model = first("multi-class")
    with pytest.raises(ValueError, match="continue from coefs_ of shapes"):
        fit(model.set_params(hidden_layer_sizes=(4,)), X, CLASSES)
    model.set_params(hidden_layer_sizes=WARM["hidden_layer_sizes"], input_stage={"periodic": (1,)})
    with pytest.raises(ValueError, match="continue with the input_stage of the last fit, None"):
        fit(model, X, CLASSES)
    with pytest.raises(ValueError, match="`y` has the same classes as in the previous"):
        fit(model.set_params(input_stage=None), X, CLASSES % 2)


def test_a_fit_that_fails_changes_nothing() -> None:
    model = first("regression")
    wanted = theta(model), model.loss_curve_
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X * np.nan, PROBLEMS["regression"][1])
    assert_array_equal(theta(model), wanted[0])
    assert model.loss_curve_ == wanted[1]
    assert len(model.members_) == M


def test_new_weights_without_warm_start() -> None:
    y = PROBLEMS["regression"][1]
    model = fit(first("regression").set_params(warm_start=False), X, y)
    assert_array_equal(theta(model), theta(fit(MLPRegressor(**WARM), X, y)))
