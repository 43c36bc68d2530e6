"""gpubp with one call of `fit` for each network."""

from __future__ import annotations

from gpubp.backends.protocol import Backend
from gpubp.bench.peers.one_by_one import OneByOne
from gpubp.bench.peers.ours import training_data
from gpubp.bench.peers.ours_population import GpubpPopulation, member_of
from gpubp.bench.peers.protocol import PopulationLearner
from gpubp.bench.workloads import Workload
from gpubp.training.fit import fit


class GpubpOneByOne(GpubpPopulation):
    """gpubp, one network after the other."""

    name = "gpubp_one_by_one"

    def learner_of(self, backend: Backend, workload: Workload) -> PopulationLearner:
        data = training_data(workload)

        def fit_one(one: Workload, epochs: int) -> list[float]:
            member = member_of(backend, one, data, epochs)
            fitted = fit(backend, member.network, member.loss, member.data, member.recipe)
            return fitted.history.losses

        return OneByOne(fit_one, workload)
