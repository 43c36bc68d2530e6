"""Predictions for the training rows by the members that did not see them, and their score."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.input_stage import StageParameters
from gpubp.backprop.network import Network, Parameters
from gpubp.estimators.fitted_stage import stage_vector
from gpubp.estimators.network_outputs import averaged
from gpubp.training.data import TakenRows, TrainingData, as_matrix
from gpubp.training.inference import infer


def set_oob(
    estimator: Any,
    backend: Backend,
    network: Network,
    rows: TrainingData,
    left_out: list[np.ndarray],
) -> None:
    """Set `oob_score_`, and `oob_prediction_` or `oob_decision_function_`, of an ensemble.

    rows : all training rows, for ``backend``, with their sample weights. left_out : the indices of
    the rows that each member neither trained on nor held out.

    The score is NaN if the rows that members left out have no weight.
    """
    total = np.zeros((rows.n_rows, network.sizes[-1]), rows.X.dtype)
    count = np.zeros(rows.n_rows, np.int64)
    for k, places in enumerate(left_out):
        if len(places):
            outputs = _outputs(estimator, backend, network, TakenRows(rows.X, places), k)
            total[places] += averaged(estimator, outputs)
            count[places] += 1
    known = count > 0
    total[known] /= count[known, None]
    total[~known] = np.nan
    for name, values in estimator._oob_attributes(total).items():
        setattr(estimator, name, values)
    weights = None if rows.weights is None else rows.weights[known]
    score = float("nan")
    if known.any() and (weights is None or weights.sum()):
        score = estimator._score_outputs(total[known], rows.y[known], weights)
    estimator.oob_score_ = float(score)


def _outputs(
    estimator: Any, backend: Backend, network: Network, rows: TakenRows, k: int
) -> np.ndarray:
    """Return the outputs (n, n_outputs) of member ``k`` for ``rows``."""
    with backend.in_use(estimator.threads, min(len(rows), 1024) * network.n_parameters):
        X = as_matrix(rows, rows.dtype, backend)
        arrays = estimator.coefs_, estimator.intercepts_
        Ws, bs = ([backend.asarray(array[k]) for array in of] for of in arrays)
        stage = stage_vector(estimator, X.dtype)
        own = stage if stage is None else StageParameters(backend.asarray(stage[k]))
        return infer(backend, network, estimator._loss(), Parameters(Ws, bs, stage=own), X)
