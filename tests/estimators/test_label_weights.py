"""Weights by label, and what weights mean for the rows that training validates on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

from gpubp import MLPClassifier, MLPRegressor, load, save
from gpubp.backends.protocol import Backend
from tests.estimators.cases import BASE, CLASSES, PROBLEMS, WEIGHTS, N, X, fit

YES_NO = PROBLEMS["multi-label"][1]
BY_LABEL = np.random.RandomState(2).uniform(0, 3, YES_NO.shape)


def classifier(**options: Any) -> MLPClassifier:
    return MLPClassifier(**{**BASE, **options})


def pandas_frame(values: np.ndarray) -> Any:
    return pytest.importorskip("pandas").DataFrame(values)


def coefs(model: MLPClassifier) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


# ---- labels as keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (["0", "1", "2"], None),
        (["no", "yes", "Zürich"], object),
        ([0, 1, 2], "i2"),
        ([1.0, 2.0, 5.0], None),
        ([False, True], None),
    ],
    ids=str,
)
def test_keys_are_the_labels(labels: list[Any], dtype: Any) -> None:
    index = np.minimum(CLASSES, len(labels) - 1)
    y = np.array(labels, dtype)[index]
    weights = [5.0, 1.0, 0.25][: len(labels)]
    got = fit(classifier(class_weight=dict(zip(labels, weights, strict=True))), X, y)
    wanted = fit(classifier(), X, y, sample_weight=np.array(weights)[index])
    assert_array_equal(coefs(got), coefs(wanted))


def test_a_fold_may_lack_a_class() -> None:
    y = np.minimum(CLASSES, 1)
    weighed = fit(classifier(class_weight={0: 1, 1: 2, 2: 9}), X, y)
    assert_array_equal(coefs(weighed), coefs(fit(classifier(class_weight={1: 2}), X, y)))


# ---- nothing to train on -------------------------------------------------------------------------


def test_weights_that_leave_nothing_are_refused() -> None:
    y = PROBLEMS["binary"][1]
    with pytest.raises(ValueError, match="times sample_weight, gives all rows the weight 0"):
        classifier(class_weight={0: 0}).fit(X, y, sample_weight=(y == 0).astype(float))
    with pytest.raises(ValueError, match="leaves no row to train on"):
        classifier(class_weight={0: 0, 1: 0}).partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="at least one non-zero number"):
        classifier().fit(X, YES_NO, sample_weight=np.zeros(YES_NO.shape))
    with pytest.raises(ValueError, match="class_weight, times sample_weight, adds up to inf"):
        classifier(class_weight={0: 1e308, 1: 1e308}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight, times sample_weight, adds up to inf"):
        classifier(class_weight=[{1: 1e300}] * 3).fit(X, YES_NO, sample_weight=WEIGHTS * 1e10)
    # A part of the data may have classes of weight 0 alone.
    part = classifier(class_weight={0: 0}, batch_size=10)
    part.partial_fit(X[y == 0], y[y == 0], classes=[0, 1])


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_rows_left_to_train_on_need_a_weight(kind: type) -> None:
    told = set()
    for place in range(N):
        weights = (np.arange(N) == place).astype(float)
        with pytest.raises(ValueError, match=r"rows to (train|validate) on have") as caught:
            kind(**BASE, early_stopping=True).fit(X, CLASSES, sample_weight=weights)
        told.add(str(caught.value).split(" have ")[0])
    assert told == {"all 81 rows to train on", "all 9 rows to validate on"}


def test_rows_given_to_validate_on_need_one_too() -> None:
    model = classifier(early_stopping=True, class_weight={0: 0})
    absent = CLASSES == 0
    with pytest.raises(ValueError, match=r"rows to validate on have weight 0, from .*class_wei"):
        model.fit(X, CLASSES, X_val=X[absent], y_val=CLASSES[absent])


# ---- multi-label ---------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("batch_size", [32, 90])
def test_equal_weights_of_labels_are_those_of_rows(
    backend: Backend, solver: str, batch_size: int
) -> None:
    options = {"solver": solver, "batch_size": batch_size, "device": backend.name, "alpha": 0.1}
    options |= {"dtype": "float64", "activation": "tanh"}
    wanted = fit(classifier(**options), X, YES_NO, sample_weight=WEIGHTS)
    same = np.repeat(WEIGHTS[:, None], 3, axis=1)
    got = fit(classifier(**options), X, YES_NO, sample_weight=same)
    assert_allclose(coefs(got), coefs(wanted), rtol=1e-6, atol=1e-9)
    assert_allclose(got.loss_, wanted.loss_, rtol=1e-9)


def test_each_label_is_weighed_in_its_own_term(backend: Backend) -> None:
    """The first step of plain SGD by hand: W -= rate X^T (w (p - y)) / sum of the row weights."""
    options: dict[str, Any] = {"hidden_layer_sizes": (), "alpha": 0, "max_iter": 1, "momentum": 0}
    options |= {"solver": "sgd", "batch_size": 90, "dtype": "float64", "device": backend.name}
    start = fit(classifier(**options | {"learning_rate_init": 1e-300}), X, YES_NO)
    P = start.predict_proba(X)
    model = fit(classifier(**options), X, YES_NO, sample_weight=BY_LABEL)
    total = BY_LABEL.mean(axis=1).sum()
    wanted = start.coefs_[0] - 0.05 * X.T @ (BY_LABEL * (P - YES_NO)) / total
    assert_allclose(model.coefs_[0], wanted, rtol=1e-10, atol=1e-12)
    terms = -np.log(np.where(YES_NO == 1, P, 1 - P))
    assert_allclose(model.loss_, (BY_LABEL * terms).sum() / total, rtol=1e-10)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_a_device_weighs_labels_as_the_host_does(host_cupy: Any, form: Any) -> None:
    """Rows that lie there, and sparse ones, which are streamed."""
    options: dict[str, Any] = {"dtype": "float64", "early_stopping": True, "activation": "tanh"}
    models = [
        fit(classifier(device=device, **options), form(X), YES_NO, sample_weight=BY_LABEL)
        for device in ("cuda", "cpu")
    ]
    assert models[0].device_.startswith("cuda")
    assert_allclose(coefs(models[0]), coefs(models[1]), rtol=1e-9, atol=1e-12)
    assert_allclose(models[0].validation_loss_curve_, models[1].validation_loss_curve_, rtol=1e-9)


def test_a_label_of_weight_0_leaves_the_others_alone() -> None:
    options: dict[str, Any] = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 0}
    weights = np.ones(YES_NO.shape)
    weights[:, 1] = 0
    pair = [0, 2]
    model = fit(classifier(**options), X, YES_NO, sample_weight=weights)
    alone = fit(classifier(**options), X, YES_NO[:, pair])
    assert_allclose(model.predict_proba(X)[:, pair], alone.predict_proba(X), atol=0.05)


def test_thirty_rare_labels_are_balanced_each_by_itself() -> None:
    """Where the weights of a row's labels multiply, they differ by 4.5e8."""
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(1500, 20))
    score = rows @ rng.normal(size=(20, 30))
    Y = (score > np.quantile(score, 0.95, axis=0)).astype(int)
    options: dict[str, Any] = {"hidden_layer_sizes": (50,), "max_iter": 60, "random_state": 0}
    models = [fit(MLPClassifier(**options, class_weight=w), rows, Y) for w in (None, "balanced")]
    plain, balanced = (roc_auc_score(Y, model.predict_proba(rows)) for model in models)
    assert balanced > plain - 0.005
    assert balanced > 0.99
    found = [(model.predict(rows)[Y == 1]).mean() for model in models]
    assert found[1] > found[0]


def test_sparse_labels_are_weighed_as_dense_ones() -> None:
    models = [
        fit(classifier(class_weight="balanced"), X, y, sample_weight=BY_LABEL)
        for y in (YES_NO, scipy.sparse.csr_matrix(YES_NO))
    ]
    assert_array_equal(coefs(models[0]), coefs(models[1]))


def test_smoothed_labels_are_weighed_too() -> None:
    weights = np.ones(YES_NO.shape)
    plain = fit(classifier(label_smoothing=0.2), X, YES_NO)
    weighed = fit(classifier(label_smoothing=0.2), X, YES_NO, sample_weight=weights)
    assert_allclose(coefs(weighed), coefs(plain), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        (
            YES_NO,
            BY_LABEL[:, :2],
            r"shape \(90, 2\), but y has shape \(90, 3\); give one weight per",
        ),
        (YES_NO, np.full(YES_NO.shape, np.nan), "sample_weight contains NaN"),
        (CLASSES, BY_LABEL, "1D array or scalar"),
    ],
)
def test_weights_of_another_shape_are_refused(
    y: np.ndarray, weights: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y, sample_weight=weights)


@pytest.mark.parametrize(
    "form", [np.asarray, np.ndarray.tolist, pandas_frame], ids=["array", "list", "frame"]
)
@pytest.mark.parametrize("given", [None, WEIGHTS, BY_LABEL[::-1]], ids=["alone", "rows", "labels"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_class_weights_by_row_are_sample_weights(
    form: Any, given: np.ndarray | None, early_stopping: bool
) -> None:
    weights = BY_LABEL if given is None else (BY_LABEL.T * given.T).T
    wanted = fit(classifier(early_stopping=early_stopping), X, YES_NO, sample_weight=weights)
    got = clone(classifier(early_stopping=early_stopping, class_weight=form(BY_LABEL)))
    fit(got, X, YES_NO, sample_weight=given)
    assert_array_equal(coefs(got), coefs(wanted))
    assert got.loss_curve_ == wanted.loss_curve_


def test_class_weights_by_row_are_those_of_the_rows_to_train_on(tmp_path: Path) -> None:
    model = classifier(early_stopping=True, scoring="loss", class_weight=BY_LABEL[20:])
    fit(model, X[20:], YES_NO[20:], X_val=X[:20], y_val=YES_NO[:20])
    wanted = classifier(early_stopping=True, scoring="loss")
    fit(wanted, X[20:], YES_NO[20:], BY_LABEL[20:], X_val=X[:20], y_val=YES_NO[:20])
    assert_array_equal(coefs(model), coefs(wanted))
    assert_allclose(model.best_validation_score_, wanted.best_validation_score_)
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.class_weight is None
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    part = classifier(class_weight=BY_LABEL).partial_fit(X, YES_NO, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"y has shape \(20, 3\) and class_weight .*\(90, 3\)"):
        part.partial_fit(X[:20], YES_NO[:20])


@pytest.mark.parametrize(
    ("class_weight", "y", "message"),
    [
        (BY_LABEL[:5], YES_NO, r"y has shape \(90, 3\) and class_weight has shape \(5, 3\)"),
        (BY_LABEL[:, :1], YES_NO, r"class_weight has shape \(90, 1\)"),
        (BY_LABEL[:, 0], YES_NO, r"class_weight has shape \(90,\)"),
        (BY_LABEL, CLASSES, r"only for a multi-label y .* but y has shape \(90,\)"),
        (WEIGHTS, CLASSES, "use sample_weight"),
        ([[1], [1, 2]], YES_NO, "rows of different lengths"),
        ({0, 1}, YES_NO, "no numbers"),
        (-BY_LABEL, YES_NO, "numbers of 0 or more with .* from -2"),
        (np.where(BY_LABEL > 1, np.nan, 1), YES_NO, "from nan to nan"),
        (np.where(BY_LABEL > 1, np.inf, 1), YES_NO, "from 1.0 to inf"),
        (np.full(YES_NO.shape, 1e308), YES_NO, "with a finite sum"),
        (np.zeros(YES_NO.shape), YES_NO, "sum above 0, got numbers from 0.0 to 0.0"),
    ],
    ids=str,
)
def test_class_weights_by_row_that_do_not_fit(class_weight: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=class_weight).fit(X, y)


# ---- validation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, WEIGHTS], ids=["alone", "times sample_weight"])
@pytest.mark.parametrize("scoring", [None, "accuracy", "loss"])
@pytest.mark.parametrize("class_weight", [{0: 9, 2: 0.1}, "balanced"], ids=str)
def test_rows_held_out_and_rows_given_are_weighed_alike(
    class_weight: Any, scoring: Any, given: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, kept = np.split(np.random.RandomState(4).permutation(N), [20])
    options = {"class_weight": class_weight, "scoring": scoring, "early_stopping": True}
    part = (lambda rows: None) if given is None else given.__getitem__
    got = classifier(**options)
    fit(got, X[kept], CLASSES[kept], sample_weight=part(kept), X_val=X[held], y_val=CLASSES[held],
        sample_weight_val=part(held))  # fmt: skip
    by_class = compute_sample_weight(class_weight, CLASSES)
    if class_weight == "balanced":  # among the rows to train on
        by_class = (len(kept) / (3 * np.bincount(CLASSES[kept])))[CLASSES]
    weights = by_class[held] * (1 if given is None else given[held])
    best = fit(classifier(**options | {"early_stopping": False, "max_iter": got.best_epoch_}),
               X[kept], CLASSES[kept], sample_weight=part(kept))  # fmt: skip
    if scoring == "loss":
        P = best.predict_proba(X[held])[np.arange(20), CLASSES[held]]
        wanted = np.average(np.log(P), weights=weights)
    else:
        wanted = accuracy_score(CLASSES[held], best.predict(X[held]), sample_weight=weights)
    assert_allclose(got.best_validation_score_, wanted, rtol=1e-6)
    if class_weight == "balanced":
        return  # of all rows, where some of them are held out
    monkeypatch.setattr(
        "gpubp.estimators.validation_split.train_test_split", lambda *a, **k: (kept, held)
    )
    other = fit(classifier(**options), X, CLASSES, sample_weight=given)
    assert other.validation_scores_ == got.validation_scores_
    assert other.validation_loss_curve_ == got.validation_loss_curve_


def test_labels_to_validate_on_have_weights_too() -> None:
    model = classifier(early_stopping=True, scoring="loss", class_weight="balanced")
    fit(
        model, X[20:], YES_NO[20:], X_val=X[:20], y_val=YES_NO[:20], sample_weight_val=BY_LABEL[:20]
    )
    plain = classifier(max_iter=model.best_epoch_, class_weight="balanced")
    P = fit(plain, X[20:], YES_NO[20:]).predict_proba(X[:20])
    own = np.stack(
        [
            (35 / np.bincount(c, minlength=2))[v]
            for c, v in zip(YES_NO[20:].T, YES_NO[:20].T, strict=True)
        ],
        1,
    )
    weights = own * BY_LABEL[:20]
    terms = weights * np.log(np.where(YES_NO[:20] == 1, P, 1 - P))
    wanted = terms.sum() / weights.mean(axis=1).sum()
    assert_allclose(model.best_validation_score_, wanted, rtol=1e-6)
