"""Whole trainings through the CUDA bodies on the host are those through their NumPy twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.optimizers import Optimizer, update
from tests.backends.small_training import ROWS, trained
from tests.backprop.solver_cases import OPTIMIZERS
from tests.cuda_stand_in.kernels import HostBackend, skip_without_compiler

WEIGHTS = np.random.RandomState(0).uniform(0.5, 2, ROWS)


@pytest.fixture(autouse=True)
def _compiler() -> None:
    skip_without_compiler()


TRAININGS: dict[str, dict[str, Any]] = {
    "softmax": {
        "loss": "softmax_cross_entropy",
        "activations": ("relu", "gelu"),
        "alpha": 0.1,
        "weights": WEIGHTS,
    },
    "sigmoid": {
        "loss": "sigmoid_cross_entropy",
        "activations": ("tanh", "logistic"),
        "alpha": 0.0,
    },
    "squares": {
        "loss": "squared_error",
        "activations": ("leaky_relu", "identity"),
        "alpha": 0.1,
    },
}


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_through_the_cuda_bodies(training: str, optimizer: Optimizer, dtype: str) -> None:
    host, twin = (
        trained(backend, dtype, optimizer=optimizer, **TRAININGS[training])
        for backend in (HostBackend(), NumpyBackend())
    )
    tolerance = 200 * np.finfo(dtype).eps  # of three epochs
    np.testing.assert_allclose(host, twin, rtol=tolerance, atol=tolerance)
    assert twin[2] < twin[0]


@pytest.mark.parametrize("lead", [(), (1,), (3,)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_update_of_a_population_through_the_cuda_bodies(
    lead: tuple[int, ...], optimizer: Optimizer
) -> None:
    rng = np.random.RandomState(0)
    theta, grad, *state = np.abs(rng.normal(size=(4, *lead, 8)))
    plan = rng.uniform(0.1, 0.9, (3, *lead, optimizer.plan(0, 0, np.ones(1)).size))
    results = []
    for backend in (HostBackend(), NumpyBackend()):
        kept = tuple(vector.copy() for vector in state[: len(optimizer.state_names)])
        vectors = (theta.copy(), grad.copy(), kept)
        update(backend, optimizer, plan, np.array([1]), 4, True, *vectors)
        results.append(np.stack([vectors[0], *kept]))
    np.testing.assert_allclose(*results, rtol=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_a_population_through_the_cuda_bodies(name: str) -> None:
    rng, loss = np.random.RandomState(0), LOSSES[name]
    Z = rng.normal(size=(2, 5, 3))
    Y = rng.randint(2, size=Z.shape) * 1.0
    if loss.targets == "index":
        Y = rng.randint(3, size=(2, 5)).astype(np.int32)
    results = []
    for backend in (HostBackend(), NumpyBackend()):
        row_losses, delta, outputs = np.ones((2, 5)), np.empty_like(Z), Z.copy()
        loss.evaluate(backend, Z, Y, 0.2, row_losses, delta)
        loss.predict(backend, outputs, out=outputs)
        results.append(np.concatenate([row_losses[..., None], delta, outputs], axis=-1))
    np.testing.assert_allclose(*results, rtol=1e-12)
