"""Weights that a model has uploaded serve its next predictions, until they change."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, load, save
from gpubp.backends import cupy_backend
from tests.cuda_stand_in.cuda import Machine, start
from tests.estimators.cases import BASE, CLASSES, X

OPTIONS: dict[str, Any] = {**BASE, "dtype": "float64", "max_iter": 2}
LAYERS = 3


def fitted(device: str = "cuda", **options: Any) -> MLPClassifier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MLPClassifier(**OPTIONS | options, device=device).fit(X, CLASSES)


def uploads(machine: Machine, call: Callable[[], Any]) -> int:
    """Return how often ``call`` copies to the device."""
    before = machine.issued["upload"]
    call()
    return int(machine.issued["upload"] - before)


def agrees_with_the_cpu(model: MLPClassifier) -> None:
    got, on_cpu = model.predict_proba(X), copy.deepcopy(model).set_params(device="cpu")
    assert_allclose(got, on_cpu.predict_proba(X), 1e-5 if got.dtype == np.float32 else 1e-12)


def test_weights_are_uploaded_once(host_cupy: Machine) -> None:
    model = fitted()
    first = uploads(host_cupy, lambda: model.predict(X))
    again = uploads(host_cupy, lambda: model.predict(X))
    assert first - again == 2 * LAYERS
    assert again == 1  # X
    agrees_with_the_cpu(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.coefs_[1].__setitem__(slice(None), 0.5),
        lambda model: model.intercepts_[2].__setitem__(0, 3.0),
        lambda model: setattr(model, "coefs_", [2 * W for W in model.coefs_]),
        lambda model: setattr(model, "intercepts_", [b + 1 for b in model.intercepts_]),
    ],
    ids=["weights in place", "a bias in place", "new weights", "new biases"],
)
def test_changed_weights_count(host_cupy: Machine, change: Callable[[Any], None]) -> None:
    model = fitted()
    before = model.predict_proba(X)
    change(model)
    assert np.abs(model.predict_proba(X) - before).max() > 1e-3
    assert uploads(host_cupy, lambda: model.predict(X)) == 1
    agrees_with_the_cpu(model)


def test_weights_of_another_shape_or_dtype_count(host_cupy: Machine) -> None:
    model = fitted()
    model.coefs_ = [np.full_like(W, 0.5) for W in model.coefs_]  # alike in both
    model.intercepts_ = [np.zeros_like(b) for b in model.intercepts_]
    model.predict(X)
    model.coefs_ = [W.astype(np.float32) for W in model.coefs_]
    assert model.predict_proba(X).dtype == np.float64  # as long as one of them is
    model.intercepts_ = [b.astype(np.float32) for b in model.intercepts_]
    assert model.predict_proba(X).dtype == np.float32
    narrow = [np.ascontiguousarray(W) for W in (model.coefs_[0][:, :4], model.coefs_[1][:4])]
    model.coefs_ = [*narrow, model.coefs_[2]]
    model.intercepts_ = [model.intercepts_[0][:4], *model.intercepts_[1:]]
    agrees_with_the_cpu(model)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("where", ["coefs_", "intercepts_"])
def test_parameters_that_are_not_finite_give_what_they_give_on_the_cpu(
    host_cupy: Machine, where: str, layer: int, value: float, activation: str
) -> None:
    model = fitted(activation=activation)
    getattr(model, where)[layer].flat[0] = value
    with np.errstate(all="ignore"):
        agrees_with_the_cpu(model)
        assert uploads(host_cupy, lambda: model.predict_proba(X)) == 1  # X


def test_training_counts(host_cupy: Machine) -> None:
    model = fitted()
    gc.collect()
    before = host_cupy.used[0]
    model.predict(X)
    assert host_cupy.used[0] > before
    model.partial_fit(X, CLASSES)
    assert host_cupy.used[0] == before
    agrees_with_the_cpu(model)


def test_each_device_has_its_own(host_cupy: Machine) -> None:
    machine = start(devices=2)
    model = fitted()
    model.predict(X)
    used = machine.used[0]
    model.set_params(device="cuda:1")
    agrees_with_the_cpu(model)
    assert machine.used[0] < used  # the first has let go of them
    model.set_params(device="cpu")
    assert uploads(machine, lambda: model.predict(X)) == 0


def test_device_memory_is_freed_with_the_model(host_cupy: Machine) -> None:
    model = fitted()
    gc.collect()
    before = host_cupy.used[0]
    model.predict(X)
    held = host_cupy.used[0] - before
    assert held >= 2 * LAYERS * 512  # the device gives each array a unit of memory, at the least
    kept = pickle.dumps(model)
    del model
    assert host_cupy.used[0] == before
    pickle.loads(kept).predict(X)
    assert host_cupy.used[0] == before


def test_training_that_lacks_memory_takes_it(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fitted()
    gc.collect()
    before = host_cupy.used[0]
    other.predict(X)
    held = host_cupy.used[0] - before
    monkeypatch.setattr(cupy_backend.CupyBackend, "empty", _full_once(host_cupy, held + before))
    fitted()
    assert uploads(host_cupy, lambda: other.predict(X)) == 2 * LAYERS + 1


def _full_once(machine: Machine, used: int) -> Any:
    """Return an `empty` that finds no memory until less than ``used`` bytes were in use once."""
    real, free = cupy_backend.CupyBackend.empty, []

    def empty(self: Any, shape: Any, dtype: Any) -> Any:
        if not free and machine.used[0] >= used:
            raise MemoryError
        free.append(True)
        return real(self, shape, dtype)

    return empty


def test_nothing_of_it_is_copied_or_saved(host_cupy: Machine, tmp_path: Path) -> None:
    model = fitted()
    attributes = set(vars(model))
    model.predict(X)
    assert set(vars(model)) == attributes
    save(model, tmp_path / "model")
    for other in (
        pickle.loads(pickle.dumps(model)),
        copy.copy(model),
        copy.deepcopy(model),
        load(tmp_path / "model", device="cuda"),
    ):
        assert uploads(host_cupy, lambda other=other: other.predict(X)) == 2 * LAYERS + 1
        other.coefs_ = [0 * W for W in other.coefs_]
        other.predict(X)
    assert uploads(host_cupy, lambda: model.predict(X)) == 1
    assert not hasattr(clone(model), "coefs_")


def test_threads_share_them(host_cupy: Machine) -> None:
    model = fitted()
    wanted, got = model.predict_proba(X), []
    before = host_cupy.issued["upload"]
    threads = [
        threading.Thread(target=lambda: got.append(model.predict_proba(X))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 3
    for outputs in got:
        assert_allclose(outputs, wanted, 1e-12)
    assert host_cupy.issued["upload"] - before == 3
