"""scikit-learn's estimators, which draw the workload's weights and row orders by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpubp.bench.peers.learners import EstimatorLearner
from gpubp.bench.peers.one_by_one import OneByOne
from gpubp.bench.peers.protocol import Learner, Peer, PopulationLearner, missing
from gpubp.bench.results import SkippedError
from gpubp.bench.workloads import Workload


class SklearnMlp(Peer):
    """MLPClassifier and MLPRegressor."""

    name = "sklearn_mlp"

    def available(self, device: str) -> str | None:
        return missing("sklearn") or (None if device == "cpu" else "scikit-learn has no GPU")

    @contextmanager
    def learner(self, workload: Workload, device: str) -> Iterator[Learner]:
        yield EstimatorLearner(_kind(workload), workload)

    @contextmanager
    def population(self, workload: Workload, device: str) -> Iterator[PopulationLearner]:
        kind, data = _kind(workload), workload.data()
        yield OneByOne(lambda one, epochs: EstimatorLearner(kind, one, data).fit(epochs), workload)


def _kind(workload: Workload) -> Any:
    """Return the class of the workload's estimator."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    if workload.precision not in ("float32", "float64"):
        raise SkippedError(f"scikit-learn has no {workload.precision}")
    return MLPClassifier if workload.loss == "cross_entropy" else MLPRegressor
