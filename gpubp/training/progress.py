"""`Progress`: the history of one network during training, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from time import perf_counter

import numpy as np

from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.history import Epoch, History, OnEpoch, StoppedBy, ValidationResult
from gpubp.training.recipe import Recipe
from gpubp.training.stopping import decide
from gpubp.training.training_state import TrainingState


@dataclass
class Progress:
    """Where the training of one network stands.

    history : is continued. rows : rows of an epoch.
    on_epoch : called after each epoch; returns True to stop.
    started : the time at which training started, by perf_counter().
    lowest : the lowest loss of this training so far.
    """

    recipe: Recipe
    history: History
    rows: int
    on_epoch: OnEpoch | None
    started: float
    lowest: float = inf

    def begin(self) -> None:
        """Begin a training: it has no epochs yet."""
        history = self.history
        history.epochs, history.stopped_by, history.minimum = 0, "max_epochs", None

    def resume(self, state: TrainingState) -> None:
        """Go on with a training from ``state``; the history is already its history."""
        self.lowest = state.lowest
        self.started -= self.history.seconds

    def history_now(self) -> History:
        """Return the history with the seconds so far."""
        return replace(self.history, seconds=perf_counter() - self.started)

    def record(self, loss: float) -> bool:
        """Record the loss of an epoch; return whether its parameters are to be kept.

        They are restored after a divergence. After the last epoch nothing can diverge, so no copy
        is needed.
        """
        history = self.history
        history.epochs += 1
        history.samples += self.rows
        history.losses.append(loss)
        lowest = loss <= self.lowest
        self.lowest = loss if lowest else self.lowest
        return lowest and history.epochs < self.recipe.epochs

    def decide(self, result: ValidationResult | None, state: OptimizerState) -> tuple[bool, bool]:
        """Return whether the recorded epoch is the best so far, and whether training stops.

        result : of the validation; None without it, and then the loss decides.
        state : its rate is set for the next epoch.
        """
        history = self.history
        if result is None:
            value, best = -history.losses[-1], -history.best_loss
        else:
            value, best = result.score, history.best_score
            history.scores.append(result.score)
            history.validation_losses.append(result.loss)
        decision = decide(self.recipe, value, best, history.stale, state.rate, history.samples)
        state.rate, history.stale = decision.rate, decision.stale
        if result is None:
            history.best_loss = -decision.best
        else:
            history.best_score = decision.best
        return decision.improved, decision.stop

    def report(
        self,
        result: ValidationResult | None,
        rates: float | np.ndarray,
        improved: bool,
        stop: bool,
    ) -> StoppedBy | None:
        """Call the listener after an epoch; return why training stops, or None if it goes on.

        rates : the learning rates of the epoch. improved, stop : the result of `decide`.
        """
        history = self.history
        last = history.epochs == self.recipe.epochs
        stopped: StoppedBy | None = "max_epochs" if last else None
        if stop:
            stopped = "no_improvement"
        if self.on_epoch is not None and self.on_epoch(
            Epoch(
                number=history.epochs,
                loss=history.losses[-1],
                score=None if result is None else result.score,
                best=improved,
                rate=float(np.ravel(rates)[-1]),
                seconds=perf_counter() - self.started,
                rows=self.rows,
                last=stopped is not None,
                validation_loss=None if result is None else result.loss,
            )
        ):
            stopped = "callback"
        return stopped
