"""Dropout: the masks, the gradients under them, and whole trainings, on every backend."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from gpubp import MLPClassifier, MLPRegressor, load, save
from gpubp.backends.cupy_backend import CupyBackend
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.dropout import Dropout, HashedMasks
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network, Workspace, backward, forward
from gpubp.backprop.optimizers import SGD
from gpubp.kernels.dropout import dropout_keys
from gpubp.training.batches import Batches, HashedOrder
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.schedules import Strengths
from gpubp.training.streamed_batches import StreamedBatches
from gpubp.training.trainer import Trainer
from tests.backends.small_training import epochs_of, trainer_of
from tests.cuda_stand_in.cuda import Machine

N, BATCH, SEED = 21, 8, 2**62 + 7
LOSS = LOSSES["softmax_cross_entropy"]
RATES = (0.2, 0.5, 0.3)
DOUBLE = np.dtype(float)


def wide(*activations: str) -> Network:
    """A network whose products have epilogues."""
    return Network((8, 16, 8, 3), activations)


# ---- the masks -------------------------------------------------------------------------------

WORD = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def mixed(x: int) -> int:
    """The finalizer of splitmix64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def is_kept(
    rate: float, seed: int, network: int, step: int, layer: int, row: int, unit: int
) -> bool:
    """Whether a unit is kept: the hash as it is meant, one integer at a time."""
    key = GOLDEN
    for number in (seed, network, step, layer):
        key = mixed(key ^ number) + GOLDEN & WORD
    draw = mixed(mixed(key ^ row) + unit // 2 * GOLDEN & WORD)
    half = draw >> 32 if unit % 2 else draw & (2**32 - 1)
    return half < round((1 - rate) * 2**32)


def mask(dropout: Dropout, step: int, layer: int, rows: Any, width: int) -> np.ndarray:
    """What multiplies the activations of ``rows`` below ``layer``: 0, or 1 / (1 - rate)."""
    rate = dropout.rates[layer]
    kept = [
        [is_kept(rate, dropout.seed, 0, step, layer, int(row), unit) for unit in range(width)]
        for row in rows
    ]
    return np.array(kept) / (1 - rate)


def hashed(
    backend: Backend,
    sizes: tuple[int, ...],
    dropout: Dropout,
    order: np.ndarray,
    *,
    step: int = 0,
    rows: int | None = None,
    lead: tuple[int, ...] = (),
    trained: int = 0,
) -> HashedMasks:
    order, networks = np.atleast_2d(order), int(np.prod(lead))
    size = rows or order.shape[1]
    of_each = np.tile(order[:, None, :], (networks, 1)).reshape(len(order), *lead, -1)
    planned = backend.asarray(of_each), backend.asarray(np.array([step]))
    each = [replace(dropout, seed=dropout.seed + k) for k in range(networks)]
    masks = HashedMasks(backend, sizes, each, *planned, size, DOUBLE, lead=lead)
    masks.plan([trained] * networks, [1.0] * networks)
    return masks


def drawn(masks: HashedMasks, layer: int, shape: tuple[int, ...]) -> np.ndarray:
    backend = masks._backend
    dropped = masks.drop(layer, backend.asarray(np.ones(shape)))
    return np.array(backend.to_numpy(dropped))


@pytest.mark.parametrize("lead", [(), (2,)])
def test_a_mask_is_the_hash_of_where_it_is_used(backend: Backend, lead: tuple[int, ...]) -> None:
    sizes, order = (5, 4, 3), np.random.RandomState(0).permutation(20).reshape(4, 5) + 1000
    dropout = Dropout((0.3, 0.6), SEED)
    for step, layer in product((0, 3), (0, 1)):
        width = sizes[layer]
        masks = hashed(backend, sizes, dropout, order, step=step, lead=lead, trained=70)
        got = drawn(masks, layer, (*lead, 5, width)).reshape(-1, 5, width)
        rate = dropout.rates[layer]
        for network, row, unit in np.ndindex(got.shape):
            where = 70 + step, layer, int(order[step, row]), unit
            wanted = is_kept(rate, SEED + network, 0, *where) / (1 - rate)
            assert got[network, row, unit] == wanted


def test_one_X_serves_networks_with_masks_of_their_own() -> None:
    backend, dropout = NumpyBackend(), Dropout((0.5,), 1)
    masks = hashed(backend, (6, 3), dropout, np.arange(5), lead=(2,))
    got = drawn(masks, 0, (5, 6))
    assert_array_equal(got, drawn(masks, 0, (2, 5, 6)))
    assert not np.array_equal(*got)


def test_a_row_has_its_mask_wherever_it_stands(backend: Backend) -> None:
    order, dropout = np.random.RandomState(0).permutation(12), Dropout((0.5,), SEED)
    whole = np.empty((12, 9))
    whole[order] = drawn(hashed(backend, (9, 3), dropout, order), 0, (12, 9))
    assert 0 < (whole == 0).mean() < 1
    sorted_ = drawn(hashed(backend, (9, 3), dropout, np.arange(12)), 0, (12, 9))
    assert_array_equal(sorted_, whole)
    for first, rows in ((0, 5), (5, 5), (10, 2)):  # in parts
        part = hashed(backend, (9, 3), dropout, order, rows=5).part(first)
        assert_array_equal(drawn(part, 0, (rows, 9)), whole[order[first : first + rows]])
    fewer = drawn(hashed(backend, (9, 3), dropout, order[3:7]), 0, (4, 9))
    assert_array_equal(fewer, whole[order[3:7]])


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.8, 0.999])
def test_the_part_that_is_kept(rate: float) -> None:
    dropout, shape = Dropout((rate,), 5), (1000, 101)
    kept = drawn(hashed(NumpyBackend(), (101, 3), dropout, np.arange(1000)), 0, shape) != 0
    sigma = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 4 * sigma
    for axis, others in ((0, 101), (1, 1000)):  # of each unit, and of each row
        spread = kept.mean(axis=axis).std() / (sigma * np.sqrt(others))
        assert abs(spread - 1) < 4 / np.sqrt(others)


def test_masks_have_nothing_to_do_with_each_other() -> None:
    """Of neighbouring units, rows, steps, layers, networks and seeds."""
    sizes, order, shape = (100, 100, 3), np.tile(np.arange(1000), (2, 1)), (2, 1000, 100)
    rates = (0.5, 0.5)

    def centred(seed: int, step: int, layer: int) -> np.ndarray:
        masks = hashed(NumpyBackend(), sizes, Dropout(rates, seed), order, step=step, lead=(2,))
        return drawn(masks, layer, shape) - 1

    base = centred(0, 0, 0)
    pairs = {
        "units": (base[..., 1:], base[..., :-1]),
        "pairs of units": (base[..., 2:], base[..., :-2]),
        "rows": (base[:, 1:], base[:, :-1]),
        "networks": (base[0], base[1]),
        "steps": (base, centred(0, 1, 0)),
        "layers": (base, centred(0, 0, 1)),
        "seeds": (base, centred(1, 0, 0)),
    }
    for name, (one, other) in pairs.items():
        assert abs((one * other).mean()) < 4 / np.sqrt(one.size), name


def test_keys_go_on_from_epoch_to_epoch() -> None:
    together = dropout_keys(SEED, 10, (3, 8, 2))
    assert len(np.unique(together)) == together.size
    assert_array_equal(dropout_keys(SEED, 13, (3, 5, 2)), together[:, 3:])


@pytest.mark.parametrize("rate", [1e-12, 1 - 1e-12])
def test_rates_at_the_ends(rate: float) -> None:
    masks = hashed(NumpyBackend(), (4, 3), Dropout((rate,)), np.arange(9))
    got = drawn(masks, 0, (9, 4))
    assert_array_equal(got, np.full((9, 4), 1 / (1 - rate) if rate < 0.5 else 0))


# ---- gradients -------------------------------------------------------------------------------


KINDS = [("relu", "relu"), ("gelu", "gelu"), ("tanh", "elu"), ("identity", "softplus")]
DROPPED = [RATES, (0.0, 0.5, 0.0), (0.3, 0.0, 0.4)]


def losses_and_gradient(
    backend: Backend, network: Network, thetas: np.ndarray, rates: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss and its gradient of each of the networks (…, size), all with one mask."""
    rows, lead, rng = 6, thetas.shape[:-1], np.random.RandomState(0)
    X, y = rng.normal(size=(rows, 8)), rng.randint(3, size=rows).astype(np.int32)
    Y = backend.asarray(np.broadcast_to(y, (*lead, rows)))
    masks = hashed(backend, network.sizes, Dropout(rates, SEED), np.arange(rows), lead=lead)
    masks._keys[...] = masks._keys[..., :1]
    work = Workspace(backend, network, rows, DOUBLE, lead=lead)
    work.X = backend.asarray(X)
    parameters, losses = network.views(backend.asarray(thetas)), backend.zeros((*lead, rows), float)
    gradient = backend.zeros(thetas.shape, float)
    forward(backend, network, parameters, work, masks)
    LOSS.evaluate(backend, work.logits, Y, 1 / rows, losses, work.deltas[-1])
    backward(backend, network, parameters, network.views(gradient), work, masks)
    return backend.to_numpy(losses).sum(axis=-1), np.array(backend.to_numpy(gradient))


@cache
def drawn_theta(kinds: tuple[str, str]) -> np.ndarray:
    # So small that no reported loss is clipped, where its slope would be 0.
    return np.random.RandomState(3).normal(scale=0.3, size=wide(*kinds).theta_size(DOUBLE))


@cache
def central_differences(kinds: tuple[str, str], rates: tuple[float, ...]) -> np.ndarray:
    theta, network = drawn_theta(kinds), wide(*kinds)
    moves = 1e-5 * np.eye(len(theta))
    moved = np.concatenate([theta + moves, theta - moves])
    up, down = np.split(losses_and_gradient(NumpyBackend(), network, moved, rates)[0], 2)
    return (up - down) / 2e-5


@pytest.mark.parametrize("kinds", KINDS, ids=str)
@pytest.mark.parametrize("rates", DROPPED, ids=str)
def test_gradient_equals_central_differences(
    backend: Backend, kinds: tuple[str, str], rates: tuple[float, ...]
) -> None:
    network, wanted = wide(*kinds), central_differences(kinds, rates)
    _, got = losses_and_gradient(backend, network, drawn_theta(kinds), rates)
    assert np.count_nonzero(wanted) > 0.4 * network.n_parameters
    assert_allclose(got, wanted, rtol=0, atol=1e-8)


def test_what_is_dropped_is_not_summed_on_the_way(host_cupy: Machine) -> None:
    """ReLU's backward epilogue adds db up: only where no dropout follows."""
    both = {"gemm RELU_AUX_BIAS": 2, "gemm DRELU_BGRAD": 2}
    for rates, backwards in (((0.5, 0, 0), 2), ((0, 0.5, 0), 1), ((0, 0.5, 0.5), 0)):
        launches = trainer(CupyBackend(0), dropout=Dropout(rates)).launches
        wanted = both | {"gemm DRELU_BGRAD": backwards}
        assert {name: launches.get(name, 0) for name in both} == wanted
        assert launches.get("relu_delta", 0) == 2 - backwards


# ---- whole trainings -------------------------------------------------------------------------


class Windows(StreamedBatches):
    """Of one step each."""

    window_bytes = 1


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    return rng.normal(size=(N, 8)), rng.randint(3, size=N).astype(np.int32)


def theta_of(network: Network) -> np.ndarray:
    return network.initial_theta(np.random.RandomState(1), DOUBLE)


def trainer(
    backend: Backend,
    *,
    activations: tuple[str, str] = ("relu", "relu"),
    dropout: Dropout | None = None,
    kind: type[Batches] = Batches,
    **options: Any,
) -> Trainer:
    network, state = wide(*activations), OptimizerState(0.1)
    with backend.in_use(None, 0):
        batches = kind(backend, *data(), BATCH)
        parts = {"state": state, "dropout": dropout, **options}
        return trainer_of(backend, network, LOSS, SGD(0.0), theta_of(network), batches, **parts)


def with_launches(
    backend: Backend, *, orders: list[Any] | None = None, **options: Any
) -> tuple[np.ndarray, dict[str, int]]:
    """Return the losses of two epochs and the parameters, then the launches of a step."""
    made, rng = trainer(backend, **options), np.random.RandomState(2)
    with backend.in_use(None, 0):
        return epochs_of(made, orders or [rng.permutation(N) for _ in range(2)]), made.launches


def textbook(dropout: Dropout, strengths: Any = ((1.0,) * 3,) * 2) -> np.ndarray:
    """The same for tanh by the textbook, with the masks of `is_kept`.

    strengths : factors of the rates, by epoch and step.
    """
    network, (X, y), rng = wide("tanh", "tanh"), data(), np.random.RandomState(2)
    Ws, bs = network.unpack(theta_of(network))
    losses = []
    for epoch in range(2):
        order, loss = rng.permutation(N), 0.0
        for step, start in enumerate(range(0, N, BATCH)):
            rows = order[start : start + BATCH]
            A, below, number = X[rows], [], dropout.trained + epoch * N + step
            weaker = tuple(rate * strengths[epoch][step] for rate in dropout.rates)
            for layer, (W, b) in enumerate(zip(Ws, bs, strict=True)):
                m = mask(replace(dropout, rates=weaker), number, layer, rows, len(W))
                below.append((A, m))
                Z = (A * m) @ W + b
                A = np.tanh(Z)
            P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
            T = np.eye(3)[y[rows]]
            loss -= np.log((P * T).sum(axis=1)).sum()
            delta = (P - T) / len(rows)
            for layer in (2, 1, 0):
                A, m = below[layer]
                dW, db = (A * m).T @ delta, delta.sum(axis=0)
                delta = delta @ Ws[layer].T * m * (1 - A**2)
                Ws[layer] -= 0.1 * dW
                bs[layer] -= 0.1 * db
        losses.append(loss / N)
    return np.append(losses, network.pack(Ws, bs, DOUBLE))


@pytest.mark.parametrize("kind", [Batches, Windows])
@pytest.mark.parametrize("parts", [1, 3])
def test_training_is_the_textbooks(backend: Backend, kind: type[Batches], parts: int) -> None:
    dropout = Dropout(RATES, SEED, trained=100)
    got, _ = with_launches(
        backend, activations=("tanh", "tanh"), dropout=dropout, kind=kind, parts=parts
    )
    assert_allclose(got, textbook(dropout), 1e-11, 1e-13)


FALLING = np.array([[1.0, 0.9, 0.6], [0.5, 0.2, 0.0]])


def with_strengths(backend: Backend, dropout: Dropout, **options: Any) -> np.ndarray:
    """Return the losses of two epochs with `FALLING` rates, and the parameters."""
    made = trainer(backend, activations=("tanh", "tanh"), dropout=dropout, **options)
    rng = np.random.RandomState(2)
    with backend.in_use(None, 0):
        losses = [made.epoch(rng.permutation(N), None, Strengths(dropout=of)) for of in FALLING]
        return np.append(losses, backend.to_numpy(made.theta))


@pytest.mark.parametrize("kind", [Batches, Windows])
@pytest.mark.parametrize("parts", [1, 3])
def test_rates_by_step_are_the_textbooks(backend: Backend, kind: type[Batches], parts: int) -> None:
    dropout = Dropout((0.2, 0.5, 0.0), SEED, trained=100)
    got = with_strengths(backend, dropout, kind=kind, parts=parts)
    assert_allclose(got, textbook(dropout, FALLING), 1e-11, 1e-13)


def test_rates_return_to_those_given(backend: Backend) -> None:
    order, (one, other) = np.arange(N), (trainer(backend, dropout=Dropout(RATES)) for _ in range(2))
    with backend.in_use(None, 0):
        one.epoch(order, None, Strengths(dropout=FALLING[0]))
        other.theta[...] = one.theta
        other.rows_seen = [N]
        losses = [made.epoch(order) for made in (one, other)]
    assert losses[0] == losses[1]


PLANTED: dict[str, tuple[Any, str, Any]] = {
    "a delta that is not dropped": (HashedMasks, "drop_delta", lambda self, layer, delta: None),
    "A dropped in its place": (HashedMasks, "dropped", lambda self, layer, A: A),
    "nothing dropped": (HashedMasks, "drops", lambda self, layer: False),
    "parts that begin at the first row": (HashedMasks, "part", lambda self, first: self),
    "epochs with the same masks": (HashedMasks, "plan", lambda self, _, of: _plan(self, [100], of)),
    "rows of the windows": (StreamedBatches, "planned", Batches.planned),
}
_plan = HashedMasks.plan


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    options: dict[str, Any] = {"kind": Windows, "parts": 3, "activations": ("tanh", "tanh")}
    dropout = Dropout(RATES, SEED, trained=100)
    wanted = textbook(dropout)
    monkeypatch.setattr(*PLANTED[bug])
    got, _ = with_launches(NumpyBackend(), dropout=dropout, **options)
    assert not np.allclose(got, wanted, 1e-6)


def test_a_summed_delta_that_is_dropped_is_found(
    host_cupy: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where backward did not ask whether what lies below is dropped."""
    dropout = Dropout(RATES, SEED)
    wanted, _ = with_launches(NumpyBackend(), dropout=dropout)
    assert np.allclose(with_launches(CupyBackend(0), dropout=dropout)[0], wanted)
    # Of the rest, only backward asks.
    monkeypatch.setattr(HashedMasks, "drops", lambda self, layer: False)
    monkeypatch.setattr(HashedMasks, "drop", _drop_always)
    monkeypatch.setattr(HashedMasks, "drop_delta", lambda self, *of: self._run(*of, of[1]))
    assert not np.allclose(with_launches(CupyBackend(0), dropout=dropout)[0], wanted)
    assert np.allclose(with_launches(NumpyBackend(), dropout=dropout)[0], wanted)


def _drop_always(self: HashedMasks, layer: int, A: Any) -> Any:
    self._run(layer, A, self.dropped(layer, A))
    return self.dropped(layer, A)


@pytest.mark.parametrize("activations", [("relu", "gelu"), ("leaky_relu", "silu")])
def test_every_way_of_training_is_the_same(
    host_cupy: Machine, activations: tuple[str, str]
) -> None:
    options: dict[str, Any] = {"activations": activations, "dropout": Dropout(RATES, SEED)}
    wanted, _ = with_launches(NumpyBackend(), **options)
    bits, _ = with_launches(CupyBackend(0), **options)
    assert_allclose(bits, wanted, 1e-12, 1e-13)
    for backend, kind in product(
        (CupyBackend(0), CupyBackend(0, record=False)), (Batches, Windows)
    ):
        assert_array_equal(with_launches(backend, kind=kind, **options)[0], bits)
    in_parts, _ = with_launches(CupyBackend(0), parts=2, kind=Windows, **options)
    assert_allclose(in_parts, wanted, 1e-12, 1e-13)


def test_hashed_orders_that_are_streamed(backend: Backend) -> None:
    orders, dropout = [HashedOrder(3, epoch) for epoch in range(2)], Dropout(RATES, SEED)
    resident, streamed = (
        with_launches(backend, orders=orders, dropout=dropout, kind=kind)[0]
        for kind in (Batches, Windows)
    )
    assert_array_equal(streamed, resident)


def test_the_seed_gives_the_bits(backend: Backend) -> None:
    first, again, other, without = (
        with_launches(backend, dropout=dropout)[0]
        for dropout in (Dropout(RATES, 1), Dropout(RATES, 1), Dropout(RATES, 2), None)
    )
    assert_array_equal(first, again)
    assert not np.isclose(first[:2], other[:2]).any()
    assert not np.isclose(first[:2], without[:2]).any()


@pytest.mark.parametrize("activation", ["tanh", "identity", "gelu"])
def test_what_it_costs(backend: Backend, activation: str) -> None:
    def launches(*rates: float) -> dict[str, int]:
        dropout = Dropout(rates) if rates else None
        return with_launches(backend, activations=(activation, "tanh"), dropout=dropout)[1]

    off, layers = launches(), ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5), (0.5, 0.5, 0.5))
    assert launches(0, 0, 0) == off
    assert "dropout" not in off
    if backend.name == "cpu":
        one, *others, all_ = (
            launches(*rates)["NumPy calls"] - off["NumPy calls"] for rates in layers
        )
        assert others == [2 * one, 2 * one]  # on the way back too
        assert all_ == 5 * one
    else:
        assert [launches(*rates)["dropout"] for rates in layers] == [1, 2, 2, 5]


def test_rooms_are_taken_where_something_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def rooms(dropout: Dropout | None, kind: type[Batches] = Batches) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []

        def empty(self: NumpyBackend, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            shapes.append(shape)
            return original(self, shape, dtype)

        with monkeypatch.context() as patch:
            patch.setattr(NumpyBackend, "empty", empty)
            trainer(NumpyBackend(), dropout=dropout, kind=kind)
        return sorted(shapes)

    original, dropout = NumpyBackend.empty, Dropout((0, 0.5, 0))
    planned, dropped, order = [(3, 3, 1)] * 3, (BATCH, 16), (3, BATCH)
    assert rooms(dropout) == sorted([*rooms(None), *planned, dropped])
    assert rooms(dropout, Windows) == sorted([*rooms(None, Windows), *planned, dropped, order])


# ---- estimators ------------------------------------------------------------------------------

BASE: dict[str, Any] = {
    "hidden_layer_sizes": (7, 5),
    "batch_size": 8,
    "max_iter": 4,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def learned(model: Any) -> np.ndarray:
    return np.concatenate([p.ravel() for p in (*model.coefs_, *model.intercepts_)])


@pytest.mark.parametrize("options", [{"dropout": 0}, {"dropout": [0.0, 0]}, {"input_dropout": 0}])
def test_off_has_the_bits_of_before(options: dict[str, Any]) -> None:
    rngs = np.random.RandomState(0), np.random.RandomState(0)
    with_it, without = (
        MLPClassifier(**BASE | {"random_state": rng} | more).fit(*data())
        for rng, more in zip(rngs, (options, {}), strict=True)
    )
    assert_array_equal(learned(with_it), learned(without))
    assert rngs[0].randint(2**31) == rngs[1].randint(2**31)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    "options",
    [{"dropout": 0.5}, {"dropout": (0.5, 0)}, {"input_dropout": 0.2}, {"dropout": np.full(2, 0.4)}],
    ids=str,
)
def test_estimators_drop_alike_on_cuda(
    host_cupy: Machine, kind: Any, options: dict[str, Any]
) -> None:
    X, y = data()
    options = BASE | {"dtype": "float64"} | options
    cpu, again, cuda = (
        kind(**options | {"device": device}).fit(X, y) for device in ("cpu", "cpu", "cuda")
    )
    assert_array_equal(learned(cpu), learned(again))
    assert_allclose(learned(cuda), learned(cpu), 1e-12, 1e-12)
    plain = kind(**options | {"dropout": 0.0, "input_dropout": 0.0}).fit(X, y)
    assert not np.isclose(cpu.loss_, plain.loss_)


def test_prediction_drops_nothing() -> None:
    X, y = data()
    model = MLPRegressor(**BASE, dropout=0.5, input_dropout=0.5).fit(X, y)
    got = model.predict(X)
    A = X
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        A = np.maximum(A @ W + b, 0)
    assert_allclose(got, (A @ model.coefs_[-1] + model.intercepts_[-1]).ravel(), 1e-12)


def test_prediction_is_what_training_expects() -> None:
    """Of a linear network, over many steps: what the logits are on average."""
    backend, network, rows, steps = NumpyBackend(), wide("identity", "identity"), 4, 2000
    order, X = np.tile(np.arange(rows), (steps, 1)), np.random.RandomState(0).normal(size=(rows, 8))
    parameters = network.views(backend.asarray(theta_of(network)))
    masks = hashed(backend, network.sizes, Dropout((0.2, 0.5, 0.3), 1), order)
    work = Workspace(backend, network, rows, DOUBLE)
    work.X = backend.asarray(X)
    forward(backend, network, parameters, work)
    expected, seen = np.array(backend.to_numpy(work.logits)), []
    for _ in range(steps):
        forward(backend, network, parameters, work, masks)
        seen.append(np.array(backend.to_numpy(work.logits)))
        masks._step += 1
    sigma = np.std(seen, axis=0) / np.sqrt(steps)
    assert (np.abs(np.mean(seen, axis=0) - expected) < 4.5 * sigma).all()


def test_training_that_goes_on_has_new_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Dropout] = []

    class Noted(Trainer):
        def __init__(self, *args: Any, each: Any, **options: Any) -> None:
            made.append(each[0].dropout)
            super().__init__(*args, each=each, **options)

    monkeypatch.setattr("gpubp.training.fit.Trainer", Noted)
    X, y = data()
    model = MLPClassifier(**BASE, dropout=0.5, warm_start=True).fit(X, y).fit(X, y)
    for part in (slice(10), slice(10, N)):
        model.partial_fit(X[part], y[part])
    model.set_params(warm_start=False).fit(X, y)
    assert [dropout.trained for dropout in made] == [0, 4 * N, 8 * N, 8 * N + 10, 0]
    assert made[1].seed == made[2].seed == made[3].seed  # of one random_state
    assert made[0] == made[4]
    # The same rows and weights, but other masks.
    still = MLPClassifier(**BASE | {"learning_rate_init": 1e-300}, dropout=0.5, shuffle=False)
    for _ in range(4):
        still.partial_fit(X, y, classes=np.unique(y))
    assert len(set(still.loss_curve_)) == 4


def test_epochs_are_numbered_as_partial_fits_are() -> None:
    """Two epochs are one epoch and another that starts from where it left."""
    orders = [np.arange(N), np.arange(N)[::-1].copy()]
    whole, _ = with_launches(NumpyBackend(), orders=orders, dropout=Dropout(RATES, 3))
    one = trainer(NumpyBackend(), dropout=Dropout(RATES, 3))
    losses = [one.epoch(orders[0])]
    other = trainer(NumpyBackend(), dropout=Dropout(RATES, 3, trained=N))
    other.theta[...] = one.theta
    losses.append(other.epoch(orders[1]))
    assert_array_equal(np.append(losses, other.theta), whole)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_helps_where_rows_are_few_and_noisy(seed: int) -> None:
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(560, 10))
    truth = np.sin(2 * X[:, 0]) + X[:, 1]
    y = truth + rng.normal(size=560)
    options = BASE | {"hidden_layer_sizes": (64,), "max_iter": 100, "batch_size": 60}
    options |= {"alpha": 0, "learning_rate_init": 0.01, "tol": 0}
    errors = []
    for rate in (0.0, 0.5):
        model = MLPRegressor(**options, dropout=rate).fit(X[:60], y[:60])
        errors.append(np.mean((model.predict(X[60:]) - truth[60:]) ** 2))
    assert errors[1] < 0.75 * errors[0]


@pytest.mark.parametrize(
    "dropout", [1.0, -0.1, np.nan, [0.5], [0.1, 0.2, 0.3], [0.5, 1.0], [0.5, "a"], np.array(0.5)]
)
def test_rates_that_cannot_be(dropout: Any) -> None:
    with pytest.raises(ValueError, match=r"dropout.* must be .* [Gg]ot "):
        MLPClassifier(**BASE, dropout=dropout).fit(*data())


@pytest.mark.parametrize("rate", [1, -0.5, [0.5], None])
def test_input_rates_that_cannot_be(rate: Any) -> None:
    with pytest.raises(ValueError, match="'input_dropout' parameter of MLPRegressor must be"):
        MLPRegressor(**BASE, input_dropout=rate).fit(*data())


def test_lbfgs_drops_nothing() -> None:
    with pytest.raises(ValueError, match=r"use a solver among \['adam', "):
        MLPRegressor(**BASE, solver="lbfgs", dropout=0.5).fit(*data())
    MLPRegressor(**BASE, solver="lbfgs", dropout=(0, 0)).fit(*data())


def test_a_saved_model_has_its_rates(tmp_path: Any) -> None:
    X, y = data()
    model = MLPClassifier(**BASE, dropout=np.array([0.5, 0.25]), input_dropout=0.1).fit(X, y)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", device="cpu")
    assert (loaded.dropout, loaded.input_dropout) == ((0.5, 0.25), 0.1)
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    loaded.partial_fit(X, y)
