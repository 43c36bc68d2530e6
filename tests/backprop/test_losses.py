"""The losses are what they are called: scikit-learn's numbers, quantiles, and their limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import huber as huber_of
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_poisson_deviance
from sklearn.neural_network import MLPRegressor
from sklearn.neural_network._base import poisson_loss

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES, Loss, make_loss, smoothed
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD, Adam
from gpubp.kernels.elementwise import Elementwise
from gpubp.training.batches import Batches
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.inference import infer
from gpubp.training.trainer import Trainer
from tests.backends import small_training


def evaluate(
    loss: Loss, Z: np.ndarray, Y: np.ndarray, share: Any = 1.0, backend: Backend | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of the rows (…, n) and delta, on the host."""
    backend = backend or NumpyBackend()
    row_losses, delta = backend.zeros(Z.shape[:-1], np.float64), backend.empty(Z.shape, Z.dtype)
    if np.ndim(share):
        share = backend.asarray(share)
    loss.evaluate(backend, backend.asarray(Z), backend.asarray(Y), share, row_losses, delta)
    return backend.to_numpy(row_losses), backend.to_numpy(delta)


def trainer_of(
    loss: Loss,
    network: Network,
    X: np.ndarray,
    Y: np.ndarray,
    *,
    rate: float = 0.1,
    optimizer: Any = None,
    weights: np.ndarray | None = None,
) -> Trainer:
    """Return a trainer on full batches, from scikit-learn's initial weights of seed 3."""
    backend = NumpyBackend()
    theta = network.initial_theta(np.random.RandomState(3), X.dtype)
    batches, state = Batches(backend, X, Y, len(X), weights), OptimizerState(rate)
    optimizer = optimizer or SGD(0.0, nesterov=False)
    return small_training.trainer_of(backend, network, loss, optimizer, theta, batches, state=state)


def counts(rng: np.random.RandomState, *shape: int) -> np.ndarray:
    Y = rng.poisson(2.0, shape).astype(float)
    assert (Y == 0).any()
    return Y


# ---- Poisson ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_poisson_loss_is_scikit_learns(backend: Backend, n_outputs: int, weighted: bool) -> None:
    rng = np.random.RandomState(0)
    Z, Y = rng.normal(0, 2, (50, n_outputs)), counts(rng, 50, n_outputs)
    weights = rng.uniform(0, 2, 50) if weighted else None
    share = 1 / 50 if weights is None else weights / weights.sum()
    got, delta = evaluate(LOSSES["poisson"], Z, Y, share, backend)
    assert_allclose(got.sum(), poisson_loss(Y, np.exp(Z), weights), rtol=1e-12)
    if n_outputs == 1:  # half the deviance
        deviance = mean_poisson_deviance(Y, np.exp(Z), sample_weight=weights)
        assert_allclose(got.sum(), deviance / 2, rtol=1e-12)
    assert_allclose(delta, (np.exp(Z) - Y) * np.reshape(share, (-1, 1)), rtol=1e-12, atol=1e-15)
    outputs = backend.empty(Z.shape, Z.dtype)
    LOSSES["poisson"].predict(backend, backend.asarray(Z), outputs)
    assert_allclose(backend.to_numpy(outputs), np.exp(Z), rtol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_step_on_the_poisson_loss_is_scikit_learns(n_outputs: int, weighted: bool) -> None:
    rng = np.random.RandomState(1)
    X, Y = rng.normal(size=(40, 3)), counts(rng, 40, n_outputs)
    weights = rng.uniform(0, 2, 40) if weighted else None
    reference = MLPRegressor(
        "poisson", (5,), "tanh", solver="sgd", momentum=0.0, alpha=0.0, batch_size=40,
        learning_rate_init=0.1, random_state=3,
    )  # fmt: skip
    targets = Y[:, 0] if n_outputs == 1 else Y
    reference.partial_fit(X, targets, sample_weight=weights)
    network = Network((3, 5, n_outputs), ("tanh",))
    trainer = trainer_of(LOSSES["poisson"], network, X, Y, weights=weights)
    assert_allclose(trainer.epoch(np.arange(40)), reference.loss_, rtol=1e-12)
    Ws, bs = network.unpack(trainer.theta)
    for got, wanted in zip(Ws + bs, reference.coefs_ + reference.intercepts_, strict=True):
        assert_allclose(got, wanted, rtol=1e-11, atol=1e-13)
    assert reference.out_activation_ == trainer.loss.output
    outputs = infer(trainer.backend, network, trainer.loss, trainer.parameters, X)
    assert_allclose(outputs, reference.predict(X).reshape(outputs.shape), rtol=1e-11)


def test_poisson_loss_of_large_counts_that_are_nearly_right() -> None:
    """y = 10^6 predicted at log(y) + 10^-3: y d^2 / 2 = 0.5, of terms that float32 rounds by 0.1"""
    Y = np.full((1, 1), 1e6, np.float32)
    Z = np.log(Y) + np.float32(2**-10)
    excess = float(Z[0, 0]) - math.log(1e6)
    got, _ = evaluate(LOSSES["poisson"], Z, Y)
    assert_allclose(got, 1e6 * (math.expm1(excess) - excess), rtol=2e-3)


def test_poisson_loss_at_the_ends() -> None:
    Z, Y = np.array([[-800.0], [-800.0], [0.0], [0.0]]), np.array([[0.0], [2.0], [0.0], [-1.0]])
    with np.errstate(all="ignore"):
        got, delta = evaluate(LOSSES["poisson"], Z, Y)
    assert_allclose(got, [0, 2 * math.log(2) + 1600 - 2, 1, np.nan], rtol=1e-14)
    assert_array_equal(delta, [[0], [-2], [1], [2]])


def test_a_zero_count_warns_of_nothing() -> None:
    got, _ = evaluate(LOSSES["poisson"], np.zeros((3, 1)), np.zeros((3, 1)))
    assert_array_equal(got, 1)


# ---- absolute error, quantiles, Huber ----------------------------------------------------------


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_pinball_losses_are_scikit_learns_metrics(backend: Backend, n_outputs: int) -> None:
    rng = np.random.RandomState(0)
    Z, Y = rng.normal(size=(2, 50, n_outputs))
    got, _ = evaluate(LOSSES["absolute_error"], Z, Y, 1 / 50, backend)
    assert_allclose(got.sum(), mean_absolute_error(Y, Z), rtol=1e-13)
    for level in (0.1, 0.5, 0.99):
        got, _ = evaluate(make_loss("quantile", quantile=level), Z, Y, 1 / 50, backend)
        assert_allclose(got.sum(), mean_pinball_loss(Y, Z, alpha=level), rtol=1e-13)


@pytest.mark.parametrize("name", ["absolute_error", "quantile"])
def test_slope_is_zero_where_the_prediction_is_right(name: str) -> None:
    got, delta = evaluate(LOSSES[name], np.array([[1.0], [2.0], [3.0]]), np.full((3, 1), 2.0))
    weight = 1 if name == "absolute_error" else 0.5
    assert_array_equal(got, [weight, 0, weight])
    assert_array_equal(delta, [[-weight], [0], [weight]])


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_the_best_constant_is_the_quantile(level: float) -> None:
    y = np.random.RandomState(0).gamma(2, size=21)  # level x 21 is no whole number
    Z = np.repeat(y[:, None, None], len(y), axis=1)  # each y as the constant for all rows
    Y = np.broadcast_to(y[:, None], Z.shape)
    losses, _ = evaluate(make_loss("quantile", quantile=level), Z, Y)
    best = y[losses.sum(axis=1).argmin()]
    assert best == np.quantile(y, level, method="inverted_cdf")


@pytest.mark.parametrize("lead", [(), (2,)])
def test_several_levels_equal_each_alone(backend: Backend, lead: tuple[int, ...]) -> None:
    rng, levels = np.random.RandomState(0), (0.1, 0.5, 0.75)
    Z, Y = rng.normal(size=(*lead, 20, 6)), rng.normal(size=(*lead, 20, 2))
    share = rng.uniform(size=(*lead, 20))
    together = make_loss("quantile", quantile=levels)
    losses, delta = evaluate(together, Z, Y, share, backend)
    assert together.outputs_per_target == 3
    alone = [
        evaluate(
            make_loss("quantile", quantile=level), Z[..., 2 * k : 2 * k + 2], Y, share, backend
        )
        for k, level in enumerate(levels)
    ]
    assert_allclose(losses, np.mean([value for value, _ in alone], axis=0), rtol=1e-13)
    assert_allclose(delta, np.concatenate([d for _, d in alone], axis=-1) / 3, rtol=1e-13)


def test_a_network_learns_several_quantiles() -> None:
    rng, levels = np.random.RandomState(0), [0.1, 0.5, 0.9]
    X, y = np.ones((200, 1)), rng.normal(size=200)
    network, loss = Network((1, 3), ()), make_loss("quantile", quantile=levels)
    trainer = trainer_of(loss, network, X, y[:, None], optimizer=Adam(), rate=0.05)
    for epoch in range(300):
        trainer.state.rate = 0.05 / (1 + epoch / 30)
        trainer.epoch(np.arange(200))
    outputs = infer(trainer.backend, network, loss, trainer.parameters, X[:1])
    below = (y < outputs.T).mean(axis=1)
    assert_allclose(below, levels, atol=0.015)


def test_levels_that_do_not_fit_the_outputs_are_refused() -> None:
    loss = make_loss("quantile", quantile=[0.1, 0.9])
    with pytest.raises(ValueError, match="3 outputs, but 1 targets with 2 levels need 2"):
        evaluate(loss, np.zeros((4, 3)), np.zeros((4, 1)))


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_huber_lies_between_the_squared_and_the_absolute_error(
    backend: Backend, delta: float
) -> None:
    rng = np.random.RandomState(0)
    Z, Y = rng.normal(0, 2, (2, 100, 1))
    errors = (Z - Y)[:, 0]
    loss = make_loss("huber", delta=delta)
    got, slopes = evaluate(loss, Z, Y, backend=backend)
    assert_allclose(got, huber_of(delta, errors), rtol=1e-13)
    squared, squared_slopes = evaluate(LOSSES["squared_error"], Z, Y, backend=backend)
    absolute, absolute_slopes = evaluate(LOSSES["absolute_error"], Z, Y, backend=backend)
    small = abs(errors) <= delta
    assert 0 < small.sum() < 100
    assert_allclose(got[small], squared[small], rtol=1e-13)
    assert_array_equal(slopes[small], squared_slopes[small])
    assert_allclose(got[~small], delta * (absolute[~small] - delta / 2), rtol=1e-13)
    assert_array_equal(slopes[~small], delta * absolute_slopes[~small])


# ---- distributions as targets ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [1, 60])  # 60: far beyond what is reported
def test_one_hot_rows_equal_classes(backend: Backend, spread: float, dtype: Any) -> None:
    rng = np.random.RandomState(0)
    Z, y = rng.normal(0, spread, (100, 4)).astype(dtype), rng.randint(4, size=100).astype(np.int32)
    hot = np.eye(4, dtype=dtype)[y]
    rows, delta = evaluate(LOSSES["soft_cross_entropy"], Z, hot, 0.01, backend)
    index, wanted = evaluate(LOSSES["softmax_cross_entropy"], Z, y, 0.01, backend)
    eps = np.finfo(dtype).eps
    assert_allclose(rows, index, rtol=4 * eps)
    assert_allclose(delta, wanted, rtol=4 * eps, atol=0.01 * eps)
    assert (rows > -0.01 * math.log(eps) * 0.999).any() == (spread == 60)


def test_smoothed_classes_are_learned_as_a_distribution(backend: Backend) -> None:
    """The loss of p = y is the entropy of y, its least value, where delta is 0."""
    hot = np.eye(3)
    Y = smoothed(hot, 0.3, choices=3)
    assert_allclose(Y, [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    got, delta = evaluate(LOSSES["soft_cross_entropy"], np.log(Y) + 5, Y, backend=backend)
    assert_allclose(got, -(Y * np.log(Y)).sum(axis=1), rtol=1e-14)
    assert_allclose(delta, 0, atol=1e-15)


def test_smoothed_yes_and_no() -> None:
    Y = smoothed(np.array([[0, 1]], np.float32), np.float64(0.2), choices=2)
    assert_allclose(Y, [[0.1, 0.9]], rtol=1e-6)
    assert Y.dtype == np.float32
    Z = np.log(Y / (1 - Y))
    _, delta = evaluate(LOSSES["sigmoid_cross_entropy"], Z, Y)
    assert_allclose(delta, 0, atol=1e-7)


@pytest.mark.parametrize("smoothing", [-0.1, 1, 1.5, math.nan, "0.1", None, True])
def test_smoothing_that_cannot_be_is_refused(smoothing: Any) -> None:
    with pytest.raises(ValueError, match="label smoothing must be a number from 0 up to"):
        smoothed(np.eye(2), smoothing, choices=2)


# ---- losses by name ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_without_parameters_is_its_entry(name: str) -> None:
    assert make_loss(name) is LOSSES[name]


def test_parameters_are_set() -> None:
    assert make_loss("huber", delta=2).parameters == (2.0,)
    assert make_loss("huber", delta=np.float32(2)).parameters == (2.0,)
    assert make_loss("quantile", quantile=0.25).parameters == (0.25, 0.75)
    for levels in ([0.25, 0.5], (0.25, 0.5), np.array([0.25, 0.5])):
        assert make_loss("quantile", quantile=levels).parameters == (0.25, 0.75, 0.5, 0.5)
    assert LOSSES["huber"].parameters == (1.0,)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("no_such_loss", {}, r"loss must be one of \['absolute_error', .*\], got 'no_such_loss'"),
        ("huber", {"quantile": 0.5}, "'huber' has no parameter 'quantile'; it takes only 'delta'"),
        ("poisson", {"delta": 1.0}, "'poisson' has no parameter 'delta'; it takes none"),
        *(
            ("huber", {"delta": delta}, "delta must be a finite number above 0, got ")
            for delta in (0, -1.0, math.inf, math.nan, 10**400, True, "1", None, [1.0])
        ),
        *(
            ("quantile", {"quantile": level}, "quantile must be a number between 0 and 1, or a ")
            for level in (0, 1, 1.5, math.nan, True, "0.5", None, [], [0.5, 1.0], [[0.5]], {})
        ),
    ],
)
def test_a_loss_that_cannot_be_is_refused(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_loss(name, **parameters)


@pytest.mark.parametrize("name", LOSSES)
def test_networks_may_share_their_targets_on_the_host(name: str) -> None:
    rng, loss = np.random.RandomState(0), LOSSES[name]
    Z = rng.normal(size=(4, 5, 3))
    Y = rng.randint(2, size=(5, 3)) * 1.0
    Y = Y.argmax(axis=1).astype(np.int32) if loss.targets == "index" else Y
    shared = evaluate(loss, Z, Y)
    own = evaluate(loss, Z, np.repeat(Y[None], 4, axis=0))
    for got, wanted in zip(shared, own, strict=True):
        assert_array_equal(got, wanted)


# ---- a loss of one's own -----------------------------------------------------------------------


def _log_cosh(
    np: Any, Z: Any, Y: Any, n_outputs: int, share: Any, row_losses: Any, delta: Any
) -> None:
    value, row_value = np.empty_like(Z), np.empty(Z.shape[:-1], Z.dtype)
    np.subtract(Z, Y, out=value)
    np.tanh(value, out=delta)
    np.multiply(delta, share, out=delta)
    np.cosh(value, out=value)
    np.log(value, out=value)
    np.sum(value, axis=-1, out=row_value)
    np.multiply(row_value, share, out=row_value)
    np.add(row_losses, row_value, out=row_losses)


LOG_COSH = Elementwise(
    name="log_cosh",
    inputs="raw T Z, raw T Y, int32 n_outputs, T share",
    outputs="float64 row_losses, raw T delta",
    body="",
    numpy=_log_cosh,
)


def test_a_loss_of_ones_own_trains() -> None:
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2))
    y = X @ [1.0, -2.0] + 0.5
    loss = Loss("log_cosh", LOG_COSH, "numbers", "identity", "log(cosh(prediction - target))")
    network = Network((2, 1), ())
    trainer = trainer_of(loss, network, X, y[:, None], optimizer=SGD(0.9))
    start = infer(trainer.backend, network, loss, trainer.parameters, X)[:, 0]
    losses = [trainer.epoch(np.arange(60)) for _ in range(200)]
    assert_allclose(losses[0], np.log(np.cosh(start - y)).mean(), rtol=1e-12)
    assert losses[-1] < 1e-8
    Ws, bs = network.unpack(trainer.theta)
    assert_allclose([*Ws[0][:, 0], *bs[0]], [1, -2, 0.5], atol=1e-3)
