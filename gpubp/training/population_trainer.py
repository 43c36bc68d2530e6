"""`PopulationTrainer`: trains several networks of the same shape, one epoch per call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpubp.backends.protocol import Array
from gpubp.training.batches import HashedOrder
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.population_batches import PopulationBatches
from gpubp.training.schedules import CONSTANT, Strengths
from gpubp.training.trainer import Trainer


class PopulationTrainer(Trainer):
    """Trains P networks at once; its batches are `PopulationBatches`. See `Trainer`."""

    batches: PopulationBatches

    def train_each(
        self,
        orders: Sequence[np.ndarray | HashedOrder],
        rates: list[float | np.ndarray],
        strengths: Sequence[Strengths],
    ) -> np.ndarray:
        """Train each network for one epoch; return the mean losses with the penalty, (P,).

        orders, rates, strengths : for each network; see `Trainer.epoch`. The loss of a network is
        NaN if one of its parameters is NaN or infinite.
        """
        with np.errstate(all="ignore"):
            given = None if all(of is CONSTANT for of in strengths) else strengths
            self._upload(self.batches.plan_each(orders), rates, given)
            self._run()
            return self._sums.read_each(self.theta.sum(axis=-1, dtype=np.float64))

    def keep(self, chosen: np.ndarray, kept: Array) -> None:
        """Copy the parameters of the ``chosen`` networks (P,) bool into ``kept`` (P, size)."""
        if chosen.all():
            kept[...] = self.theta
        elif chosen.any():
            places = self.backend.asarray(np.flatnonzero(chosen))
            kept[places] = self.theta[places]

    def host_state_of(self, k: int) -> OptimizerState:
        """Return a copy of the optimizer state of network ``k`` on the host."""
        vectors = tuple(np.array(self.backend.to_numpy(v[k])) for v in self.vectors)
        state = self.each[k].state
        return OptimizerState(state.rate, state.updates, vectors)
