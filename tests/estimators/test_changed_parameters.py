"""Parameters that are changed after fit: predictions stay those of the fit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from gpubp import MLPRegressor, ModelFileError, load, save
from gpubp.estimators.fitted_network import loss_of, network_of
from gpubp.storage.model_file import read_model, write_model
from tests.estimators.cases import BASE, OURS, PROBLEMS, X, fit

LEVELS = (0.9, 0.1, 0.5)
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("regression", {"loss": "poisson"}, {"loss": "squared_error"}),
    ("regression", {}, {"loss": "poisson"}),
    ("regression", {"loss": "quantile", "quantile": LEVELS}, {"quantile": (0.1, 0.5, 0.9)}),
    ("regression", {"loss": "quantile", "quantile": LEVELS}, {"quantile": 0.5}),
    ("regression", {"loss": "quantile"}, {"quantile": LEVELS}),
    ("regression", {"loss": "quantile", "quantile": LEVELS}, {"loss": "huber", "quantile": 0.5}),
    ("regression", {"loss": "huber", "target_scaling": True}, {"huber_delta": 9.0}),
    ("regression", {"target_scaling": True}, {"target_scaling": False}),
    ("regression", {"activation": "tanh"}, {"activation": "relu"}),
    ("regression", {"activation": ("tanh", "relu")}, {"activation": ("relu", "tanh")}),
    ("regression", {"fit_intercept": False}, {"fit_intercept": True}),
    ("regression", {}, {"fit_intercept": False}),
    ("multi-class", {}, {"label_smoothing": 0.3}),
    ("multi-class", {"label_smoothing": 0.3}, {"label_smoothing": 0.0}),
    ("multi-label", {"activation": "logistic"}, {"activation": "gelu"}),
]


def predicted(model: Any) -> np.ndarray:
    name = "predict_proba" if hasattr(model, "classes_") else "predict"
    if hasattr(model, "predict_quantiles"):
        name = "predict_quantiles"
    return np.asarray(getattr(model, name)(X))


@pytest.mark.parametrize(("problem", "options", "other"), CASES, ids=str)
def test_predictions_are_those_of_the_fit(
    problem: str, options: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    kind, y = PROBLEMS[problem]
    y = np.abs(y) if kind == "regressor" else y
    model = fit(OURS[kind](**BASE | options, device="cpu"), X, y)
    before, score = predicted(model), model.score(X, y)
    save(model, tmp_path / "before")
    loaded = load(tmp_path / "before", device="cpu").set_params(**other)
    model.set_params(**other)
    save(model, tmp_path / "after")
    each = [
        model,
        loaded,
        load(tmp_path / "after", device="cpu"),
        pickle.loads(pickle.dumps(model)),
    ]
    for one in each:
        assert one.get_params() == model.get_params()
        assert_array_equal(predicted(one), before, strict=True)
        assert one.score(X, y) == score
        assert one.out_activation_ == loss_of(one).output
        assert network_of(one).bias == options.get("fit_intercept", True)
    wanted = fit(clone(model), X, y)  # which a fit takes up
    assert_array_equal(predicted(fit(model, X, y)), predicted(wanted), strict=True)


def test_a_warm_start_takes_them_up() -> None:
    y = np.abs(PROBLEMS["regression"][1])
    model = fit(MLPRegressor(**BASE, warm_start=True, device="cpu"), X, y)
    model.set_params(loss="poisson", max_iter=1, learning_rate_init=1e-300, solver="sgd")
    before = model.predict(X)
    fit(model, X, y)
    assert_allclose(model.predict(X), np.exp(before))


def test_a_failed_fit_takes_up_none() -> None:
    y = PROBLEMS["regression"][1]
    model = fit(MLPRegressor(**BASE, device="cpu"), X, y)
    before = model.predict(X)
    with pytest.raises(ValueError, match="for targets of 0 or more"):
        model.set_params(loss="poisson").fit(X, y)
    assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize(
    "bad", [{"loss": "some"}, {"solver": "sgd"}, {"activation": ["tanh"]}, {"quantile": 2}], ids=str
)
def test_a_file_has_what_was_changed_alone(bad: dict[str, Any], tmp_path: Path) -> None:
    y = np.abs(PROBLEMS["regression"][1])
    model = fit(MLPRegressor("poisson", **BASE, device="cpu"), X, y)
    save(model, tmp_path / "model")
    assert "fitted" not in read_model(tmp_path / "model").header["estimator"]
    save(model.set_params(loss="huber"), tmp_path / "model")
    record = read_model(tmp_path / "model")
    assert record.header["estimator"]["fitted"] == {"loss": "poisson"}
    record.header["estimator"]["fitted"] = bad
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match=r"restore (the file|it)"):
        load(tmp_path / "model")
