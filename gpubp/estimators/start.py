"""The start of training: initial parameters, or those of an earlier fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from gpubp.backprop.network import Network
from gpubp.estimators.fitted_attributes import history_of, state_of
from gpubp.estimators.fitted_stage import stage_parts
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Start
from gpubp.training.history import History


def start_of(
    estimator: Any,
    network: Network,
    rows: TrainingData,
    dtype: np.dtype,
    rng: np.random.RandomState,
    from_scratch: bool,
    incremental: bool,
) -> Start:
    """Return the start of training.

    dtype : of training. rng : draws new parameters. from_scratch : whether to draw new parameters.
    incremental : whether this is a partial_fit.

    Raises ValueError if the parameters of the earlier fit do not fit ``network``.
    """
    digest = rows.digest() if estimator.warm_start and not incremental else None
    history, state = _continued(estimator, digest, from_scratch, incremental)
    if from_scratch:
        return Start(network.initial_theta(rng, dtype, estimator.weights_init), rng, history, state)
    given = estimator.coefs_, estimator.intercepts_
    Ws, bs = ([np.asarray(p) for p in of] for of in given)
    parts = stage_parts(estimator)
    got = [W.shape for W in Ws]
    if got != (wanted := list(pairwise(network.sizes))):
        raise ValueError(
            f"warm_start and partial_fit continue from coefs_ of shapes {got}, but the parameters "
            f"and data need {wanted}; use the same hidden_layer_sizes or fit again"
        )
    if not network.bias and any(np.any(b) for b in bs):
        raise ValueError(
            "warm_start and partial_fit with fit_intercept=False need intercepts_ that are 0, but "
            "some are not; set them to 0 or fit again"
        )
    return Start(network.pack(Ws, bs, dtype, parts), rng, history, state)


def _continued(
    estimator: Any, digest: tuple[Any, ...] | None, from_scratch: bool, incremental: bool
) -> tuple[History | None, OptimizerState | None]:
    """Return the history and the optimizer's state that training continues, or None for each.

    Both are copies, so that a training that fails does not change those of the estimator.
    digest : digest of the training rows, for a warm start; None for partial_fit.
    from_scratch : whether new parameters are drawn.
    """
    history = None if from_scratch else history_of(estimator).copy()
    if digest is not None:
        loss, before = estimator._loss(), getattr(estimator, "_minimised", None)
        estimator._minimised = loss.name, loss.parameters, estimator.alpha, digest
        if history and before not in (None, estimator._minimised):
            # The best loss of other rows, or of another loss, cannot be compared.
            history = replace(history, best_loss=np.inf, stale=0)
    scored_by = getattr(estimator, "_scored_by", estimator.scoring)
    if history and estimator.early_stopping and scored_by != estimator.scoring:
        # Scores of another metric cannot be compared.
        history = replace(history, scores=[], best_score=-np.inf, stale=0)
    goes_on = incremental or (estimator.keep_optimizer_state and not from_scratch)
    if not goes_on or getattr(estimator, "_state_of", None) != state_of(estimator):
        return history, None
    return history, replace(estimator._optimizer_state)
