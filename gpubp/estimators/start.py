"""The start of training: initial parameters, or those of an earlier fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from gpubp.backprop.network import Network
from gpubp.estimators.ensemble_members import members_of
from gpubp.estimators.fitted_attributes import history_of, state_of
from gpubp.estimators.fitted_stage import check_same_stage, stage_parts
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
    now = None
    if estimator.warm_start and not incremental:
        now = _minimised(estimator, rows.digest())
    history, state = _continued(estimator, now, from_scratch, incremental)
    if from_scratch:
        return Start(network.initial_theta(rng, dtype, estimator.weights_init), rng, history, state)
    return Start(_parameters(estimator, network, dtype), rng, history, state)


def start_of_member(
    before: Any,
    network: Network,
    dtype: np.dtype,
    rng: np.random.RandomState,
    minimised: tuple[Any, ...],
) -> Start:
    """Return the start with which a member of an ensemble continues its training.

    before : the member of the last fit. minimised : what the ensemble minimises now, see
    `note_minimised`. The other arguments are those of `start_of`, as are the errors.
    """
    history, state = _continued(before, minimised, False, False)
    return Start(_parameters(before, network, dtype), rng, history, state)


def members_before(estimator: Any, stage_before: Any) -> list[Any]:
    """Return the members of the last fit, which a fit with warm_start continues.

    stage_before : the parameter ``input_stage`` of that fit.

    Raises ValueError for another number of members, or another input stage.
    """
    check_same_stage(estimator, stage_before)
    members = members_of(estimator)
    _check_count(None if members is None else len(members), estimator.n_members)
    return members or []


def _check_count(before: int | None, n_members: int | None) -> None:
    """Raise ValueError unless a training that goes on has as many members as the last fit."""
    if before != n_members:
        what = "one network" if before is None else f"an ensemble of {before} networks"
        raise ValueError(
            f"warm_start and partial_fit continue {what} of the last fit, got "
            f"n_members={n_members}; set n_members={before}, or fit again with warm_start=False"
        )


def note_minimised(estimator: Any, rows: TrainingData, seeds: np.ndarray) -> None:
    """Store what the members minimise, which the next fit with warm_start compares.

    rows : of all members. seeds : of the members; with `member_rows`, they decide the rows of each.
    """
    vars(estimator).pop("_minimised", None)
    if estimator.warm_start:
        how = estimator.member_rows
        digest = rows.digest() if how == "all" else (*rows.digest(), how, *seeds.tolist())
        estimator._minimised = _minimised(estimator, digest)


def _minimised(estimator: Any, digest: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a training minimises: the loss with its parameters, on rows with ``digest``."""
    loss = estimator._loss()
    return loss.name, loss.parameters, estimator.alpha, digest


def _parameters(estimator: Any, network: Network, dtype: np.dtype) -> np.ndarray:
    """Return the parameters (size,) of a fitted network; raise ValueError if they do not fit."""
    given = estimator.coefs_, estimator.intercepts_
    Ws, bs = ([np.asarray(p) for p in of] for of in given)
    _check_count(len(Ws[0]) if Ws[0].ndim == 3 else None, None)
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
    return network.pack(Ws, bs, dtype, parts)


def _continued(
    estimator: Any, now: tuple[Any, ...] | None, from_scratch: bool, incremental: bool
) -> tuple[History | None, OptimizerState | None]:
    """Return the history and the optimizer's state that training continues, or None for each.

    Both are copies, so that a training that fails does not change those of the estimator.
    now : what the training minimises, for a warm start; None for partial_fit.
    from_scratch : whether new parameters are drawn.
    """
    history = None if from_scratch else history_of(estimator).copy()
    if now is not None:
        before = getattr(estimator, "_minimised", None)
        estimator._minimised = now
        if history and before not in (None, now):
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
