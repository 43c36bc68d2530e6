"""Optimizers against published implementations, number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.backprop.optimizers import SGD, Adam, AdamW, Optimizer, update
from gpubp.backprop.plan_cache import PlanCache
from gpubp.kernels.elementwise import RUN
from gpubp.kernels.optimizers import ADVANCE
from tests.backprop.solver_cases import OPTIMIZERS, published, with_other_numbers

START = [1.0, -2.0, 0.5]
# Five float64 updates from START with ``gradients()``, by optax 0.2.8 (sgd, adam) and by
# scikit-learn 1.9.1 (its Adam).
PUBLISHED = {
    "sgd": (SGD(0.0, False), 0.1, [0.387332981021992, -2.23820765778732, 0.320362200785583]),
    # optax's momentum is not damped: t = m t + g, without a factor 1 - m.
    "momentum": (SGD(0.9, False), 0.1, [-0.904631696435024, -2.80463954793221, 0.142556890256903]),
    "nesterov": (
        SGD(0.9, True),
        0.1,
        [-1.32683554576953, -2.96238325092631, -0.00133659798320462],
    ),
    "adam": (Adam(), 0.01, [0.954094246803938, -2.03532353133428, 0.483439365031351]),
}
ADAM_OF_OPTAX = [0.954094241489883, -2.03532354293227, 0.483439361050691]


def gradients() -> np.ndarray:
    """Return five gradients (5, 3)."""
    return np.random.RandomState(0).randn(5, 3)


def train(
    backend: Backend,
    optimizer: Optimizer,
    plan: np.ndarray,
    theta: np.ndarray,
    grads: np.ndarray,
    n_weights: int = 0,
) -> np.ndarray:
    """Return ``theta`` (…, size) after one update for each of ``grads`` (n_steps, …, size).

    Its weights and the rest are padded to multiples of RUN, as a network pads them.
    """
    padded, *padded_grads = (_padded(vector, n_weights) for vector in (theta, *grads))
    parameters, padded_weights = backend.asarray(padded), -(-n_weights // RUN) * RUN
    state = tuple(backend.zeros(padded.shape, theta.dtype) for _ in optimizer.state_names)
    planned, step = backend.asarray(plan), backend.zeros((1,), np.int64)
    for grad in padded_grads:
        vectors = (parameters, backend.asarray(grad), state)
        update(backend, optimizer, planned, step, padded_weights, n_weights > 0, *vectors)
        backend.run(ADVANCE, 1, out=step)
    got, rest = backend.to_numpy(parameters), theta.shape[-1] - n_weights
    parts = got[..., :n_weights], got[..., padded_weights : padded_weights + rest]
    return np.concatenate(parts, axis=-1)


def _padded(vector: np.ndarray, n_weights: int) -> np.ndarray:
    parts = vector[..., :n_weights], vector[..., n_weights:]
    zeros = [np.zeros((*part.shape[:-1], -part.shape[-1] % RUN)) for part in parts]
    return np.concatenate([parts[0], zeros[0], parts[1], zeros[1]], axis=-1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_five_updates_are_those_of_the_published_implementation(
    backend: Backend, name: str
) -> None:
    optimizer, rate, expected = PUBLISHED[name]
    plan = optimizer.plan(rate, 0, np.zeros(5))
    theta = train(backend, optimizer, plan, np.array(START), gradients())
    np.testing.assert_allclose(theta, expected, rtol=1e-13)


def test_adam_of_optax_has_its_epsilon_beside_the_corrected_root(backend: Backend) -> None:
    """With sqrt(1 - beta_2^t) epsilon in scikit-learn's form, it is optax's, step by step."""
    plan = Adam().plan(0.01, 0, np.zeros(5))
    plan[:, 4] *= np.sqrt(1 - 0.999 ** np.arange(1, 6))
    theta = train(backend, Adam(), plan, np.array(START), gradients())
    np.testing.assert_allclose(theta, ADAM_OF_OPTAX, rtol=1e-13)


@pytest.mark.parametrize(
    ("decay", "expected"),
    [(0.01, [0.953604044757652, -2.03431535459419, 0.483193450980741]), (0.0, ADAM_OF_OPTAX)],
)
def test_adamw_is_optax_s(backend: Backend, decay: float, expected: list[float]) -> None:
    optimizer = AdamW(weight_decay=decay)
    plan = optimizer.plan(0.01, 0, np.zeros(5))
    # There all parameters decay: here all of them are weights.
    theta = train(backend, optimizer, plan, np.array(START), gradients(), n_weights=3)
    np.testing.assert_allclose(theta, expected, rtol=1e-13)


@pytest.mark.parametrize("penalised", [False, True])
def test_adamw_shrinks_weights_and_no_biases(backend: Backend, penalised: bool) -> None:
    """By hand, first step: m' = g, v' = g^2, so that theta -= rate (sign(g) + 0.1 theta).

    With the penalty, g of the weight is -1 + 2 * 2: its sign turns.
    """
    optimizer = AdamW(epsilon=1e-30, weight_decay=0.1)
    plan = optimizer.plan(0.5, 0, np.array([2.0 * penalised]))
    grads, start = np.array([[-1.0, 3.0]]), np.array([2.0, 2.0])
    padded = [backend.asarray(_padded(vector, 1)) for vector in (start, grads[0])]
    state = tuple(backend.zeros((2 * RUN,), float) for _ in "mv")
    step = backend.zeros((1,), np.int64)
    update(backend, optimizer, backend.asarray(plan), step, RUN, penalised, *padded, state)
    got = backend.to_numpy(padded[0])[[0, RUN]]
    sign = 1 if penalised else -1
    np.testing.assert_allclose(got, [2 - 0.5 * (sign + 0.2), 2 - 0.5], rtol=1e-14)


def test_adamw_decays_by_each_step_s_own_rate() -> None:
    rates = np.array([0.1, 0.2, 0.4])
    assert list(AdamW(weight_decay=0.5).plan(rates, 0, np.zeros(3))[:, 5]) == [0.05, 0.1, 0.2]
    assert (AdamW().decays, AdamW(weight_decay=0.0).decays) == (True, False)


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("own", [True, False], ids=["own-numbers", "other-numbers"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_updates_follow_the_published_formula(
    backend: Backend, optimizer: Optimizer, own: bool, l2: float
) -> None:
    """As the entry of the solver states it: theta, weights and biases, after each of 7 updates."""
    rng, n_weights = np.random.RandomState(1), 200
    theta, grads = rng.randn(300), rng.randn(7, 300)  # enough for rules that see signs alone
    grads[:, 0] = grads[2:, 1] = 0  # a unit that nothing reaches
    chosen = optimizer if own else with_other_numbers(optimizer)
    for steps in range(1, 8):
        plan = chosen.plan(0.05, 0, np.full(steps, l2))
        got = train(backend, chosen, plan, theta, grads[:steps], n_weights)
        expected = published(chosen, theta, grads[:steps], 0.05, l2, n_weights)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_velocity_holds_the_rate_as_in_scikit_learn(backend: Backend) -> None:
    """At a constant rate optax's Nesterov, theta -= rate (g + m t) with t = m t + g, is ours.

    When the rate changes it is not: ours, as scikit-learn's, keeps past rates in the velocity.
    """
    rates, grads = np.array([0.1, 0.05, 0.2, 0.01, 0.1]), gradients()
    plan = SGD().plan(0.0, 0, np.zeros(5))
    plan[:, 0] = rates
    ours, optax, u, t = np.array(START), np.array(START), np.zeros(3), np.zeros(3)
    for rate, g in zip(rates, grads, strict=True):
        u = 0.9 * u - rate * g
        ours = ours + 0.9 * u - rate * g
        t = 0.9 * t + g
        optax = optax - rate * (g + 0.9 * t)
    theta = train(backend, SGD(), plan, np.array(START), grads)
    np.testing.assert_allclose(theta, ours, rtol=1e-13)
    assert np.abs(theta - optax).min() > 0.01


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_plan_of_a_later_epoch_goes_on_where_the_last_one_ended(optimizer: Optimizer) -> None:
    l2 = np.linspace(0.1, 0.5, 5)
    whole = optimizer.plan(0.1, 0, l2)
    np.testing.assert_array_equal(optimizer.plan(0.1, 2, l2[2:]), whole[2:])


def test_a_cache_plans_what_the_optimizer_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    adam = Adam()
    calls: list[tuple[Any, ...]] = []
    planned = Adam.plan

    def plan(self: Adam, *arguments: Any) -> np.ndarray:
        calls.append(arguments)
        return planned(self, *arguments)

    monkeypatch.setattr(Adam, "plan", plan)
    steps, cache = 300, PlanCache([adam], 300, np.dtype(np.float32))
    first, second = [np.linspace(0, 1, steps)], [np.linspace(1, 2, steps)]
    rates = np.linspace(0.1, 0.2, steps)
    # How many epochs are planned: 3 where rate and decay have stayed as they were.
    epochs: list[tuple[float | np.ndarray, int, list[np.ndarray], int]] = [
        (0.1, 0, first, 1),
        (0.1, 300, first, 3),
        *[(0.1, done, first, 0) for done in (600, 900)],
        (0.1, 1200, first, 3),  # what was planned has ended
        (0.1, 2400, first, 3),  # beyond it
        (0.1, 2407, first, 3),  # amid an epoch
        (0.1, 2707, first, 0),
        (0.2, 3007, first, 1),  # another rate
        (0.2, 3307, second, 1),  # another decay
        (rates, 3607, second, 1),
        (rates, 3907, second, 1),
        (0.2, 4207, second, 1),
        (0.2, 4507, second, 3),
        (0.2, 0, second, 3),  # begun anew
    ]
    for rate, done, l2, ahead in epochs:
        before = len(calls)
        got = cache.epoch([rate], [done], l2)
        assert sum(len(each[2]) for each in calls[before:]) == ahead * steps
        expected = planned(adam, rate, done, l2[0]).astype(np.float32)
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.float32


def test_weights_decay_and_biases_do_not(backend: Backend) -> None:
    """By hand: u = -rate (g + l2 theta) = -0.5 (1 + 0.1 * 2) = -0.6 where theta decays."""
    optimizer = SGD(0.0, False)
    plan = optimizer.plan(0.5, 0, np.array([0.1]))
    theta = train(backend, optimizer, plan, np.array([2.0, 2.0]), np.ones((1, 2)), n_weights=1)
    np.testing.assert_allclose(theta, [2 - 0.6, 2 - 0.5], rtol=1e-15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_networks_of_a_population_train_as_they_would_alone(
    backend: Backend, optimizer: Optimizer
) -> None:
    rng = np.random.RandomState(0)
    theta, grads = rng.randn(3, 4), rng.randn(5, 3, 4)
    plans = [optimizer.plan(rate, 0, np.full(5, l2)) for rate, l2 in ((0.1, 0), (0.2, 1), (0.3, 2))]
    together = train(backend, optimizer, np.stack(plans, axis=1), theta, grads, n_weights=2)
    for k, plan in enumerate(plans):
        alone = train(backend, optimizer, plan, theta[k], grads[:, k], n_weights=2)
        np.testing.assert_allclose(together[k], alone, rtol=1e-13)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("n_weights", [0, 40, 48, 60])
def test_an_update_in_blocks_has_the_bits_of_one_in_whole_passes(
    optimizer: Optimizer, n_weights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.RandomState(0)
    theta, grads = rng.randn(60), rng.randn(3, 60)
    plan = optimizer.plan(0.1, 0, np.full(3, 0.2))
    whole = train(get_backend("cpu"), optimizer, plan, theta, grads, n_weights)
    monkeypatch.setattr("gpubp.kernels.updates.BLOCK", 16)
    in_blocks = train(get_backend("cpu"), optimizer, plan, theta, grads, n_weights)
    np.testing.assert_array_equal(in_blocks, whole)


def test_a_cache_of_a_population_stacks_the_plans_of_its_networks() -> None:
    each, l2 = [Adam(), Adam(0.8), Adam(0.9, 0.99)], [np.full(4, k / 10) for k in range(3)]
    cache = PlanCache(each, 4, np.dtype(np.float64), (3,))
    for done, rates in (([0, 8, 4], [0.1, 0.2, 0.3]), ([4, 12, 8], [0.1, 0.2, 0.3])):
        for _ in range(2):  # planned, then cached
            got = cache.epoch(rates, done, l2)
            for k, adam in enumerate(each):
                expected = adam.plan(rates[k], done[k], l2[k])
                np.testing.assert_array_equal(got[:, k], expected)
    got = cache.epoch([0.1, np.linspace(0.1, 0.2, 4), 0.3], [8, 0, 0], l2)
    np.testing.assert_array_equal(got[:, 1], each[1].plan(np.linspace(0.1, 0.2, 4), 0, l2[1]))
