"""The examples of scikit-learn's gallery and guide print the same numbers with one import changed.

After `plot_mlp_training_curves`, `plot_mlp_alpha` and `plot_mnist_filters` of its gallery, with the
digits that scikit-learn ships in place of MNIST, its user guide and its docstrings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_circles,
    make_classification,
    make_friedman1,
    make_moons,
    make_multilabel_classification,
    make_regression,
)
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from gpubp import MLPClassifier, MLPRegressor
from tests.estimators.cases import OURS, THEIRS, fit

Data = tuple[np.ndarray, np.ndarray]
SIX_DIGITS = 1e-6


def _separable() -> Data:
    X, y = make_classification(
        n_features=2, n_redundant=0, n_informative=2, random_state=0, n_clusters_per_class=1
    )
    return X + 2 * np.random.RandomState(2).uniform(size=X.shape), y


DATA: dict[str, Callable[[], Data]] = {
    "iris": partial(load_iris, return_X_y=True),
    "digits": partial(load_digits, return_X_y=True),
    "wine": partial(load_wine, return_X_y=True),
    "breast cancer": partial(load_breast_cancer, return_X_y=True),
    "diabetes": partial(load_diabetes, return_X_y=True),
    "circles": partial(make_circles, noise=0.2, factor=0.5, random_state=1),
    "moons": partial(make_moons, noise=0.3, random_state=0),
    "separable": _separable,
    "multilabel": partial(make_multilabel_classification, random_state=0),
    "friedman": partial(make_friedman1, random_state=0),
}


@cache
def scaled(name: str, scaler: type = MinMaxScaler) -> Data:
    X, y = DATA[name]()
    return scaler().fit_transform(X), y


def both(kind: str, X: np.ndarray, y: np.ndarray, **parameters: Any) -> tuple[Any, Any]:
    """Our estimator and scikit-learn's, fitted."""
    ours = fit(OURS[kind](device="cpu", **parameters), X, y)
    return ours, fit(THEIRS[kind](**parameters), X, y)


def assert_same_numbers(ours: Any, theirs: Any, X: np.ndarray, y: np.ndarray) -> None:
    assert_allclose(ours.loss_, theirs.loss_, rtol=SIX_DIGITS)
    assert ours.n_iter_ == theirs.n_iter_
    assert_allclose(ours.score(X, y), theirs.score(X, y), rtol=SIX_DIGITS)
    method = "predict_proba" if hasattr(theirs, "predict_proba") else "predict"
    got, wanted = (getattr(model, method)(X) for model in (ours, theirs))
    assert_allclose(got, wanted, rtol=SIX_DIGITS, atol=SIX_DIGITS)


# Of plot_mlp_training_curves.
SGD = {"solver": "sgd", "learning_rate_init": 0.2}
CURVES: dict[str, dict[str, Any]] = {
    "constant": {**SGD, "momentum": 0},
    "with momentum": {**SGD, "momentum": 0.9, "nesterovs_momentum": False},
    "with Nesterov's": {**SGD, "momentum": 0.9, "nesterovs_momentum": True},
    "inv-scaling": {**SGD, "learning_rate": "invscaling", "momentum": 0},
    "inv-scaling with momentum": {
        **SGD,
        "learning_rate": "invscaling",
        "momentum": 0.9,
        "nesterovs_momentum": False,
    },
    "inv-scaling with Nesterov's": {**SGD, "learning_rate": "invscaling", "momentum": 0.9},
    "adam": {"solver": "adam", "learning_rate_init": 0.01},
}


@pytest.mark.parametrize("name", ["iris", "digits", "circles", "moons"])
@pytest.mark.parametrize("curve", CURVES)
def test_training_curves(name: str, curve: str) -> None:
    X, y = scaled(name)
    X, y = X[:450], y[:450]  # a quarter of the digits, whose curves take long
    parameters = {"random_state": 0, "max_iter": 15 if name == "digits" else 100, **CURVES[curve]}
    ours, theirs = both("classifier", X, y, **parameters)
    assert_same_numbers(ours, theirs, X, y)
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=SIX_DIGITS)


@pytest.mark.parametrize("name", ["moons", "circles", "separable"])
@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_alpha(name: str, alpha: float) -> None:
    """Its 2000 iterations of L-BFGS are 50 here: rounding grows as they go on.

    To the end of them, scikit-learn's own probabilities change by up to 0.2 when its X changes by
    2e-16 of itself, and those of both libraries differ by as much. After 50 it is below 1e-9.
    """
    X, y = DATA[name]()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=42)
    scaler = StandardScaler().fit(X_train)
    parameters = {"early_stopping": True, "hidden_layer_sizes": [10, 10], "max_iter": 50}
    ours, theirs = both(
        *("classifier", scaler.transform(X_train), y_train),
        **{"solver": "lbfgs", "alpha": alpha, "random_state": 1, **parameters},
    )
    assert_same_numbers(ours, theirs, scaler.transform(X_test), y_test)


def test_mnist_filters(capsys: pytest.CaptureFixture[str]) -> None:
    """With digits in place of MNIST; the printed lines are the same to the last digit."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0, test_size=0.7)
    parameters = {"hidden_layer_sizes": (40,), "max_iter": 8, "alpha": 1e-4, "solver": "sgd"}
    parameters |= {"verbose": 10, "random_state": 1, "learning_rate_init": 0.2}
    printed = []
    for kind in (partial(MLPClassifier, device="cpu"), THEIRS["classifier"]):
        model = fit(kind(**parameters), X_train, y_train)
        print(f"Training set score: {model.score(X_train, y_train):f}")
        print(f"Test set score: {model.score(X_test, y_test):f}")
        printed.append(capsys.readouterr().out.splitlines())
    assert printed[0] == printed[1]
    assert len(printed[1]) == 8 + 2


CONFIGURATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "wine tanh": ("classifier", "wine", {"activation": "tanh", "hidden_layer_sizes": (20, 10)}),
    "wine logistic": ("classifier", "wine", {"activation": "logistic", "batch_size": 50}),
    "wine early": ("classifier", "wine", {"early_stopping": True, "validation_fraction": 0.3}),
    "breast cancer": ("classifier", "breast cancer", {"hidden_layer_sizes": (30,)}),
    "breast cancer sgd": (
        "classifier",
        "breast cancer",
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "alpha": 1.0},
    ),
    "breast cancer lbfgs": (
        "classifier",
        "breast cancer",
        {"solver": "lbfgs", "activation": "logistic", "max_iter": 30, "alpha": 1.0},
    ),
    "diabetes": ("regressor", "diabetes", {"learning_rate_init": 0.01}),
    "diabetes tanh": ("regressor", "diabetes", {"activation": "tanh", "early_stopping": True}),
    "diabetes sgd": ("regressor", "diabetes", {"solver": "sgd", "learning_rate_init": 1e-4}),
    "diabetes poisson": ("regressor", "diabetes", {"loss": "poisson", "alpha": 0.1}),
    "diabetes lbfgs": ("regressor", "diabetes", {"solver": "lbfgs", "max_iter": 30}),
    "friedman": ("regressor", "friedman", {"hidden_layer_sizes": (30, 15), "batch_size": 10}),
    "friedman linear": ("regressor", "friedman", {"activation": "identity", "shuffle": False}),
    "multilabel": ("classifier", "multilabel", {"hidden_layer_sizes": (15,), "batch_size": 7}),
    "multilabel lbfgs": ("classifier", "multilabel", {"solver": "lbfgs", "max_iter": 30}),
    "iris adam": ("classifier", "iris", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-6}),
    "digits tanh": ("classifier", "digits", {"activation": "tanh", "max_iter": 5}),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_data_sets_that_come_along(configuration: tuple[str, str, dict[str, Any]]) -> None:
    kind, name, parameters = configuration
    X, y = scaled(name, StandardScaler)
    ours, theirs = both(kind, X, y, **{"max_iter": 20, "random_state": 2, **parameters})
    assert_same_numbers(ours, theirs, X, y)


def test_the_numbers_of_the_docstrings() -> None:
    X, y = make_classification(n_samples=100, random_state=1)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=1)
    clf = fit(MLPClassifier(random_state=1, max_iter=300), X_train, y_train)
    assert_allclose(clf.predict_proba(X_test[:1]), [[0.0383, 0.961]], atol=1e-3)
    assert clf.predict(X_test[:5, :]).tolist() == [1, 0, 1, 0, 1]
    assert f"{clf.score(X_test, y_test):.4f}".startswith("0.8")
    X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    regr = fit(MLPRegressor(random_state=1, max_iter=2000, tol=0.1), X_train, y_train)
    assert_allclose(regr.predict(X_test[:2]), [28.98, -291], atol=0.5)
    assert round(regr.score(X_test, y_test), 2) == 0.98


def test_the_numbers_of_the_user_guide() -> None:
    X = [[0.0, 0.0], [1.0, 1.0]]
    parameters: dict[str, Any] = {"solver": "lbfgs", "alpha": 1e-5, "random_state": 1}
    clf = MLPClassifier(hidden_layer_sizes=(5, 2), **parameters).fit(X, [0, 1])
    assert clf.predict([[2.0, 2.0], [-1.0, -2.0]]).tolist() == [1, 0]
    assert [coef.shape for coef in clf.coefs_] == [(2, 5), (5, 2), (2, 1)]
    probabilities = clf.predict_proba([[2.0, 2.0], [1.0, 2.0]])
    assert_allclose(probabilities, [[1.967e-04, 9.998e-01]] * 2, rtol=1e-3)
    clf = MLPClassifier(hidden_layer_sizes=(15,), **parameters).fit(X, [[0, 1], [1, 1]])
    assert clf.predict([[1.0, 2.0]]).tolist() == [[1, 1]]
    assert clf.predict([[0.0, 0.0]]).tolist() == [[0, 1]]
