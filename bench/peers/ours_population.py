"""gpubp with `fit_population`, which trains the networks together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backends.select import Compiled, get_backend
from gpubp.bench.peers.ours import Gpubp, loss_of, precision_of, recipe_of, training_data
from gpubp.bench.peers.protocol import PopulationLearner, PopulationPeer
from gpubp.bench.workloads import Workload
from gpubp.training.data import TrainingData
from gpubp.training.population import Member, fit_population


class GpubpPopulation(PopulationPeer):
    """gpubp, all networks in one call."""

    name = "gpubp_population"
    compiled: Compiled = "auto"

    def available(self, device: str) -> str | None:
        return Gpubp().available(device)

    @contextmanager
    def population(self, workload: Workload, device: str) -> Iterator[PopulationLearner]:
        precision = precision_of(workload, device)
        backend = get_backend(device, precision=precision, compiled=self.compiled)
        yield self.learner_of(backend, workload)

    def learner_of(self, backend: Backend, workload: Workload) -> PopulationLearner:
        """Return the learner that trains on ``backend``."""
        return _Together(backend, workload)


class _Together:
    remark = ""

    def __init__(self, backend: Backend, workload: Workload) -> None:
        self._backend, self._members = backend, workload.members()
        self._data, self.networks = training_data(workload), workload.population

    def fit(self, epochs: int) -> np.ndarray:
        members = [member_of(self._backend, each, self._data, epochs) for each in self._members]
        fitted = fit_population(self._backend, members)
        return np.array([each.history.losses for each in fitted if each is not None]).T


def member_of(backend: Backend, workload: Workload, data: TrainingData, epochs: int) -> Member:
    """Return a network with its data and its recipe, by which it trains for all ``epochs``."""
    recipe = recipe_of(backend, workload, epochs=epochs, tol=0, patience=inf, seed=workload.seed)
    return Member(workload.network, loss_of(workload), data, recipe)
