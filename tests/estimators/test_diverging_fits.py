"""A training that diverges: what it keeps, and what it says."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score

from gpubp import MLPClassifier, MLPRegressor
from tests.estimators.cases import BASE, CLASSES, OURS, WEIGHTS, X, fit

Y = X @ [1.0, 2.0, 3.0, 4.0]
# A linear network whose rate is too high: finite for some epochs, each worse than the one before.
DIVERGING: dict[str, Any] = BASE | {
    "activation": "identity",
    "batch_size": "auto",
    "device": "cpu",
    "early_stopping": True,
    "hidden_layer_sizes": (50,),
    "learning_rate_init": 1.0,
    "max_iter": 50,
    "random_state": 0,
    "solver": "sgd",
}
WORDS = (
    r"diverged: .* of epoch \d+ .* The weights of epoch \d+, which has the best validation score"
)


@pytest.mark.parametrize(
    "options",
    [{}, {"scoring": "loss"}, {"scoring": "neg_mean_absolute_error"}, {"momentum": 0.5},
     {"dropout": 0.1}, {"target_scaling": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("own", [False, True], ids=["held out", "X_val"])
def test_the_best_epoch_before_it_is_kept(options: dict[str, Any], own: bool) -> None:
    given = {"X_val": X[:20], "y_val": Y[:20]} if own else {}
    model = MLPRegressor(**DIVERGING | options)
    with pytest.warns(ConvergenceWarning, match=WORDS):
        model.fit(X, Y, sample_weight=WEIGHTS, **given)
    assert model.stopped_by_ == "non_finite"
    assert 1 <= model.best_epoch_ <= model.n_iter_ < 50
    best = fit(MLPRegressor(**DIVERGING | options | {"max_iter": model.best_epoch_}),
               X, Y, sample_weight=WEIGHTS, **given)  # fmt: skip
    for got, wanted in zip(model.coefs_, best.coefs_, strict=True):
        assert_array_equal(got, wanted)


def test_a_classifier_keeps_it_too() -> None:
    model = MLPClassifier(**DIVERGING | {"alpha": 1e60})
    with pytest.warns(ConvergenceWarning, match=WORDS):
        model.fit(X, CLASSES)
    assert model.stopped_by_ == "non_finite"
    assert np.isfinite(model.predict_proba(X)).all()


def test_so_cross_validation_has_a_score_for_each_fold() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_score(MLPRegressor(**DIVERGING), X, Y, error_score="raise")
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize(
    "options", [{"early_stopping": False}, {"learning_rate_init": 1e300}], ids=str
)
def test_without_such_an_epoch_it_raises(kind: str, options: dict[str, Any]) -> None:
    model = OURS[kind](**DIVERGING | {"alpha": 1e60} | options)
    with pytest.raises(ValueError, match=r"^Solver produced non-finite parameter weights"):
        model.fit(X, CLASSES)


# ---- what is too large ---------------------------------------------------------------------------

NARROW = X.astype(np.float32)
OPTIONS = BASE | {"device": "cpu", "learning_rate_init": 1e-3}


@pytest.mark.parametrize(
    ("loss", "size"), [("squared_error", 1e20), ("absolute_error", 1e40), ("huber", 1e40)]
)
def test_a_loss_beyond_float32_is_named(loss: str, size: float) -> None:
    model = MLPRegressor(loss, **OPTIONS)
    words = f"^The loss '{loss}' is beyond .* float32.*; set target_scaling=True, or .*'float64'$"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words):
            model.fit(NARROW, Y * size)
    for remedy in ({"target_scaling": True}, {"dtype": "float64"}):
        fit(MLPRegressor(loss, **OPTIONS | remedy), NARROW, Y * size)


def test_large_targets_are_named_where_they_spoil_the_weights() -> None:
    model = MLPRegressor(**OPTIONS | {"solver": "sgd"})
    with pytest.raises(
        ValueError, match=r"weights.*y may be too large as well: set target_scaling=True.$"
    ):
        model.fit(NARROW, Y * 1e17)
    with pytest.raises(ValueError, match=r"y may be too large as well: scale y.$"):
        model.set_params(loss="poisson").fit(NARROW, np.abs(Y) * 1e17)
    with pytest.raises(ValueError, match=r"need to be preprocessed.$"):
        MLPClassifier(**DIVERGING | {"early_stopping": False, "alpha": 1e60}).fit(X, CLASSES)


def test_a_mean_over_outputs_fits_where_their_sum_does_not() -> None:
    y = np.repeat(1e19 * np.ones(20)[:, None], 40, axis=1)
    model = MLPRegressor(**OPTIONS | {"max_iter": 1, "batch_size": 20})
    fit(model, np.ones((20, 2), np.float32), y)
    assert model.loss_ == pytest.approx(0.5e38, rel=1e-3)
