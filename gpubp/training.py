"""Training: epochs of recorded steps, the history they leave, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np

from gpubp.backend import Array
from gpubp.batches import HashedOrder
from gpubp.network import Parameters
from gpubp.schedules import Schedule
from gpubp.trainer import OptimizerState, Trainer

StoppedBy = Literal[
    "max_epochs",
    "no_improvement",
    "non_finite",
    "interrupt",
    "callback",
    # of L-BFGS, whose iterations are what max_epochs counts:
    "convergence",
    "max_fun",
    "line_search",
]


class Minimum(NamedTuple):
    """Where L-BFGS ended, in SciPy's terms: loss, iterations, evaluations, and why."""

    fun: float
    nit: int = 0
    nfev: int = 0
    status: int = 0
    message: str = ""


class Verdict(NamedTuple):
    """What rows that training does not see say of the parameters: a score, and the loss."""

    score: float
    loss: float


@dataclass
class History:
    """What training did, epoch by epoch, over all calls that continue it.

    losses : mean loss of each epoch, with the penalty; scores : validation score of each;
    validation_losses : validation loss of each, without the penalty.
    stale : epochs since the last improvement; samples : rows trained on.
    epochs : epochs of the last call; seconds : its duration.
    minimum : what the last call reached, if it was L-BFGS, which has iterations for epochs.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    best_score: float = -np.inf
    stale: int = 0
    samples: int = 0
    epochs: int = 0
    seconds: float = 0.0
    stopped_by: StoppedBy = "max_epochs"
    minimum: Minimum | None = None

    def copy(self) -> History:
        """Return a history of the same epochs that goes on by itself."""
        losses, scores = [*self.losses], [*self.scores]
        held = [*self.validation_losses]
        return replace(self, losses=losses, scores=scores, validation_losses=held)


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, or iteration of L-BFGS, for whoever watches."""

    number: int
    loss: float
    score: float | None
    best: bool
    rate: float | None  # of its last step; L-BFGS has none
    seconds: float  # since training began
    rows: int  # trained on in this epoch
    last: bool = False  # as far as is known: L-BFGS knows its last allowed iteration only
    validation_loss: float | None = None


OnEpoch = Callable[[Epoch], bool | None]


def train(
    trainer: Trainer,
    schedule: Schedule,
    rng: np.random.RandomState,
    history: History,
    *,
    validate: Callable[[Parameters], Verdict] | None = None,
    on_epoch: OnEpoch | None = None,
) -> History:
    """Train for ``schedule.epochs`` epochs or until a reason to stop; continue ``history``.

    validate : judges the parameters on rows held out, after each epoch. With it, training stops
    by the score, and ends with the parameters of the best epoch.
    on_epoch : told of each epoch; returns True to stop after it.
    A non-finite loss or parameter stops training with the parameters of the epoch before it, and
    an interrupt with those of the moment.
    """
    # Those who listen do so under the error state of whoever called.
    outside = np.errstate(**np.geterr())
    validate, on_epoch = validate and outside(validate), on_epoch and outside(on_epoch)
    started, best = perf_counter(), trainer.copy_theta() if validate else None
    history.epochs, history.stopped_by, history.minimum = 0, "max_epochs", None
    try:
        with np.errstate(all="ignore"):
            arguments = (trainer, schedule, rng, history, best, validate, on_epoch)
            history.stopped_by = _epochs(*arguments)
    except KeyboardInterrupt:
        history.stopped_by = "interrupt"
    if best is not None and history.best_score > -np.inf:
        trainer.theta[...] = best
    history.seconds = perf_counter() - started
    return history


def _epochs(
    trainer: Trainer,
    schedule: Schedule,
    rng: np.random.RandomState,
    history: History,
    best: Array | None,
    validate: Callable[[Parameters], Verdict] | None,
    on_epoch: OnEpoch | None,
) -> StoppedBy:
    """Train until there is a reason to stop; return it. ``best`` is set to the best parameters."""
    theta, rows, started = trainer.theta, trainer.batches.rows, perf_counter()
    last_finite, orders = trainer.copy_theta(), _orders(rows, schedule, rng)
    while history.epochs < schedule.epochs:
        rates = schedule.rates(history.epochs, trainer.batches.steps, trainer.state.rate)
        loss = trainer.epoch(next(orders), rates)
        if not math.isfinite(loss):
            theta[...] = last_finite
            return "non_finite"
        last_finite[...] = theta
        history.epochs += 1
        history.samples += rows
        history.losses.append(loss)
        verdict = validate and validate(trainer.parameters)
        improved = _note(history, schedule.tol, verdict)
        if improved and best is not None:
            best[...] = theta
        stale = _should_stop(trainer.state, schedule, history)
        if on_epoch is not None:
            score, held_loss = verdict or (None, None)
            seconds, rate = perf_counter() - started, float(np.ravel(rates)[-1])
            last = stale or history.epochs == schedule.epochs
            told = history.epochs, loss, score, improved, rate, seconds, rows, last, held_loss
            if on_epoch(Epoch(*told)):
                return "callback"
        if stale:
            return "no_improvement"
    return "max_epochs"


@np.errstate(all="ignore")
def rehearse(
    trainer: Trainer,
    schedule: Schedule,
    validate: Callable[[Parameters], object] | None = None,
) -> None:
    """Take the memory that `train` takes beside its trainer, and give it back.

    Where a device lacks it, a MemoryError comes now instead of amid an epoch.
    """
    if trainer.backend.name == "cpu":
        return
    hashed = schedule.shuffle and schedule.row_order == "hash"
    copies = [trainer.copy_theta() for _ in range(2 if validate else 1)]
    trainer.plan_epoch(HashedOrder(0, 0) if hashed else np.arange(trainer.batches.rows))
    trainer.read_sums()
    if validate is not None:
        validate(trainer.parameters)
    del copies


def _orders(
    rows: int, schedule: Schedule, rng: np.random.RandomState
) -> Iterator[np.ndarray | HashedOrder]:
    """Yield the order of each epoch's rows, which holds until the next is asked for."""
    order = np.arange(rows)
    if not schedule.shuffle:
        while True:
            yield order
    if schedule.row_order == "hash":
        seed = int(rng.randint(np.iinfo(np.int64).max, dtype=np.int64))
        yield from (HashedOrder(seed, epoch) for epoch in count())
    while True:
        rng.shuffle(order)  # as scikit-learn permutes it, in half the time
        yield order


def _note(history: History, tol: float, verdict: Verdict | None) -> bool:
    """Count this epoch as an improvement or not; return whether it is the best so far."""
    if verdict is not None:
        score = verdict.score
        history.scores.append(score)
        history.validation_losses.append(verdict.loss)
        stale, best = score < history.best_score + tol, score > history.best_score
        history.best_score = score if best else history.best_score
    else:
        loss = history.losses[-1]
        stale, best = loss > history.best_loss - tol, loss < history.best_loss
        history.best_loss = loss if best else history.best_loss
    history.stale = history.stale + 1 if stale else 0
    return best


def _should_stop(state: OptimizerState, schedule: Schedule, history: History) -> bool:
    """Set the next epoch's learning rate; return whether there should be none."""
    if schedule.learning_rate == "invscaling":
        state.rate = schedule.initial_rate / (history.samples + 1) ** schedule.power_t
    if history.stale <= schedule.patience:
        return False
    if schedule.learning_rate not in ("adaptive", "plateau") or state.rate <= 1e-6:
        return True
    state.rate /= 5
    history.stale = 0
    return False
