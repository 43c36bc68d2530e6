"""scikit-learn's MLPClassifier: draws the workload's weights and first row orders by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpubp.bench.peers.learners import EstimatorLearner
from gpubp.bench.peers.protocol import Learner, Session, missing
from gpubp.bench.results import SkippedError
from gpubp.bench.timing import HostClock
from gpubp.bench.workloads import Workload

name = "sklearn_mlp"


def available(device: str) -> str | None:
    """Return why this peer cannot run on ``device``; None if it can."""
    return missing("sklearn") or (None if device == "cpu" else "scikit-learn has no GPU")


@contextmanager
def prepare(workload: Workload, device: str) -> Iterator[Session]:
    """Yield ``workload`` on ``device``."""
    yield _Session(workload)


@contextmanager
def learner(workload: Workload, device: str) -> Iterator[Learner]:
    """Yield MLPClassifier or MLPRegressor for ``workload``."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    if workload.precision not in ("float32", "float64"):
        raise SkippedError(f"scikit-learn has no {workload.precision}")
    kind = MLPClassifier if workload.loss == "cross_entropy" else MLPRegressor
    yield EstimatorLearner(kind, workload)


class _Session:
    remark = ""

    def __init__(self, workload: Workload) -> None:
        from sklearn.neural_network import MLPClassifier

        self.clock = HostClock()
        self._X, self._y = workload.data()
        self._classes = np.arange(workload.sizes[-1])
        self._model: Any = MLPClassifier(
            workload.sizes[1:-1],
            batch_size=workload.batch,
            learning_rate_init=workload.rate,
            alpha=0,
            epsilon=workload.epsilon,
            # One stream for all calls, so that each draws the next row order.
            random_state=np.random.RandomState(workload.seed),
        )

    def epoch(self) -> None:
        self._model.partial_fit(self._X, self._y, classes=self._classes)

    def loss(self) -> float:
        return float(self._model.loss_)

    def synchronize(self) -> None:
        pass
