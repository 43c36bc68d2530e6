"""The fitted attributes of an estimator, and what is raised, warned or printed after a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gpubp.training.fit import Fitted
from gpubp.training.history import History

# Attributes that L-BFGS alone does not set, which has no epochs.
EPOCH_ATTRIBUTES = (
    *("loss_curve_", "best_loss_", "best_epoch_"),
    *("validation_scores_", "best_validation_score_", "validation_loss_curve_"),
)


@contextmanager
def rollback(estimator: Any) -> Iterator[None]:
    """Put all attributes of ``estimator`` back if what is done inside raises.

    Their values are not copied: inside, attributes are replaced, not changed in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def set_fitted(
    estimator: Any,
    fitted: Fitted,
    output: str,
    parameters: tuple[list[np.ndarray], list[np.ndarray]] | None = None,
    best_before: int | None = None,
) -> None:
    """Set the attributes that a training leaves.

    output : the activation of the outputs. parameters : `coefs_` and `intercepts_`; None copies
    those that were trained. best_before : `best_epoch_` before an epoch of training, by its loss.
    """
    network, history = fitted.network, fitted.history
    estimator.coefs_, estimator.intercepts_ = parameters or network.unpack(fitted.theta)
    estimator.n_layers_, estimator.n_outputs_ = len(network.sizes), network.sizes[-1]
    estimator.out_activation_ = output
    set_history(estimator, history, bool(estimator.early_stopping), best_before)
    estimator.device_, estimator.precision_ = fitted.device, fitted.precision
    # After a divergence its vectors may be NaN: the next call starts from zeros.
    diverged = history.stopped_by == "non_finite"
    estimator._optimizer_state = fitted.state
    estimator._state_of = None if diverged else state_of(estimator)
    if estimator.early_stopping:
        estimator._scored_by = estimator.scoring


def set_history(
    estimator: Any, history: History, early_stopping: bool, best_before: int | None = None
) -> None:
    """Set the attributes that tell how training went. best_before : see `set_fitted`."""
    # Without the time that it took: equal fits are to have equal attributes, pickles and hashes.
    estimator._history = replace(history, seconds=0.0)
    estimator.n_iter_, estimator.t_ = history.epochs, history.samples
    estimator.loss_curve_ = history.losses
    estimator.loss_ = history.losses[-1] if history.losses else np.nan
    estimator.best_loss_ = None if early_stopping else history.best_loss
    estimator.validation_scores_ = history.scores if early_stopping else None
    estimator.best_validation_score_ = history.best_score if early_stopping else None
    estimator.validation_loss_curve_ = history.validation_losses if early_stopping else None
    if best_before is None:
        estimator.best_epoch_ = _best_epoch(history, early_stopping)
    else:
        better = history.losses[-1] < history.losses[best_before - 1]
        estimator.best_epoch_ = len(history.losses) if better else best_before
    if history.minimum is not None:
        estimator.loss_ = history.minimum.fun
        for name in () if history.losses else EPOCH_ATTRIBUTES:
            delattr(estimator, name)
    estimator.stopped_by_ = history.stopped_by


def _best_epoch(history: History, early_stopping: bool) -> int | None:
    curve = np.array(history.scores if early_stopping else history.losses)
    curve = curve if early_stopping else -curve
    return int(np.nanargmax(curve)) + 1 if np.isfinite(curve).any() else None


def history_of(estimator: Any) -> History:
    """Return the history of an estimator; one whose weights were set by hand has none yet."""
    history: History = getattr(estimator, "_history", None) or History()
    return history


def state_of(estimator: Any) -> tuple[str, bool]:
    """Return what the optimizer's state is for: with another of these it starts from zeros."""
    return estimator.solver, bool(estimator.fit_intercept)


def _warn_unless_converged(history: History, max_iter: int) -> None:
    """Warn as scikit-learn does, or pass an interrupt on, as it does under this solver alone."""
    from sklearn.utils.optimize import _check_optimize_result

    if history.stopped_by == "interrupt":
        raise KeyboardInterrupt
    if history.stopped_by == "callback":
        return
    _check_optimize_result("lbfgs", history.minimum, max_iter)


def _divergence(estimator: Any, history: History) -> str:
    """Return why training diverged, in scikit-learn's words where it diverges too."""
    advice = "scale y"
    if getattr(estimator, "target_scaling", True) or history.minimum is not None:
        advice = ""  # of a classifier, or followed, or by the solver that rescales its steps
    elif estimator.out_activation_ == "identity":
        advice = "set target_scaling=True"
    if history.finite_weights:
        dtype = estimator.coefs_[0].dtype
        wider = "take dtype='float64'" if dtype == np.float32 else "lower learning_rate_init"
        return (
            f"The loss {estimator._loss().name!r} is beyond {dtype}, though the weights are not; "
            f"{advice}{', or ' * bool(advice)}{wider}"
        )
    more = f" So may y: {advice}." if advice else ""
    return (
        "Solver produced non-finite parameter weights. The input data may contain large values and "
        f"need to be preprocessed.{more}"
    )


def warn_why_stopped(estimator: Any, history: History, incremental: bool = False) -> None:
    """Raise, warn or print as scikit-learn does, by why training stopped."""
    if history.minimum is not None:
        _warn_unless_converged(history, estimator.max_iter)
    scored = estimator.early_stopping and history.minimum is None and history.scores
    if history.stopped_by == "non_finite":
        if not (scored and history.best_score > -np.inf):
            raise ValueError(_divergence(estimator, history))
        warnings.warn(
            f"Training diverged in epoch {history.epochs + 1}, whose loss or weights are not "
            f"finite; the weights of epoch {estimator.best_epoch_}, the best by validation score, "
            "are kept. Lower learning_rate_init, or scale X and y",
            ConvergenceWarning,
            stacklevel=3,
        )
    if scored and history.best_score == -np.inf:
        warnings.warn(
            f"scoring={estimator.scoring!r} gave no finite score in any epoch, so that the weights "
            "of the last one are kept; check it, and the validation rows",
            stacklevel=3,
        )
    if history.stopped_by == "interrupt":
        warnings.warn("Training interrupted by user.", stacklevel=3)
    elif history.stopped_by == "max_epochs" and not (incremental or history.minimum):
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
            "optimization hasn't converged yet.",
            ConvergenceWarning,
            stacklevel=3,
        )
    elif history.stopped_by == "no_improvement" and estimator.verbose:
        what = "Validation score" if estimator.early_stopping else "Training loss"
        print(
            f"{what} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs. Stopping."
        )
