"""Class weights are sample weights by class; label smoothing moves targets towards uniform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import recall_score
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.class_weight import compute_sample_weight

from gpubp import MLPClassifier, ModelFileError, load, save
from gpubp.backends.protocol import Backend
from gpubp.estimators.class_weights import weighed, weights_by_class
from gpubp.storage.model_file import read_model, write_model
from tests.estimators.cases import BASE, PROBLEMS, WEIGHTS, X, fit

MULTI_LABEL = [{0: 1, 1: 3.0}, {0: 0.5, 1: 2}, {1: 7}]
CASES: dict[str, tuple[str, Any]] = {
    "dict": ("multi-class", {0: 1, 1: 0.25, 2: 4}),
    "some classes": ("multi-class", {2: 4.0}),
    "weight 0": ("multi-class", {0: 0, 1: 1, 2: 1}),
    "balanced": ("binary", "balanced"),
    "binary": ("binary", {0: 1, 1: 3}),
    "text": ("text labels", {"yes": 2, "no": 0.5, "Zürich": 1}),
    "truth": ("truth labels", {True: 2, False: 1}),
    "multi-label": ("multi-label", MULTI_LABEL),
    "balanced multi-label": ("multi-label", "balanced"),
}


def weights_of(model: MLPClassifier) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier(**{**BASE, **options})


def by_hand(class_weight: Any, y: np.ndarray) -> np.ndarray:
    """The sample weights that class weights stand for: (n,), or (n, k) for multi-label."""
    if y.ndim == 1:
        return np.asarray(compute_sample_weight(class_weight, y))
    each = [class_weight] * y.shape[1] if isinstance(class_weight, str) else class_weight
    return np.stack([compute_sample_weight(w, c) for w, c in zip(each, y.T, strict=True)], 1)


@pytest.mark.parametrize("given", [None, WEIGHTS], ids=["alone", "times sample_weight"])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_they_are_the_same_sample_weights(
    case: str, given: np.ndarray | None, early_stopping: bool
) -> None:
    problem, class_weight = CASES[case]
    y = PROBLEMS[problem][1]
    weights = (by_hand(class_weight, y).T * (1 if given is None else given)).T
    wanted = fit(classifier(early_stopping=early_stopping), X, y, sample_weight=weights)
    got = classifier(early_stopping=early_stopping, class_weight=class_weight)
    fit(got, X, y, sample_weight=given)
    assert_array_equal(weights_of(got), weights_of(wanted))
    assert got.loss_curve_ == wanted.loss_curve_
    plain = fit(classifier(early_stopping=early_stopping), X, y, sample_weight=given)
    assert not np.array_equal(weights_of(got), weights_of(plain))


def test_every_device_weighs_classes(backend: Backend) -> None:
    y, options = PROBLEMS["binary"][1], {"dtype": "float64", "device": backend.name}
    wanted = fit(classifier(**options), X, y, sample_weight=by_hand("balanced", y))
    got = fit(classifier(**options, class_weight="balanced"), X, y)
    assert_array_equal(weights_of(got), weights_of(wanted))


def test_a_rare_class_is_found_more_often() -> None:
    rng = np.random.RandomState(0)
    rare = rng.uniform(size=600) < 0.05
    rows = rng.normal(size=(600, 2)) + 1.5 * rare[:, None]
    recalls = [
        recall_score(rare, fit(classifier(class_weight=weight), rows, rare).predict(rows))
        for weight in (None, "balanced")
    ]
    assert recalls[1] > 0.7 > 0.5 > recalls[0]


def test_a_class_that_a_part_of_the_data_lacks_keeps_its_weight() -> None:
    y = PROBLEMS["multi-class"][1]
    part = y > 0
    weight = {0: 9, 2: 3}  # and 1 for class 1: of 1 and 2, which are here, 0 is not
    got, wanted = classifier(class_weight=weight), classifier()
    weights = np.array([9.0, 1, 3])[y]
    got.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[part], y[part])
    wanted.partial_fit(X, y, weights, classes=[0, 1, 2]).partial_fit(
        X[part], y[part], weights[part]
    )
    assert_array_equal(weights_of(got), weights_of(wanted))


def test_without_weights_there_are_none() -> None:
    y = PROBLEMS["multi-class"][1]
    assert weights_by_class(None, np.arange(3), y) is None
    assert weighed(None, np.arange(3), y, None) is None
    assert weighed(None, np.arange(3), y, WEIGHTS) is WEIGHTS


@pytest.mark.parametrize("fitted", [False, True])
def test_balanced_needs_all_of_the_data(fitted: bool) -> None:
    model, y = classifier(class_weight="balanced"), PROBLEMS["binary"][1]
    if fitted:
        fit(model, X, y)
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        model.partial_fit(X, y, classes=[0, 1])


@pytest.mark.parametrize(
    ("parameters", "problem", "error", "message"),
    [
        ({"class_weight": "even"}, "binary", InvalidParameterError,
         "'class_weight' parameter of MLPClassifier must be an instance of 'dict', .* Got 'even'"),
        ({"class_weight": 3}, "binary", InvalidParameterError, "'class_weight' .* Got 3"),
        ({"class_weight": {5: 2}}, "binary", ValueError, r"keys \[5\], .* no weight for \[0, 1\]"),
        ({"class_weight": {"0": 1, "1": 5}}, "binary", ValueError, r"keys \['0', '1'\], .* labels"),
        ({"class_weight": {0: 0, 1: 0}}, "binary", ValueError, "leaves no row to train on"),
        ({"class_weight": {1: 0}, "label_smoothing": 0.5}, "multi-label", ValueError, "list of"),
        ({"class_weight": [{0: 0, 1: 0}] * 3}, "multi-label", ValueError, "leaves no row"),
        ({"class_weight": [{2: 1}] * 3}, "multi-label", ValueError, r"keys \[2\], .* labels"),
        ({"class_weight": {0: 1}}, "multi-label", ValueError, "list of dicts, .* or 'balanced'"),
        ({"class_weight": [{0: 1, 1: 2}]}, "binary", ValueError, "one label per row"),
        ({"class_weight": MULTI_LABEL[:2]}, "multi-label", ValueError, r"y has shape \(90, 3\)"),
        ({"class_weight": [1, 2, 3]}, "multi-label", ValueError, "a list of dicts"),
        ({"label_smoothing": 1}, "binary", InvalidParameterError, r"\[0.0, 1.0\). Got 1 instead"),
        ({"label_smoothing": -0.1}, "binary", InvalidParameterError, "Got -0.1"),
        ({"label_smoothing": "some"}, "binary", InvalidParameterError, "Got 'some'"),
    ],
)  # fmt: skip
def test_bad_values_are_named(
    parameters: dict[str, Any], problem: str, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        classifier(**parameters).fit(X, PROBLEMS[problem][1])


@pytest.mark.parametrize("weight", [weight for _, weight in CASES.values()], ids=CASES)
def test_models_keep_them(weight: Any, tmp_path: Path) -> None:
    y = PROBLEMS["multi-label" if isinstance(weight, list) else "binary"][1]
    model = fit(classifier(label_smoothing=0.25), X, y).set_params(class_weight=weight)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_models_keep_numpy_keys(tmp_path: Path) -> None:
    model = fit(classifier(class_weight={np.int64(0): np.float64(2)}), X, PROBLEMS["binary"][1])
    save(model, tmp_path / "model")
    assert load(tmp_path / "model").class_weight == {0: 2.0}


# ---- label smoothing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "expected"), [("binary", 0.9), ("multi-class", 0.8 + 0.2 / 3), ("multi-label", 0.9)]
)
def test_memorised_labels_end_at_the_smoothed_probability(problem: str, expected: float) -> None:
    rows, y = X[:12] * 3, PROBLEMS[problem][1][:12]
    options = {"alpha": 0, "max_iter": 500, "tol": 0, "batch_size": "auto", "activation": "tanh"}
    options |= {"hidden_layer_sizes": (50,), "learning_rate_init": 0.02}
    P = fit(classifier(label_smoothing=0.2, **options), rows, y).predict_proba(rows)
    target = P[y == 1] if problem == "multi-label" else P[np.arange(12), y]
    assert_allclose(target, expected, atol=0.01)


@pytest.mark.parametrize("problem", ["binary", "multi-class", "multi-label"])
def test_smoothed_gradients_on_every_device(backend: Backend, problem: str) -> None:
    """The first step of plain SGD from known weights, by hand: delta = p - target, W -= rate A d"""
    y, options = PROBLEMS[problem][1], {"hidden_layer_sizes": (), "alpha": 0, "max_iter": 1}
    options |= {"solver": "sgd", "momentum": 0, "batch_size": 90, "learning_rate_init": 0.5}
    model = classifier(**options, label_smoothing=0.3, device=backend.name, dtype="float64")
    one_hot = np.eye(3)[y] if problem == "multi-class" else y.reshape(90, -1)
    targets = 0.7 * one_hot + 0.3 / (3 if problem == "multi-class" else 2)
    fit(model, X, y)
    start = classifier(**{**options, "learning_rate_init": 1e-300})
    fit(start, X, y)
    P = start.predict_proba(X)[:, 1:] if problem == "binary" else start.predict_proba(X)
    wanted = start.coefs_[0] - 0.5 * X.T @ (P - targets) / 90
    assert_allclose(model.coefs_[0], wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("problem", ["binary", "multi-class", "multi-label"])
def test_no_smoothing_changes_nothing(problem: str) -> None:
    y = PROBLEMS[problem][1]
    models = [fit(classifier(**options), X, y) for options in ({}, {"label_smoothing": 0.0})]
    assert_array_equal(weights_of(models[0]), weights_of(models[1]))
    assert models[0]._loss().name == models[1]._loss().name != "soft_cross_entropy"


@pytest.mark.parametrize(
    "bad", [{}, {"pairs": [[1]]}, {"pairs": [[[1], 2]]}, {"pairs": 3}], ids=str
)
def test_a_file_with_other_pairs_is_refused(bad: Any, tmp_path: Path) -> None:
    save(fit(classifier(class_weight={0: 2}), X, PROBLEMS["binary"][1]), tmp_path / "model")
    record = read_model(tmp_path / "model")
    assert record.header["estimator"]["parameters"]["class_weight"] == {"pairs": [[0, 2]]}
    record.header["estimator"]["parameters"]["class_weight"] = bad
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match=r"restore (the file|it)"):
        load(tmp_path / "model")
