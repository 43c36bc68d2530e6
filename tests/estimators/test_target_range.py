"""Predictions clipped to the range of the training targets."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import r2_score

from gpubp import MLPClassifier, MLPRegressor, ModelFileError, TableRegressor, load, save
from gpubp.backends.protocol import Backend
from gpubp.estimators.target_range import TargetRange, clipped
from gpubp.storage.model_file import read_model, write_model
from gpubp.training.trainer import Trainer
from tests.cuda_stand_in.cuda import Machine
from tests.estimators.cases import BASE, WEIGHTS, X, fit

ONE = X @ [1.0, -2.0, 0.5, 0.0] + np.sin(X[:, 1])
THREE = np.stack([ONE, X[:, 0] / 1e3, np.full(len(X), 7.0)], axis=1)
CASES = {"one": ONE, "three": THREE}
FAR = 20 * X  # where predictions leave the range


def regressor(**options: Any) -> MLPRegressor:
    return MLPRegressor(**{**BASE, "clip_predictions": True, **options})


def columns(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def check_clipped(model: Any, plain: Any, low: Any, high: Any) -> None:
    """Check the predictions for `FAR`: those of ``plain``, clipped, and some of them are."""
    free, got = plain.predict(FAR), model.predict(FAR)
    bounds = (np.asarray(of).astype(free.dtype) for of in (low, high))
    wanted = np.clip(columns(free), *bounds).reshape(free.shape)
    assert_array_equal(got, wanted, strict=True)
    assert (got != free).mean() > 0.1
    assert (columns(got) != columns(wanted.mean(axis=0)[None])).any()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_are_those_without_clipped_to_the_range(
    backend: Backend, case: str, scaling: bool, dtype: str
) -> None:
    y, options = CASES[case], {"target_scaling": scaling, "device": backend.name, "dtype": dtype}
    model, plain = (fit(regressor(**options, clip_predictions=c), X, y) for c in (True, False))
    assert_array_equal(model.coefs_[0], plain.coefs_[0])
    assert plain.target_low_ is plain.target_high_ is None
    assert_array_equal(model.target_low_, columns(y).min(axis=0), strict=True)
    assert_array_equal(model.target_high_, columns(y).max(axis=0), strict=True)
    check_clipped(model, plain, model.target_low_, model.target_high_)
    assert model.score(FAR, y) == r2_score(y, model.predict(FAR)) != plain.score(FAR, y)


@pytest.mark.parametrize("case", CASES)
def test_predictions_on_a_device_stay_there(host_cupy: Machine, case: str) -> None:
    import cupy

    model = fit(regressor(device="cuda", dtype="float64"), X, CASES[case])
    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True):
        got = model.predict(cupy.asarray(FAR))
        assert isinstance(got, cupy.ndarray)
        assert_array_equal(got.get(), model.predict(FAR), strict=True)
    model.target_low_ = None
    assert (model.predict(FAR) != got.get()).any()


def test_every_quantile_is_clipped() -> None:
    options = {"loss": "quantile", "quantile": [0.9, 0.1], "device": "cpu"}
    for y in CASES.values():
        model, plain = (fit(regressor(**options, clip_predictions=c), X, y) for c in (True, False))
        low, high = (of(columns(y), axis=0)[:, None] for of in (np.min, np.max))
        low, high = (low[0], high[0]) if y.ndim == 1 else (low, high)
        free, got = plain.predict_quantiles(FAR), model.predict_quantiles(FAR)
        assert_array_equal(got, np.clip(free, low, high))
        assert (got != free).any()


def test_rows_of_weight_0_and_rows_held_out_have_no_part_in_the_range() -> None:
    order = np.argsort(ONE)
    ends = order[[0, -1]]
    weights = WEIGHTS.copy()
    weights[ends] = 0
    inner = ONE[order[[1, -2]]]
    model = fit(regressor(), X, ONE, weights)
    assert_array_equal(np.append(model.target_low_, model.target_high_), inner)
    held = fit(
        regressor(early_stopping=True),
        X[order[1:-1]],
        ONE[order[1:-1]],
        X_val=X[ends],
        y_val=ONE[ends],
    )
    assert_array_equal(np.append(held.target_low_, held.target_high_), inner)


def test_validation_scores_are_those_of_clipped_predictions() -> None:
    options = {"early_stopping": True, "max_iter": 1, "learning_rate_init": 1e-300}
    model = fit(regressor(**options), X, ONE, X_val=FAR, y_val=ONE)
    assert model.validation_scores_ == [model.score(FAR, ONE)]


@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_later_calls_extend_the_range(how: str) -> None:
    halves = [np.flatnonzero(ONE < 0), np.flatnonzero(ONE >= 0)]
    model = regressor(warm_start=how == "warm_start", device="cpu")
    seen: list[tuple[float, float]] = []
    for rows in (*halves, halves[0], halves[1][:5]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            train = model.fit if how == "warm_start" else model.partial_fit
            train(X[rows], ONE[rows])
        seen.append((float(model.target_low_[0]), float(model.target_high_[0])))
    first, both = ONE[halves[0]], (ONE.min(), ONE.max())
    assert seen == [(first.min(), first.max()), both, both, both]
    model.set_params(clip_predictions=False)
    model.partial_fit(X[:40], ONE[:40])
    assert model.target_low_ is not None  # the first call decides
    assert fit(model.set_params(warm_start=False), X, ONE).target_low_ is None


def test_a_model_that_was_not_clipped_stays_so() -> None:
    model = fit(regressor(clip_predictions=False), X, ONE).set_params(clip_predictions=True)
    model.partial_fit(X[:40], ONE[:40])
    assert model.target_low_ is None


def test_a_training_that_fails_leaves_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise MemoryError

    model = fit(regressor(device="cpu"), X, ONE)
    monkeypatch.setattr(Trainer, "epoch", failing)
    with pytest.raises(MemoryError):
        model.partial_fit(X, 9 * ONE)
    assert model.target_high_ == ONE.max()


@pytest.mark.parametrize("member_rows", ["all", "folds"])
def test_an_ensemble_clips_the_mean_of_its_members(member_rows: str) -> None:
    options = {"n_members": 3, "member_rows": member_rows, "device": "cpu"}
    model, plain = (fit(regressor(**options, clip_predictions=c), X, ONE) for c in (True, False))
    check_clipped(model, plain, ONE.min(), ONE.max())
    mean, deviation = model.predict(FAR, return_std=True)
    assert_allclose(mean, model.predict(FAR), rtol=1e-13)
    assert_array_equal(deviation, plain.predict(FAR, return_std=True)[1])
    for member, free in zip(model.members_, plain.members_, strict=True):
        check_clipped(member, free, ONE.min(), ONE.max())
    if member_rows == "folds":
        free = plain.oob_prediction_
        assert_array_equal(model.oob_prediction_, np.clip(free, ONE.min(), ONE.max()))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", [{}, {"n_members": 2}, {"target_scaling": True}], ids=str)
def test_models_keep_their_range(case: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = fit(regressor(**options, device="cpu"), X, CASES[case])
    save(model, tmp_path / "model")
    kept = [load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    for each in kept:
        assert each.clip_predictions is True
        assert_array_equal(each.target_low_, model.target_low_, strict=True)
        assert_array_equal(each.target_high_, model.target_high_, strict=True)
        assert_array_equal(each.predict(FAR), model.predict(FAR), strict=True)
    again = fit(clone(kept[0]), X, 2 * CASES[case])
    assert_array_equal(again.target_high_, 2 * model.target_high_)


def test_models_without_a_range_have_none(tmp_path: Path) -> None:
    save(fit(regressor(clip_predictions=False), X, ONE), tmp_path / "model")
    assert "target_range" not in read_model(tmp_path / "model").header["estimator"]
    loaded = load(tmp_path / "model")
    assert loaded.target_low_ is loaded.target_high_ is None


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("target_range.low", None),
        ("target_range.high", None),
        ("target_range.low", np.zeros(2)),
        ("target_range.low", np.array([1e9])),  # above the high end
        ("target_range.high", np.array([1e9], np.float32)),
    ],
)
def test_a_file_with_another_range_is_refused(name: str, numbers: Any, tmp_path: Path) -> None:
    save(fit(regressor(), X, ONE), tmp_path / "model")
    record = read_model(tmp_path / "model")
    record.tensors.pop(name)
    if numbers is not None:
        record.tensors[name] = numbers
    write_model(tmp_path / "model", record)
    with pytest.raises(ModelFileError, match=r"restore the file|restore it"):
        load(tmp_path / "model")


def test_a_range_has_ends_of_one_shape() -> None:
    with pytest.raises(ValueError, match="from low to high in each column"):
        TargetRange(np.zeros(2), np.zeros(3))


def test_a_model_of_a_table_is_clipped_too(tmp_path: Path) -> None:
    options = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, "device": "cpu"}
    model, plain = (
        TableRegressor(**options, clip_predictions=c).fit(X, ONE) for c in (True, False)
    )
    check_clipped(model, plain, ONE.min(), ONE.max())
    save(model, tmp_path / "model")
    assert_array_equal(load(tmp_path / "model").predict(FAR), model.predict(FAR))


@pytest.mark.parametrize("value", ["yes", None, 1])
def test_another_value_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="'clip_predictions' parameter of MLPRegressor must be"):
        regressor(clip_predictions=value).fit(X, ONE)
    with pytest.raises(TypeError, match="clip_predictions"):
        MLPClassifier(clip_predictions=True)  # type: ignore[call-arg]


def test_infinite_outputs_become_nan() -> None:
    limits = TargetRange(np.array([-1.0]), np.array([2.0]))
    outputs = np.array([[np.inf], [-np.inf], [np.nan], [-5.0], [-0.5], [7.0]])
    wanted = [[np.nan], [np.nan], [np.nan], [-1.0], [-0.5], [2.0]]
    assert_array_equal(clipped(outputs, limits), wanted)
