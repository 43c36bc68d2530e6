from __future__ import annotations

import inspect
import pickle
import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from gpubp import BackendUnavailableError, MLPClassifier, MLPRegressor
from gpubp.backends.select import get_backend
from tests.estimators.cases import (
    BASE,
    CLASSES,
    OURS,
    THEIRS,
    WEIGHTS,
    N,
    X,
    assert_agree,
    fit,
    pair,
)


@pytest.mark.parametrize("kind", OURS)
def test_check_estimator_fails_nothing(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(OURS[kind](max_iter=60), on_skip=None, on_fail=None)
    for result in results:
        if result["status"] == "skipped":
            print(result["check_name"], "skipped:", result["exception"])
    assert len(results) > 50
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}


@pytest.mark.parametrize("kind", OURS)
def test_the_constructor_is_scikit_learns_and_more(kind: str) -> None:
    ours = inspect.signature(OURS[kind]).parameters
    theirs = inspect.signature(THEIRS[kind]).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name
    assert all(
        ours[name].kind is inspect.Parameter.KEYWORD_ONLY for name in set(ours) - set(theirs)
    )


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
def test_methods_take_scikit_learns_arguments(kind: str, method: str) -> None:
    ours, theirs = (
        [
            (parameter.name, parameter.default)
            for parameter in inspect.signature(getattr(estimator, method)).parameters.values()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        ]
        for estimator in (OURS[kind], THEIRS[kind])
    )
    assert ours == theirs


BAD_PARAMETERS = [
    ("hidden_layer_sizes", 0),
    ("hidden_layer_sizes", (5, -1)),
    ("hidden_layer_sizes", "wide"),
    ("alpha", -1),
    ("alpha", "small"),
    ("batch_size", 0),
    ("batch_size", "all"),
    ("learning_rate_init", 0),
    ("power_t", -0.5),
    ("max_iter", 0),
    ("max_iter", 2.5),
    ("shuffle", "yes"),
    ("random_state", "seed"),
    ("tol", -1e-4),
    ("verbose", "loud"),
    ("warm_start", None),
    ("momentum", 1.5),
    ("nesterovs_momentum", "yes"),
    ("early_stopping", 3),
    ("validation_fraction", 1.0),
    ("beta_1", 1.0),
    ("beta_2", -0.1),
    ("epsilon", 0),
    ("n_iter_no_change", 0),
    ("max_fun", 0),
]


def _error(call: Callable[[], Any]) -> tuple[str, str]:
    try:
        call()
    except Exception as error:
        # A set of names is printed in an order that changes from run to run.
        message = re.sub(r"\{(.*?)\}", lambda found: str(sorted(found[1].split(", "))), str(error))
        return type(error).__name__, message
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
def test_bad_parameters_are_refused_as_scikit_learn_does(kind: str, name: str, value: Any) -> None:
    ours, theirs = (_error(partial(model.fit, X, CLASSES)) for model in pair(kind, **{name: value}))
    assert ours == theirs


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"activation": "no_such_one"},
            "'activation' parameter .* str among .*'gelu'.* Got 'no_such_one'",
        ),
        ({"solver": "sdg"}, "'solver' parameter .* among .* Got 'sdg'"),
        ({"learning_rate": "fast"}, "'learning_rate' .* among .*'one_cycle'.* Got 'fast'"),
        ({"device": "gpu"}, "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
        ({"device": "cuda:x"}, "got 'cuda:x'"),
        ({"device": 0}, "'device' parameter .* Got 0"),
        ({"dtype": "float16"}, "'dtype' parameter .* Got 'float16'"),
        ({"threads": 0}, "'threads' parameter .* Got 0"),
    ],
)
def test_bad_parameters_of_our_own_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**parameters).fit(X, CLASSES)


def _misuse(name: str, model: Any) -> Any:
    """Something that neither estimator can do."""
    with_nan = np.where(X > 1, np.nan, X)
    early = {"early_stopping": True}
    new_labels = np.where(CLASSES == 0, 7, CLASSES)
    steps: dict[str, Callable[[], Any]] = {
        "unfitted": lambda: model.predict(X),
        "nan": lambda: model.fit(with_nan, CLASSES),
        "inf in y": lambda: model.fit(X, np.where(CLASSES > 1, np.inf, 0.0)),
        "rows of y": lambda: model.fit(X, CLASSES[:-1]),
        "one row of X": lambda: model.fit(X[0], CLASSES[:1]),
        "no rows": lambda: model.fit(X[:0], CLASSES[:0]),
        "columns": lambda: fit(model, X, CLASSES).predict(X[:, :2]),
        "weights": lambda: model.fit(X, CLASSES, sample_weight=WEIGHTS[:5]),
        "validation set": lambda: model.set_params(**early, validation_fraction=0.001).fit(
            X, CLASSES
        ),
        "early partial_fit": lambda: model.set_params(**early).partial_fit(
            X, CLASSES, **({"classes": [0, 1, 2]} if hasattr(model, "predict_proba") else {})
        ),
        "columns of partial_fit": lambda: fit(model, X, CLASSES).partial_fit(X[:, :2], CLASSES),
        "no classes": lambda: model.partial_fit(X, CLASSES),
        "other classes": lambda: fit(model, X, CLASSES).partial_fit(X, CLASSES, classes=[0, 1]),
        "unknown class": lambda: fit(model, X, CLASSES).partial_fit(X, new_labels),
        "warm start": lambda: fit(model.set_params(warm_start=True), X, CLASSES).fit(X, new_labels),
        "continuous y": lambda: model.fit(X, X[:, 0]),
    }
    return steps[name]()


MISUSES = {
    "classifier": [
        *("unfitted", "nan", "inf in y", "rows of y", "one row of X", "no rows", "columns"),
        *("weights", "validation set", "early partial_fit", "columns of partial_fit"),
        *("no classes", "other classes", "unknown class", "warm start", "continuous y"),
    ],
    "regressor": [
        *("unfitted", "nan", "inf in y", "rows of y", "one row of X", "no rows", "columns"),
        *("weights", "validation set", "early partial_fit", "columns of partial_fit"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in MISUSES for name in MISUSES[kind]]
)
def test_misuse_is_refused_as_scikit_learn_does(kind: str, name: str) -> None:
    ours, theirs = (_error(partial(_misuse, name, model)) for model in pair(kind))
    assert ours == theirs


def test_other_layers_than_those_of_the_last_fit_are_refused() -> None:
    model = fit(MLPClassifier(**BASE, warm_start=True), X, CLASSES)
    with pytest.raises(ValueError, match=r"shapes \[\(4, 7\).* need \[\(4, 6\)"):
        model.set_params(hidden_layer_sizes=(6, 5)).fit(X, CLASSES)


@pytest.mark.parametrize("kind", OURS)
def test_non_finite_weights_raise_and_leave_the_last_finite_ones(kind: str) -> None:
    model = OURS[kind](**{**BASE, "learning_rate_init": 1e300}, solver="sgd", alpha=1)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X, CLASSES)
    assert all(np.isfinite(W).all() for W in model.coefs_ + model.intercepts_)


class _Interrupting(np.random.RandomState):
    """Ctrl-C in the third epoch, when its rows are shuffled."""

    shuffles = 0

    def shuffle(self, x: Any) -> None:
        self.shuffles += 1
        if self.shuffles == 3:
            raise KeyboardInterrupt
        super().shuffle(x)


@pytest.mark.parametrize("kind", OURS)
def test_an_interrupt_warns_and_keeps_what_was_learned(kind: str) -> None:
    both = pair(kind)
    for model in both:
        model.set_params(random_state=_Interrupting(3))
        with pytest.warns(UserWarning, match="^Training interrupted by user.$"):
            model.fit(X, CLASSES)
    assert_agree(*both)
    assert both[0].stopped_by_ == "interrupt"
    assert_array_equal(both[0].coefs_[0], fit(pair(kind, max_iter=2)[0], X, CLASSES).coefs_[0])


def test_reaching_max_iter_warns() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier(max_iter=2).fit(X, CLASSES)


def test_cuda_where_there_is_none_says_what_to_check() -> None:
    try:
        get_backend("cuda")
    except BackendUnavailableError:
        model = MLPClassifier(device="cuda")
        with pytest.raises(BackendUnavailableError, match=r"pip install|driver"):
            model.fit(X, CLASSES)
    else:
        pytest.skip("there is a CUDA device")


@pytest.mark.parametrize("kind", OURS)
def test_a_pickle_and_a_clone_do_the_same(kind: str) -> None:
    model = fit(OURS[kind](**BASE), X, CLASSES)
    copy = pickle.loads(pickle.dumps(model))
    again = fit(clone(model), X, CLASSES)
    for other in (copy, again):
        assert_array_equal(other.predict(X), model.predict(X))
    for each in (model, copy):  # with the optimizer's state
        each.partial_fit(X, CLASSES)
    assert_array_equal(copy.coefs_[0], model.coefs_[0])


def test_pipelines_and_searches_take_it() -> None:
    model = make_pipeline(StandardScaler(), MLPClassifier(**BASE))
    search = GridSearchCV(model, {"mlpclassifier__activation": ["tanh", "gelu"]}, cv=2)
    fit(search, X * 10 + 3, CLASSES)
    assert search.best_score_ > 0.6
    assert search.predict(X * 10 + 3).shape == (N,)


def test_training_goes_on_after_it_diverged():
    X = np.random.RandomState(0).randn(40, 3)
    y = X.sum(axis=1)
    model = MLPRegressor(hidden_layer_sizes=(8,), solver="sgd", random_state=0, batch_size=5)
    model.partial_fit(X, y)
    model._optimizer_state.rate = 1e300
    with pytest.raises(ValueError, match="non-finite"):
        model.partial_fit(X, y)
    model.partial_fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def test_hashed_row_order():
    X = np.random.RandomState(0).randn(60, 4)
    y = X[:, 0] > 0
    options = {"random_state": 0, "max_iter": 3, "batch_size": 16, "tol": 0, "device": "cpu"}

    def weights(**more):
        with pytest.warns(ConvergenceWarning):
            return MLPClassifier((5,), **options, **more).fit(X, y).coefs_[0]

    hashed = weights(row_order="hash")
    assert_array_equal(hashed, weights(row_order="hash"))
    assert (hashed != weights()).any()
    assert_array_equal(weights(), weights(row_order="scikit-learn"))
    assert_array_equal(weights(shuffle=False), weights(shuffle=False, row_order="hash"))
