from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import shuffle

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import ALIGNMENT, Backend, Recording, Step, Unrecorded
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import SGD, Adam, Optimizer
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.training.batches import Batches
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.history import Epoch, History, ValidationResult
from gpubp.training.loop import check_memory, train
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer
from tests.backends.small_training import trainer_of

NETWORK = Network((3, 5, 4, 3), ("tanh", "tanh"))
BATCH = 8
ROWS = [24, 25, 31]  # n % batch = 0, 1 and batch - 1
RECIPE = Recipe(epochs=4, learning_rate=0.1)


def _data(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, classes, and a weight for each row."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n, 3))
    return X, X.argmax(axis=1).astype(np.int32), rng.uniform(0.1, 2, n)


def _theta(network: Network = NETWORK, dtype: Any = np.float64) -> np.ndarray:
    return network.initial_theta(np.random.RandomState(1), np.dtype(dtype))


def _trainer(
    backend: Backend,
    n: int = 25,
    *,
    rate: float = 0.1,
    X: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    optimizer: Optimizer | None = None,
    **options: Any,
) -> Trainer:
    own_X, y, _ = _data(n)
    batches = Batches(backend, own_X if X is None else X, y, BATCH, weights)
    loss, state = LOSSES["softmax_cross_entropy"], OptimizerState(rate)
    optimizer = optimizer or SGD()
    return trainer_of(backend, NETWORK, loss, optimizer, _theta(), batches, state=state, **options)


def _train(trainer: Trainer, recipe: Recipe = RECIPE, **options: Any) -> History:
    return train(trainer, recipe, np.random.RandomState(2), History(), **options)


def _host(trainer: Trainer) -> np.ndarray:
    return np.array(trainer.backend.to_numpy(trainer.theta))


def _reference(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, alpha: float, rate: float
) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    """Weights, biases and losses after four epochs, by the textbook: tanh layers, softmax,
    cross-entropy, L2 penalty, SGD with Nesterov's momentum."""
    Ws, bs = NETWORK.unpack(_theta())
    velocities = [np.zeros_like(p) for p in Ws + bs]
    rng, order, losses = np.random.RandomState(2), np.arange(len(X)), []
    for _ in range(4):
        order, loss = shuffle(order, random_state=rng), 0.0
        for start in range(0, len(X), BATCH):
            rows = order[start : start + BATCH]
            share = weights[rows] / weights[rows].sum()
            A = [X[rows]]
            for W, b in zip(Ws[:-1], bs[:-1], strict=True):
                A.append(np.tanh(A[-1] @ W + b))
            e = np.exp(A[-1] @ Ws[-1] + bs[-1])
            P, T = e / e.sum(axis=1, keepdims=True), np.eye(3)[y[rows]]
            penalty = 0.5 * alpha * sum((W**2).sum() for W in Ws) / weights[rows].sum()
            loss += len(rows) * (-share @ np.log((P * T).sum(axis=1)) + penalty)
            delta, dWs, dbs = share[:, None] * (P - T), [], []
            for W, below in zip(Ws[::-1], A[::-1], strict=True):
                dWs.insert(0, below.T @ delta + alpha * W / weights[rows].sum())
                dbs.insert(0, delta.sum(axis=0))
                delta = delta @ W.T * (1 - below**2)
            for p, g, v in zip(Ws + bs, dWs + dbs, velocities, strict=True):
                np.subtract(0.9 * v, rate * g, out=v)
                np.add(p, 0.9 * v - rate * g, out=p)
        losses.append(loss / len(X))
    return Ws, bs, losses


def test_epochs_shuffle_as_scikit_learn_does(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, orders = _trainer(NumpyBackend()), []
    epoch = trainer.epoch
    monkeypatch.setattr(trainer, "epoch", lambda order, *a: orders.append([*order]) or epoch(order))
    ours, theirs, wanted = np.random.RandomState(2), np.random.RandomState(2), np.arange(25)
    train(trainer, RECIPE, ours, History())
    for order in orders:  # each epoch shuffles the order of the one before
        wanted = shuffle(wanted, random_state=theirs)
        assert_array_equal(order, wanted)
    assert len(orders) == RECIPE.epochs
    assert ours.randint(1 << 30) == theirs.randint(1 << 30)


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("weighted", [False, True])
def test_training_equals_the_textbook_loop(backend: Backend, n: int, weighted: bool) -> None:
    X, y, weights = _data(n)
    if not weighted:
        weights = np.ones(n)
    trainer = _trainer(backend, n, weights=weights if weighted else None, alpha=0.1)
    history = _train(trainer)
    Ws, bs, losses = _reference(X, y, weights, alpha=0.1, rate=0.1)
    theta = _host(trainer)
    got_Ws, got_bs = NETWORK.unpack(theta)
    for got, wanted in zip(got_Ws + got_bs, Ws + bs, strict=True):
        assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
    assert_allclose(history.losses, losses, rtol=1e-11)
    assert np.count_nonzero(theta) == NETWORK.n_parameters  # the padding is still zero
    assert (history.epochs, history.samples, history.stopped_by) == (4, 4 * n, "max_epochs")
    assert trainer.state.updates == 4 * -(-n // BATCH)


class _Unrecorded(NumpyBackend):
    """The same arithmetic, with no tape in it."""

    def record(self, step: Step) -> Recording:
        return Unrecorded(step, {})


ADAM = Adam()
RECORDED = [(activation, loss, ADAM) for activation in ACTIVATIONS for loss in LOSSES]
RECORDED += [("tanh", "squared_error", o) for o in (SGD(), SGD(nesterov=False), SGD(momentum=0.0))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("activation", "loss_name", "optimizer"), RECORDED)
def test_a_recorded_step_gives_the_bits_of_an_unrecorded_one(
    activation: str, loss_name: str, optimizer: Optimizer, dtype: Any
) -> None:
    network, loss = Network((3, 5, 2), (activation,)), LOSSES[loss_name]
    X, y, weights = _data(9)
    Y = (y > 0).astype(np.int32) if loss.targets == "index" else np.abs(X[:, :2]).astype(dtype)
    results = []
    for backend in (NumpyBackend(), _Unrecorded()):
        batches = Batches(backend, X.astype(dtype), Y, 4, weights)
        state, theta = OptimizerState(0.01), _theta(network, dtype)
        trainer = trainer_of(
            backend, network, loss, optimizer, theta, batches, alpha=0.1, state=state
        )
        history = _train(trainer)
        results.append((_host(trainer), history.losses, trainer.host_state().vectors))
    (theta, losses, vectors), (wanted, wanted_losses, wanted_vectors) = results
    assert not np.array_equal(theta, _theta(network, dtype))
    assert_array_equal(theta, wanted, strict=True)
    assert losses == wanted_losses
    assert_array_equal(vectors, wanted_vectors)


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=str)
def test_one_seed_gives_one_model_bit_for_bit(backend: Backend, optimizer: Optimizer) -> None:
    first, second = (_trainer(backend, optimizer=optimizer, alpha=0.1) for _ in range(2))
    assert _train(first).losses == _train(second).losses
    assert_array_equal(_host(first), _host(second))


def test_the_arrays_of_the_caller_are_left_as_they_were(backend: Backend) -> None:
    X, y, _ = _data(9)
    theta, vectors = _theta(), (np.ones_like(_theta()),)
    before = [a.copy() for a in (X, y, theta, *vectors)]
    batches = Batches(backend, X, y, BATCH)
    state, loss = OptimizerState(0.1, 3, vectors), LOSSES["softmax_cross_entropy"]
    trainer = trainer_of(backend, NETWORK, loss, SGD(), theta, batches, state=state)
    _train(trainer)
    for got, wanted in zip((X, y, theta, *vectors), before, strict=True):
        assert_array_equal(got, wanted)
    assert not np.array_equal(trainer.host_state().vectors[0], vectors[0])


def test_what_the_optimizer_reads_lies_on_a_boundary() -> None:
    state = OptimizerState(0.1, 1, (_theta(),))
    X, y, _ = _data(9)
    batches = Batches(NumpyBackend(), X, y, BATCH)
    loss = LOSSES["softmax_cross_entropy"]
    trainers = [
        trainer_of(NumpyBackend(), NETWORK, loss, SGD(), _theta(), batches, state=state)
        for _ in range(8)  # NumPy's own arrays hit a boundary by chance
    ]
    for trainer in trainers:
        for array in (trainer.theta, trainer.gradient):
            assert array.ctypes.data % ALIGNMENT == 0


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=str)
def test_two_calls_continue_as_one(backend: Backend, optimizer: Optimizer) -> None:
    whole = _trainer(backend, optimizer=optimizer)
    wanted = _train(whole, replace(RECIPE, shuffle=False))
    half = _trainer(backend, optimizer=optimizer)
    two = replace(RECIPE, epochs=2, shuffle=False)
    history = _train(half, two)
    X, y, _ = _data(25)
    rest = trainer_of(
        backend,
        NETWORK,
        half.loss,
        optimizer,
        _host(half),
        Batches(backend, X, y, BATCH),
        state=half.host_state(),
    )
    train(rest, two, np.random.RandomState(0), history)
    assert_array_equal(_host(rest), _host(whole))
    assert history.losses == wanted.losses
    assert (history.epochs, history.samples) == (2, 100)


def test_the_best_weights_are_put_back_when_scores_fall(backend: Backend) -> None:
    trainer = _trainer(backend)
    scores = iter([0.1, 0.5, 0.9, 0.8, 0.90005, 0.4, 0.95])
    thetas: list[np.ndarray] = []
    epochs: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        thetas.append(_host(trainer))
        epochs.append(epoch)

    recipe = replace(RECIPE, epochs=7, patience=2)
    history = _train(
        trainer, recipe, validate=lambda _: ValidationResult(next(scores), 0.25), on_epoch=on_epoch
    )
    # 0.90005 is the best, though too small an improvement on 0.9 to count as one.
    assert [epoch.best for epoch in epochs] == [True, True, True, False, True, False]
    assert [epoch.score for epoch in epochs] == history.scores == [0.1, 0.5, 0.9, 0.8, 0.90005, 0.4]
    assert [epoch.validation_loss for epoch in epochs] == history.validation_losses == [0.25] * 6
    assert (history.best_score, history.stopped_by) == (0.90005, "no_improvement")
    assert_array_equal(_host(trainer), thetas[4])
    assert not np.array_equal(thetas[4], thetas[5])


def test_without_any_score_the_last_weights_stay(backend: Backend) -> None:
    trainer, wanted = _trainer(backend), _trainer(backend)
    _train(trainer, validate=lambda _: ValidationResult(np.nan, 0.25))
    _train(wanted)
    assert_array_equal(_host(trainer), _host(wanted))


def test_training_stops_after_more_than_patience_stale_epochs(backend: Backend) -> None:
    # By a tol that no epoch meets, the first alone counts as an improvement.
    recipe = replace(RECIPE, epochs=20, tol=1e9, patience=3)
    history = _train(_trainer(backend), recipe)
    assert (history.epochs, history.stopped_by) == (5, "no_improvement")
    endless = _train(_trainer(backend), replace(recipe, patience=np.inf))
    assert (endless.epochs, endless.stopped_by) == (20, "max_epochs")
    assert endless.best_loss == min(endless.losses)


def _rates(backend: Backend, **numbers: Any) -> tuple[list[float], History]:
    rates: list[float] = []
    recipe = Recipe(**{"epochs": 8, "learning_rate": 0.1, **numbers})
    history = _train(_trainer(backend), recipe, on_epoch=lambda epoch: rates.append(epoch.rate))
    return rates, history


def test_learning_rate_schedules(backend: Backend) -> None:
    constant, _ = _rates(backend)
    assert constant == [0.1] * 8
    invscaling, _ = _rates(backend, schedule="invscaling", power_t=0.3)
    assert_allclose(invscaling, [0.1 / (25 * e + (e > 0)) ** 0.3 if e else 0.1 for e in range(8)])
    stale = {"schedule": "adaptive", "tol": 1e9, "patience": 1}
    adaptive, history = _rates(backend, **stale)
    assert_allclose(adaptive, [0.1] * 3 + [0.02] * 2 + [0.004] * 2 + [0.0008])
    assert history.stopped_by == "max_epochs"
    # 0.1 / 5^8 = 2.6e-7 is the first rate of 1e-6 or less.
    adaptive, history = _rates(backend, **stale, epochs=99)
    assert_allclose([adaptive[0], adaptive[-1]], [0.1, 0.1 / 5**8])
    assert (history.epochs, history.stopped_by) == (19, "no_improvement")


def test_the_planned_rate_is_the_one_that_is_used(backend: Backend) -> None:
    steps = []
    for rate in (0.1, 0.02):
        trainer = _trainer(backend, 8, optimizer=SGD(momentum=0.0), rate=rate)
        trainer.epoch(np.arange(8))
        steps.append(_host(trainer) - _theta())
    assert_allclose(steps[0], 5 * steps[1], rtol=1e-12, atol=1e-15)


def _with_nan(n: int) -> np.ndarray:
    X = _data(n)[0]
    X[3, 1] = np.nan
    return X


@pytest.mark.parametrize(
    ("case", "finite_epochs"),
    [
        ({"rate": 1e200, "alpha": 1.0}, 0),  # the penalty overflows
        # The loss of the only step is finite; what its update leaves is not.
        ({"rate": 1e308, "alpha": 1e3, "n": BATCH}, 0),
        ({"X": _with_nan(25)}, 0),
        ({"rate": 1e3, "alpha": 1.0, "n": 16}, None),  # diverges over some epochs
    ],
    ids=["rate", "last step", "nan", "diverges"],
)
def test_a_non_finite_epoch_is_undone(
    backend: Backend, case: dict[str, Any], finite_epochs: int | None
) -> None:
    trainer = _trainer(backend, **case)
    thetas = [_host(trainer)]
    recipe = replace(RECIPE, epochs=1000, patience=np.inf)
    history = _train(trainer, recipe, on_epoch=lambda _: thetas.append(_host(trainer)))
    assert history.stopped_by == "non_finite"
    assert history.epochs == len(history.losses) == len(thetas) - 1
    if finite_epochs is None:
        assert history.epochs > 0
    else:
        assert history.epochs == finite_epochs
    assert np.isfinite(history.losses).all()
    lowest = 1 + int(np.argmin(history.losses)) if history.losses else 0
    assert_array_equal(_host(trainer), thetas[lowest])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_one_non_finite_parameter_is_seen(backend: Backend, value: float) -> None:
    trainer = _trainer(backend)
    assert np.isfinite(trainer.read_loss())
    trainer.parameters.bs[1][2] = value
    with np.errstate(all="ignore"):
        assert np.isnan(trainer.read_loss())


def test_a_parameter_whose_square_overflows_is_finite(backend: Backend) -> None:
    trainer = _trainer(backend)
    trainer.parameters.bs[1][2] = 1e300
    with np.errstate(all="ignore"):
        assert np.isfinite(trainer.read_loss())


def test_the_memory_check_with_such_a_parameter_does_not_warn() -> None:
    backend = NumpyBackend()
    backend.name = "a device"  # the host needs none
    trainer = _trainer(backend)
    trainer.parameters.bs[1][2] = 1e300
    check_memory(trainer, RECIPE)


def test_who_listens_does_so_under_the_error_state_of_the_caller() -> None:
    states, steps = [], []

    def told(epoch: Epoch) -> None:
        states.append(np.geterr()["over"])

    def validate(parameters: Any) -> ValidationResult:
        states.append(np.geterr()["over"])
        return ValidationResult(0.5, 0.5)

    trainer = _trainer(NumpyBackend())
    epoch = trainer.epoch
    trainer.epoch = lambda *a: steps.append(np.geterr()["over"]) or epoch(*a)  # type: ignore
    with np.errstate(over="print"):
        _train(trainer, replace(RECIPE, epochs=2), validate=validate, on_epoch=told)
        assert np.geterr()["over"] == "print"
    assert (states, steps) == (["print"] * 4, ["ignore"] * 2)


def _interrupt(epoch: Epoch) -> None:
    if epoch.number == 2:
        raise KeyboardInterrupt


def test_an_interrupt_keeps_the_weights_of_the_moment(backend: Backend) -> None:
    trainer, wanted = _trainer(backend), _trainer(backend)
    history = _train(trainer, on_epoch=_interrupt)
    _train(wanted, replace(RECIPE, epochs=2))
    assert (history.epochs, history.stopped_by) == (2, "interrupt")
    assert_array_equal(_host(trainer), _host(wanted))


def test_who_watches_may_stop_and_is_told_which_epoch_is_the_last(backend: Backend) -> None:
    trainer, wanted = _trainer(backend), _trainer(backend)
    last: list[bool] = []

    def on_epoch(epoch: Epoch) -> bool:
        last.append(epoch.last)
        return epoch.number == 2

    history = _train(trainer, on_epoch=on_epoch)
    _train(wanted, replace(RECIPE, epochs=2), on_epoch=lambda epoch: last.append(epoch.last))
    assert (history.epochs, history.stopped_by) == (2, "callback")
    assert_array_equal(_host(trainer), _host(wanted))
    stale = replace(RECIPE, epochs=20, tol=1e9, patience=0)
    _train(_trainer(backend), stale, on_epoch=lambda epoch: last.append(epoch.last))
    assert last == [False, False, False, True, False, True]


def test_an_interrupt_with_scores_ends_with_the_best_weights(backend: Backend) -> None:
    trainer, wanted = _trainer(backend), _trainer(backend)
    scores = iter([0.5, 0.4])
    history = _train(
        trainer, on_epoch=_interrupt, validate=lambda _: ValidationResult(next(scores), 0.25)
    )
    _train(wanted, replace(RECIPE, epochs=1))
    assert history.stopped_by == "interrupt"
    assert_array_equal(_host(trainer), _host(wanted))


def test_an_epoch_allocates_no_batch_arrays() -> None:
    n, width = 512, 128
    network = Network((4, width, width, 3), ("relu", "gelu"))
    rng, backend = np.random.RandomState(0), NumpyBackend()
    X, y = rng.normal(size=(n, 4)), rng.randint(3, size=n).astype(np.int32)
    batches = Batches(backend, X, y, n // 2, np.ones(n))
    loss, state = LOSSES["softmax_cross_entropy"], OptimizerState(1e-3)
    trainer = trainer_of(
        backend, network, loss, Adam(), _theta(network), batches, alpha=0.1, state=state
    )
    order = np.arange(n)
    trainer.epoch(order)
    tracemalloc.start()
    try:
        trainer.epoch(order)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(5):
            trainer.epoch(order)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    one_activation = n // 2 * width * 8
    # NumPy casts through buffers of 8,192 elements.
    assert peak - before < one_activation / 2
    assert after - before < 10_000
