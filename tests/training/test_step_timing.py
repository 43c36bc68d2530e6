"""Measurements for the model of several devices: steps, and allreduces of real ranks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.training import step_timing
from gpubp.training.step_timing import (
    MESSAGES,
    batch_sizes,
    measure_allreduce,
    measure_copies,
    measure_steps,
    new_trainer,
    step_seconds,
)
from tests.distributed.launching import on_ranks

RANK = """
import json
from mpi4py import MPI
from gpubp.training.step_timing import measure_allreduce
found = measure_allreduce(MPI.COMM_WORLD, 40_000)
if MPI.COMM_WORLD.rank == 0:
    print(json.dumps(found))
"""


class Alone:
    """A communicator of so many ranks, which all have the same arrays."""

    def __init__(self, size: int, factor: int = 1) -> None:
        self.size, self.factor, self.calls = size, factor, 0

    def Allreduce(self, sendbuf: Any, recvbuf: Any) -> None:
        self.calls += 1
        recvbuf[...] = self.size * self.factor * sendbuf

    def Barrier(self) -> None:
        pass


def test_batch_sizes() -> None:
    network = Network((784, 512, 10), ("relu",))
    assert batch_sizes(network, 1024) == [64, 256, 1024]
    assert batch_sizes(network, 5) == [1, 5]
    assert batch_sizes(network, 1) == [1]
    *_, most = batch_sizes(network, 1 << 24)  # whose inputs alone would take 53 GB
    assert most == (1 << 28) // (4 * (784 + 3 * 522))


@pytest.mark.parametrize("sizes", [(6, 5, 3), (6, 1)])
def test_steps_are_timed(
    backend: Backend, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_timing, "SECONDS", 0.001)
    network = Network(sizes, ("relu",) * (len(sizes) - 2))
    with backend.in_use(1, 0):
        found = measure_steps(backend, network, [8, 2])
        trainer = new_trainer(backend, network, 8)
        before = backend.to_numpy(trainer.theta).copy()
        step_seconds(trainer)
        copies = measure_copies(backend, network.n_parameters)
    assert [rows for rows, _ in found] == [2, 8]
    assert all(0 < seconds < 10 for _, seconds in found)
    assert (backend.to_numpy(trainer.theta) != before).any()  # it trains
    assert trainer.state.updates >= 4 * trainer.batches.steps
    assert (copies > 0) == (backend.name != "cpu")


def test_the_time_is_that_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by 16 s per epoch of 16 steps shows 1 s per step."""
    seconds = iter(range(0, 10_000, 16))  # at each look: two per epoch, after one at the start
    monkeypatch.setattr(step_timing, "perf_counter", lambda: next(seconds))

    class Trainer:
        batches = type("Batches", (), {"steps": 16})

        def epoch(self, order: object) -> float:
            return 0.0

    assert step_seconds(Trainer()) == 1  # type: ignore[arg-type]


def test_allreduces_are_timed() -> None:
    comm = Alone(3)
    found = measure_allreduce(comm, 40_000)
    assert [size for size, _ in found] == sorted([*MESSAGES, 40_000])
    assert comm.calls > 5 * 7
    with pytest.raises(RuntimeError, match=r"the allreduce of 8 bytes over 3 ranks is wrong"):
        measure_allreduce(Alone(3, factor=2), 40_000)


def test_allreduces_of_two_ranks() -> None:
    found = json.loads(on_ranks(2, "-c", RANK).stdout)
    assert [size for size, _ in found] == sorted([*MESSAGES, 40_000])
    times = np.array([seconds for _, seconds in found])
    assert (times > 0).all()
    assert times[-1] > times[0]  # 1 MB takes longer than 8 bytes
