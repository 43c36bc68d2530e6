"""A training that goes on from a saved state ends with the bits of an undisturbed one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.protocol import Backend
from gpubp.training import pauses
from gpubp.training.fit import Fitted, Listeners, Start, fit
from gpubp.training.population import Member, train_population
from gpubp.training.training_state import TrainingState
from tests.training.test_population import SETTINGS, P, member

States = dict[int, TrainingState]
CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "validation": {"held": True, "patience": 2, "learning_rate": 0.05},
    "weights": SETTINGS["weights"],
    "one batch": SETTINGS["one batch"],
    "momentum": SETTINGS["momentum"],
    "dropout": SETTINGS["dropout that falls"],
    "decay": SETTINGS["decay that falls"],
    "hashed order": SETTINGS["hashed order"],
    "no shuffle": SETTINGS["no shuffle"],
    "schedules": SETTINGS["schedules"],
    "invscaling": {"solver": "sgd", "schedule": "invscaling"},
    "plateau": {"schedule": "plateau", "patience": 1, "tol": 0.1, "epochs": 14},
    "warm-up": {"warmup_epochs": 3.5},
    "clipping": SETTINGS["clipping"],
    "no last batch": SETTINGS["no last batch"],
}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pause after each part of an epoch, however short."""
    monkeypatch.setattr(pauses, "SECONDS", 0.0)


class Interrupt:
    """Keeps the states at the pause ``number``, and stops the training there."""

    def __init__(self, number: int) -> None:
        self.left, self.states = number, States()

    def __call__(self, step: int, states: Callable[[], States]) -> None:
        self.left -= 1
        if self.left == 0:
            self.states = copy.deepcopy(states())
            raise KeyboardInterrupt

    def of_one(self, step: int, state: Callable[[], TrainingState]) -> None:
        self(step, lambda: {0: state()})


def start_of(of: Member) -> Start:
    return Start.new(of.network, of.recipe)


def trained(backend: Backend, of: Member, start: Start, interrupt: Interrupt) -> Fitted:
    listeners = Listeners(on_pause=interrupt.of_one)
    how = {"held": of.held, "start": start, "listeners": listeners}
    return fit(backend, of.network, of.loss, of.data, of.recipe, **how)


def check_same(got: Fitted, expected: Fitted) -> None:
    """Check that two trained networks have the same bits and the same history."""
    assert_array_equal(got.theta, expected.theta)
    for one, other in zip(got.state.vectors, expected.state.vectors, strict=True):
        assert_array_equal(one, other)
    assert replace(got.state, vectors=()) == replace(expected.state, vectors=())
    seconds = got.history.seconds
    assert replace(got.history, seconds=0.0) == replace(expected.history, seconds=0.0)
    assert seconds > 0


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_network_has_the_bits_of_an_undisturbed_one(backend: Backend, case: str) -> None:
    of = member(1, **CASES[case])
    never = Interrupt(10**9)
    expected = trained(backend, of, start_of(of), never)
    pauses_made = 10**9 - never.left
    within = 0
    for number in sorted({1, pauses_made // 2, pauses_made - 1} - {0}):
        stopped = Interrupt(number)
        assert trained(backend, of, start_of(of), stopped).stopped_by == "interrupt"
        (state,) = stopped.states.values()
        within += state.step > 0
        got = trained(backend, of, start_of(of).resume(state), Interrupt(10**9))
        check_same(got, expected)
    assert within or backend.name != "cpu" or case == "one batch"


def test_a_network_can_be_resumed_several_times(backend: Backend) -> None:
    of = member(2, held=True)
    expected = trained(backend, of, start_of(of), Interrupt(10**9))
    start, resumed = start_of(of), 0
    while True:
        stopped = Interrupt(2)
        got = trained(backend, of, start, stopped)
        if got.stopped_by != "interrupt":
            break
        start, resumed = start_of(of).resume(stopped.states[0]), resumed + 1
    check_same(got, expected)
    assert resumed > 3


def population(
    backend: Backend, members: list[Member], interrupt: Interrupt, states: States
) -> dict[int, Fitted]:
    """Train the ``members`` from their ``states``; return those whose training ended."""
    starts = [start_of(of) for of in members]
    resumed = [
        replace(of, start=start.resume(states[k]) if k in states else start)
        for k, (of, start) in enumerate(zip(members, starts, strict=True))
    ]
    found: dict[int, Fitted] = {}
    train_population(backend, resumed, found.__setitem__, on_pause=interrupt)
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_population_has_the_bits_of_an_undisturbed_one(
    backend: Backend, case: str
) -> None:
    members = [member(k, **CASES[case]) for k in range(P)]
    never = Interrupt(10**9)
    expected = population(backend, members, never, {})
    pauses_made = 10**9 - never.left
    for number in sorted({3, pauses_made - 1} - {0}):
        stopped = Interrupt(number)
        ended = population(backend, members, stopped, {})
        before = {k: of for k, of in ended.items() if of.stopped_by != "interrupt"}
        left = [k for k in range(P) if k not in before]
        states = {place: stopped.states[k] for place, k in enumerate(left)}
        rest = population(backend, [members[k] for k in left], Interrupt(10**9), states)
        got = before | {left[place]: fitted for place, fitted in rest.items()}
        for k in range(P):
            check_same(got[k], expected[k])


def test_a_state_goes_on_on_another_engine(backend: Backend) -> None:
    from gpubp.backends.numpy_backend import NumpyBackend

    of = member(1)
    expected = trained(backend, of, start_of(of), Interrupt(10**9))
    stopped = Interrupt(8)
    cpu = NumpyBackend()
    trained(cpu, of, start_of(of), stopped)
    got = trained(backend, of, start_of(of).resume(stopped.states[0]), Interrupt(10**9))
    np.testing.assert_allclose(got.theta, expected.theta, 1e-8, 1e-8)
    np.testing.assert_allclose(got.history.losses, expected.history.losses, 1e-8)
