"""A learner that is an estimator of scikit-learn's contract."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gpubp.bench.workloads import MOMENTUM, Workload

NEVER = 1 << 30  # epochs without improvement after which training stops


class EstimatorLearner:
    """Whole calls of ``fit`` and ``predict`` of an MLPClassifier or MLPRegressor.

    new_estimator : parameters -> the estimator.
    data : X and y; None for those of the workload.
    """

    remark = ""

    def __init__(
        self,
        new_estimator: Callable[..., Any],
        workload: Workload,
        data: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._new_estimator, self._workload = new_estimator, workload
        self._X, self._y = data or workload.data()
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
