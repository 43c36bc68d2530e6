"""Groups of parameters: where they lie, their factors, and the updates with them."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import AdamW, Lion, Optimizer, update, with_factors
from gpubp.backprop.parameter_groups import Group, GroupFactors, checked_factors, groups_of
from gpubp.kernels.elementwise import RUN, Elementwise
from gpubp.kernels.optimizers import ADVANCE
from tests.backprop.solver_cases import OPTIMIZERS, published, with_other_numbers

NETWORK = Network((6, 70, 40, 3), ("relu", "relu"))
FLOAT64 = np.dtype(np.float64)
RATES = {"weights": (0.5, 2.0, 1.0), "biases": 0.1}
DECAYS = {"weights": (1.0, 0.25, 0.0), "biases": (0.0, 3.0, 1.0)}


def train(
    backend: Backend,
    optimizer: Optimizer,
    plan: np.ndarray,
    theta: np.ndarray,
    grads: np.ndarray,
    factors: np.ndarray | None,
) -> np.ndarray:
    """Return ``theta`` (…, size) of NETWORK after one update for each of ``grads``."""
    theta = backend.asarray(theta.copy())
    state = tuple(backend.zeros(theta.shape, theta.dtype) for _ in optimizer.state_names)
    table = None if factors is None else backend.asarray(factors)
    planned, step = backend.asarray(plan), backend.zeros((1,), np.int64)
    n_weights = NETWORK.n_weights(FLOAT64)
    for grad in grads:
        vectors = theta, backend.asarray(grad.copy()), state
        update(backend, optimizer, planned, step, n_weights, True, *vectors, table)
        backend.run(ADVANCE, 1, out=step)
    return backend.to_numpy(theta)


def draws(*lead: int, steps: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return theta and the gradients of a few steps."""
    rng, size = np.random.RandomState(0), NETWORK.theta_size(FLOAT64)
    return rng.normal(size=(*lead, size)), rng.normal(size=(steps, *lead, size))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_groups_are_the_slices_of_theta(dtype: str, bias: bool) -> None:
    network = dataclasses.replace(NETWORK, bias=bias)
    theta = np.zeros(network.theta_size(np.dtype(dtype)), dtype)
    groups, views = groups_of(network, theta.dtype), network.views(theta)
    assert [(g.kind, g.layer, g.fan_in) for g in groups] == [
        *(("weights", k, d) for k, d in enumerate((6, 70, 40))),
        *(("biases", k, d) for k, d in enumerate((6, 70, 40)) if bias),
    ]
    assert (groups[0].start, groups[-1].stop) == (0, len(theta))
    assert all(a.stop == b.start for a, b in pairwise(groups))
    assert all(g.start % RUN == 0 for g in groups)
    arrays = [*views.Ws, *(b for b in views.bs if b is not None)]
    for k, (g, array) in enumerate(zip(groups, arrays, strict=True), start=1):
        array[...] = k
        assert (theta[g.start : g.start + array.size] == k).all()
        assert array.size <= g.stop - g.start


def test_factors_by_group() -> None:
    def both(factors: GroupFactors) -> list[tuple[float, float]]:
        return [factors.of(group) for group in groups_of(NETWORK, FLOAT64)]

    assert both(GroupFactors()) == [(1.0, 1.0)] * 3 + [(1.0, 0.0)] * 3
    expected = [(0.5, 1.0), (2.0, 0.25), (1.0, 0.0), (0.1, 0.0), (0.1, 3.0), (0.1, 1.0)]
    assert both(GroupFactors(RATES, DECAYS)) == expected
    found = both(GroupFactors({"weights": "fan_in"}, {"weights": "fan_in"}))
    np.testing.assert_allclose(found[:3], np.repeat([[6], [70], [40]], 2, axis=1) ** -0.5)
    assert found[3:] == [(1.0, 0.0)] * 3


def test_factors_by_run_cover_theta() -> None:
    factors = GroupFactors(RATES, DECAYS)
    table = factors.by_run(NETWORK, np.dtype(np.float32))
    assert table.dtype == np.float32
    of_entry = np.repeat(table, RUN, axis=0)
    for group in groups_of(NETWORK, np.dtype(np.float32)):
        expected = np.array(factors.of(group), np.float32)
        assert (of_entry[group.start : group.stop] == expected).all()


def of_group(optimizer: Optimizer, rate: float, decay: float) -> Optimizer:
    """Return ``optimizer`` with a weight decay that becomes ``decay`` times it at ``rate``."""
    if not hasattr(optimizer, "weight_decay"):
        return optimizer
    made: Any = optimizer
    changed: Optimizer = dataclasses.replace(made, weight_decay=made.weight_decay * decay / rate)
    return changed


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_updates_follow_the_published_formula_of_each_group(
    backend: Backend, optimizer: Optimizer, l2: float
) -> None:
    """The formula with the group's rate; its decay is rate weight_decay decay_factor theta."""
    factors = GroupFactors(RATES, DECAYS)
    theta, grads = draws()
    for chosen in (optimizer, with_other_numbers(optimizer)):
        plan = chosen.plan(0.05, 0, np.full(3, l2))
        table = factors.by_run(NETWORK, FLOAT64)
        got = train(backend, chosen, plan, theta, grads, table)
        for group in groups_of(NETWORK, FLOAT64):
            part = slice(group.start, group.stop)
            rate, decay = factors.of(group)
            penalty = l2 if group.kind == "weights" else 0.0
            size = group.stop - group.start
            of = of_group(chosen, rate, decay), theta[part], grads[:, part], 0.05 * rate, penalty
            np.testing.assert_allclose(got[part], published(*of, size), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("optimizer", [AdamW(epsilon=1e-30), Lion()])
def test_the_decay_does_not_depend_on_the_rate_factor(optimizer: Any) -> None:
    """By hand, first step: theta -= rate (rate_factor sign(g) + 0.1 decay_factor theta)."""
    optimizer = dataclasses.replace(optimizer, weight_decay=0.1)
    factors = GroupFactors({"weights": (0, 3, 1)}, {"weights": (1, 2, 0), "biases": (0, 1, 0)})
    theta, grads = np.full_like(draws()[0], 2.0), np.full_like(draws(steps=1)[1], -1.0)
    plan = optimizer.plan(0.5, 0, np.zeros(1))
    table = factors.by_run(NETWORK, FLOAT64)
    got = train(get_backend("cpu"), optimizer, plan, theta, grads, table)
    views = NETWORK.views(got)
    expected = [2 - 0.5 * 0.2, 2 + 0.5 * 3 - 0.5 * 0.4, 2 + 0.5, 2.5, 2.5 - 0.5 * 0.2, 2.5]
    for array, value in zip([*views.Ws, *views.bs], expected, strict=True):
        np.testing.assert_allclose(array, value, rtol=1e-14)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_factors_of_one_give_the_step_without_them(backend: Backend, optimizer: Optimizer) -> None:
    theta, grads = draws()
    plan = optimizer.plan(0.05, 0, np.full(3, 0.1))
    tables = None, GroupFactors().by_run(NETWORK, FLOAT64)
    plain, with_ones = (train(backend, optimizer, plan, theta, grads, t) for t in tables)
    np.testing.assert_allclose(with_ones, plain, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_networks_of_a_population_have_factors_of_their_own(
    backend: Backend, optimizer: Optimizer
) -> None:
    theta, grads = draws(3)
    each = [GroupFactors(RATES, DECAYS), GroupFactors(), GroupFactors({"weights": "fan_in"})]
    tables = [factors.by_run(NETWORK, FLOAT64) for factors in each]
    plans = [optimizer.plan(rate, 0, np.full(3, l2)) for rate, l2 in ((0.1, 0), (0.2, 1), (0.3, 2))]
    plan = np.stack(plans, axis=1)
    together = train(backend, optimizer, plan, theta, grads, np.stack(tables))
    for k, table in enumerate(tables):
        alone = train(backend, optimizer, plans[k], theta[k], grads[:, k], table)
        np.testing.assert_allclose(together[k], alone, rtol=1e-13)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("lead", [(), (2,)])
def test_theta_may_be_a_single_run(optimizer: Optimizer, lead: tuple[int, ...]) -> None:
    network = Network((2, 3), (), bias=False)
    columns = optimizer.plan(0.1, 0, np.zeros(1))
    plan = np.stack([columns] * 2, axis=1) if lead else columns
    table = GroupFactors({"weights": 0.5}).by_run(network, FLOAT64)
    thetas = []
    for rate, factors in ((1, np.broadcast_to(table, (*lead, 1, 2))), (0.5, None)):
        theta, grad = np.zeros((*lead, RUN)), np.ones((*lead, RUN))
        state = tuple(np.zeros_like(theta) for _ in optimizer.state_names)
        scaled = plan * np.array([rate, *[1] * (plan.shape[-1] - 1)])
        step = np.zeros(1, np.int64)
        update(get_backend("cpu"), optimizer, scaled, step, RUN, True, theta, grad, state, factors)
        thetas.append(theta)
    np.testing.assert_allclose(*thetas, rtol=1e-14)


@pytest.mark.parametrize("block", [RUN, 112, 1 << 15])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_update_in_blocks_has_the_bits_of_one_in_whole_passes(
    optimizer: Optimizer, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With blocks inside a group, across several, and equal to one."""
    theta, grads = draws()
    plan = optimizer.plan(0.1, 0, np.full(3, 0.2))
    table = GroupFactors(RATES, DECAYS).by_run(NETWORK, FLOAT64)
    results = []
    for length in (block, len(theta)):
        monkeypatch.setattr("gpubp.kernels.updates.BLOCK", length)
        results.append(train(get_backend("cpu"), optimizer, plan, theta, grads, table))
    np.testing.assert_array_equal(*results)


def test_a_kernel_without_factors_is_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(AdamW):
        step = Elementwise("own", "T grad", "T theta", "theta -= grad", np.copyto)  # type: ignore[misc]

    with pytest.raises(ValueError, match=r"kernel 'own' takes no factors .*update_step"):
        with_factors(Own())


def test_checked_factors_are_python_numbers_and_tuples() -> None:
    given = {"weights": np.array([1, 2]), "biases": np.float32(0.5)}
    found = checked_factors("rate_factors", given)
    assert found == {"weights": (1.0, 2.0), "biases": 0.5}
    assert type(found["biases"]) is float
    assert checked_factors("rate_factors", None) == {}
    assert checked_factors("rate_factors", {"weights": "fan_in"}) == {"weights": "fan_in"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.1, r"rate_factors must be a dict .* such as \{'biases': 0.1\}, got 0.1"),
        (
            {"weigths": 1},
            r"kinds \['biases', 'periodic', .*\], got 'weigths'; did you mean 'weights'\?",
        ),
        ({3: 1}, r"kinds \['biases', 'periodic', .*\], got 3$"),
        (
            {"weights": -1},
            r"rate_factors\['weights'\] must be a finite number .* got -1; or 'fan_in'",
        ),
        ({"weights": [1, np.nan]}, r"rate_factors\['weights'\] must be a finite number"),
        ({"weights": []}, r"rate_factors\['weights'\] must be a finite number"),
        ({"weights": "fan_out"}, "got 'fan_out'; or 'fan_in' for 1 / sqrt"),
        ({"biases": "fan_in"}, r"rate_factors\['biases'\] must be .* numbers, got 'fan_in'$"),
        ({"biases": np.inf}, "must be a finite number of 0 or more"),
        ({"biases": True}, "must be a finite number of 0 or more"),
        ({"biases": None}, "must be a finite number of 0 or more"),
    ],
)
def test_wrong_factors_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_factors("rate_factors", given)


def test_the_number_of_layers_is_checked() -> None:
    with pytest.raises(
        ValueError, match=r"rate_factors\['biases'\] must have .* 3 in this network .* got 2"
    ):
        GroupFactors({"biases": (1.0, 2.0)}).check(NETWORK)
    with pytest.raises(ValueError, match=r"decay_factors\['weights'\] must have .* got 4"):
        GroupFactors({}, {"weights": (1.0,) * 4}).check(NETWORK)
    GroupFactors(RATES, DECAYS).check(NETWORK)


def test_a_group_is_a_plain_record() -> None:
    assert groups_of(NETWORK, FLOAT64)[1] == Group("weights", 1, 432, 3232, 70)
