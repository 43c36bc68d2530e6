"""Learners of two kinds: an estimator of scikit-learn's contract, and a session that restarts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from gpubp.bench.peers.protocol import Session
from gpubp.bench.workloads import MOMENTUM, Workload

NEVER = 1 << 30  # epochs without improvement after which training stops


class EstimatorLearner:
    """Whole calls of ``fit`` and ``predict`` of an MLPClassifier or MLPRegressor.

    new_estimator : parameters -> the estimator.
    """

    remark = ""

    def __init__(self, new_estimator: Callable[..., Any], workload: Workload) -> None:
        self._new_estimator, self._workload = new_estimator, workload
        self._X, self._y = workload.data()
        self._estimator: Any = None

    def fit(self, epochs: int) -> list[float]:
        work = self._workload
        self._estimator = self._new_estimator(
            hidden_layer_sizes=work.sizes[1:-1],
            solver=work.solver,
            alpha=0,
            batch_size=work.batch,
            learning_rate_init=work.rate,
            momentum=MOMENTUM,
            max_iter=epochs,
            tol=0,
            n_iter_no_change=NEVER,
            epsilon=work.epsilon,
            random_state=work.seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged
            self._estimator.fit(self._X, self._y)
        return list(self._estimator.loss_curve_)

    def predict(self, X: np.ndarray) -> np.ndarray:
        is_class = self._workload.loss == "cross_entropy"
        predict = self._estimator.predict_proba if is_class else self._estimator.predict
        return np.asarray(predict(X))


class Restarting(Session, Protocol):
    """A Session that can begin anew, and predict."""

    def restart(self) -> None:
        """Take data and initial weights from the host again, and the row orders from the first."""

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs of the network for X (n, d_0) on the host, (n, d_L)."""


class SessionLearner:
    """A training loop around a Session, which reads its loss once an epoch, as estimators do."""

    def __init__(self, session: Restarting, workload: Workload) -> None:
        self._session = session
        self._one_logit = workload.loss == "cross_entropy" and workload.sizes[-1] == 1

    @property
    def remark(self) -> str:
        """What a reader of its figures has to know."""
        return self._session.remark

    def fit(self, epochs: int) -> list[float]:
        self._session.restart()
        losses = []
        for _ in range(epochs):
            self._session.epoch()
            losses.append(self._session.loss())
        self._session.synchronize()
        return losses

    def predict(self, X: np.ndarray) -> np.ndarray:
        outputs = self._session.outputs(X)
        return np.hstack([1 - outputs, outputs]) if self._one_logit else outputs
