"""`Trainer`: one network with its data, the arrays of a training step, and the recorded step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from gpubp.backends.protocol import Array, Backend, Recording, Step
from gpubp.backprop.clipping import Clipping
from gpubp.backprop.dropout import Dropout, HashedMasks, Masks
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import NO_MASKS, Network, Parameters, Workspace
from gpubp.backprop.optimizers import update
from gpubp.backprop.parameter_groups import GroupFactors
from gpubp.kernels.optimizers import ADD, ADVANCE, PENALTY
from gpubp.training.batch_gradient import BatchGradient
from gpubp.training.batches import Batches, HashedOrder, StepKind
from gpubp.training.epoch_plan import EpochPlan, OptimizerState, StepSettings
from gpubp.training.epoch_sums import PENALTIES, EpochSums
from gpubp.training.pauses import Pauses
from gpubp.training.schedules import CONSTANT, Strengths

T = TypeVar("T")


def fold(values: Sequence[T], add: Callable[[T, T], object]) -> None:
    """Add up ``values``, whose number is a power of 2, in the first, always in the same order.

    Value k + h is added to value k for h = half of them, a quarter and so on, so the order is also
    that of several processes which have every n-th value each, n being a power of 2.
    """
    half = len(values) // 2
    while half:
        for k in range(half):
            add(values[k], values[k + half])
        half //= 2


class Trainer:
    """Trains one network, or several of the same shape, on their data; one epoch per call.

    theta : (…, size) host array, the initial parameters, with the leading axes of ``batches``.
    each : the settings of each network; the optimizers have the same kernel.
    parts : number of parts in which each batch is computed, to save memory. Their gradients are
        summed.
    beside : a trainer of the same network and optimizer on the CPU, whose parameters, gradient and
        state vectors this trainer uses; ``theta`` then gives only the dtype. None: it has its own.
    sum_gradient : called in each step with the backend and the flat gradient of these rows; adds
        the gradients of the other rows of the batch. None: there are none.

    pauses : runs the steps of an epoch in parts if the batches can pause; None runs them at once.
    """

    pauses: Pauses | None = None
    _within: tuple[int, Sequence[tuple[np.ndarray, ...]]] = 0, ()

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        theta: np.ndarray,
        batches: Batches,
        each: Sequence[StepSettings],
        *,
        parts: int = 1,
        beside: Trainer | None = None,
        sum_gradient: Callable[[Backend, Array], None] | None = None,
    ) -> None:
        self._sum_gradient = sum_gradient
        self.backend, self.network, self.loss = backend, network, loss
        self.batches, self.each, self.parts = batches, each, parts
        self._optimizer, dtype = each[0].optimizer, theta.dtype
        self._decays = any(of.alpha > 0 or of.optimizer.decays for of in each)
        if beside is None:
            self.theta, self.gradient, *vectors = (
                backend.zeros(theta.shape, dtype)
                for _ in range(2 + len(self._optimizer.state_names))
            )
            self.vectors = tuple(vectors)
        else:
            self.theta, self.gradient = beside.theta, beside.gradient
            self.vectors = beside.vectors
        self._plan = EpochPlan(backend, each, batches, dtype)
        self._factors = self._make_factors(dtype)
        self._sums = EpochSums(backend, batches, theta.shape[-1])
        rows = -(-batches.room // parts)
        self._masks = self._make_masks(rows, dtype)
        self.rows_seen = [0 if of.dropout is None else of.dropout.trained for of in each]
        limits = np.array([np.inf if of.clip_norm is None else of.clip_norm for of in each])
        self._clip: Clipping | None = None
        if np.isfinite(limits).any():
            self._clip = Clipping(backend, self.gradient, limits.reshape(batches.lead))
        # The first tile has the gradient itself, to which those of the others are added.
        self._tiles = [self.gradient]
        self._tiles += [backend.zeros(theta.shape, dtype) for _ in range(1, batches.tiles)]
        work = Workspace(backend, network, rows, dtype, lead=batches.lead)
        # Recorded here, not in a method, whose frame would be on the call stack of the first run.
        several = {"networks": len(each), "counter": batches.step} if batches.lead else {}
        self.recordings: list[Recording] = []
        for kind in batches.kinds:
            self.recordings.append(backend.record(self._step(work, kind), **several))
        if beside is None:
            self._set(theta)

    def _make_masks(self, rows: int, dtype: np.dtype) -> Masks:
        batches, each = self.batches, self.each
        if all(of.dropout is None for of in each):
            return NO_MASKS
        none = Dropout((0.0,) * (len(self.network.sizes) - 1))
        return HashedMasks(
            self.backend,
            self.network.sizes,
            [of.dropout or none for of in each],
            batches.planned,
            batches.step,
            rows,
            dtype,
            lead=batches.lead,
        )

    def _make_factors(self, dtype: np.dtype) -> Array | None:
        """Return the factors of the groups of theta, (…, size / RUN, 2); None for none."""
        if all(of.factors is None for of in self.each):
            return None
        each = [(of.factors or GroupFactors()).by_run(self.network, dtype) for of in self.each]
        return self.backend.asarray(np.stack(each).reshape(*self.batches.lead, *each[0].shape))

    def _set(self, theta: np.ndarray) -> None:
        """Set parameters and optimizer state; call it after recording, which changes them."""
        self.theta[...] = self.backend.asarray(theta)
        for tile in self._tiles:
            tile[...] = 0  # the padding, which no step writes, may have become NaN
        for k, vector in enumerate(self.vectors):
            start = np.zeros(theta.shape, theta.dtype)
            for of, one in zip(self.each, start.reshape(-1, theta.shape[-1]), strict=True):
                if of.state.vectors:
                    # Packed again, since the padding depends on the dtype, which may have changed.
                    one[...] = self.network.repack(of.state.vectors[k], theta.dtype)
            vector[...] = self.backend.asarray(start)

    @property
    def state(self) -> OptimizerState:
        """The optimizer state of the first network."""
        return self.each[0].state

    @state.setter
    def state(self, state: OptimizerState) -> None:
        self.each[0].state = state

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
        return dict(self.recordings[0].launches)

    def _step(self, work: Workspace, kind: StepKind) -> Step:
        """Return one step of training, computed in ``work``."""
        # Local variables, since a step that refers to self would be a reference cycle, whose arrays
        # only the garbage collector would free.
        backend, network, batches = self.backend, self.network, self.batches
        optimizer, theta, plan, clip = self._optimizer, self.theta, self._plan, self._clip
        flat, vectors, decays = self.gradient, self.vectors, self._decays
        factors = self._factors
        tiles, sum_gradient, size = self._tiles, self._sum_gradient, theta.shape[-1]
        n_networks, n_weights = len(self.each), network.n_weights(theta.dtype)
        penalty = self._sums.part(PENALTIES)
        sizes = n_networks, size, n_weights, penalty.shape[-1]
        parts = self._parts(work, kind)

        def step() -> None:
            for gradient, part, losses, masks, first, accumulate in parts:
                rows = {"batch_rows": kind.rows, "first_row": first}
                gradient(part, losses, masks, **rows, accumulate=accumulate)
            fold(tiles, lambda a, b: backend.run(ADD, a, b, out=a))
            if sum_gradient is not None:
                sum_gradient(backend, flat)
            if clip is not None:
                clip.run()
            if plan.has_penalty:  # in the reported loss; update() adds l2 theta to the gradient
                backend.run(PENALTY, theta, plan.penalty, batches.step, *sizes, out=penalty)
            numbers = plan.coefficients, batches.step, n_weights, decays
            update(backend, optimizer, *numbers, theta, flat, vectors, factors)
            if batches.steps > 1:
                backend.run(ADVANCE, 1, out=batches.step)

        return step

    def _parts(
        self, work: Workspace, kind: StepKind
    ) -> list[tuple[BatchGradient, Workspace, Array, Masks, int, bool]]:
        """Return the parts of a step, tile by tile.

        Each has its gradient, its arrays, room for its losses, its masks, the number of its first
        row in the step, and whether its gradient is added to that of the part before.
        """
        of = self.backend, self.network, self.loss, self.batches, self.parameters
        row_losses = self._sums.part(kind.sums)
        parts = []
        # The first tile comes last, since compiled steps update the gradient that is computed last.
        for k, tile in reversed(list(enumerate(self._tiles))):
            gradient = BatchGradient(*of, self.network.views(tile))
            place = k * row_losses.shape[-1] // len(self._tiles)
            for first in range(0, kind.rows, work.n_rows):
                part = work.first(min(work.n_rows, kind.rows - first))
                losses = row_losses[..., place + first :][..., : part.n_rows]
                row = k * self.batches.room + first
                parts.append((gradient, part, losses, self._masks.part(row), row, first > 0))
        return parts

    def epoch(
        self,
        order: np.ndarray | HashedOrder,
        rates: float | np.ndarray | None = None,
        strengths: Strengths = CONSTANT,
    ) -> float:
        """Train on every row once, in this ``order``; return the mean loss with the penalty.

        rates : the learning rate, a number or one per step; None is that of ``state``.
        strengths : of dropout and weight decay.
        The loss is NaN if a parameter is NaN or infinite. NumPy then warns, unless the caller sets
        `np.errstate`.
        """
        self.plan_epoch(order, rates, strengths)
        self._run()
        return self.read_loss()

    def begin_within(self, step: int, sums: Sequence[tuple[np.ndarray, ...]]) -> None:
        """Let the next epoch begin at ``step``.

        sums : those of the steps before it, for each network; see `EpochSums.of`.
        """
        self._within = step, sums

    def sums_of(self, k: int) -> tuple[np.ndarray, ...]:
        """Return the sums of network ``k`` in the current epoch; see `EpochSums.of`."""
        return self._sums.of(k)

    def _run(self) -> None:
        """Make all steps of an epoch."""
        batches, done = self.batches, 0
        (first, sums), self._within = self._within, (0, ())
        if first:
            batches.step[...] = first
            for k, parts in enumerate(sums):
                self._sums.set(k, parts)
        for kind, steps in batches.windows():
            begin, done = max(done, first), done + steps
            if self.pauses is not None and batches.can_pause:
                self.pauses.run(self.recordings[kind], begin, done, batches.steps)
            elif begin < done:
                self.recordings[kind](done - begin)
        for of in self.each:
            of.state.updates += batches.steps
        if self._masks is not NO_MASKS:  # which are numbered by rows
            self.rows_seen = [rows + batches.rows_of_epoch for rows in self.rows_seen]

    def plan_epoch(
        self,
        order: np.ndarray | HashedOrder,
        rates: float | np.ndarray | None = None,
        strengths: Strengths = CONSTANT,
    ) -> None:
        """Upload the plan of an epoch in this ``order``: rows, rates, penalties and masks."""
        rates = self.each[0].state.rate if rates is None else rates
        given = None if strengths is CONSTANT else [strengths]
        self._upload(self.batches.plan(order), [rates], given)

    def _upload(
        self,
        weights: np.ndarray,
        rates: list[float | np.ndarray],
        strengths: Sequence[Strengths] | None,
    ) -> None:
        """Upload a plan; strengths : for each network, None if all are CONSTANT."""
        decays = None if strengths is None else [of.weight_decay for of in strengths]
        self._plan.upload(rates, weights, decays)
        if self._masks is not NO_MASKS:
            dropout = [of.dropout for of in strengths or [CONSTANT] * len(self.each)]
            self._masks.plan(self.rows_seen, dropout)
        self._sums.array[...] = 0

    def read_loss(self) -> float:
        """Return the loss; the host reads all sums from the device at once."""
        # The product is the fastest check, but may overflow for finite parameters.
        loss = self._sums.read(self.theta.dot(self.theta))
        return loss if math.isfinite(loss) else self._sums.read(self.theta.sum(dtype=np.float64))

    def host_state(self) -> OptimizerState:
        """Return the optimizer state on the host; on the CPU it shares the vectors in use."""
        vectors = tuple(self.backend.to_numpy(v) for v in self.vectors)
        return OptimizerState(self.state.rate, self.state.updates, vectors)
