"""Targets scaled for training, and everything else in the units of y."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import get_scorer

from gpubp import MLPRegressor, ModelFileError, load, save
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.explain.trace import trace_step
from gpubp.explain.trained_model import of_model
from gpubp.storage.model_file import read_model, write_model
from gpubp.tables.column import NumberColumn
from gpubp.tables.table import Table
from tests.estimators.cases import BASE, WEIGHTS, X, fit

ONE = 5e4 + 300 * (X @ [1.0, -2.0, 0.5, 0.0] + np.sin(X[:, 1]))
THREE = np.stack([ONE, X[:, 0] / 1e3, np.full(len(X), 7.0)], axis=1)
CASES = {"one": ONE, "three": THREE}
SOME = np.where(np.arange(len(X)) % 3 == 0, 0.0, WEIGHTS)  # a third of the rows does not count


def regressor(**options: Any) -> MLPRegressor:
    return MLPRegressor(**{**BASE, "target_scaling": True, **options})


def coefs(model: Any) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


def by_hand(y: np.ndarray, weights: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y scaled, with the mean and the scale of each column."""
    Y = y.reshape(len(y), -1)
    mean = np.average(Y, axis=0, weights=weights)
    scale = np.sqrt(np.average((Y - mean) ** 2, axis=0, weights=weights))
    scale[scale == 0] = 1
    return ((Y - mean) / scale).reshape(y.shape), mean, scale


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("weights", [None, SOME], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "quantile"])
def test_training_is_that_of_targets_scaled_by_hand(
    case: str, solver: str, weights: Any, loss: str
) -> None:
    y = CASES[case]
    Z, mean, scale = by_hand(y, weights)
    options: dict[str, Any] = {"solver": solver, "loss": loss, "device": "cpu", "max_iter": 6}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = regressor(**options).fit(X, y, weights)
        wanted = regressor(**options, target_scaling=False).fit(X, Z, weights)
    assert_allclose(model.target_mean_, mean, rtol=1e-12, atol=1e-15)
    assert_allclose(model.target_scale_, scale, rtol=1e-10)
    assert_allclose(coefs(model), coefs(wanted), rtol=1e-5, atol=1e-7)
    assert_allclose(model.loss_, wanted.loss_, rtol=1e-6)
    predictions = wanted.predict(X).reshape(len(X), -1) * scale + mean
    assert_allclose(model.predict(X), predictions.reshape(y.shape), rtol=1e-5, atol=1e-7)
    assert model.predict(X).shape == y.shape
    assert wanted.target_mean_ is wanted.target_scale_ is None


def test_it_learns_where_training_without_it_fails() -> None:
    options = {"max_iter": 200, "learning_rate_init": 0.01, "random_state": 0, "device": "cpu"}
    scores = [
        fit(regressor(**options, target_scaling=scaling), X, ONE).score(X, ONE)
        for scaling in (False, True)
    ]
    assert scores[0] < 0 < 0.95 < scores[1]


def test_predictions_of_float32_keep_the_digits_of_y() -> None:
    model = fit(regressor(dtype="float32", device="cpu"), X, ONE + 1e9)
    assert model.coefs_[0].dtype == np.float32
    assert model.predict(X).dtype == np.float64
    found = model.predict(X)
    assert len(np.unique(found)) > 2 * len(np.unique(found.astype(np.float32)))


@pytest.mark.parametrize("case", CASES)
def test_every_device_scales_alike(backend: Backend, case: str) -> None:
    options: dict[str, Any] = {"dtype": "float64", "early_stopping": True, "max_iter": 5}
    model = fit(regressor(**options, device=backend.name), X, CASES[case])
    wanted = fit(regressor(**options, device="cpu"), X, CASES[case])
    assert_allclose(model.predict(X), wanted.predict(X), rtol=1e-8)
    assert_allclose(model.validation_scores_, wanted.validation_scores_, rtol=1e-8)


@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error", "loss"])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_validation_scores_are_in_the_units_of_y(scoring: Any, form: Any) -> None:
    model = regressor(early_stopping=True, scoring=scoring, device="cpu")
    fit(model, X[20:], ONE[20:], X_val=form(X[:20]), y_val=ONE[:20])
    _, mean, scale = by_hand(ONE[20:])
    assert_allclose([model.target_mean_, model.target_scale_], [mean, scale], rtol=1e-10)
    if scoring == "loss":
        wanted = -np.mean((model.predict(X[:20]) - ONE[:20]) ** 2) / scale[0] ** 2 / 2
    else:
        wanted = get_scorer(scoring or "r2")(model, X[:20], ONE[:20])
    assert_allclose(model.best_validation_score_, wanted, rtol=1e-9)


def test_rows_held_out_have_no_part_in_the_scale() -> None:
    y = np.where(np.arange(len(X)) < 45, 0.0, 1e6)
    model = fit(regressor(early_stopping=True, validation_fraction=0.4, device="cpu"), X, y)
    n = round(0.6 * len(X))
    high = model.target_mean_[0] / 1e6 * n
    assert_allclose(high, round(high), atol=1e-6)


@pytest.mark.parametrize("how", ["warm_start", "partial_fit"])
def test_the_first_call_s_scale_stays(how: str) -> None:
    model = regressor(warm_start=True, device="cpu")
    again = model.fit if how == "warm_start" else model.partial_fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again(X[:40], ONE[:40])
        scale = model.target_mean_.copy(), model.target_scale_.copy()
        before = model.predict(X)
        again(X[40:], 2 * ONE[40:])
        assert_array_equal((model.target_mean_, model.target_scale_), scale)
        assert not np.array_equal(model.predict(X), before)
        # Whatever is set meanwhile, the network has learned in those units.
        predictions = model.predict(X)
        assert_array_equal(model.set_params(target_scaling=False).predict(X), predictions)
        again(X[40:], 2 * ONE[40:])
        assert_array_equal((model.target_mean_, model.target_scale_), scale)
        model.set_params(warm_start=False).fit(X, ONE)
    assert model.target_mean_ is model.target_scale_ is None


def test_huber_delta_is_in_the_units_of_y() -> None:
    Z, _, scale = by_hand(ONE)
    options: dict[str, Any] = {"loss": "huber", "device": "cpu", "max_iter": 6}
    model = fit(regressor(**options, huber_delta=100.0), X, ONE)
    wanted = fit(regressor(**options, target_scaling=False, huber_delta=100.0 / scale[0]), X, Z)
    assert_allclose(coefs(model), coefs(wanted), rtol=1e-6, atol=1e-9)
    other = fit(regressor(**options, target_scaling=False, huber_delta=100.0), X, Z)
    assert not np.allclose(coefs(model), coefs(other), rtol=1e-3)
    # The next fit begins with another scale.
    fit(model, X, 10 * ONE)
    assert_allclose(model._loss().parameters, 10 / scale[0], rtol=1e-9)


def test_another_loss_in_a_warm_start_must_take_scaled_targets() -> None:
    model = fit(regressor(warm_start=True, device="cpu"), X, ONE).set_params(loss="poisson")
    with pytest.raises(ValueError, match="not allowed for loss 'poisson'"):
        model.fit(X, ONE)


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({"loss": "poisson"}, ONE, "not allowed for loss 'poisson'; set target_scaling=False"),
        ({"loss": LOSSES["poisson"]}, ONE, "not allowed for loss 'poisson'"),
        ({"loss": "huber"}, THREE, "with loss='huber' is for one output, .*, got 3"),
        ({"target_scaling": "yes"}, ONE, "'target_scaling' parameter .* Got 'yes'"),
        ({}, np.append([1.7e308, -1.7e308], ONE[2:]), "too far for float64; rescale it"),
    ],
    ids=["poisson", "a Loss", "huber", "yes", "too far"],
)
def test_what_cannot_be_scaled_is_refused(
    options: dict[str, Any], y: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        regressor(**options).fit(X, y)


# ---- models on disk, and their explanation ---------------------------------------------------


@pytest.mark.parametrize(
    ("case", "options"), [("one", {}), ("three", {}), ("one", {"loss": "huber"})]
)
def test_models_keep_their_scale(case: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = fit(regressor(**options, device="cpu"), X, CASES[case])
    save(model, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params() == model.get_params() | {"device": "auto"}
    assert_array_equal(loaded.target_mean_, model.target_mean_, strict=True)
    assert_array_equal(loaded.target_scale_, model.target_scale_, strict=True)
    assert_array_equal(loaded.predict(X), model.predict(X), strict=True)
    assert loaded._loss() == model._loss()
    assert fit(clone(loaded), X, 2 * CASES[case]).target_scale_[0] == 2 * model.target_scale_[0]


def test_models_without_a_scale_have_none(tmp_path: Path) -> None:
    save(fit(regressor(target_scaling=False), X, ONE), tmp_path / "model")
    assert "target_scaling" not in read_model(tmp_path / "model").header["estimator"]
    loaded = load(tmp_path / "model")
    assert loaded.target_mean_ is loaded.target_scale_ is None


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("target_scaling.mean", None),
        ("target_scaling.scale", None),
        ("target_scaling.mean", np.zeros(2)),
        ("target_scaling.scale", np.array([0.0])),
        ("target_scaling.scale", np.array([-1.0])),
        ("target_scaling.scale", np.ones(1, np.float32)),
    ],
)
def test_a_file_with_another_scale_is_refused(name: str, numbers: Any, tmp_path: Path) -> None:
    save(fit(regressor(), X, ONE), tmp_path / "model")
    record = read_model(tmp_path / "model")
    record.tensors.pop(name)
    if numbers is not None:
        record.tensors[name] = numbers
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match=r"restore the file|restore it"):
        load(tmp_path / "model")


@pytest.mark.parametrize("wrong", [None, False, 1, "yes"])
def test_a_file_that_does_not_tell_of_its_scale_is_refused(wrong: Any, tmp_path: Path) -> None:
    save(fit(regressor(), X, ONE), tmp_path / "model")
    record = read_model(tmp_path / "model")
    del record.header["estimator"]["target_scaling"]
    if wrong is not None:
        record.header["estimator"]["target_scaling"] = wrong
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match=r"restore"):
        load(tmp_path / "model")


def test_an_explanation_is_in_the_units_of_training() -> None:
    model = fit(regressor(), X, ONE)
    names = ("a", "b", "c", "d", "y")
    cells = zip(names, np.column_stack([X, ONE]).T, strict=True)
    columns = {name: NumberColumn(column) for name, column in cells}
    table = Table(columns, len(X), "rows", ("y",))
    example = of_model(model, table, 3)
    assert_allclose(example.Y, [[(ONE[3] - model.target_mean_[0]) / model.target_scale_[0]]])
    outputs = np.ravel(trace_step(example).layers[-1].A)
    assert_allclose(outputs * model.target_scale_ + model.target_mean_, model.predict(X[3:4]))
