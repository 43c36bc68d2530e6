from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neural_network import MLPClassifier

from gpubp.backends.protocol import ALIGNMENT, Backend
from gpubp.backprop.losses import LOSSES, Loss
from gpubp.backprop.network import Network, Workspace, forward
from gpubp.kernels.activations import ACTIVATIONS
from tests.backprop.gradients import central_differences, gradient

SIZES = (3, 4, 5, 3)
ROWS = 6
LEADS: dict[str, tuple[int, ...]] = {"one": (), "own X": (2,), "shared X": (2,)}
KINKS = (0.0,)  # where an activation may have no derivative
# Where a loss has none, or its slope has none, in prediction - target.
LOSS_KINKS = {"absolute_error": (0.0,), "quantile": (0.0,), "huber": (-1.0, 1.0)}
# Each activation and each loss; one knows of the other only the deltas between them.
KINDS = [(activation, "softmax_cross_entropy") for activation in ACTIVATIONS]
KINDS += [("gelu", loss) for loss in LOSSES if loss != "softmax_cross_entropy"]
KINK_DISTANCE = 1e-4
DTYPES = (np.float32, np.float64)


def _draw_targets(rng: np.random.RandomState, loss: Loss, lead: tuple[int, ...]) -> np.ndarray:
    if loss.targets == "index":
        return rng.randint(SIZES[-1], size=(*lead, ROWS)).astype(np.int32)
    return rng.uniform(size=(*lead, ROWS, SIZES[-1]))


def _targets_off_kinks(rng: np.random.RandomState, loss: Loss, logits: np.ndarray) -> np.ndarray:
    kinks = LOSS_KINKS.get(loss.name, ())
    for _ in range(100):
        Y = _draw_targets(rng, loss, logits.shape[:-2])
        if all(np.abs(logits - Y - kink).min() > KINK_DISTANCE for kink in kinks):
            return Y
    raise AssertionError("every one of 100 draws has a point near a kink of the loss")


def _Zs(backend: Backend, network: Network, theta: np.ndarray, X: np.ndarray) -> list[np.ndarray]:
    work = Workspace(backend, network, ROWS, theta.dtype, lead=theta.shape[:-1], keep_Z=True)
    work.X = backend.asarray(X)
    forward(backend, network, network.views(backend.asarray(theta)), work)
    return [backend.to_numpy(Z) for Z in work.Zs]


def _draw_off_kinks(
    backend: Backend,
    network: Network,
    loss: Loss,
    rng: np.random.RandomState,
    X_axes: tuple[int, ...],
    axes: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, theta and targets with no Z near a kink of an activation, nor an error near the loss's."""
    size = network.theta_size(np.dtype(np.float64))
    for _ in range(100):
        X = rng.normal(size=(*X_axes, ROWS, SIZES[0]))
        # Scaled so that no reported loss is clipped, where its slope would be 0.
        theta = rng.normal(scale=0.6, size=(*axes, size))
        *hidden, logits = _Zs(backend, network, theta, X)
        Z = np.concatenate([Z.ravel() for Z in hidden])
        if np.abs(Z[:, None] - KINKS).min() >= KINK_DISTANCE:
            return X, theta, _targets_off_kinks(rng, loss, logits)
    raise AssertionError("every one of 100 draws has a point near a kink")


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "loss_name"), KINDS)
def test_gradient_equals_central_differences(
    backend: Backend, activation: str, loss_name: str, bias: bool, lead: str
) -> None:
    loss = LOSSES[loss_name]
    network = Network(SIZES, (activation,) * (len(SIZES) - 2), bias)
    axes, rng = LEADS[lead], np.random.RandomState(0)
    X_axes = axes if lead == "own X" else ()
    X, theta, Y = _draw_off_kinks(backend, network, loss, rng, X_axes, axes)
    weights = rng.uniform(size=ROWS)
    share = backend.asarray(weights / weights.sum()) if axes else 1 / ROWS
    got = gradient(backend, network, loss, theta, X, Y, share)
    # The padding of theta is perturbed too, and has to have the gradient 0.
    wanted = np.array(
        [
            central_differences(
                backend, network, loss, theta[p], X[p] if X_axes else X, Y[p], share
            )
            for p in np.ndindex(axes)
        ]
    ).reshape(theta.shape)
    assert np.count_nonzero(wanted) > 0.5 * network.n_parameters * np.prod(axes)
    errors = np.abs(got - wanted) / np.maximum(1, np.abs(got))
    assert float(errors.max()) <= 1e-7


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_leading_axis_equals_networks_one_by_one(backend: Backend, activation: str) -> None:
    network = Network(SIZES, (activation,) * (len(SIZES) - 2))
    loss, rng = LOSSES["softmax_cross_entropy"], np.random.RandomState(1)
    thetas = rng.normal(size=(3, network.theta_size(np.dtype(np.float64))))
    X, Y = rng.normal(size=(3, ROWS, SIZES[0])), _draw_targets(rng, loss, (3,))
    one_by_one = [
        gradient(backend, network, loss, *case, 1 / ROWS) for case in zip(thetas, X, Y, strict=True)
    ]
    together = gradient(backend, network, loss, thetas, X, Y, 1 / ROWS)
    assert_allclose(together, one_by_one, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_keeping_Z_changes_no_numbers(backend: Backend, activation: str) -> None:
    network = Network(SIZES, (activation,) * 2)
    rng, dtype = np.random.RandomState(2), np.dtype(np.float64)
    parameters = network.views(backend.asarray(network.initial_theta(rng, dtype)))
    X = backend.asarray(rng.normal(size=(ROWS, SIZES[0])))
    kept, lean = (
        Workspace(backend, network, ROWS, dtype, deltas=False, keep_Z=keep)
        for keep in (True, False)
    )
    for work in (kept, lean):
        work.X = X
        forward(backend, network, parameters, work)
    W, b = (backend.to_numpy(part) for part in (parameters.Ws[0], parameters.bs[0]))
    assert_allclose(backend.to_numpy(kept.Zs[0]), backend.to_numpy(X) @ W + b, rtol=1e-13)
    for A, wanted in zip(kept.As, lean.As, strict=True):
        assert_array_equal(backend.to_numpy(A), backend.to_numpy(wanted))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_theta_holds_weights_then_biases_each_on_a_boundary(bias: bool, dtype: Any) -> None:
    network, dtype = Network((5, 33, 2), ("relu",), bias), np.dtype(dtype)
    theta = np.arange(network.theta_size(dtype), dtype=dtype)
    parameters = network.views(theta)
    biases = [b for b in parameters.bs if b is not None]
    starts = [int(view.flat[0]) for view in (*parameters.Ws, *biases)]
    assert starts == sorted(starts)
    assert all(start * dtype.itemsize % ALIGNMENT == 0 for start in starts)
    assert all(W.max() < network.n_weights(dtype) for W in parameters.Ws)
    assert all(b.min() >= network.n_weights(dtype) for b in biases)
    assert len(biases) == 2 * bias
    assert sum(view.size for view in (*parameters.Ws, *biases)) == network.n_parameters
    assert theta.nbytes % ALIGNMENT == 0
    assert [W.shape for W in parameters.Ws] == list(pairwise(network.sizes))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_unpack_gives_copies_of_what_was_packed(bias: bool, dtype: Any) -> None:
    network, rng = Network((5, 7, 2), ("relu",), bias), np.random.RandomState(0)
    Ws = [rng.normal(size=shape).astype(dtype) for shape in pairwise(network.sizes)]
    bs = [rng.normal(size=h).astype(dtype) for h in network.sizes[1:]]
    theta = network.pack(Ws, bs, np.dtype(dtype))
    assert theta.dtype == dtype
    assert np.count_nonzero(theta) == network.n_parameters  # the padding is zero
    got_Ws, got_bs = network.unpack(theta)
    theta[...] = np.nan
    for got, wanted in zip(got_Ws + got_bs, Ws + bs, strict=True):
        assert got.dtype == dtype
        assert_array_equal(got, wanted if bias or wanted.ndim == 2 else np.zeros_like(wanted))


def test_views_over_leading_axes_are_views() -> None:
    network = Network((2, 3), ())
    theta = np.zeros((4, 2, network.theta_size(np.dtype(np.float64))))
    parameters = network.views(theta)
    parameters.Ws[0][1, 0, 1, 2] = 7
    assert parameters.Ws[0].shape == (4, 2, 2, 3)
    assert theta[1, 0, 5] == 7
    b = parameters.bs[0]
    assert b is not None
    assert b.shape == (4, 2, 3)
    assert np.shares_memory(b, theta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_initial_theta_is_what_scikit_learn_draws(activation: str, dtype: Any) -> None:
    network = Network((5, 7, 4, 2), (activation,) * 2)
    reference = MLPClassifier(activation=activation)
    reference._random_state = np.random.RandomState(3)
    drawn = [reference._init_coef(d, h, dtype) for d, h in pairwise(network.sizes)]
    Ws, bs = network.unpack(network.initial_theta(np.random.RandomState(3), np.dtype(dtype)))
    for W, b, (coef, intercept) in zip(Ws, bs, drawn, strict=True):
        assert_array_equal(W, coef, strict=True)
        assert_array_equal(b, intercept, strict=True)


def test_initial_theta_of_networks_without_biases_or_hidden_layers() -> None:
    dtype = np.dtype(np.float64)
    rng = np.random.RandomState(3)
    wanted = rng.uniform(-1, 1, (2, 4))  # sqrt(6 / (2 + 4)) = 1
    for bias in (True, False):
        theta = Network((2, 4), (), bias).initial_theta(np.random.RandomState(3), dtype)
        assert_array_equal(theta[:8].reshape(2, 4), wanted)
        assert np.count_nonzero(theta) == 8 + 4 * bias


@pytest.mark.parametrize(
    ("sizes", "activations", "message"),
    [
        ((3,), (), "two or more layers"),
        ((3, 0, 2), ("relu",), "1 or more units"),
        ((3, 2), ("relu",), r"0 for sizes \(3, 2\), got \('relu',\)"),
        (
            (3, 4, 4, 2),
            ("relu",),
            "per hidden layer, 2 for .*; that of the outputs follows from loss",
        ),
        ((3, 4, 2), ("Relu",), "must be one of .*'relu'.*, got 'Relu'; did you mean 'relu'"),
        ((3, 4, 2), ("sigmoid",), "got 'sigmoid'; did you mean 'logistic'"),
    ],
)
def test_a_network_that_cannot_be_is_refused(
    sizes: tuple[int, ...], activations: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Network(sizes, activations)


@pytest.mark.parametrize("activation", ["relu", "gelu"])  # Z is A, and Z is kept beside A
@pytest.mark.parametrize("lead", [(), (2,)])
def test_fewer_rows_use_the_same_memory(
    backend: Backend, lead: tuple[int, ...], activation: str
) -> None:
    network = Network(SIZES, (activation,) * 2)
    whole = Workspace(backend, network, ROWS, np.dtype(np.float64), lead=lead)
    part = whole.first(2)
    assert part.n_rows == 2
    assert part.ones.shape == (*lead, 1, 2)
    for few, many in zip(
        [part.X, *part.As, *part.Zs, *part.deltas],
        [whole.X, *whole.As, *whole.Zs, *whole.deltas],
        strict=True,
    ):
        many[...] = 0
        few[...] = 1
        assert few.shape == (*lead, 2, many.shape[-1])
        assert few.flags.c_contiguous
        assert float(many.sum()) == few.size
    assert [Z is A for Z, A in zip(part.Zs, part.As, strict=True)] == [
        Z is A for Z, A in zip(whole.Zs, whole.As, strict=True)
    ]
