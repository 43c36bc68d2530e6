"""Weights set by hand: of any numbers, with a fit or without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from gpubp import MLPClassifier, MLPRegressor, load, save
from gpubp.backends.protocol import Backend
from tests.estimators.cases import BASE, OURS, PROBLEMS, THEIRS, X, fit

ROWS = [[0.9, 1.0], [2.7, 1.0]]


def given(kind: type, coefs: Any, intercepts: Any, **more: Any) -> Any:
    """An estimator of no hidden layer with these weights, which was not fitted."""
    model = kind(hidden_layer_sizes=(), activation=())
    model.coefs_, model.intercepts_ = coefs, intercepts
    vars(model).update(more)
    return model


@pytest.mark.parametrize(
    ("coefs", "intercepts"),
    [
        (np.array([[1], [0]]), np.array([0])),
        (np.array([[True], [False]]), np.array([False])),
        (np.array([[1], [0]], np.float16), np.array([0])),
        (np.array([[1], [0]], np.float32), np.array([0.0])),
        ([[1], [0]], [0]),
    ],
    ids=["integers", "truth", "halves", "mixed", "lists"],
)
def test_other_numbers_are_computed_in_float64(coefs: Any, intercepts: Any, tmp_path: Path) -> None:
    model = given(MLPRegressor, [coefs], [intercepts])
    assert_array_equal(model.predict(ROWS), [0.9, 2.7], strict=True)
    save(model, tmp_path / "model")
    assert_array_equal(load(tmp_path / "model").predict(ROWS), [0.9, 2.7], strict=True)


def test_float32_stays() -> None:
    model = given(MLPRegressor, [np.ones((2, 1), "f4")], [np.zeros(1, "f4")])
    assert model.predict(ROWS).dtype == np.float32


@pytest.mark.parametrize("kind", OURS)
def test_integers_put_into_a_fitted_model_count_as_in_theirs(kind: str, backend: Backend) -> None:
    y = PROBLEMS["multi-class"][1]
    models = fit(OURS[kind](**BASE, device=backend.name), X, y), fit(THEIRS[kind](**BASE), X, y)
    for model in models:
        for k, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            places = np.arange(W.size).reshape(W.shape)
            model.coefs_[k], model.intercepts_[k] = places % 3 - 1, np.arange(b.size) % 2
    name = "predict_proba" if kind == "classifier" else "predict"
    got, wanted = (getattr(model, name)(X) for model in models)
    assert_allclose(got, wanted, rtol=1e-12)
    assert got.dtype == wanted.dtype


@pytest.mark.parametrize("problem", ["binary", "multi-class", "multi-label", "text labels",
                                     "truth labels", "regression"])  # fmt: skip
def test_the_least_that_predicts_without_a_fit(problem: str, tmp_path: Path) -> None:
    kind, y = PROBLEMS[problem]
    fitted = fit(OURS[kind](**BASE), X, y)
    names = ["coefs_", "intercepts_"] + ["classes_"] * (kind == "classifier")
    model = OURS[kind](**BASE)
    for name in names:
        with pytest.raises(NotFittedError):
            model.predict(X)
        setattr(model, name, getattr(fitted, name))
    if problem == "multi-label":
        model.out_activation_ = "logistic"
    save(model, tmp_path / "model")
    for each in (model, load(tmp_path / "model")):
        assert_array_equal(each.predict(X), fitted.predict(X), strict=True)
        assert each.score(X, y) == fitted.score(X, y)
        if kind == "classifier":
            assert_array_equal(each.predict_proba(X), fitted.predict_proba(X))


def test_two_softmax_outputs() -> None:
    model = given(MLPClassifier, [np.eye(2)], [np.zeros(2)], classes_=["no", "yes"])
    assert_array_equal(model.predict([[0.3, 0.2], [-1, 2]]), ["no", "yes"])
    assert_allclose(model.predict_proba([[0, np.log(3)]]), [[0.25, 0.75]])


@pytest.mark.parametrize("how", ["warm_start", "partial_fit"])
@pytest.mark.parametrize("problem", ["text labels", "multi-label", "regression"])
def test_training_goes_on_from_them(problem: str, how: str) -> None:
    kind, y = PROBLEMS[problem]
    options = BASE | {"learning_rate_init": 1e-300, "warm_start": True, "solver": "sgd"}
    start = fit(OURS[kind](**BASE | {"max_iter": 1}), X, y)
    model = OURS[kind](**options)
    model.coefs_, model.intercepts_ = start.coefs_, start.intercepts_
    if kind == "classifier":
        model.classes_, model.out_activation_ = start.classes_, start.out_activation_
    if how == "warm_start":
        fit(model, X, y)
    else:
        model.partial_fit(X, y)
    assert_array_equal(model.predict(X), start.predict(X))
    assert model.n_features_in_ == 4
    with pytest.raises(ValueError, match="X has 3 features, but"):
        model.predict(X[:, :3])


@pytest.mark.parametrize(
    ("coefs", "intercepts", "classes", "message"),
    [
        ([np.ones((2, 3))], [np.ones(3)], [1, 2], r"labels for the 3 outputs .* got \[1, 2\]"),
        ([np.ones((2, 1))], [np.ones(1)], [1, 2, 3], "sorted labels for the 1 output"),
        ([np.ones((2, 3))], [np.ones(3)], [3, 1, 2], r"sorted .* got \[3, 1, 2\]"),
        ([np.ones((3, 1))], [np.ones(1)], [0, 1], "X has 2 features, .* is expecting 3 features"),
        ([[[1], [1, 2]]], [np.ones(1)], [0, 1], "coefs_ or intercepts_ has rows of different"),
        ([np.ones((2, 1))], [1.0], [0, 1], "do not fit together"),
        ([], [], [0, 1], "do not fit together"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(coefs: Any, intercepts: Any, classes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        given(MLPClassifier, coefs, intercepts, classes_=classes).predict(ROWS)
