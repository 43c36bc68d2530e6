"""Contracts of scikit-learn beyond `check_estimator`: companions, inputs, copies and errors."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from itertools import product
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backprop.solvers import SOLVERS, STEPWISE
from gpubp.training.schedules import SCHEDULES
from tests.estimators.cases import BASE, CLASSES, OURS, PROBLEMS, WEIGHTS, N, X, fit, pair

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
Y = PROBLEMS["regression"][1]
TARGET = {"classifier": CLASSES, "regressor": Y}

# What takes an estimator gives the same numbers with ours and with scikit-learn's.
COMPANIONS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "cross_val_score": ("classifier", lambda m: cross_val_score(m, X, CLASSES, cv=3)),
    "cross_val_predict": (
        "classifier",
        lambda m: cross_val_predict(m, X, CLASSES, cv=3, method="predict_log_proba"),
    ),
    "learning_curve": ("regressor", lambda m: learning_curve(m, X, Y, cv=2, train_sizes=[40])[2]),
    "scorers": (
        "regressor",
        lambda m: cross_val_score(m, X, Y, cv=2, scoring="neg_median_absolute_error"),
    ),
    "CalibratedClassifierCV": (
        "classifier",
        lambda m: CalibratedClassifierCV(m, cv=2).fit(X, CLASSES).predict_proba(X),
    ),
    "StackingClassifier": (
        "classifier",
        lambda m: (
            StackingClassifier([("net", m)], LogisticRegression(), cv=2)
            .fit(X, CLASSES)
            .predict_proba(X)
        ),
    ),
    "VotingClassifier": (
        "classifier",
        lambda m: (
            VotingClassifier([("net", m), ("line", LogisticRegression())], voting="soft")
            .fit(X, CLASSES, sample_weight=WEIGHTS)
            .predict_proba(X)
        ),
    ),
    "AdaBoostClassifier": (
        "classifier",
        lambda m: (
            AdaBoostClassifier(m, n_estimators=2, random_state=0).fit(X, CLASSES).predict_proba(X)
        ),
    ),
    "OneVsRestClassifier": (
        "classifier",
        lambda m: OneVsRestClassifier(m).fit(X, CLASSES).predict_proba(X),
    ),
    "BaggingRegressor": (
        "regressor",
        lambda m: BaggingRegressor(m, n_estimators=2, random_state=0).fit(X, Y).predict(X),
    ),
    "permutation_importance": (
        "regressor",
        lambda m: permutation_importance(m.fit(X, Y), X, Y, n_repeats=2, random_state=0)[
            "importances"
        ],
    ),
    "partial_dependence": (
        "regressor",
        lambda m: partial_dependence(m.fit(X, Y), X, [(1, 2)], grid_resolution=4)["average"],
    ),
    "partial_dependence of a class": (
        "classifier",
        lambda m: partial_dependence(m.fit(X, CLASSES > 0), X, [1], grid_resolution=4)["average"],
    ),
    "RandomizedSearchCV": (
        "classifier",
        lambda m: (
            RandomizedSearchCV(
                make_pipeline(StandardScaler(), m),
                {"mlpclassifier__alpha": [1e-4, 1.0, 10.0]},
                n_iter=2,
                cv=2,
                random_state=0,
            )
            .fit(X, CLASSES)
            .cv_results_["mean_test_score"]
        ),
    ),
}


@pytest.mark.parametrize(("kind", "use"), COMPANIONS.values(), ids=COMPANIONS)
def test_companions_give_the_same_numbers(kind: str, use: Callable[[Any], Any]) -> None:
    ours, theirs = (use(model) for model in pair(kind, max_iter=6))
    assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("fitted", [False, True])
def test_copies_do_the_same(kind: str, fitted: bool) -> None:
    model = OURS[kind](**BASE, device="cpu")
    if fitted:
        fit(model, X, TARGET[kind])
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    for copy in (deepcopy(model), joblib.load(file), pickle.loads(pickle.dumps(model, 2))):
        assert copy.get_params() == model.get_params()
        if fitted:
            assert_array_equal(copy.predict(X), model.predict(X))
            copy.coefs_[0][...] = 0
            assert model.coefs_[0].any()
        else:
            assert not hasattr(copy, "coefs_")
    assert not hasattr(clone(model), "coefs_")


@pytest.mark.parametrize("kind", OURS)
def test_repr_says_what_was_set(kind: str) -> None:
    model = OURS[kind](alpha=0.5, hidden_layer_sizes=(3, 2), device="cpu")
    name = type(model).__name__
    assert repr(model) == f"{name}(alpha=0.5, device='cpu', hidden_layer_sizes=(3, 2))"
    html = fit(model, X, TARGET[kind])._repr_html_()
    assert name in html
    assert "hidden_layer_sizes" in html
    assert is_classifier(model) is (kind == "classifier")
    assert is_regressor(model) is (kind == "regressor")


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix", "coo_array", "lil_matrix"])
def test_sparse_rows_give_the_numbers_of_dense_ones(kind: str, form: str) -> None:
    dense = np.where(np.abs(X) < 0.7, 0.0, X)
    sparse = getattr(scipy.sparse, form)(dense)
    model, same = (fit(OURS[kind](**BASE), rows, TARGET[kind]) for rows in (dense, sparse))
    assert same.loss_curve_ == model.loss_curve_
    assert_array_equal(same.predict(sparse), model.predict(dense))
    assert same.score(sparse, TARGET[kind]) == model.score(dense, TARGET[kind])
    same.partial_fit(sparse, TARGET[kind])
    assert_array_equal(same.coefs_[0], model.partial_fit(dense, TARGET[kind]).coefs_[0])


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint16, np.bool_, object])
def test_other_numbers_become_float64(dtype: Any) -> None:
    rows = (np.abs(X) * 3).astype(dtype)
    ours, theirs = (fit(model, rows, CLASSES) for model in pair("classifier"))
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float64
    assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), rtol=1e-9)


LABELS: dict[str, np.ndarray] = {
    "negative": CLASSES - 5,
    "floats": CLASSES / 1.0,
    "objects": np.array(["x", "yy", "zzz"], dtype=object)[CLASSES],
    "unsigned": CLASSES.astype(np.uint8) * 100,
    "one class": np.zeros(N, int),
    "column": CLASSES[:, None],
    "sparse multi-label": scipy.sparse.csr_matrix(PROBLEMS["multi-label"][1]),
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("labels", LABELS)
def test_labels_of_every_kind(labels: str) -> None:
    y = LABELS[labels]
    ours, theirs = (fit(model, X, y) for model in pair("classifier"))
    assert_array_equal(ours.classes_, theirs.classes_, strict=True)
    got, wanted = ours.predict(X), theirs.predict(X)
    assert type(got) is type(wanted)
    if scipy.sparse.issparse(wanted):
        got, wanted = got.toarray(), wanted.toarray()
    assert_array_equal(got, wanted, strict=True)
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-8)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", OURS)
def test_whole_weights_are_repeated_rows(kind: str, solver: str) -> None:
    counts, y = np.arange(N) % 3, TARGET[kind]  # a third of the rows count for nothing
    repeated = np.repeat(np.arange(N), counts)
    options = {"solver": solver, "max_iter": 6, "hidden_layer_sizes": (5,), "random_state": 0}
    options |= {"alpha": 0.1, "shuffle": False, "batch_size": 10 * N, "device": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of batches larger than the data: all rows are one
        weighted = OURS[kind](**options).fit(X, y, sample_weight=counts)
        copied = OURS[kind](**options).fit(X[repeated], y[repeated])
    assert_allclose(weighted.loss_, copied.loss_, rtol=1e-9)
    for got, wanted in zip(weighted.coefs_, copied.coefs_, strict=True):
        assert_allclose(got, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_the_scale_of_weights_does_not_matter_without_a_penalty(scale: float) -> None:
    options = {**BASE, "alpha": 0.0, "solver": "sgd"}
    one, other = (
        fit(MLPRegressor(**options), X, Y, sample_weight=WEIGHTS * by) for by in (1, scale)
    )
    assert_allclose(other.coefs_[0], one.coefs_[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("solver", "schedule"),
    [
        (solver, name)
        for solver, name in product(STEPWISE, SCHEDULES)
        if SCHEDULES[name].is_for(solver)
    ],
)
@pytest.mark.parametrize("kind", OURS)
def test_every_schedule_learns(kind: str, solver: str, schedule: str) -> None:
    options = {**BASE, "solver": solver, "learning_rate": schedule, "max_iter": 40}
    model = fit(OURS[kind](**options, warmup_epochs=2), X, TARGET[kind])
    assert model.loss_ < 0.9 * model.loss_curve_[0]


def test_a_warm_start_takes_the_same_classes_in_another_order() -> None:
    model = MLPClassifier(**BASE, warm_start=True)
    labels = np.array(["b", "a", "c"])
    order = np.argsort(CLASSES)[::-1]
    fit(model, X, labels[CLASSES])
    before = model.loss_curve_[-1]
    fit(model, X[order], labels[CLASSES][order])
    assert model.loss_curve_[15] < 1.2 * before
    with pytest.raises(ValueError, match=r"warm_start can only be used where `y` has the same"):
        model.fit(X, np.array(["b", "a", "d"])[CLASSES])
    with pytest.raises(ValueError, match=r"warm_start can only be used where `y` has the same"):
        model.fit(X, np.array(["b", "a", "a"])[CLASSES])
    assert_array_equal(model.classes_, ["a", "b", "c"])


@pytest.mark.parametrize("kind", OURS)
def test_an_interrupt_of_partial_fit_leaves_a_usable_model(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubp.training.trainer import Trainer

    model = fit(OURS[kind](**BASE, device="cpu"), X, TARGET[kind])
    wanted = model.predict(X)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "epoch", interrupted)
    with pytest.warns(UserWarning, match=r"^Training interrupted by user\.$"):
        model.partial_fit(X, TARGET[kind])
    assert model.stopped_by_ == "interrupt"
    monkeypatch.undo()
    assert_array_equal(model.predict(X), wanted)
    model.partial_fit(X, TARGET[kind])
    assert np.isfinite(model.loss_)


def test_data_frames_keep_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = fit(MLPClassifier(**BASE), frame, pandas.Series(CLASSES))
    assert model.feature_names_in_.tolist() == list("abcd")
    assert_array_equal(model.predict(frame), fit(MLPClassifier(**BASE), X, CLASSES).predict(X))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        model.predict(frame[list("dcba")])
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- e"):
        model.predict(frame.rename(columns={"a": "e"}))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        model.partial_fit(frame[list("dcba")], CLASSES)
    scaled = make_pipeline(StandardScaler(), MLPClassifier(**BASE)).set_output(transform="pandas")
    fit(scaled, frame, CLASSES)
    assert scaled[-1].feature_names_in_.tolist() == list("abcd")
    early = MLPClassifier(**BASE, early_stopping=True)
    early.fit(frame, CLASSES, X_val=frame[:9], y_val=CLASSES[:9])
    with pytest.raises(ValueError, match="Feature names"):
        early.fit(frame, CLASSES, X_val=frame[:9][list("dcba")], y_val=CLASSES[:9])


def _skewed(value: float) -> np.ndarray:
    return np.where(X[:, 0] > 1, value, 1.0)


Misuse = Callable[[Any, np.ndarray], Any]  # of a model and its targets


def _set(**parameters: Any) -> Misuse:
    return lambda m, y: m.set_params(**parameters).fit(X, y)


def _weights(given: Any) -> Misuse:
    return lambda m, y: m.fit(X, y, sample_weight=given)


# Those of which scikit-learn's message is good, and so ours.
SAME: dict[str, Misuse] = {
    "X of strings": lambda m, y: m.fit(np.array([["a", "b"]] * N), y),
    "X of objects": lambda m, y: m.fit([[{}]] * N, y),
    "X complex": lambda m, y: m.fit(X + 1j, y),
    "X in 3 dimensions": lambda m, y: m.fit(X[None], y),
    "no X": lambda m, y: m.fit(None, y),
    "no y": lambda m, y: m.fit(X, None),
    "X infinite": lambda m, y: m.fit(np.where(X > 1, np.inf, X), y),
    "X a number": lambda m, y: m.fit(3.0, y),
    "X a path": lambda m, y: m.fit("table.csv", y),
    "X ragged": lambda m, y: m.fit([[1, 2], [3]], [0, 1]),
    "X without columns": lambda m, y: m.fit(X[:, :0], y),
    "X a dict": lambda m, y: m.fit({"a": 1}, y),
    "X sparse with NaN": lambda m, y: m.fit(scipy.sparse.csr_matrix(np.where(X > 1, np.nan, X)), y),
    "fewer rows of X": lambda m, y: m.fit(X[:5], y),
    "y in 3 dimensions": lambda m, y: m.fit(X, np.zeros((N, 2, 2))),
    "y a number": lambda m, y: m.fit(X, 1),
    "y with NaN": lambda m, y: m.fit(X, _skewed(np.nan)),
    "y infinite": lambda m, y: m.fit(X, _skewed(np.inf)),
    "y complex": lambda m, y: m.fit(X, Y + 1j),
    "y of sets": lambda m, y: m.fit(X, [{1}] * N),
    "weights with NaN": _weights(_skewed(np.nan)),
    "infinite weights": _weights(_skewed(np.inf)),
    "weights in 2 dimensions": _weights(WEIGHTS[:, None]),
    "weights of strings": _weights(["a"] * N),
    "too many weights": _weights(np.ones(N + 1)),
    "weights a word": _weights("balanced"),
    "predict for one row": lambda m, y: fit(m, X, y).predict(X[0]),
    "predict for NaN": lambda m, y: fit(m, X, y).predict(X * np.nan),
    "predict for no rows": lambda m, y: fit(m, X, y).predict(X[:0]),
    "predict for fewer sparse columns": lambda m, y: fit(m, X, y).predict(
        scipy.sparse.csr_matrix(X[:, :2])
    ),
    "score of fewer rows": lambda m, y: fit(m, X, y).score(X, y[:-1]),
    "score with few weights": lambda m, y: fit(m, X, y).score(X, y, sample_weight=WEIGHTS[:3]),
    "score before fit": lambda m, y: m.score(X, y),
    "one row and early stopping": lambda m, y: m.set_params(early_stopping=True).fit(X[:1], y[:1]),
    "nothing to hold out": _set(early_stopping=True, validation_fraction=0.0),
    "partial_fit with NaN": lambda m, y: m.partial_fit(X * np.nan, y),
    "warm start with fewer columns": lambda m, y: fit(m.set_params(warm_start=True), X, y).fit(
        X[:, :2], y
    ),
    "no layers": _set(hidden_layer_sizes=None),
    "alpha nan": _set(alpha=np.nan),
    "alpha infinite": _set(alpha=np.inf),
    "tol nan": _set(tol=np.nan),
    "learning rate infinite": _set(learning_rate_init=np.inf),
    "random_state negative": _set(random_state=-1),
    "random_state a Generator": _set(random_state=np.random.default_rng(0)),
    "batch_size a float": _set(batch_size=2.0),
    "n_iter_no_change a float": _set(n_iter_no_change=2.5),
    "verbose negative": _set(verbose=-1),
}
SAME_FOR_CLASSES: dict[str, Misuse] = {
    "y continuous": lambda m, y: m.fit(X, X[:, :2]),
    "y of several outputs": lambda m, y: m.fit(X, np.stack([y, y], axis=1)),
    "y of mixed types": lambda m, y: m.fit(X, np.array(["a", 1] * (N // 2), dtype=object)),
    "y with None": lambda m, y: m.fit(X, np.array(["a", None] * (N // 2), dtype=object)),
    "y of bytes": lambda m, y: m.fit(X, np.array([b"a", b"b"] * (N // 2))),
    "y of empty lists": lambda m, y: m.fit(X, [[]] * N),
    "predict_proba before fit": lambda m, y: m.predict_proba(X),
    "predict_log_proba before fit": lambda m, y: m.predict_log_proba(X),
    "partial_fit by lbfgs": lambda m, y: m.set_params(solver="lbfgs").partial_fit(X, y),
    "partial_fit of few classes": lambda m, y: m.partial_fit(X, y, classes=[0, 1]),
    "partial_fit of text classes": lambda m, y: m.partial_fit(X, y, classes=["a", "b"]),
    "partial_fit of continuous y": lambda m, y: m.partial_fit(X, Y, classes=[0, 1]),
    "y of object integers": lambda m, y: m.fit(X, y.astype(object)),
}


def _error(model: Any, misuse: Misuse, y: np.ndarray) -> tuple[type, str]:
    try:
        misuse(model, y)
    except Exception as error:
        return type(error), re.sub(r"\s+", " ", str(error))
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("kind", "misuse"),
    [
        *(
            pytest.param(kind, use, id=f"{kind}: {name}")
            for kind in OURS
            for name, use in SAME.items()
        ),
        *(pytest.param("classifier", use, id=name) for name, use in SAME_FOR_CLASSES.items()),
    ],
)
def test_misuse_is_refused_in_scikit_learns_words(kind: str, misuse: Misuse) -> None:
    ours, theirs = (_error(model, misuse, TARGET[kind]) for model in pair(kind))
    assert ours == theirs
    assert issubclass(ours[0], ValueError | TypeError | AttributeError)


@pytest.mark.parametrize("kind", OURS)
def test_weights_that_are_all_zero(kind: str) -> None:
    ours, _ = pair(kind)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero numb"):
        ours.fit(X, TARGET[kind], sample_weight=np.zeros(N))


# Those of which scikit-learn says nothing that helps; ours names what to do.
BETTER: dict[str, tuple[str, Misuse, type, str]] = {
    "hidden floats": ("classifier", _set(hidden_layer_sizes=(5.5,)), TypeError, "whole numbers"),
    "hidden strings": ("classifier", _set(hidden_layer_sizes=("a",)), TypeError, r"got \('a',\)"),
    "hidden nested": ("classifier", _set(hidden_layer_sizes=((5,),)), TypeError, "whole numbers"),
    "hidden nan": ("regressor", _set(hidden_layer_sizes=(np.nan,)), OverflowError, "whole numbers"),
    "hidden True": ("regressor", _set(hidden_layer_sizes=True), TypeError, "whole .* got True"),
    "hidden matrix": (
        "regressor",
        _set(hidden_layer_sizes=np.ones((2, 2), int)),
        TypeError,
        "whole numbers",
    ),
    "text targets": (
        "regressor",
        lambda m, y: m.fit(X, np.array(["a"] * N)),
        TypeError,
        "could not convert string to float",
    ),
    "sparse targets": (
        "regressor",
        lambda m, y: m.fit(X, scipy.sparse.csr_matrix(PROBLEMS["multi-label"][1])),
        ValueError,
        r"y is a csr_matrix, but .* y\.toarray\(\)",
    ),
    "other outputs": (
        "regressor",
        lambda m, y: fit(m.set_params(warm_start=True), X, y).fit(X, np.stack([y, y], axis=1)),
        ValueError,
        "use the same hidden_layer_sizes or fit again",
    ),
}


@pytest.mark.parametrize(("kind", "misuse", "theirs", "message"), BETTER.values(), ids=BETTER)
def test_misuse_that_scikit_learn_leaves_unexplained(
    kind: str, misuse: Misuse, theirs: type, message: str
) -> None:
    model, other = pair(kind)
    with pytest.raises(ValueError, match=message):
        misuse(model, TARGET[kind])
    assert issubclass(_error(other, misuse, TARGET[kind])[0], theirs)


@pytest.mark.parametrize("kind", OURS)
def test_unknown_parameters_are_named(kind: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'layers'"):
        OURS[kind](layers=3)
    with pytest.raises(ValueError, match=r"Invalid parameter 'layers' .* Valid parameters are"):
        OURS[kind]().set_params(layers=3)


def test_partial_fit_of_a_regressor_by_lbfgs_is_refused() -> None:
    model = MLPRegressor(solver="lbfgs")
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match="no attribute 'partial_fit'") as caught:
        model.partial_fit(X, Y)
    assert "only available for stochastic optimizers" in str(caught.value.__cause__)


OWN_PARAMETERS: list[tuple[str, list[Any]]] = [
    ("activation", [["relu"], ["relu", 3], [], ["relu", "no_such_one"], 3]),
    ("device", [None, "", "cuda:-1", "GPU"]),
    ("dtype", ["half", np.float32, None]),
    ("row_order", ["sorted", None]),
    ("threads", [0, 1.5, "all"]),
    ("precision", ["fp16", 32, None]),
    ("record", ["no", None, 1]),
    ("weight_decay", [-1, np.nan, np.inf, "0.1"]),
    ("fit_intercept", ["yes", None]),
    ("dropout", [1.0, -0.1, [0.1], [0.1, 2], ["a", "b"], None, np.nan, [np.nan] * 2, "high"]),
    ("input_dropout", [1.0, [0.1], np.nan]),
    ("warmup_epochs", [-1, np.nan, np.inf, "1"]),
    ("clip_norm", [0, -1, np.nan, np.inf, "1"]),
    ("label_smoothing", [1.0, -0.1, np.nan, None]),
    ("class_weight", ["equal", 2.0, {0: -1}, {0: np.nan}, {0: np.inf}, {0: "x"}, [1, 2, 3]]),
    ("loss", ["mse", None, 3]),
    ("quantile", [0, 1, np.nan, "0.5"]),
    ("huber_delta", [0, -1, np.nan, np.inf]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OWN_PARAMETERS for value in values]
)
def test_bad_values_of_our_own_parameters_are_named(name: str, value: Any) -> None:
    kind = "regressor" if name in ("loss", "quantile", "huber_delta") else "classifier"
    model = OURS[kind](**{**BASE, name: value})
    with pytest.raises(ValueError, match=name) as caught:
        model.fit(X, TARGET[kind])
    message = str(caught.value)
    assert f"{value!r}" in message
    assert re.search(r" must (be|have) |needs one dict per|is only for a multi-label y", message)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("labels", [[False, True], [0, 1], ["no", "yes"], [2.0, 7.0]], ids=str)
def test_a_class_too_small_for_a_stratified_split_is_told_as_theirs_is(labels: list[Any]) -> None:
    y = np.array(labels)[(np.arange(N) == 3).astype(int)]
    messages = []
    for model in pair("classifier", early_stopping=True):
        with pytest.raises(ValueError, match=r"class.* too few") as caught:
            model.fit(X, y)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
