"""The members of a fitted ensemble, and the history that describes all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from gpubp.estimators.fitted_attributes import set_history, state_of
from gpubp.estimators.fitted_stage import set_stage
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Fitted
from gpubp.training.history import History, Minimum

# Why a training stopped, from the worst reason to the best.
_REASONS = (
    *("interrupt", "non_finite", "callback", "line_search", "max_fun", "max_epochs"),
    *("no_improvement", "convergence"),
)
_OF_ENSEMBLE = (
    *("_member_histories", "_member_seeds", "_member_states"),
    *("oob_score_", "oob_prediction_", "oob_decision_function_"),
)
# Of the last training of one network.
_OF_NETWORK = ("_optimizer_state", "_state_of", "_scored_by")


def set_members(
    estimator: Any, trained: Sequence[Fitted], seeds: Sequence[int], output: str
) -> History:
    """Set the fitted attributes of an ensemble of ``trained`` networks; return its history.

    seeds : of the members. output : the activation of the outputs.
    """
    first = trained[0]
    arrays = [each.network.arrays(each.theta) for each in trained]
    estimator.coefs_ = [np.stack(Ws) for Ws in zip(*(Ws for Ws, _ in arrays), strict=True)]
    estimator.intercepts_ = [np.stack(bs) for bs in zip(*(bs for _, bs in arrays), strict=True)]
    set_stage(estimator, first.network, [each.theta for each in trained])
    estimator.n_layers_, estimator.n_outputs_ = len(first.network.sizes), first.network.sizes[-1]
    estimator.out_activation_ = output
    estimator.device_, estimator.engine_ = first.device, first.engine
    estimator.precision_ = first.precision
    for name in _OF_NETWORK:
        vars(estimator).pop(name, None)
    if estimator.early_stopping:
        estimator._scored_by = estimator.scoring
    if estimator.keep_optimizer_state:
        estimator._member_states = [_kept_state(each) for each in trained]
        estimator._state_of = state_of(estimator)
    histories = [each.history for each in trained]
    return set_member_histories(estimator, histories, seeds, bool(estimator.early_stopping))


def _kept_state(fitted: Fitted) -> OptimizerState | None:
    """Return the state from which training can continue; None after a divergence."""
    return None if fitted.stopped_by == "non_finite" else fitted.state


def set_member_histories(
    estimator: Any, histories: list[History], seeds: Sequence[int], early_stopping: bool
) -> History:
    """Set the attributes that describe the training of an ensemble; return its history."""
    estimator._member_histories, estimator._member_seeds = histories, [int(s) for s in seeds]
    for history in histories:
        history.seconds = 0.0  # so that equal fits have equal attributes
    history = merged(histories)
    set_history(estimator, history, early_stopping)
    return history


def forget_members(estimator: Any) -> None:
    """Delete the attributes that only an ensemble has."""
    for name in _OF_ENSEMBLE:
        vars(estimator).pop(name, None)


def members_of(estimator: Any) -> list[Any] | None:
    """Return the members of an ensemble as fitted networks; None for a single network.

    Their weights are views of those of the ensemble.
    """
    coefs = getattr(estimator, "coefs_", None)
    if not coefs or np.ndim(coefs[0]) != 3:
        return None
    return [_member(estimator, k) for k in range(len(coefs[0]))]


def _member(estimator: Any, k: int) -> Any:
    member: Any = object.__new__(type(estimator))
    has = vars(estimator)
    vars(member).update({name: value for name, value in has.items() if name not in _OF_ENSEMBLE})
    member.n_members, member.member_rows = None, "all"
    member.coefs_ = [W[k] for W in estimator.coefs_]
    member.intercepts_ = [b[k] for b in estimator.intercepts_]
    if "_stage_vector" in has:
        member._stage_vector = has["_stage_vector"][k]
    if "_member_states" in has:
        member._optimizer_state = has["_member_states"][k]
        if member._optimizer_state is None:
            member._state_of = None
    if "_member_histories" in has:  # not with weights that were set by hand
        member.random_state = has["_member_seeds"][k]
        early_stopping = has.get("validation_scores_") is not None
        set_history(member, has["_member_histories"][k], early_stopping)
    return member


def merged(histories: Sequence[History]) -> History:
    """Return the history of an ensemble.

    Losses and scores of an epoch are means over the members; after its last epoch, a member counts
    with its last value. The best loss and the best score are means of the members' best ones.
    `epochs` is the largest number, `samples` the sum, `stopped_by` the worst reason.
    """
    worst = min(histories, key=lambda of: _REASONS.index(of.stopped_by))
    return History(
        losses=_means([of.losses for of in histories]),
        scores=_means([of.scores for of in histories]),
        validation_losses=_means([of.validation_losses for of in histories]),
        best_loss=_mean([of.best_loss for of in histories]),
        best_score=_mean([of.best_score for of in histories]),
        stale=worst.stale,
        samples=sum(of.samples for of in histories),
        epochs=max(of.epochs for of in histories),
        stopped_by=worst.stopped_by,
        finite_weights=worst.finite_weights,
        minimum=_minimum(worst.minimum, histories),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _means(curves: list[list[float]]) -> list[float]:
    """Return the mean of the curves, each continued by its last value to the longest one."""
    if not all(curves):  # of L-BFGS, or without validation rows
        return []
    last = [curve[-1] for curve in curves]
    longest: list[tuple[float | None, ...]] = list(zip_longest(*curves))
    return [
        _mean([end if value is None else value for value, end in zip(values, last, strict=True)])
        for values in longest
    ]


def _minimum(worst: Minimum | None, histories: Sequence[History]) -> Minimum | None:
    if worst is None:
        return None
    minima = [of.minimum for of in histories if of.minimum is not None]
    return worst._replace(
        fun=_mean([of.fun for of in minima]),
        nit=max(of.nit for of in minima),
        nfev=sum(of.nfev for of in minima),
    )
