"""The fitted attributes of an estimator, and the errors and warnings at the end of training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gpubp.estimators.fitted_stage import set_stage
from gpubp.training.fit import Fitted
from gpubp.training.history import History

# Attributes that L-BFGS does not set, since it has no epochs.
EPOCH_ATTRIBUTES = (
    *("loss_curve_", "best_loss_", "best_epoch_"),
    *("validation_scores_", "best_validation_score_", "validation_loss_curve_"),
)


@contextmanager
def rollback(estimator: Any) -> Iterator[None]:
    """Restore all attributes of ``estimator`` if the body of the with statement raises.

    Values are not copied, so the body must replace attributes, not change them in place.
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
    """Set the fitted attributes of ``estimator``.

    output : the activation of the outputs. parameters : `coefs_` and `intercepts_`; None copies
    them from ``fitted``. best_before : `best_epoch_` before the last epoch, if only that epoch is
    to be compared; None finds the best of all epochs.
    """
    network, history = fitted.network, fitted.history
    estimator.coefs_, estimator.intercepts_ = parameters or network.unpack(fitted.theta)
    set_stage(estimator, network, [fitted.theta])
    estimator.n_layers_, estimator.n_outputs_ = len(network.sizes), network.sizes[-1]
    estimator.out_activation_ = output
    set_history(estimator, history, bool(estimator.early_stopping), best_before)
    estimator.device_, estimator.engine_ = fitted.device, fitted.engine
    estimator.precision_ = fitted.precision
    # After a divergence the state may contain NaN, so the next call starts from zeros.
    diverged = history.stopped_by == "non_finite"
    estimator._optimizer_state = fitted.state
    estimator._state_of = None if diverged else state_of(estimator)
    if estimator.early_stopping:
        estimator._scored_by = estimator.scoring


def set_history(
    estimator: Any, history: History, early_stopping: bool, best_before: int | None = None
) -> None:
    """Set the attributes that describe the training. best_before : see `set_fitted`."""
    # Without the duration, so that equal fits have equal attributes, pickles and hashes.
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
    """Return the history of an estimator; an empty one if its weights were set by hand."""
    history: History = getattr(estimator, "_history", None) or History()
    return history


def state_of(estimator: Any) -> tuple[str, bool]:
    """Return the parameters that the optimizer's state depends on; a change resets the state."""
    return estimator.solver, bool(estimator.fit_intercept)


def _warn_unless_converged(history: History, max_iter: int) -> None:
    """Warn as scikit-learn does; raise KeyboardInterrupt again, as it does for L-BFGS only."""
    from sklearn.utils.optimize import _check_optimize_result

    if history.stopped_by == "interrupt":
        raise KeyboardInterrupt
    if history.stopped_by == "callback":
        return
    _check_optimize_result("lbfgs", history.minimum, max_iter)


def _divergence(estimator: Any, history: History) -> str:
    """Return the message for a training that diverged: scikit-learn's, with advice added."""
    advice = "scale y"
    if getattr(estimator, "target_scaling", True) or history.minimum is not None:
        advice = ""  # not for classifiers, scaled y, or L-BFGS, which scales its own steps
    elif estimator.out_activation_ == "identity":
        advice = "set target_scaling=True"
    if history.finite_weights:
        dtype = estimator.coefs_[0].dtype
        wider = "use dtype='float64'" if dtype == np.float32 else "lower learning_rate_init"
        return (
            f"The loss {estimator._loss().name!r} is beyond the range of {dtype}, but the weights "
            "are finite; "
            f"{advice}{', or ' * bool(advice)}{wider}"
        )
    more = f" y may be too large as well: {advice}." if advice else ""
    return (
        "Solver produced non-finite parameter weights. The input data may contain large values and "
        f"need to be preprocessed.{more}"
    )


def _members_that(estimator: Any, history: History) -> str:
    """Return how many members of an ensemble stopped for this reason; "" for a single network."""
    histories = vars(estimator).get("_member_histories")
    if histories is None:
        return ""
    count = sum(of.stopped_by == history.stopped_by for of in histories)
    return f" ({count} of {len(histories)} members)"


def warn_why_stopped(estimator: Any, history: History, incremental: bool = False) -> None:
    """Raise, warn or print as scikit-learn does, depending on why training stopped."""
    if history.minimum is not None:
        _warn_unless_converged(history, estimator.max_iter)
    scored = estimator.early_stopping and history.minimum is None and history.scores
    if history.stopped_by == "non_finite":
        if not (scored and history.best_score > -np.inf):
            raise ValueError(_divergence(estimator, history) + _members_that(estimator, history))
        epochs = f"epoch {history.epochs + 1}", f"epoch {estimator.best_epoch_}"
        if "_member_histories" in vars(estimator):
            epochs = "an epoch", "the epoch"
        warnings.warn(
            f"Training diverged{_members_that(estimator, history)}: the loss or the weights of "
            f"{epochs[0]} are not finite. The weights of {epochs[1]}, which has the best "
            "validation score, are kept. Lower learning_rate_init, or scale X and y",
            ConvergenceWarning,
            stacklevel=3,
        )
    if scored and history.best_score == -np.inf:
        warnings.warn(
            f"scoring={estimator.scoring!r} returned no finite score in any epoch, so the weights "
            "of the last epoch are kept; check the scorer and the validation rows",
            stacklevel=3,
        )
    if history.stopped_by == "interrupt":
        warnings.warn("Training interrupted by user.", stacklevel=3)
    elif history.stopped_by == "max_epochs" and not (incremental or history.minimum):
        warnings.warn(
            f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
            f"optimization hasn't converged yet.{_members_that(estimator, history)}",
            ConvergenceWarning,
            stacklevel=3,
        )
    elif history.stopped_by == "no_improvement" and estimator.verbose:
        what = "Validation score" if estimator.early_stopping else "Training loss"
        print(
            f"{what} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs. Stopping."
        )
