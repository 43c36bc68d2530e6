"""`Trainer`: one network with its data, the arrays of a training step, and the recorded step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpubp.backends.protocol import Array, Backend, Recording, Step
from gpubp.backprop.clipping import Clipping
from gpubp.backprop.dropout import Dropout, HashedMasks
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import NO_MASKS, Network, Parameters, Workspace
from gpubp.backprop.optimizers import Optimizer, update
from gpubp.backprop.plan_cache import PlanCache
from gpubp.kernels.optimizers import ADVANCE, PENALTY
from gpubp.training.batch_gradient import BatchGradient
from gpubp.training.batches import Batches, HashedOrder

WEIGHTS_PER_SUM = 32  # minimum weights per partial sum of the penalty


@dataclass
class OptimizerState:
    """The state that an optimizer keeps from one call to the next, on the host.

    rate : the learning rate of the next epoch. updates : the number of updates made.
    vectors : its state vectors (size,), or () before the first update.
    """

    rate: float
    updates: int = 0
    vectors: tuple[np.ndarray, ...] = ()


class Trainer:
    """Trains one network on its data, one epoch per call.

    theta : (size,) host array, the initial parameters.
    alpha : the L2 penalty; in a batch it is divided by the weight of the rows.
    state : the optimizer state to start from.
    parts : number of parts in which each batch is computed, to save memory. Their gradients are
        summed.
    dropout : None for none.
    clip_norm : maximum norm of the gradient without the penalty; None does not clip.
    beside : a trainer of the same network and optimizer on the CPU, whose parameters, gradient and
        state vectors this trainer uses; ``theta`` then gives only the dtype. None: it has its own.
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
        parts: int = 1,
        dropout: Dropout | None = None,
        clip_norm: float | None = None,
        beside: Trainer | None = None,
    ) -> None:
        self.backend, self.network, self.loss, self.optimizer = backend, network, loss, optimizer
        self.batches, self.alpha, self.state, self.parts = batches, alpha, state, parts
        dtype, size = theta.dtype, (len(theta),)
        if beside is None:
            self.theta, self.gradient = backend.zeros(size, dtype), backend.zeros(size, dtype)
            self.vectors = tuple(backend.zeros(size, dtype) for _ in optimizer.state_names)
        else:
            self.theta, self.gradient = beside.theta, beside.gradient
            self.vectors = beside.vectors
        self._plan = backend.zeros((batches.steps, optimizer.plan(0, 0, np.ones(1)).size), dtype)
        self._plan_cache = PlanCache(optimizer, batches.steps, dtype)
        # The weight of the rows of each step, and alpha divided by it.
        self._step_weights: np.ndarray | None = None
        self._l2 = np.zeros(batches.steps)
        self._penalty_scale = backend.zeros((batches.steps,), np.float64)
        self._begin_sums()
        rows = -(-batches.batch_size // parts)
        self._masks, self._trained = NO_MASKS, 0
        if dropout is not None:
            self._masks = HashedMasks(
                backend, network.sizes, dropout, batches.planned, batches.step, rows, dtype
            )
            self._trained = dropout.trained
        self._clip = None if clip_norm is None else Clipping(backend, self.gradient, clip_norm)
        self._batch_gradient = BatchGradient(
            backend, network, loss, batches, self.parameters, network.views(self.gradient)
        )
        work = Workspace(backend, network, rows, dtype)
        # Recorded here, not in a method, whose frame would be on the call stack of the first run.
        self._full = backend.record(self._step(work, batches.batch_size, 0))
        self._tail: Recording | None = None
        if batches.tail:
            self._tail = backend.record(self._step(work, batches.tail, 1))
        if beside is None:
            self._set(theta)

    def _begin_sums(self) -> None:
        """Allocate the sums of an epoch, in one array that the host reads at once.

        They are the losses of each row of a batch, those of the tail, the penalty, and a number
        that is finite if all of theta is finite.
        """
        batches, backend = self.batches, self.backend
        n_sums = min(backend.n_partial_sums, -(-len(self.theta) // WEIGHTS_PER_SUM))
        sizes = (batches.batch_size, batches.tail, n_sums, 1)
        self._ends = np.cumsum(sizes)
        self._sums = backend.zeros((sum(sizes),), np.float64)
        # Factors of the sums in the loss, the mean over the batches weighted by their rows.
        counts = np.array([batches.batch_size, batches.tail, batches.n_rows, 0]) / batches.n_rows
        self._counts = np.repeat(counts, sizes)

    def _set(self, theta: np.ndarray) -> None:
        """Set parameters and optimizer state; call it after recording, which changes them."""
        self.theta[...] = self.backend.asarray(theta)
        for k, vector in enumerate(self.vectors):
            vector[...] = 0
            if self.state.vectors:
                # Packed again, since the padding depends on the dtype, which may have changed.
                parts = self.network.unpack(self.state.vectors[k])
                vector[...] = self.backend.asarray(self.network.pack(*parts, theta.dtype))

    @property
    def parameters(self) -> Parameters:
        """The current weights and biases, on the device."""
        return self.network.views(self.theta)

    def copy_theta(self) -> Array:
        """Return a copy of the parameters, on the device."""
        copy = self.backend.empty(self.theta.shape, self.theta.dtype)
        copy[...] = self.theta
        return copy

    @property
    def launches(self) -> dict[str, int]:
        """Kernel launches, or library calls on the CPU, of one step on a full batch, by name."""
        return dict(self._full.launches)

    def _sum(self, k: int) -> slice:
        """Return the slice of the ``k``-th kind of sums; see `_begin_sums`."""
        return slice(self._ends[k - 1] if k else 0, self._ends[k])

    def _step(self, work: Workspace, rows: int, sums: int) -> Step:
        """Return one step of training on ``rows`` rows, computed in ``work``.

        sums : the kind of sums to which the losses are added: 0 for a full batch, 1 for the tail.
        """
        # Local variables, since a step that refers to self would be a reference cycle, whose arrays
        # only the garbage collector would free.
        backend, network, batches = self.backend, self.network, self.batches
        optimizer, theta, plan, clip = self.optimizer, self.theta, self._plan, self._clip
        flat, vectors = self.gradient, self.vectors
        gradient = self._batch_gradient
        n_weights, has_penalty = network.n_weights(theta.dtype), self.alpha > 0
        row_losses, penalty = self._sums[self._sum(sums)], self._sums[self._sum(2)]
        scale, n_sums = self._penalty_scale, len(penalty)
        parts = [
            (first, work.first(min(work.n_rows, rows - first)), self._masks.part(first))
            for first in range(0, rows, work.n_rows)
        ]

        def step() -> None:
            for first, part, masks in parts:
                losses = row_losses[first : first + part.n_rows]
                gradient(
                    part, losses, masks, batch_rows=rows, first_row=first, accumulate=first > 0
                )
            if clip is not None:
                clip.run()
            if has_penalty:  # in the reported loss; update() adds l2 theta to the gradient
                backend.run(PENALTY, theta, scale, batches.step, n_weights, n_sums, out=penalty)
            update(
                backend, optimizer, plan, batches.step, n_weights, has_penalty, theta, flat, vectors
            )
            if batches.steps > 1:
                backend.run(ADVANCE, 1, out=batches.step)

        return step

    def epoch(
        self, order: np.ndarray | HashedOrder, rates: float | np.ndarray | None = None
    ) -> float:
        """Train on every row once, in this ``order``; return the mean loss with the penalty.

        rates : the learning rate, a number or one per step; None is that of ``state``.
        The loss is NaN if a parameter is NaN or infinite. NumPy then warns, unless the caller sets
        `np.errstate`.
        """
        batches = self.batches
        self.plan_epoch(order, rates)
        for steps in batches.windows():
            self._full(steps)
        if self._tail is not None:
            self._tail()
        loss = self.read_loss()
        self.state.updates += batches.steps
        self._trained += batches.n_rows
        return loss

    def plan_epoch(
        self, order: np.ndarray | HashedOrder, rates: float | np.ndarray | None = None
    ) -> None:
        """Upload the plan of an epoch in this ``order``: rows, rates, penalties and masks."""
        batches, backend = self.batches, self.backend
        weights = batches.plan(order)
        if weights is not self._step_weights:
            self._step_weights, self._l2 = weights, self.alpha / weights
            if self.alpha > 0:
                scale = 0.5 * self._l2 * batches.rows_by_step / batches.n_rows
                self._penalty_scale[...] = backend.asarray(scale)
        rates = self.state.rate if rates is None else rates
        plan = self._plan_cache.epoch(rates, self.state.updates, self._l2)
        self._plan[...] = backend.asarray(plan)
        self._masks.plan(self._trained)
        self._sums[...] = 0

    def read_loss(self) -> float:
        """Return the loss; the host reads all sums from the device at once."""
        # The product is the fastest check, but may overflow for finite parameters.
        loss = self._read_with(self.theta.dot(self.theta))
        return loss if math.isfinite(loss) else self._read_with(self.theta.sum(dtype=np.float64))

    def _read_with(self, finite: Array) -> float:
        """Return the loss; NaN if ``finite``, whose factor is 0, is NaN or infinite."""
        self._sums[-1:] = finite
        return float(self.backend.to_numpy(self._sums).dot(self._counts))

    def host_state(self) -> OptimizerState:
        """Return the optimizer state on the host; on the CPU it shares the vectors in use."""
        vectors = tuple(self.backend.to_numpy(v) for v in self.vectors)
        return OptimizerState(self.state.rate, self.state.updates, vectors)
