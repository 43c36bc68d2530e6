"""`EpochPlan`: the numbers that change from step to step, uploaded once per epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.dropout import Dropout
from gpubp.backprop.optimizers import Optimizer
from gpubp.backprop.parameter_groups import GroupFactors
from gpubp.backprop.plan_cache import PlanCache
from gpubp.training.batches import Batches


@dataclass
class OptimizerState:
    """The state that an optimizer keeps from one call to the next, on the host.

    rate : the learning rate of the next epoch. updates : the number of updates made.
    vectors : its state vectors (size,), or () before the first update.
    """

    rate: float
    updates: int = 0
    vectors: tuple[np.ndarray, ...] = ()


@dataclass
class StepSettings:
    """The hyperparameters of one network in a training step, and its optimizer state.

    alpha : the L2 penalty; in a batch it is divided by the weight of the rows.
    dropout : None for none.
    clip_norm : maximum norm of the gradient without the penalty; None does not clip.
    factors : of the rate and the weight decay by group of parameters; None for none.
    """

    optimizer: Optimizer
    state: OptimizerState
    alpha: float = 0.0
    dropout: Dropout | None = None
    clip_norm: float | None = None
    factors: GroupFactors | None = None


class EpochPlan:
    """Coefficients of the optimizer and of the penalty, for each step and network.

    coefficients : (steps, …, columns), see `Optimizer.plan`. penalty : (steps, …) float64, the
    factor of |W|^2 in the reported loss.
    """

    def __init__(
        self, backend: Backend, each: Sequence[StepSettings], batches: Batches, dtype: np.dtype
    ) -> None:
        self._backend, self._each, self._batches = backend, each, batches
        steps, lead = batches.steps, batches.lead
        columns = each[0].optimizer.plan(0, 0, np.ones(1)).size
        self.coefficients = backend.zeros((steps, *lead, columns), dtype)
        self.penalty = backend.zeros((steps, *lead), np.float64)
        self.has_penalty = any(of.alpha > 0 for of in each)
        self._cache = PlanCache([of.optimizer for of in each], steps, dtype, lead)
        # The weight of the rows of each step, and alpha divided by it.
        self._step_weights: np.ndarray | None = None
        self._l2 = [np.zeros(steps)] * len(each)

    def upload(
        self,
        rates: list[float | np.ndarray],
        weights: np.ndarray,
        decays: Sequence[float | np.ndarray] | None,
    ) -> None:
        """Plan the next epoch.

        rates : for each network the learning rate, a number or one per step.
        weights : (…, steps), the weight of the rows of each step; the same array as before means
        the same weights.
        decays : for each network the factor of its weight decay, a number or one per step; None
            for 1.
        """
        if weights is not self._step_weights:
            self._set_weights(weights)
        done = [of.state.updates for of in self._each]
        plan = self._cache.epoch(rates, done, self._l2, decays)
        self.coefficients[...] = self._backend.asarray(plan)

    def _set_weights(self, weights: np.ndarray) -> None:
        each, batches = self._each, self._batches
        self._step_weights = weights
        of_each = np.broadcast_to(weights, (len(each), batches.steps))
        self._l2 = [of.alpha / w for of, w in zip(each, of_each, strict=True)]
        if self.has_penalty:
            scale = 0.5 * np.array(self._l2) * batches.rows_by_step
            scale = (scale / batches.rows_of_epoch).T.reshape(self.penalty.shape)
            self.penalty[...] = self._backend.asarray(scale)
