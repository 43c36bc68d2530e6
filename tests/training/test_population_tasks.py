"""Tasks: the networks of a population in parts, which other processes train."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError
from gpubp.backprop.network import Network
from gpubp.training import deadline
from gpubp.training.deadline import Deadline
from gpubp.training.history import Epoch
from gpubp.training.population import fit_population, groups
from gpubp.training.population_tasks import (
    TASKS_PER_WORKER,
    BackendChoice,
    Task,
    split,
    train_task,
)
from tests.training.test_population import member

SMALL, LARGE = Network((6, 3, 3), ("relu",)), Network((6, 60, 3), ("relu",))


def works(members: list[Any], tasks: list[Task]) -> list[int]:
    return [
        sum(members[k].recipe.epochs * members[k].network.n_parameters for k in task.places)
        for task in tasks
    ]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_tasks_are_parts_of_groups_the_largest_first(workers: int) -> None:
    members = [member(k % 5, network=(SMALL, LARGE)[k % 3 == 0], epochs=5) for k in range(40)]
    tasks = split(members, workers)
    assert sorted(k for task in tasks for k in task.places) == list(range(40))
    for task in tasks:
        assert len(groups([members[k] for k in task.places])) == 1
        assert task.places == sorted(task.places)
    assert works(members, tasks) == sorted(works(members, tasks), reverse=True)
    assert tasks == split(members, workers)
    # No task is much more than its share, so that all workers end at about the same time.
    share = sum(works(members, tasks)) / (workers * TASKS_PER_WORKER)
    assert max(works(members, tasks)) <= max(share, 5 * LARGE.n_parameters)


def test_equal_networks_are_split_evenly() -> None:
    tasks = split([member(k % 5) for k in range(24)], 3)
    assert [(len(places), is_part) for places, is_part in tasks] == [(2, True)] * 12
    assert split([member(0)], 8) == [Task([0], is_part=False)]
    assert split([], 8) == []


def test_more_epochs_are_more_work() -> None:
    members = [member(k, epochs=(2, 200)[k == 2]) for k in range(4)]
    assert split(members, 1)[0].places == [2]


def test_a_task_has_the_bits_of_the_whole_population(backend: Backend) -> None:
    """Also of a single network, whose validation would be computed by other code alone."""
    members = [member(k, held=True, dropout=(0.1, 0.0, 0.0)) for k in range(6)]
    whole = fit_population(backend, members)
    choice = BackendChoice.like(backend)
    assert pickle.loads(pickle.dumps(choice)) == choice
    for task in ([0], [1, 2], [3, 4, 5]):
        got = train_task(choice, [members[k] for k in task], 1, is_part=True)
        for k, fitted in zip(task, got, strict=True):
            expected = whole[k]
            assert fitted is not None
            assert expected is not None
            assert (fitted.device, fitted.engine) == (expected.device, expected.engine)
            assert_array_equal(fitted.theta, expected.theta)
            assert fitted.history.losses == expected.history.losses
            assert fitted.history.scores == expected.history.scores


def test_another_machine_without_the_backend() -> None:
    with pytest.raises(BackendUnavailableError):
        train_task(BackendChoice("cuda:999", "cuda", "float32"), [member(0)], None, is_part=False)


def test_a_deadline_goes_on_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(deadline, "monotonic", lambda: now[0])
    limit = Deadline(10)
    now[0] = 104.0
    pickled = pickle.dumps(limit)
    now[0] = 5000.0  # the clock of another machine
    copy = pickle.loads(pickled)
    for seconds, over in ((0, False), (5.9, False), (6.1, True)):
        now[0] = 5000 + seconds
        assert copy.is_over() is over
    assert pickle.loads(pickle.dumps(Deadline(None))).on_epoch is None


def test_a_deadline_stops_a_training(backend: Backend) -> None:
    of = member(0, epochs=10**6, patience=math.inf)
    of = replace(of, listeners=replace(of.listeners, on_epoch=Deadline(0.05).on_epoch))
    (fitted,) = train_task(BackendChoice.like(backend), [of], 1, is_part=False)
    assert fitted is not None
    assert fitted.stopped_by == "callback"


def test_a_deadline_is_a_listener() -> None:
    epoch = Epoch(1, 0.0, None, True, 0.1, 0.0, 1, False)
    assert Deadline(0)(epoch)
    assert not Deadline(60)(epoch)
