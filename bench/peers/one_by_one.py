"""A learner of populations that trains one network after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpubp.bench.workloads import SAMPLE, Workload


class OneByOne:
    """Trains the first networks of a population, at most SAMPLE, one after the other.

    fit_one : (network, epochs) -> the loss of each epoch. The networks are `Workload.members`.
    """

    def __init__(self, fit_one: Callable[[Workload, int], list[float]], workload: Workload) -> None:
        self._fit_one, self._members = fit_one, workload.members()[:SAMPLE]
        self.networks = len(self._members)
        self.remark = ""
        if self.networks < workload.population:
            self.remark = f"{self.networks} networks are timed, and the time scaled to all"

    def fit(self, epochs: int) -> np.ndarray:
        """Train each network from its initial weights; return the losses (epochs, networks)."""
        return np.array([self._fit_one(each, epochs) for each in self._members]).T
