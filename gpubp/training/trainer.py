"""One network on its data: every array of a training step, and the step, recorded."""

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

WEIGHTS_PER_SUM = 32  # of the penalty, at least


@dataclass
class OptimizerState:
    """What an optimizer carries from one call to the next, on the host.

    vectors : its state (size,), or () before the first update; updates : how many were made;
    rate : the learning rate of the next epoch.
    """

    rate: float
    updates: int = 0
    vectors: tuple[np.ndarray, ...] = ()


class Trainer:
    """One network on its data.

    theta : (size,) host array, the initial parameters. alpha : the L2 penalty, of which a batch
    of weight s takes alpha / s. parts : a batch is computed in so many parts, whose gradients are
    added up: the same mathematics in less memory. dropout : None trains all units.
    clip_norm : the longest that a gradient of the data loss may be. beside : a trainer of the same
    network and optimizer on the CPU, whose parameters, gradient and optimizer's vectors this one
    trains too, as they are: ``theta`` says only their dtype.
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
        # The weight of the rows of each step, and the decay that follows from it.
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
        # Recorded here, and not within a method: the first run of a step has these frames above it.
        self._full = backend.record(self._step(work, batches.batch_size, 0))
        self._tail: Recording | None = None
        if batches.tail:
            self._tail = backend.record(self._step(work, batches.tail, 1))
        if beside is None:
            self._set(theta)

    def _begin_sums(self) -> None:
        """Make room for what an epoch adds up, which the host reads in one go.

        The losses of each row of a batch, those of the tail, the penalty, and a number that is
        finite where all of theta is.
        """
        batches, backend = self.batches, self.backend
        n_sums = min(backend.n_partial_sums, -(-len(self.theta) // WEIGHTS_PER_SUM))
        sizes = (batches.batch_size, batches.tail, n_sums, 1)
        self._ends = np.cumsum(sizes)
        self._sums = backend.zeros((sum(sizes),), np.float64)
        # What each counts in the loss: the mean over the batches, each weighted by its rows.
        counts = np.array([batches.batch_size, batches.tail, batches.n_rows, 0]) / batches.n_rows
        self._counts = np.repeat(counts, sizes)

    def _set(self, theta: np.ndarray) -> None:
        """Set the parameters and the optimizer's state, which recording may have changed."""
        self.theta[...] = self.backend.asarray(theta)
        for k, vector in enumerate(self.vectors):
            vector[...] = 0
            if self.state.vectors:
                # Packed anew, since the padding depends on the dtype, which may have changed.
                parts = self.network.unpack(self.state.vectors[k])
                vector[...] = self.backend.asarray(self.network.pack(*parts, theta.dtype))

    @property
    def parameters(self) -> Parameters:
        """The weights and biases on the device, as training has left them."""
        return self.network.views(self.theta)

    def copy_theta(self) -> Array:
        """Return a copy of the parameters, there where they lie."""
        copy = self.backend.empty(self.theta.shape, self.theta.dtype)
        copy[...] = self.theta
        return copy

    @property
    def launches(self) -> dict[str, int]:
        """Kernel launches, or library calls on the CPU, of one step on a full batch, by name."""
        return dict(self._full.launches)

    def _sum(self, k: int) -> slice:
        """Return where the ``k``-th of the sums lie."""
        return slice(self._ends[k - 1] if k else 0, self._ends[k])

    def _step(self, work: Workspace, rows: int, sums: int) -> Step:
        """Return one step of training on ``rows`` rows, computed in ``work``.

        sums : which part of the sums takes the losses: 0 for a full batch, 1 for the tail.
        """
        # Copied to locals: a closure over self that self keeps is a reference cycle, and only the
        # garbage collector would free its arrays.
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
        """Train on every row once, in this ``order``; return the mean loss with its penalty.

        rates : the learning rate, or that of each step; None is that of ``state``. The loss is
        NaN where a parameter has become NaN or infinite; NumPy may warn of it, unless the
        caller has told it not to.
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
        """Bring to the device what the steps of an epoch in this ``order`` read."""
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
        """Return the loss, read on the host in one go with what else is added up on the device."""
        # A product takes the least time, but may overflow where all parameters are finite.
        loss = self._read_with(self.theta.dot(self.theta))
        return loss if math.isfinite(loss) else self._read_with(self.theta.sum(dtype=np.float64))

    def _read_with(self, finite: Array) -> float:
        """Return the loss; NaN where ``finite`` is not, which counts 0 in it."""
        self._sums[-1:] = finite
        return float(self.backend.to_numpy(self._sums).dot(self._counts))

    def host_state(self) -> OptimizerState:
        """Return the optimizer's state on the host; on the CPU its vectors are those in use."""
        vectors = tuple(self.backend.to_numpy(v) for v in self.vectors)
        return OptimizerState(self.state.rate, self.state.updates, vectors)
