"""The outcome of a training: what is said of it when it ends, and in attributes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Self, TypeVar, cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gpubp.hyperparameters import Hyperparameters
from gpubp.lbfgs import warn_unless_converged
from gpubp.training import History

# Attributes that L-BFGS alone does not set, which has no epochs.
EPOCH_ATTRIBUTES = (
    *("loss_curve_", "best_loss_", "best_epoch_"),
    *("validation_scores_", "best_validation_score_", "validation_loss_curve_"),
)

Method = TypeVar("Method", bound=Callable[..., Any])


@contextmanager
def rollback(estimator: Any) -> Iterator[None]:
    """Put all attributes of ``estimator`` back if what is done inside raises.

    Their values are not copied: inside, attributes are set anew, not changed in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def rolled_back(method: Method) -> Method:
    """Return ``method`` of an estimator in a `rollback` of it."""

    @wraps(method)
    def whole_or_not_at_all(self: Any, *args: Any, **options: Any) -> Any:
        with rollback(self):
            return method(self, *args, **options)

    return cast(Method, whole_or_not_at_all)


class Outcome(Hyperparameters):
    """What an estimator tells of its training."""

    def _note_history(
        self, history: History, device: str, precision: str, early_stopping: bool
    ) -> None:
        """Set the attributes that tell of training."""
        self._history = history
        self.n_iter_, self.t_ = history.epochs, history.samples
        self.loss_curve_ = history.losses
        self.loss_ = history.losses[-1] if history.losses else np.nan
        self.best_loss_ = None if early_stopping else history.best_loss
        self.validation_scores_ = history.scores if early_stopping else None
        self.best_validation_score_ = history.best_score if early_stopping else None
        self.validation_loss_curve_ = history.validation_losses if early_stopping else None
        curve = np.array(history.scores if early_stopping else history.losses)
        curve = curve if early_stopping else -curve
        self.best_epoch_ = int(np.nanargmax(curve)) + 1 if np.isfinite(curve).any() else None
        if history.minimum is not None:
            self.loss_ = history.minimum.fun
            for name in () if history.losses else EPOCH_ATTRIBUTES:
                delattr(self, name)
        self.device_, self.precision_, self.stopped_by_ = device, precision, history.stopped_by

    def _judge(self, history: History, incremental: bool = False) -> Self:
        """Raise, warn or print as scikit-learn does, by why training stopped."""
        if history.minimum is not None:
            warn_unless_converged(history, self.max_iter)
        if history.stopped_by == "non_finite":
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        if self._went_unscored(history):
            warnings.warn(
                f"scoring={self.scoring!r} gave no finite score in any epoch, so that the weights "
                "of the last one are kept; check it, and the validation rows",
                stacklevel=3,
            )
        if history.stopped_by == "interrupt":
            warnings.warn("Training interrupted by user.", stacklevel=3)
        elif history.stopped_by == "max_epochs" and not (incremental or history.minimum):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=3,
            )
        elif history.stopped_by == "no_improvement" and self.verbose:
            what = "Validation score" if self.early_stopping else "Training loss"
            print(
                f"{what} did not improve more than tol={self.tol:f} for "
                f"{self.n_iter_no_change} consecutive epochs. Stopping."
            )
        return self

    def _went_unscored(self, history: History) -> bool:
        scored = self.early_stopping and history.minimum is None and history.scores
        return bool(scored) and history.best_score == -np.inf

    def _check_solver(self) -> bool:
        """Return whether there is a partial_fit, or raise scikit-learn's reason why not."""
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True
