"""The protocol of a peer: a small class by which a library trains a workload.

To add a peer, write a module with a subclass of `Peer`, as ``torch_eager.py`` does, and list it in
`gpubp.bench.peers.PEERS`. A session takes the workload's data, initial weights and row orders,
keeps them on the device, and does not copy a number to the host in ``epoch``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol

import numpy as np

from gpubp.bench.results import SkippedError
from gpubp.bench.timing import Clock
from gpubp.bench.workloads import Workload


class Session(ABC):
    """One workload on its device: training by epochs, and the forward pass.

    clock : the clock of the device on which the session computes.
    """

    clock: Clock

    @property
    def remark(self) -> str:
        """A remark for readers of the figures; "" for none."""
        return ""

    @abstractmethod
    def restart(self) -> None:
        """Load data and initial weights from the host again; begin with the first row order."""

    @abstractmethod
    def epoch(self) -> None:
        """Train for one epoch, in the next row order of the workload."""

    @abstractmethod
    def loss(self) -> float:
        """Return the mean loss of the last epoch."""

    @abstractmethod
    def place(self, X: np.ndarray) -> Any:
        """Return X (n, d_0), an array on the host, as an array on the device."""

    @abstractmethod
    def forward(self, X: Any) -> Any:
        """Return the network's outputs (n, d_L) for X (n, d_0), both on the device."""

    @abstractmethod
    def to_host(self, outputs: Any) -> np.ndarray:
        """Return a copy of ``outputs`` on the host."""

    @abstractmethod
    def synchronize(self) -> None:
        """Block the host until the device has done all requested work."""


class Learner(Protocol):
    """A library's training of one workload by whole calls, as a user makes them."""

    @property
    def remark(self) -> str:
        """A remark for readers of the figures; "" for none."""

    def fit(self, epochs: int) -> list[float]:
        """Train from the initial weights on the host's data; return the loss of each epoch."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs for X (n, d_0) on the host: probabilities (n, classes), or values."""


class PopulationLearner(Protocol):
    """A library's training of a population, or of its first networks, by whole calls.

    networks : the number of networks that ``fit`` trains.
    """

    networks: int

    @property
    def remark(self) -> str:
        """A remark for readers of the figures; "" for none."""

    def fit(self, epochs: int) -> np.ndarray:
        """Train each network from its initial weights; return the losses (epochs, networks)."""


class SessionLearner:
    """A learner that trains a Session and reads the loss after each epoch, as estimators do."""

    def __init__(self, session: Session, workload: Workload) -> None:
        self._session = session
        self._one_logit = workload.loss == "cross_entropy" and workload.sizes[-1] == 1

    @property
    def remark(self) -> str:
        """A remark for readers of the figures; "" for none."""
        return self._session.remark

    def fit(self, epochs: int) -> list[float]:
        """Train from the start; return the loss of each epoch."""
        self._session.restart()
        losses = []
        for _ in range(epochs):
            self._session.epoch()
            losses.append(self._session.loss())
        self._session.synchronize()
        return losses

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs for X (n, d_0) on the host, computed on the device."""
        session = self._session
        outputs = session.to_host(session.forward(session.place(X)))
        return np.hstack([1 - outputs, outputs]) if self._one_logit else outputs


class Peer(ABC):
    """A library that trains workloads."""

    name: ClassVar[str]

    @abstractmethod
    def available(self, device: str) -> str | None:
        """Return why this peer cannot run on ``device``; None if it can."""

    def session(self, workload: Workload, device: str) -> AbstractContextManager[Session]:
        """Return a context with a session of ``workload`` on ``device``; freed at its end."""
        raise SkippedError(f"{self.name} is measured by whole calls only")

    @contextmanager
    def learner(self, workload: Workload, device: str) -> Iterator[Learner]:
        """Return a context with a learner of ``workload`` on ``device``, compiled if necessary."""
        with self.session(workload, device) as session:
            yield SessionLearner(session, workload)

    def population(
        self, workload: Workload, device: str
    ) -> AbstractContextManager[PopulationLearner]:
        """Return a context with a learner of the population of ``workload`` on ``device``."""
        raise SkippedError(f"{self.name} does not train populations")


class PopulationPeer(Peer):
    """A way of training many networks, which is not measured with one."""

    def session(self, workload: Workload, device: str) -> AbstractContextManager[Session]:
        raise SkippedError(f"{self.name} trains populations only; set population to 2 or more")


def missing(package: str) -> str | None:
    """Return "... is not installed", or None if ``package`` can be imported."""
    return None if find_spec(package) else f"{package} is not installed"
