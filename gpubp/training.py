"""Training: epochs of recorded steps, the history they leave, and when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter
from typing import Literal

import numpy as np

from gpubp.backend import Array, Backend, Recording
from gpubp.batches import Batches, HashedOrder, shuffled
from gpubp.kernels.gather import STORE
from gpubp.kernels.optimizers import ADVANCE
from gpubp.losses import Loss
from gpubp.network import Network, Parameters, Workspace, backward, forward
from gpubp.optimizers import Optimizer, update

StoppedBy = Literal["max_epochs", "no_improvement", "non_finite", "interrupt"]


@dataclass(frozen=True)
class Schedule:
    """How long to train, at which learning rate, and when to stop early.

    learning_rate : "constant"; "invscaling", rate = initial / (samples + 1) ** power_t; or
        "adaptive", rate / 5 instead of stopping, down to 1e-6.
    row_order : how to shuffle, "scikit-learn": drawn on the host as it draws; "hash": computed
        where the data lies, the same bits everywhere.
    tol, patience : training stops after more than ``patience`` epochs without an improvement of
        the loss (or the validation score) by ``tol``.
    """

    epochs: int
    initial_rate: float
    learning_rate: str = "constant"
    power_t: float = 0.5
    shuffle: bool = True
    row_order: str = "scikit-learn"
    tol: float = 1e-4
    patience: float = 10


@dataclass
class OptimizerState:
    """What an optimizer carries from one call to the next, on the host.

    vectors : its state (size,), or () before the first update; updates : how many were made;
    rate : the learning rate of the next epoch.
    """

    rate: float
    updates: int = 0
    vectors: tuple[np.ndarray, ...] = ()


@dataclass
class History:
    """What training did, epoch by epoch, over all calls that continue it.

    losses : mean loss of each epoch, with the penalty; scores : validation score of each.
    stale : epochs since the last improvement; samples : rows trained on.
    epochs : epochs of the last call; seconds : its duration.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    best_score: float = -np.inf
    stale: int = 0
    samples: int = 0
    epochs: int = 0
    seconds: float = 0.0
    stopped_by: StoppedBy = "max_epochs"


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, for whoever watches."""

    number: int
    loss: float
    score: float | None
    best: bool
    rate: float
    seconds: float  # since training began
    rows: int  # trained on in this epoch


class Trainer:
    """One network on its data: every array of a training step, and the step, recorded.

    theta : (size,) host array, the initial parameters. alpha : the L2 penalty, of which a batch
    of weight s takes alpha / s.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        theta: np.ndarray,
        batches: Batches,
        *,
        alpha: float = 0.0,
        state: OptimizerState,
    ) -> None:
        self.backend, self.network, self.loss, self.optimizer = backend, network, loss, optimizer
        self.batches, self.alpha, self.state = batches, alpha, state
        dtype, size = theta.dtype, (len(theta),)
        self.theta, self.gradient = backend.zeros(size, dtype), backend.zeros(size, dtype)
        self._vectors = tuple(backend.zeros(size, dtype) for _ in optimizer.state_names)
        self._plan = backend.zeros((batches.steps, optimizer.plan(0, 0, np.ones(1)).size), dtype)
        self._norms = backend.zeros((batches.steps,), dtype)
        work = Workspace(backend, network, batches.batch_size, dtype)
        self._full_losses = backend.zeros((batches.batch_size,), np.float64)
        self._full = self._record(work, self._full_losses)
        self._tail_losses = backend.zeros((batches.tail,), np.float64)
        if batches.tail:
            self._tail = self._record(work.first(batches.tail), self._tail_losses)
        self._set(theta)

    def _set(self, theta: np.ndarray) -> None:
        """Set the parameters and the optimizer's state, which recording may have changed."""
        self.theta[...] = self.backend.asarray(theta)
        for k, vector in enumerate(self._vectors):
            vector[...] = 0
            if self.state.vectors:
                # Packed anew, since the padding depends on the dtype, which may have changed.
                parts = self.network.unpack(self.state.vectors[k])
                vector[...] = self.backend.asarray(self.network.pack(*parts, theta.dtype))

    @property
    def parameters(self) -> Parameters:
        """The weights and biases on the device, as training has left them."""
        return self.network.views(self.theta)

    def _record(self, work: Workspace, row_losses: Array) -> Recording:
        """Return one step of training over the arrays of ``work``, recorded."""
        backend, batches, theta = self.backend, self.batches, self.theta
        parameters, gradients = self.parameters, self.network.views(self.gradient)
        n_weights = self.network.n_weights(theta.dtype)
        weights, norm = theta[None, :n_weights], backend.empty((1, 1), theta.dtype)
        Y = batches.Y_batch[: work.rows]
        decays = self.alpha > 0

        def step() -> None:
            batches.gather(work.X, Y)
            forward(backend, self.network, parameters, work)
            share = batches.share(work.rows)
            self.loss.evaluate(backend, work.logits, Y, share, row_losses, work.deltas[-1])
            backward(backend, self.network, parameters, gradients, work)
            if decays:
                backend.gemm(weights, weights, out=norm, transpose_b=True)
                backend.run(STORE, norm, batches.step, out=self._norms)
            planned = (self._plan, batches.step)
            vectors = (theta, self.gradient, self._vectors)
            update(backend, self.optimizer, *planned, n_weights, decays, *vectors)
            backend.run(ADVANCE, 1, out=batches.step)

        return backend.record(step)

    def epoch(self, order: np.ndarray | HashedOrder) -> float:
        """Train on every row once, in this ``order``; return the mean loss with its penalty."""
        batches = self.batches
        l2 = self.alpha / batches.plan(order)
        plan = self.optimizer.plan(self.state.rate, self.state.updates, l2)
        self._full_losses[...] = 0
        self._tail_losses[...] = 0
        with np.errstate(all="ignore"):
            self._plan[...] = self.backend.asarray(plan, self.theta.dtype)
            self._full(batches.full)
            if batches.tail:
                self._tail()
        self.state.updates += batches.steps
        return self._mean_loss(l2)

    def _mean_loss(self, l2: np.ndarray) -> float:
        """Mean over the epoch's batches, each weighted by its rows, of loss and penalty."""
        batches = self.batches
        data = batches.batch_size * float(self._full_losses.sum())
        data += batches.tail * float(self._tail_losses.sum())
        norms = self.backend.to_numpy(self._norms).astype(np.float64)
        with np.errstate(all="ignore"):
            return float((data + batches.rows_by_step @ (0.5 * l2 * norms)) / batches.rows)

    def is_finite(self) -> bool:
        """Whether every parameter is finite: an infinity or a NaN survives in the sum."""
        with np.errstate(all="ignore"):
            return bool(np.isfinite(float(self.theta.sum(dtype=np.float64))))

    def host_state(self) -> OptimizerState:
        """Return the optimizer's state with its vectors copied to the host."""
        vectors = tuple(np.array(self.backend.to_numpy(v)) for v in self._vectors)
        return OptimizerState(self.state.rate, self.state.updates, vectors)


def train(
    trainer: Trainer,
    schedule: Schedule,
    rng: np.random.RandomState,
    history: History,
    *,
    validate: Callable[[Parameters], float] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train for ``schedule.epochs`` epochs or until a reason to stop; continue ``history``.

    validate : the score of the parameters on rows held out, after each epoch. With it, training
    stops by the score, and ends with the parameters of the best epoch.
    A non-finite loss or parameter stops training with the parameters of the epoch before it, and
    an interrupt with those of the moment.
    """
    theta, rows, started = trainer.theta, trainer.batches.rows, perf_counter()
    last_finite, best = theta.copy(), theta.copy() if validate else None
    orders = _orders(rows, schedule, rng)
    history.epochs, history.stopped_by = 0, "max_epochs"
    try:
        while history.epochs < schedule.epochs:
            rate = trainer.state.rate
            loss = trainer.epoch(next(orders))
            if not (np.isfinite(loss) and trainer.is_finite()):
                theta[...] = last_finite
                history.stopped_by = "non_finite"
                break
            last_finite[...] = theta
            history.epochs += 1
            history.samples += rows
            history.losses.append(loss)
            improved = _note(history, schedule.tol, validate and validate(trainer.parameters))
            if improved and best is not None:
                best[...] = theta
            if on_epoch is not None:
                score = history.scores[-1] if validate else None
                seconds = perf_counter() - started
                on_epoch(Epoch(history.epochs, loss, score, improved, rate, seconds, rows))
            if _should_stop(trainer.state, schedule, history):
                history.stopped_by = "no_improvement"
                break
    except KeyboardInterrupt:
        history.stopped_by = "interrupt"
    if best is not None and history.scores:
        theta[...] = best
    history.seconds = perf_counter() - started
    return history


def _orders(
    rows: int, schedule: Schedule, rng: np.random.RandomState
) -> Iterator[np.ndarray | HashedOrder]:
    """Yield the order of each epoch's rows."""
    order = np.arange(rows)
    if not schedule.shuffle:
        while True:
            yield order
    if schedule.row_order == "hash":
        seed = int(rng.randint(np.iinfo(np.int64).max, dtype=np.int64))
        yield from (HashedOrder(seed, epoch) for epoch in count())
    while True:
        order = shuffled(order, rng)
        yield order


def _note(history: History, tol: float, score: float | None) -> bool:
    """Count this epoch as an improvement or not; return whether it is the best so far."""
    if score is not None:
        history.scores.append(score)
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
    if schedule.learning_rate != "adaptive" or state.rate <= 1e-6:
        return True
    state.rate /= 5
    history.stale = 0
    return False
