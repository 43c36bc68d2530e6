"""What a peer is: a library that trains a workload, in one small module.

To add one, write a module with the names of `Peer`, as ``sklearn_mlp.py`` does, and list it in
`gpubp.bench.peers.PEERS`. A peer takes the workload's data, initial weights and row orders, keeps
them on the device, and reads no number back in ``epoch``. A Session is the training alone, a
Learner all that its user waits for.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from gpubp.bench.timing import Clock
from gpubp.bench.workloads import Workload


class Session(Protocol):
    """One workload, ready to train."""

    @property
    def clock(self) -> Clock:
        """The clock that fits where it trains."""

    @property
    def remark(self) -> str:
        """What a reader of its figures has to know; "" where there is nothing."""

    def epoch(self) -> None:
        """Train for the next epoch, in the next of the workload's row orders."""

    def loss(self) -> float:
        """Return the mean loss of the last epoch."""

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""


class Learner(Protocol):
    """The whole of a library's training of one workload, as its user calls it, again and again."""

    @property
    def remark(self) -> str:
        """What a reader of its figures has to know; "" where there is nothing."""

    def fit(self, epochs: int) -> list[float]:
        """Train from the initial weights on the host's data; return the loss of each epoch."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs for X (n, d_0) on the host: probabilities (n, classes), or values."""


class Peer(Protocol):
    """A module of this package."""

    name: str

    def available(self, device: str) -> str | None:
        """Return why this peer cannot run on ``device``; None if it can."""

    def prepare(self, workload: Workload, device: str) -> AbstractContextManager[Session]:
        """Return a context with ``workload`` on ``device``, freed at its end."""

    def learner(self, workload: Workload, device: str) -> AbstractContextManager[Learner]:
        """Return a context with what trains ``workload`` on ``device``, compiled if need be."""


def missing(package: str) -> str | None:
    """Return "... is not installed", or None if ``package`` can be imported."""
    return None if find_spec(package) else f"{package} is not installed"
