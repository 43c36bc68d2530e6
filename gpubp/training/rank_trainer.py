"""Data-parallel training: each rank computes the gradient of its rows of every batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpubp.backends.choice import BackendChoice
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.distributed.communicator import Single
from gpubp.distributed.gradient_sums import Gradients, with_gradients_by
from gpubp.training.batches import HashedOrder
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import StepSettings
from gpubp.training.ranks import Ranks, signals_later
from gpubp.training.row_shards import RowShard, ShardedBatches, shard_of
from gpubp.training.schedules import CONSTANT, Strengths
from gpubp.training.trainer import Trainer

Rates = float | np.ndarray


class RankTrainer(Trainer):
    """A trainer on one shard of the rows, whose gradients are added up over the ranks.

    All ranks make the same updates, so their parameters have the same bits.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        theta: np.ndarray,
        shard: RowShard,
        batch_size: int,
        drop_last: bool,
        settings: StepSettings,
        in_tiles: bool,
        communicator: Single,
    ) -> None:
        self._communicator, self._shard = communicator, shard
        how = {"drop_last": drop_last, "in_tiles": in_tiles}
        batches = ShardedBatches(backend, shard, batch_size, **how)
        of = backend, network, loss, theta, batches, [settings]
        super().__init__(*of, sum_gradient=communicator.sum_gradient)

    def epoch_of_all(
        self,
        order: np.ndarray | HashedOrder | None,
        rates: Rates,
        strengths: Strengths,
        first: int = 0,
    ) -> float:
        """Train on every row of all ranks once; return the mean loss with the penalty.

        order : None in the other ranks, which get it from rank 0 unless it is a hash. All ranks
        call this at the same time. first : the step at which the epoch begins.
        """
        if first and not self._within[0]:
            self.begin_within(first, ())  # rank 0 has the sums
        if order is None:
            order = np.empty(self.batches.n_rows, np.int64)
        if not isinstance(order, HashedOrder) and self.batches.order_matters:
            self._communicator.broadcast(order)
        self.plan_epoch(order, rates, strengths)
        self._run()
        loss = self._loss_of_all()
        # The product is the fastest check, but may overflow for finite parameters.
        if math.isfinite(float(self.theta.dot(self.theta))):
            return loss
        return loss + 0 * float(self.theta.sum(dtype=np.float64))

    def _loss_of_all(self) -> float:
        """Return the loss; all ranks add up the same values of all tiles, in the same order."""
        tiles, penalty = self._sums.read_tiles()
        first, stride = self._shard.first, self._shard.stride
        losses = np.zeros(len(tiles) * stride)
        losses[first::stride] = tiles
        return float(self._communicator.sum(losses).sum()) + penalty


class Rank0Trainer(RankTrainer):
    """The trainer of rank 0, whose epochs are those of all ranks."""

    def __init__(self, ranks: Ranks, *of: Any) -> None:
        self._ranks = ranks
        super().__init__(*of)

    def epoch(
        self,
        order: np.ndarray | HashedOrder,
        rates: Rates | None = None,
        strengths: Strengths = CONSTANT,
    ) -> float:
        """Train on every row once, as `Trainer.epoch` does; Ctrl-C takes effect at the end."""
        rates = self.state.rate if rates is None else rates
        if not self._ranks.others:
            return self.epoch_of_all(order, rates, strengths)
        with self._ranks.in_step():
            hashed = order if isinstance(order, HashedOrder) else None
            first, _ = self._within
            self._ranks.send((hashed, rates, strengths, first))
            return self.epoch_of_all(order, rates, strengths)


@dataclass(frozen=True)
class RowsJob:
    """The job of another rank: to train on its rows, epoch after epoch.

    theta : the initial parameters. batch_size : the rows of a batch of all ranks.
    drop_last : see `Batches`.
    choice : the backend of rank 0. settings : of the steps; each rank updates a copy.
    threads, work : see `Backend.in_use`. gradients : see `with_gradients_by`.
    in_tiles : see `ShardedBatches`.
    """

    choice: BackendChoice
    network: Network
    loss: Loss
    theta: np.ndarray
    settings: StepSettings
    batch_size: int
    drop_last: bool
    threads: int | None
    work: int
    gradients: Gradients
    in_tiles: bool

    def __call__(self, communicator: Single) -> None:
        """Train on the rows that rank 0 sends, until it sends None."""
        if (shard := communicator.receive()) is None:
            return
        backend = self.choice.on_rank(communicator.local_rank).backend()
        with backend.in_use(self.threads, self.work), np.errstate(all="ignore"):
            sums = with_gradients_by(communicator, self.gradients)
            trainer = RankTrainer(backend, *self.arguments(shard), sums)
            while (epoch := communicator.receive()) is not None:
                trainer.epoch_of_all(*epoch)

    def arguments(
        self, shard: RowShard
    ) -> tuple[Network, Loss, np.ndarray, RowShard, int, bool, StepSettings, bool]:
        """Return the arguments of a `RankTrainer` for ``shard``."""
        settings = replace(self.settings, state=replace(self.settings.state))
        of = self.network, self.loss, self.theta, shard, self.batch_size, self.drop_last
        return *of, settings, self.in_tiles


@contextmanager
def trainer_on_ranks(
    ranks: Ranks,
    backend: Backend,
    network: Network,
    loss: Loss,
    data: TrainingData,
    theta: np.ndarray,
    settings: StepSettings,
    batch_size: int,
    drop_last: bool,
    threads: int | None,
) -> Iterator[Trainer]:
    """Return a context with the trainer of rank 0, whose epochs train on ``data`` on all ranks.

    theta : the initial parameters. batch_size : the rows of a batch of all ranks. drop_last : see
    `Batches`.
    data : in the dtype of ``theta``; each rank gets its rows. threads : see `Backend.in_use`.
    """
    communicator, batch_size = ranks.communicator, min(batch_size, data.n_rows)
    work = batch_size * network.n_parameters // communicator.size
    kind = ranks.gradients_on(backend)
    of = network, loss, theta, settings, batch_size, drop_last, threads, work
    job = RowsJob(BackendChoice.like(backend), *of, kind, ranks.reproducible)
    with ranks.job(job):
        with signals_later():  # all ranks, or none
            for rank in ranks.others:
                communicator.send(shard_of(data, rank, communicator.size), rank)
            own, sums = shard_of(data, 0, communicator.size), with_gradients_by(communicator, kind)
        yield Rank0Trainer(ranks, backend, *job.arguments(own), sums)
