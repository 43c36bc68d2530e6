"""Measures what the model of `scaling` needs: training steps on this device, and allreduces."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES, Loss
from gpubp.backprop.network import Network
from gpubp.training.batches import HashedOrder
from gpubp.training.data import TrainingData
from gpubp.training.fit import Start, make_trainer
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer

DATA_BYTES, MOST_STEPS = 1 << 26, 16  # limits of an epoch, which has at least two steps
BATCH_BYTES = 1 << 28  # of inputs, activations and deltas
LEAST_EPOCHS, SECONDS = 3, 0.3  # of the measurement of one batch size
MESSAGES = (8, 1 << 12, 1 << 16, 1 << 20)  # bytes of the allreduces
MOST_BYTES, MOST_REPEATS, LEAST_REPEATS = 1 << 28, 200, 7  # of the allreduces of one size
Times = list[tuple[int, float]]  # (rows or bytes, seconds)


@dataclass(frozen=True)
class Measured:
    """The measurements of this machine, with their conditions.

    steps : (rows, seconds) of a training step. copies : see `Compute`.
    allreduces : (bytes, seconds) of allreduces over ``ranks``; empty if there is one rank.
    """

    device: str
    engine: str
    threads: int
    steps: Times
    copies: float
    ranks: int
    allreduces: Times


class Communicator(Protocol):
    """The methods of mpi4py's communicators that are used here."""

    size: int

    def Allreduce(self, sendbuf: Any, recvbuf: Any) -> None:
        """Write the sum of ``sendbuf`` over all ranks to ``recvbuf``."""

    def Barrier(self) -> None:
        """Wait for all ranks."""


def batch_sizes(network: Network, batch: int) -> list[int]:
    """Return the batch sizes to measure: ``batch``, a fourth of it and a sixteenth.

    A batch that takes more than `BATCH_BYTES` is replaced by the largest one that does not.
    """
    row_bytes = 4 * network.numbers_per_row(deltas=True)
    most = min(batch, max(1, BATCH_BYTES // row_bytes))
    return sorted({max(1, most // 16), max(1, most // 4), most})


def random_rows(network: Network, batch: int) -> tuple[Loss, TrainingData]:
    """Return a loss, and random rows in float32 for an epoch of steps with ``batch`` rows."""
    rng, width, outputs = np.random.default_rng(0), network.n_inputs, network.sizes[-1]
    steps = min(MOST_STEPS, max(2, DATA_BYTES // (4 * batch * width)))
    X = rng.standard_normal((steps * batch, width), np.float32)
    y: np.ndarray = rng.integers(0, outputs, len(X)).astype(np.int32)
    if outputs == 1:
        y = X[:, :1].copy()
        return LOSSES["squared_error"], TrainingData(X, y, y, None)
    return LOSSES["softmax_cross_entropy"], TrainingData(X, y, y, None)


def new_trainer(backend: Backend, network: Network, batch: int) -> Trainer:
    """Return a training of ``network`` on random rows, in float32 with Adam.

    Call it within ``backend.in_use``.
    """
    loss, data = random_rows(network, batch)
    recipe = Recipe(batch_size=batch, precision="float32")
    return make_trainer(backend, network, loss, data, recipe, Start.new(network, recipe))


def step_seconds(trainer: Trainer) -> float:
    """Return the seconds of a training step: the median over epochs, after one to warm up.

    There are as many epochs as take `SECONDS`, at least `LEAST_EPOCHS`.
    """
    found: list[float] = []
    started = perf_counter()
    for epoch in count():
        before = perf_counter()
        trainer.epoch(HashedOrder(0, epoch))  # reads the loss, and so waits for the device
        now = perf_counter()
        if epoch > 0:
            found.append((now - before) / trainer.batches.steps)
        if len(found) >= LEAST_EPOCHS and now - started > SECONDS:
            return statistics.median(found)
    raise AssertionError("unreachable")


def measure_steps(backend: Backend, network: Network, batches: Sequence[int]) -> Times:
    """Return (rows, seconds) of a training step with each of these batch sizes."""
    return [
        (batch, step_seconds(new_trainer(backend, network, batch))) for batch in sorted(batches)
    ]


def measure_copies(backend: Backend, n_parameters: int) -> float:
    """Return the seconds to copy a gradient from the device to the host and back; 0 on the CPU.

    The host memory is not pinned, unlike that of a training, whose copies take no longer.
    """
    if backend.name == "cpu":
        return 0.0
    gradient = backend.zeros((n_parameters,), np.float32)

    def there_and_back() -> None:
        gradient[...] = backend.asarray(backend.to_numpy(gradient))
        backend.synchronize()

    return statistics.median(_seconds_of(there_and_back, LEAST_REPEATS))


def measure_allreduce(comm: Communicator, n_bytes: int) -> Times:
    """Return (bytes, seconds) of allreduces of float32: of `MESSAGES`, and of ``n_bytes``.

    All ranks of ``comm`` call it, each with host arrays; the median over repetitions.
    """
    found = []
    for size in sorted({*MESSAGES, n_bytes}):
        send = np.ones(size // 4, np.float32)
        receive = np.empty_like(send)
        repeats = min(MOST_REPEATS, max(LEAST_REPEATS, MOST_BYTES // size))
        comm.Barrier()
        seconds = _seconds_of(partial(comm.Allreduce, send, receive), repeats)
        if not (receive == comm.size).all():
            raise RuntimeError(f"the allreduce of {size} bytes over {comm.size} ranks is wrong")
        found.append((size, statistics.median(seconds)))
    return found


def _seconds_of(call: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of each call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        before = perf_counter()
        call()
        times.append(perf_counter() - before)
    return times[1:]
