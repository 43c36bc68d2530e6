"""Products with epilogues in whole trainings, on devices that offer more or less of them."""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network, Workspace, backward, forward
from gpubp.backprop.optimizers import SGD
from gpubp.kernels.cublas.epilogue_gemm import Epilogue
from gpubp.training.inference import infer
from tests.backends.small_training import trained
from tests.cuda_stand_in.cuda import Machine
from tests.cuda_stand_in.launch import StreamedCublas

ALL = frozenset(int(epilogue) for epilogue in Epilogue)
BIAS, RELU, DRELU = Epilogue.BIAS, Epilogue.RELU_AUX_BIAS, Epilogue.DRELU_BGRAD
GELU, DGELU, BGRADA = Epilogue.GELU_AUX_BIAS, Epilogue.DGELU_BGRAD, Epilogue.BGRADA
OFFERED = {
    "nothing": set(),
    "BIAS": {BIAS},
    "all": ALL,
    "all but BIAS": ALL - {BIAS},
    "all but BGRADA": ALL - {BGRADA},
    "all but the forward": ALL - {RELU, GELU},
    "all but the backward": ALL - {DRELU, DGELU},
}
NETWORKS = {
    "relu": Network((8, 16, 8, 3), ("relu", "relu")),
    "gelu": Network((8, 16, 8, 3), ("gelu", "gelu")),
    "both": Network((4, 5, 16, 7, 3), ("gelu", "relu", "gelu")),  # of 5 and 7 units, none for GELU
    "others": Network((4, 8, 8, 8, 2), ("tanh", "identity", "leaky_relu")),
    "no bias": Network((8, 16, 8, 3), ("relu", "gelu"), bias=False),
    "no hidden layer": Network((4, 3), ()),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}


@pytest.fixture(autouse=True)
def _machine(host_cupy: Machine) -> None:
    pass


def with_launches(
    backend: Backend, network: Network, dtype: str, **options: Any
) -> tuple[np.ndarray, dict[str, int]]:
    """Return what `trained` does, with the parameters; and the launches of a step."""
    loss, made = "squared_error" if network.sizes[-1] == 1 else "softmax_cross_entropy", []
    options = {"network": network, "rows": 21, "epochs": 2, "before": made.append, **options}
    numbers = trained(backend, dtype, loss, optimizer=SGD(), **options)
    return np.append(numbers, backend.to_numpy(made[0].theta)), made[0].launches


@cache
def numpys(name: str, dtype: str) -> np.ndarray:
    return with_launches(NumpyBackend(), NETWORKS[name], dtype)[0]


EITHER = [(offered, name, "float64") for offered in OFFERED for name in ("relu", "gelu", "both")]
EITHER += [("all", name, dtype) for name in NETWORKS for dtype in TOLERANCE]
EITHER += [("nothing", name, "float32") for name in NETWORKS]


@pytest.mark.parametrize(("offered", "name", "dtype"), sorted(set(EITHER)))
def test_training_is_numpys_whatever_is_offered(
    host_cublas: StreamedCublas, offered: str, name: str, dtype: str
) -> None:
    host_cublas.offered = set(OFFERED[offered])
    got, launches = with_launches(CupyBackend(0), NETWORKS[name], dtype)
    assert_allclose(got, numpys(name, dtype), TOLERANCE[dtype], TOLERANCE[dtype])
    used = {word for launch in launches for word in launch.split() if word.isupper()}
    assert used <= {Epilogue(number).name for number in OFFERED[offered]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_what_is_refused_for_one_type_is_used_for_the_other(
    host_cublas: StreamedCublas, name: str, dtype: str
) -> None:
    host_cublas.refused = {(int(epilogue), 1) for epilogue in (DRELU, GELU, BGRADA)}  # float64
    got, launches = with_launches(CupyBackend(0), NETWORKS[name], dtype)
    assert_allclose(got, numpys(name, dtype), TOLERANCE[dtype], TOLERANCE[dtype])
    assert ("gemm BGRADA" in launches) == (dtype == "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("n", [1, 8, 17, 21])  # a batch of one row, alone or the last one, or none
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_products_that_cublaslt_faults_on_are_computed_by_steps(
    host_cupy: Machine, n_outputs: int, n: int, activation: str, dtype: str
) -> None:
    network = Network((8, 16, 8, n_outputs), (activation,) * 2)
    got, launches = with_launches(CupyBackend(0), network, dtype, rows=n)
    expected, _ = with_launches(NumpyBackend(), network, dtype, rows=n)
    assert_allclose(got, expected, TOLERANCE[dtype], TOLERANCE[dtype])
    assert host_cupy.faults == []
    # The delta below the layer of one output is a plain product; the one below that is not.
    fused = f"gemm {'DRELU' if activation == 'relu' else 'DGELU'}_BGRAD"
    assert launches[fused] == (1 if n_outputs == 1 else 2)


@pytest.mark.parametrize("status", [7, 8, 15])
@pytest.mark.parametrize("name", ["relu", "gelu", "no bias"])
def test_what_is_offered_and_yet_refused(
    host_cublas: StreamedCublas, name: str, status: int
) -> None:
    host_cublas.failing["cublasLtMatmul"] = status
    got, launches = with_launches(CupyBackend(0), NETWORKS[name], "float64")
    assert_allclose(got, numpys(name, "float64"), 1e-13, 1e-13)
    assert not any(launch.startswith("gemm ") for launch in launches)


RELU_FORWARD = {"gemm RELU_AUX_BIAS": 2, "gemm BIAS": 1}
GELU_FORWARD = {"gemm GELU_AUX_BIAS": 2, "gemm BIAS": 1}
ELSEWHERE = {"gather", "softmax_cross_entropy", "penalty", "nesterov", "advance"}


@pytest.mark.parametrize(
    ("activation", "offered", "expected"),
    [
        # Three layers: forward, then from the last one down the gradients and the delta below.
        (
            "relu",
            "all",
            RELU_FORWARD | {"gemm BGRADA": 1, "gemm DRELU_BGRAD": 2, "gemm": 2},
        ),
        (
            "gelu",
            "all",
            GELU_FORWARD | {"gemm BGRADA": 1, "gemm DGELU_BGRAD": 2, "gemm": 2},
        ),
        # Each layer has two products for its gradients, and all but the first one for a delta.
        ("relu", "nothing", {"gemm": 3 + 6 + 2, "add": 3, "relu": 2, "relu_delta": 2}),
        ("gelu", "BIAS", {"gemm BIAS": 3, "gemm": 6 + 2, "gelu": 2, "gelu_delta": 2}),
        # The delta is fused, but the gradient of the last bias has a product of its own.
        (
            "relu",
            "all but BGRADA",
            RELU_FORWARD | {"gemm DRELU_BGRAD": 2, "gemm": 3 + 1},
        ),
        (
            "relu",
            "all but the backward",
            RELU_FORWARD | {"gemm BGRADA": 3, "gemm": 2, "relu_delta": 2},
        ),
        # Without the bits of forward there is no delta by them; GELU's needs only Z.
        (
            "relu",
            "all but the forward",
            {"gemm BIAS": 3, "relu": 2, "gemm BGRADA": 3, "gemm": 2, "relu_delta": 2},
        ),
        (
            "gelu",
            "all but the forward",
            {"gemm BIAS": 3, "gelu": 2, "gemm BGRADA": 1, "gemm DGELU_BGRAD": 2, "gemm": 2},
        ),
    ],
)
def test_launches_of_a_step(
    host_cublas: StreamedCublas, activation: str, offered: str, expected: dict[str, int]
) -> None:
    host_cublas.offered = set(OFFERED[offered])
    network = Network((64, 128, 128, 10), (activation,) * 2)
    _, launches = with_launches(CupyBackend(0), network, "float32")
    assert launches == expected | dict.fromkeys(ELSEWHERE, 1)


def test_launches_of_a_step_without_biases() -> None:
    _, launches = with_launches(CupyBackend(0), NETWORKS["no bias"], "float32")
    activations = {"relu": 1, "gelu": 1, "relu_delta": 1, "gelu_delta": 1}
    assert launches == {"gemm": 8, **activations} | dict.fromkeys(ELSEWHERE, 1)


def test_launches_of_a_batch_in_parts() -> None:
    got, launches = with_launches(CupyBackend(0), NETWORKS["relu"], "float64", parts=2)
    assert_allclose(got, numpys("relu", "float64"), 1e-13, 1e-13)
    # The second part adds its gradients to those of the first, which no epilogue does.
    first = {"gemm RELU_AUX_BIAS": 2, "gemm BIAS": 1, "gemm BGRADA": 1, "gemm DRELU_BGRAD": 2}
    second = {"gemm RELU_AUX_BIAS": 4, "gemm BIAS": 2, "gemm": 2 + 8, "relu_delta": 2}
    each = {"gather": 2, "softmax_cross_entropy": 2}
    assert launches == dict.fromkeys(ELSEWHERE, 1) | first | second | each


@pytest.mark.parametrize("keep_Z", [False, True])
def test_a_pass_that_keeps_Z(keep_Z: bool) -> None:
    rng, network = np.random.RandomState(0), NETWORKS["relu"]
    theta, X = rng.normal(size=network.theta_size(np.dtype(float))), rng.normal(size=(5, 8))
    got = []
    for backend in (CupyBackend(0), NumpyBackend()):
        with backend.in_use(None, 0):
            views = network.views(backend.asarray(theta))
            gradient = backend.zeros(theta.shape, float)
            work = Workspace(backend, network, 5, np.dtype(float), keep_Z=keep_Z)

            def step(backend: Backend = backend, work: Workspace = work, of: Any = views) -> None:
                forward(backend, network, of, work)

            work.X = backend.asarray(X)
            recording = backend.record(step)
            recording()
            work.deltas[-1][...] = 1.0
            backward(backend, network, views, network.views(gradient), work)
            arrays = [*work.Zs, *work.As, gradient]
            got.append([np.array(backend.to_numpy(array)) for array in arrays])
            if backend.name != "cpu":
                apart = {"gemm BIAS": 3, "relu": 2}
                assert recording.launches == (apart if keep_Z else RELU_FORWARD)
    for ours, theirs in zip(*got, strict=True):
        assert_allclose(ours, theirs, 1e-13, 1e-13)


def test_inference_has_the_epilogues_of_forward(host_cupy: Machine) -> None:
    rng, network = np.random.RandomState(0), NETWORKS["both"]
    theta, X = rng.normal(size=network.theta_size(np.dtype(float))), rng.normal(size=(9, 4))
    outputs = []
    for backend in (CupyBackend(0), NumpyBackend()):
        with backend.in_use(None, 0):
            views = network.views(backend.asarray(theta))
            loss = LOSSES["softmax_cross_entropy"]
            outputs.append(infer(backend, network, loss, views, X))
    assert_allclose(*outputs, 1e-13)
    assert (host_cupy.issued["gemm_lt"], host_cupy.issued["gemm"]) == (4, 0)


def test_a_mask_lives_as_long_as_its_activations(host_cupy: Machine) -> None:
    backend, network = CupyBackend(0), NETWORKS["relu"]
    used = host_cupy.used[0]
    with backend.in_use(None, 0):
        for _ in range(2):
            work = Workspace(backend, network, 5, np.dtype(float))
            theta = backend.zeros((network.theta_size(np.dtype(float)),), float)
            work.X[...] = 1.0
            without_masks = host_cupy.used[0]
            forward(backend, network, network.views(theta), work)
            assert host_cupy.used[0] > without_masks
            backend.synchronize()
            del work, theta
            gc.collect()
            assert host_cupy.used[0] == used
