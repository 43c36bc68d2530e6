"""Early stopping by a score of one's choice."""

from __future__ import annotations

import pickle
import re
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from sklearn.metrics import (
    accuracy_score,
    get_scorer,
    get_scorer_names,
    make_scorer,
    mean_absolute_error,
)
from sklearn.utils._param_validation import InvalidParameterError

from gpubp import MLPClassifier, MLPRegressor, load, save
from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.estimators.scoring import Scorer
from gpubp.training import inference
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted
from tests.estimators.cases import BASE, PROBLEMS, X, fit, watched

HELD = slice(0, 30)
WEIGHTS = np.random.RandomState(4).uniform(0, 2, 30)
KINDS = {"classifier": MLPClassifier, "regressor": MLPRegressor}
OPTIONS = BASE | {"early_stopping": True, "max_iter": 8, "learning_rate_init": 0.02}


def fitted(problem: str, weights: Any = None, form: Any = np.asarray, **options: Any) -> Any:
    """A model whose validation rows are the first thirty."""
    kind, y = PROBLEMS[problem]
    own = {"X_val": form(X[HELD]), "y_val": y[HELD], "sample_weight_val": weights}
    return fit(KINDS[kind](**OPTIONS | options), X[30:], y[30:], **own)


def fitted_of(model: Any) -> Fitted:
    """What training has left of a model."""
    sizes = len(model.coefs_[0]), *(len(b) for b in model.intercepts_)
    network = Network(sizes, (model.activation,) * (len(sizes) - 2))
    theta = network.pack(model.coefs_, model.intercepts_, model.coefs_[0].dtype)
    return Fitted(
        network, theta, model._optimizer_state, model._history, "cpu", "numpy", "float64", {}
    )


@pytest.mark.parametrize(
    ("problem", "scoring"),
    [
        ("multi-class", "neg_log_loss"),
        ("multi-class", "f1_macro"),
        ("text labels", "balanced_accuracy"),
        ("binary", "roc_auc"),
        ("multi-label", "average_precision"),
        ("regression", "neg_mean_absolute_error"),
        ("regression", make_scorer(mean_absolute_error, greater_is_better=False)),
    ],
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
def test_scores_are_those_of_scikit_learn(problem: str, scoring: Any, weights: Any) -> None:
    model, y = fitted(problem, weights, scoring=scoring, device="cpu"), PROBLEMS[problem][1]
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    wanted = scorer(model, X[HELD], y[HELD], sample_weight=weights)
    assert_allclose(model.best_validation_score_, wanted, rtol=1e-12)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert len(set(model.validation_scores_)) > 1
    assert model.get_params()["scoring"] is scoring


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csc_matrix])
@pytest.mark.parametrize("bias", [True, False])
def test_an_epoch_s_estimator_is_the_one_that_training_ends_with(
    backend: Backend, form: Any, bias: bool
) -> None:
    seen, problem = [], "multi-class"

    def scorer(estimator: Any, rows: Any, y: Any) -> float:
        P = estimator.predict_proba(rows[:5])  # other rows than those known
        assert_allclose(P, estimator.predict_proba(rows)[:5], rtol=1e-9, atol=1e-12)
        estimator.predict_log_proba(rows)  # which may change what it is given
        assert_allclose(P, estimator.predict_proba(rows)[:5], rtol=1e-9, atol=1e-12)
        seen.append(estimator)
        return float(estimator.score(rows, y))

    options = {"device": backend.name, "dtype": "float64", "fit_intercept": bias, "max_iter": 3}
    model = fitted(problem, form=form, scoring=scorer, **options)
    plain = fitted(problem, form=form, **options)
    assert model.validation_scores_ == plain.validation_scores_
    assert len(seen) == model.n_iter_
    best = seen[model.best_epoch_ - 1]
    assert all(each is not model for each in seen)
    for got, wanted in zip(best.coefs_ + best.intercepts_, model.coefs_ + model.intercepts_,
                           strict=True):  # fmt: skip
        assert_array_equal(got, wanted, strict=True)
    assert_array_equal(best.predict_proba(X), model.predict_proba(X))


def test_rows_on_a_device_come_to_the_scorer_on_the_host(cupy: Any) -> None:
    options = {"scoring": "roc_auc", "device": "cuda", "dtype": "float64"}
    model = fitted("binary", form=cupy.asarray, **options)
    assert_allclose(model.validation_scores_, fitted("binary", **options).validation_scores_)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_scorer_may_train_its_estimator(call: str) -> None:
    """What it is handed is its own: the training it scores goes on as without."""

    def scorer(estimator: Any, rows: Any, y: Any) -> float:
        score = float(estimator.score(rows, y))
        if call == "fit":
            estimator.set_params(early_stopping=False, max_iter=2)
            fit(estimator, X, LABELS)
        else:
            estimator.set_params(early_stopping=False).partial_fit(X, LABELS)
        assert_array_equal(estimator.predict_proba(rows), estimator.predict_proba(rows.copy()))
        return score

    LABELS = PROBLEMS["multi-class"][1]
    options = {"warm_start": True, "keep_optimizer_state": True, "solver": "sgd", "device": "cpu"}
    models = [fitted("multi-class", **options, scoring=each) for each in (scorer, None)]
    for name in ("coefs_", "validation_scores_", "loss_curve_", "t_", "n_iter_"):
        assert_equal(*(getattr(model, name) for model in models), err_msg=name)
    assert_equal(*(vars(model._optimizer_state) for model in models))


def test_an_estimator_that_a_scorer_keeps_stays_at_its_epoch() -> None:
    kept = []

    def scorer(estimator: Any, rows: Any, y: Any) -> float:
        kept.append(estimator)
        return 0.0

    fitted("regression", scoring=scorer, device="cpu", max_iter=3)
    assert [len(each._history.losses) for each in kept] == [1, 2, 3]
    assert [each._optimizer_state.updates for each in kept] == [2, 4, 6]


@pytest.mark.parametrize(
    "copied", [deepcopy, copy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_a_scorer_may_keep_a_copy_of_its_estimator(copied: Any) -> None:
    kept = []

    def scorer(estimator: Any, rows: Any, y: Any) -> float:
        kept.append((copied(estimator), estimator.predict(rows)))
        return len(kept)

    model = fitted("regression", scoring="r2", device="cpu")
    # A function in a test cannot be pickled.
    validate = Scorer("r2", model, TrainingData(X, model.predict(X), X[:, :1], None))
    validate.begin(lambda: fitted_of(model))
    validate._scorer = scorer
    validate(np.full((len(X), 1), 9.0), 0.0)
    ((view, predicted),) = kept
    assert_array_equal(predicted, 9.0)  # those known
    assert_array_equal(view.predict(X), model.predict(X))


def test_minus_the_validation_loss_is_a_score() -> None:
    model = fitted("multi-class", scoring="loss", device="cpu")
    assert model.validation_scores_ == [-loss for loss in model.validation_loss_curve_]
    assert model.best_epoch_ == np.argmin(model.validation_loss_curve_) + 1


@pytest.mark.parametrize("scoring", [None, "loss", "neg_log_loss"])
def test_a_score_takes_one_forward_pass(scoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def counted(*arguments: Any) -> Any:
        passes.append(arguments)
        return in_chunks(*arguments)

    in_chunks = inference._in_chunks
    monkeypatch.setattr(inference, "_in_chunks", counted)
    model = fitted("multi-class", scoring=scoring, device="cpu")
    assert len(passes) == model.n_iter_


def test_another_score_in_a_warm_start_starts_over() -> None:
    kind, y = PROBLEMS["multi-class"]
    model = fit(KINDS[kind](**OPTIONS, warm_start=True, device="cpu"), X, y)
    fit(model.set_params(scoring="neg_log_loss"), X, y)
    assert len(model.validation_scores_) == model.n_iter_
    assert model.best_validation_score_ < 0
    assert len(model.validation_loss_curve_) == len(model.loss_curve_) > model.n_iter_
    scores = list(model.validation_scores_)
    assert fit(model, X, y).validation_scores_[: len(scores)] == scores


def test_without_early_stopping_it_is_not_used() -> None:
    kind, y = PROBLEMS["multi-class"]
    models = [
        fit(KINDS[kind](**BASE, scoring=scoring, device="cpu"), X, y)
        for scoring in (None, lambda *_: 1 / 0)
    ]
    assert_array_equal(models[0].coefs_[0], models[1].coefs_[0])
    assert models[1].validation_scores_ is None


def test_bad_ones_are_refused() -> None:
    with pytest.raises(
        InvalidParameterError, match=r"str among .*'roc_auc'.*a callable or None. Got 'auc'"
    ):
        fitted("binary", scoring="auc")
    with pytest.raises(InvalidParameterError, match="Got 3 instead"):
        fitted("binary", scoring=3)
    for returned in ("high", None, np.ones(2), 1j):
        with pytest.raises(ValueError, match="scoring must return a number, got "):
            fitted("binary", scoring=lambda *_, returned=returned: returned)


def test_names_are_told_in_order_and_the_nearest_is_offered() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        fitted("binary", scoring="acc")
    names = re.findall(r"'(\w+)'", str(caught.value).partition("{")[2].partition("}")[0])
    assert names == sorted([*get_scorer_names(), "loss"])
    assert str(caught.value).endswith("Got 'acc' instead. Did you mean 'accuracy'?")
    for given, meant in (
        ("auc", "roc_auc"),
        ("Accuracy", "accuracy"),
        ("log_loss", "neg_log_loss"),
    ):
        with pytest.raises(InvalidParameterError, match=rf"Did you mean '{meant}'\?$"):
            fitted("binary", scoring=given)
    with pytest.raises(InvalidParameterError, match=r"instead\.$"):
        fitted("binary", scoring="mae")


@pytest.mark.parametrize(
    ("scoring", "weights"),
    [
        (accuracy_score, None),
        (accuracy_score, WEIGHTS),
        (lambda y, predicted: 0.0, None),
        (lambda estimator, X, y, *, level: 0.0, None),
    ],
)
def test_a_metric_is_no_scorer(scoring: Any, weights: Any) -> None:
    wanted = r"called as scorer\(estimator, X, y\), got <function .* sklearn.metrics.make_scorer"
    with pytest.raises(ValueError, match=wanted):
        fitted("binary", weights, scoring=scoring)


@pytest.mark.parametrize("score", [np.nan, -np.inf])
def test_no_score_at_all_is_told_once(score: float) -> None:
    def scorer(*_: Any) -> float:
        return score

    kind, y = PROBLEMS["binary"]
    model = KINDS[kind](**OPTIONS | {"scoring": scorer, "device": "cpu"})
    told = watched(lambda: model.fit(X, y))
    assert [str(m) for c, m in told if c is UserWarning and "returned no finite score in any" in m]
    seen = iter([score, 0.5])
    model.set_params(scoring=lambda *_: next(seen, score))
    assert not [m for _, m in watched(lambda: model.fit(X, y)) if "finite score" in m]


@pytest.mark.parametrize("returned", [1, np.float32(0.5), np.array(0.25), True])
def test_any_number_is_a_score(returned: Any) -> None:
    model = fitted("binary", scoring=lambda *_: returned, device="cpu")
    assert set(model.validation_scores_) == {float(returned)}


def test_weights_go_to_whoever_takes_them() -> None:
    given = []

    def scorer(estimator: Any, rows: Any, y: Any, sample_weight: Any = "none") -> float:
        given.append(sample_weight)
        return 0.0

    fitted("binary", WEIGHTS, scoring=scorer, device="cpu")
    fitted("binary", scoring=scorer, device="cpu")
    assert_array_equal(given[0], WEIGHTS)
    assert given[-1] == "none"
    # Of scikit-learn's, this one takes none.
    fitted("regression", WEIGHTS, scoring="neg_max_error", device="cpu")


def test_a_scorer_sees_finite_outputs_and_rows_without_names() -> None:
    model, y = fitted("regression", device="cpu"), PROBLEMS["regression"][1]
    model.feature_names_in_ = np.array(list("abcd"), dtype=object)
    scorer, outputs = Scorer("r2", model, TrainingData(X, y, y[:, None], None)), y[:, None].copy()
    scorer.begin(lambda: fitted_of(model))
    assert scorer(outputs, 0.0) == 1
    outputs[3] = np.inf
    assert np.isnan(scorer(outputs, 0.0))


def test_saved_models_keep_names_and_drop_functions(tmp_path: Path) -> None:
    for scoring, kept in (("roc_auc", "roc_auc"), ("loss", "loss"), (lambda *_: 0.0, None)):
        model = fitted("binary", scoring=scoring, device="cpu")
        save(model, tmp_path / "model")
        loaded = load(tmp_path / "model")
        assert loaded.scoring == kept
        assert loaded.validation_scores_ == model.validation_scores_
