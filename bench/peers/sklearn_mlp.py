"""scikit-learn's estimators, which draw the workload's weights and row orders by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gpubp.bench.peers.learners import EstimatorLearner
from gpubp.bench.peers.protocol import Learner, Peer, missing
from gpubp.bench.results import SkippedError
from gpubp.bench.workloads import Workload


class SklearnMlp(Peer):
    """MLPClassifier and MLPRegressor."""

    name = "sklearn_mlp"

    def available(self, device: str) -> str | None:
        return missing("sklearn") or (None if device == "cpu" else "scikit-learn has no GPU")

    @contextmanager
    def learner(self, workload: Workload, device: str) -> Iterator[Learner]:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        if workload.precision not in ("float32", "float64"):
            raise SkippedError(f"scikit-learn has no {workload.precision}")
        kind = MLPClassifier if workload.loss == "cross_entropy" else MLPRegressor
        yield EstimatorLearner(kind, workload)
