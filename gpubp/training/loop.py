"""The training loop: epoch after epoch, until there is a reason to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from time import perf_counter

import numpy as np

from gpubp.backends.protocol import Array
from gpubp.backprop.network import Parameters
from gpubp.training.batches import HashedOrder
from gpubp.training.history import History, OnEpoch, StoppedBy, ValidationResult
from gpubp.training.pauses import Pauses
from gpubp.training.progress import Progress
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer
from gpubp.training.training_state import OnPause, TrainingState

Validate = Callable[[Parameters], ValidationResult]


def train(
    trainer: Trainer,
    recipe: Recipe,
    rng: np.random.RandomState,
    history: History,
    *,
    validate: Validate | None = None,
    on_epoch: OnEpoch | None = None,
    on_pause: OnPause | None = None,
    kept: Array | None = None,
    resumed: TrainingState | None = None,
) -> History:
    """Train for ``recipe.epochs`` epochs or until a reason to stop; continue ``history``.

    validate : scores the parameters on the validation set after each epoch. With it, the score
    decides when to stop, and the parameters of the best epoch are restored at the end.
    on_epoch : called after each epoch; returns True to stop.
    on_pause : called when the state of the training can be saved.
    kept : a copy of the initial parameters, which is overwritten; None makes one.
    resumed : the state from which an interrupted training goes on, with the parameters and the
        optimizer state of ``trainer``; None for a new training.
    If the loss or a parameter is not finite, training stops and restores the parameters of the
    epoch with the lowest loss. After an interrupt, the current parameters stay if they are finite.
    """
    # Callbacks run with the floating-point error handling of the caller.
    outside = np.errstate(**np.geterr())
    validate, on_epoch = validate and outside(validate), on_epoch and outside(on_epoch)
    started, best = perf_counter(), trainer.copy_theta() if validate else None
    progress = Progress(recipe, history, trainer.batches.rows_of_epoch, on_epoch, started)
    kept = trainer.copy_theta() if kept is None else kept
    epochs = _Epochs(trainer, progress, kept, best, validate, on_pause and outside(on_pause))
    if resumed is None:
        progress.begin()
    else:
        epochs.resume(resumed)
    try:
        with np.errstate(all="ignore"):
            if validate is not None and resumed is None:
                forget_scores_of_others(history, validate, trainer.parameters)
            history.stopped_by = epochs.run(rng)
    except KeyboardInterrupt:
        history.stopped_by = "interrupt"
        if not np.isfinite(trainer.backend.to_numpy(trainer.theta)).all():
            trainer.theta[...] = kept
    if best is not None and history.best_score > -np.inf:
        trainer.theta[...] = best
    history.seconds = perf_counter() - progress.started
    return history


def forget_scores_of_others(history: History, validate: Validate, start: Parameters) -> None:
    """Drop the scores so far, unless ``start`` has the best of them on these validation rows.

    Training ends with its best parameters, so their score on the same validation rows is the best
    score. Another score means other rows or parameters, whose scores cannot be compared.
    """
    if history.best_score > -np.inf and validate(start).score != history.best_score:
        history.scores, history.best_score, history.stale = [], -np.inf, 0


@dataclass
class _Epochs:
    """The epochs of one training.

    kept : takes the parameters of the epoch with the lowest loss, to restore after a divergence.
    best : takes the parameters of the epoch with the best score; None without validation.
    on_pause : see `train`.
    """

    trainer: Trainer
    progress: Progress
    kept: Array
    best: Array | None
    validate: Validate | None
    on_pause: OnPause | None

    def resume(self, state: TrainingState) -> None:
        """Go on from ``state``, whose parameters and optimizer state the trainer has."""
        backend, trainer = self.trainer.backend, self.trainer
        self.kept[...] = backend.asarray(state.kept)
        if self.best is not None and state.best is not None:
            self.best[...] = backend.asarray(state.best)
        self.progress.resume(state)
        trainer.begin_within(state.step, [state.sums])

    def state(self, step: int) -> TrainingState:
        """Return the state after ``step`` steps of an epoch; training overwrites its arrays."""
        trainer, progress = self.trainer, self.progress
        theta, kept = map(trainer.backend.to_numpy, (trainer.theta, self.kept))
        best = None if self.best is None else trainer.backend.to_numpy(self.best)
        sums = trainer.sums_of(0) if step else ()
        of = trainer.host_state(), progress.history_now(), progress.lowest, step, sums
        return TrainingState(theta, kept, best, *of)

    def pause(self, step: int = 0) -> None:
        """Let the state be saved after ``step`` steps of an epoch."""
        if self.on_pause is not None:
            self.on_pause(step, lambda: self.state(step))

    def run(self, rng: np.random.RandomState) -> StoppedBy:
        """Train until there is a reason to stop; return the reason."""
        trainer, progress = self.trainer, self.progress
        recipe, history, theta = progress.recipe, progress.history, trainer.theta
        orders, state = row_orders(trainer.batches.n_rows, recipe, rng), trainer.state
        for _ in range(history.epochs):  # of a training that is resumed
            next(orders)
        if self.on_pause is not None:
            trainer.pauses = Pauses(self.pause)
        while history.epochs < recipe.epochs:
            rates = recipe.rates(history.epochs, trainer.batches.steps, state.rate)
            strengths = recipe.strengths(history.epochs, trainer.batches.steps)
            loss = trainer.epoch(next(orders), rates, strengths)
            if not math.isfinite(loss):
                history.finite_weights = math.isfinite(theta.sum(dtype=np.float64))
                theta[...] = self.kept
                return "non_finite"
            if progress.record(loss):
                self.kept[...] = theta
            result = self.validate(trainer.parameters) if self.validate else None
            improved, stop = progress.decide(result, state)
            if improved and self.best is not None:
                self.best[...] = theta  # before the listener, which may interrupt
            stopped = progress.report(result, rates, improved, stop)
            if stopped is not None:
                return stopped
            self.pause()
        return "max_epochs"


def row_orders(
    rows: int, recipe: Recipe, rng: np.random.RandomState
) -> Iterator[np.ndarray | HashedOrder]:
    """Yield the order of the rows of each epoch; each order may overwrite the one before."""
    if recipe.shuffle and recipe.row_order == "hash":
        seed = int(rng.randint(np.iinfo(np.int64).max, dtype=np.int64))
        yield from (HashedOrder(seed, epoch) for epoch in count())
    order = np.arange(rows)
    while not recipe.shuffle:
        yield order
    while True:
        rng.shuffle(order)  # the same order as scikit-learn's permutation, in half the time
        yield order


@np.errstate(all="ignore")
def check_memory(
    trainer: Trainer, recipe: Recipe, allocate: Callable[[Parameters], object] | None = None
) -> None:
    """Allocate the memory of `train` once, to raise MemoryError now instead of in an epoch.

    allocate : see `make_trainer`.
    """
    if trainer.backend.name == "cpu":
        return
    hashed = recipe.shuffle and recipe.row_order == "hash"
    copies = [trainer.copy_theta() for _ in range(2 if allocate else 1)]
    trainer.plan_epoch(HashedOrder(0, 0) if hashed else np.arange(trainer.batches.n_rows))
    trainer.read_loss()
    if allocate is not None:
        allocate(trainer.parameters)
    del copies
