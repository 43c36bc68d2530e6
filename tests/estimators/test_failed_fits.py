"""A fit that raises leaves its estimator as it was."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal, assert_equal

from gpubp import MLPClassifier, MLPRegressor
from tests.estimators.cases import BASE, PROBLEMS, X, fit, with_callbacks

Y = PROBLEMS["regression"][1]
LABELS = PROBLEMS["multi-class"][1]
OPTIONS: dict[str, Any] = BASE | {"device": "cpu"}
TRAININGS = [
    pytest.param(fails, begin, solver, marks=with_callbacks if fails == "callback" else ())
    for fails in ("scorer", "loss", "callback")
    for begin in ("anew", "warm", "partial")
    for solver in ("sgd", "adam", "lbfgs")
    # partial_fit scores nothing, and L-BFGS has neither.
    if (fails, begin) != ("scorer", "partial")
    if solver != "lbfgs" or (fails != "scorer" and begin != "partial")
]


class Failure(Exception):
    """What no estimator raises by itself."""


class Fails:
    """A callback that fails when an epoch ends."""

    torn_down = False

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def setup(self, estimator: Any, context: Any) -> None: ...
    def teardown(self, estimator: Any, context: Any) -> None:
        self.torn_down = True

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...
    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        if context.task_name != "fit" and context.task_id == self.epoch:
            raise Failure


def failing_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    left = iter(range(calls))

    def failing(outputs: Any, targets: Any, *more: Any) -> Any:
        if next(left, None) is None:
            raise Failure
        return function(outputs, targets, *more)

    return failing


def squared(Z: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ((Z - targets) ** 2).sum(axis=1) / 2, Z - targets


def of(model: Any) -> dict[str, Any]:
    """All that a model has beside its parameters and callbacks, as plain values."""
    names = vars(model).keys() - model.get_params().keys() - {"_skl_callbacks"}
    values = deepcopy({name: vars(model)[name] for name in names})
    return {name: vars(v) if hasattr(v, "__dict__") else v for name, v in values.items()}


@pytest.mark.parametrize(("fails", "begin", "solver"), TRAININGS)
def test_a_fit_that_raises_leaves_the_model_as_it_was(fails: str, begin: str, solver: str) -> None:
    options = OPTIONS | {"solver": solver, "loss": squared, "target_scaling": True}
    options |= {"learning_rate": "adaptive", "max_iter": 5}
    if solver == "sgd":  # the learning rate falls in each epoch or two
        options |= {"n_iter_no_change": 1, "tol": 9.0}
    model = MLPRegressor(**options, keep_optimizer_state=True, warm_start=begin == "warm")
    fit(model, X, Y)
    before, predicted = of(model), model.predict(X)
    callback = Fails(0 if begin == "partial" else 2)
    if fails == "scorer":
        model.set_params(early_stopping=True, scoring=failing_after(2, lambda *_: 0.0))
    elif fails == "loss":
        model.set_params(loss=failing_after(2, squared))
    else:
        model.set_callbacks(callback)
    with pytest.raises(Failure):
        getattr(model, "partial_fit" if begin == "partial" else "fit")(X[:, ::-1], 9 + 5 * Y)
    model.set_params(loss=squared)
    assert_equal(of(model), before)
    assert_array_equal(model.predict(X), predicted, strict=True)
    assert callback.torn_down == (fails == "callback")


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_failure_leaves_no_trace_in_what_follows(solver: str) -> None:
    options = OPTIONS | {"solver": solver, "warm_start": True, "keep_optimizer_state": True}
    models = [fit(MLPRegressor(**options, loss=squared), X, Y) for _ in range(2)]
    with pytest.raises(Failure):
        models[0].set_params(loss=failing_after(7, squared)).fit(X, Y)
    for model in models:
        fit(model.set_params(loss=squared), X, Y)
    assert_equal(*map(of, models))


@with_callbacks
def test_a_first_fit_that_raises_leaves_nothing() -> None:
    for call, known in (("fit", {}), ("partial_fit", {"classes": [0, 1, 2, 3]})):
        model = MLPClassifier(**OPTIONS).set_callbacks(Fails(0))
        with pytest.raises(Failure):
            getattr(model, call)(X, LABELS, **known)
        assert not of(model)


@with_callbacks
def test_failed_fits_of_a_classifier_leave_its_classes() -> None:
    model = fit(MLPClassifier(**OPTIONS), X, LABELS)
    before = of(model)
    with pytest.raises(Failure):
        model.set_callbacks(Fails(1)).fit(X[:, :3], LABELS > 0)
    assert_equal(of(model), before)


def test_a_divergence_is_told_and_kept() -> None:
    model = fit(MLPRegressor(**OPTIONS), X, Y).set_params(solver="sgd", learning_rate_init=1e200)
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        model.fit(X, Y)
    assert model.stopped_by_ == "non_finite"


def test_attributes_of_a_fit_stay_when_the_next_goes_on() -> None:
    model = fit(MLPRegressor(**OPTIONS, warm_start=True), X, Y)
    curve = model.loss_curve_
    epochs = len(curve)
    fit(model, X, Y)
    assert (len(curve), len(model.loss_curve_)) == (epochs, 2 * epochs)
