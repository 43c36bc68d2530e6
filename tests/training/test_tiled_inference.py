"""Inference by compiled tiles: numbers, interrupts, and what is kept."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends.compiled_backend import CompiledBackend
from gpubp.backends.pooled_recording import PooledRecording
from gpubp.backends.select import get_backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.training import tiled_inference
from gpubp.training.inference import infer
from gpubp.training.tiled_inference import TiledInference
from tests.cuda_stand_in.kernels import skip_without_compiler

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 2000, 300)).astype(np.float32)
NETWORK = Network((300, 200, 7), ("relu",))
PARAMETERS = NETWORK.views(NETWORK.initial_theta(np.random.RandomState(0), np.dtype("f4")))


@pytest.fixture(autouse=True)
def _compiler() -> None:
    skip_without_compiler()


def tiled(loss: str = "softmax_cross_entropy") -> TiledInference:
    backend = CompiledBackend()
    return TiledInference(backend, NETWORK, LOSSES[loss], PARAMETERS, len(A), np.dtype("f4"))


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error"]
)
def test_outputs_are_those_of_numpy(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_inference, "RECORDED_BYTES", 200 * 4 * 300)  # seven chunks
    expected = infer(get_backend("cpu"), NETWORK, LOSSES[loss], PARAMETERS, A)
    np.testing.assert_allclose(tiled(loss)(A), expected, rtol=1e-4, atol=1e-6)


def test_large_arrays_take_tiles_and_logits_are_shown_before_the_outputs() -> None:
    backend, seen = CompiledBackend(), np.full((len(A), 7), np.nan, np.float32)
    assert len(A) * NETWORK.n_parameters >= tiled_inference.RECORDED_CROSSOVER

    def watch(start: int, Z: np.ndarray) -> None:
        seen[start : start + len(Z)] = Z

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs = infer(backend, NETWORK, LOSSES["sigmoid_cross_entropy"], PARAMETERS, A, watch)
    np.testing.assert_allclose(outputs, 1 / (1 + np.exp(-seen)), rtol=1e-5)
    assert backend.tiles


def test_an_interrupted_prediction_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    run, real = tiled(), PooledRecording.__call__
    expected = run(B)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PooledRecording, "__call__", interrupted)
    references = sys.getrefcount(A)
    with pytest.raises(KeyboardInterrupt):
        run(A)
    assert sys.getrefcount(A) == references
    monkeypatch.setattr(PooledRecording, "__call__", real)
    np.testing.assert_array_equal(run(B), expected)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_estimators_predict_by_tiles_unless_not_compiled(kind: Any) -> None:
    y = A[:, 0] > 0 if kind is MLPClassifier else A[:, 0]
    model = kind(hidden_layer_sizes=(200,), max_iter=2, random_state=0, device="cpu", tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(A, y)
    outputs = [model.set_params(compiled=way)._outputs(B) for way in (True, "auto", False)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_allclose(outputs[1], outputs[2], rtol=1e-3, atol=1e-5)
    model.set_params(compiled="auto").coefs_[0][:] = 0  # read as they are at each call
    np.testing.assert_allclose(model._outputs(B)[0], model._outputs(B)[1])
