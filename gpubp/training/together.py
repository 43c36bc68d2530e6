"""The training loop of a population: networks of one shape, epoch after epoch, until all stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.batches import HashedOrder
from gpubp.training.epoch_plan import StepSettings
from gpubp.training.fit import Fitted, Listeners, Start
from gpubp.training.history import StoppedBy, ValidationResult
from gpubp.training.loop import forget_scores_of_others, row_orders
from gpubp.training.population_batches import PopulationBatches, Sources
from gpubp.training.population_trainer import PopulationTrainer
from gpubp.training.population_validation import PopulationValidation, can_be_together
from gpubp.training.progress import Progress
from gpubp.training.recipe import Recipe
from gpubp.training.validation import Validation

# The networks that still train are packed anew when they are at most this part of the arrays.
REPACK = 0.75

Order = np.ndarray | HashedOrder
OnFinished = Callable[[int, Fitted], None]


class Orders:
    """The row orders of networks whose generators are in the same state: drawn once for all."""

    def __init__(self, rows: int, recipe: Recipe, rng: np.random.RandomState) -> None:
        self._orders: Iterator[Order] = row_orders(rows, recipe, rng)
        self.rng, self._epoch = rng, 0
        self._order: Order = np.arange(0)

    def of(self, epoch: int) -> Order:
        """Return the order of ``epoch``, counted from 1; call it for one epoch after the other."""
        if epoch > self._epoch:
            self._order, self._epoch = next(self._orders), epoch
        return self._order


@dataclass
class Trained:
    """One network of the population during training.

    number : in the population. place : of its rows in the `Sources`.
    """

    number: int
    place: int
    recipe: Recipe
    start: Start
    settings: StepSettings
    progress: Progress
    validation: Validation | None
    listeners: Listeners
    orders: Orders


class Together:
    """Trains networks of one shape on ``sources``, each by its own recipe.

    finished : called with the number of each network and its `Fitted` when its training ends.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        sources: Sources,
        batch_size: int,
        finished: OnFinished,
    ) -> None:
        self._of = backend, network, loss
        self._backend, self._sources, self._batch_size = backend, sources, batch_size
        self._finished, self._epochs = finished, 0

    def run(self, networks: Sequence[Trained]) -> bool:
        """Train ``networks`` until all have stopped; return whether there was an interrupt."""
        thetas = np.stack([each.start.theta for each in networks])
        self._pack(list(networks), thetas, thetas, thetas)
        try:
            self._begin()
            while not self._stopped.all():
                self._epoch()
                if self._stopped.any() and (~self._stopped).mean() <= REPACK:
                    self._repack()
        except KeyboardInterrupt:
            for k in np.flatnonzero(~self._stopped).tolist():
                self._interrupt(k)
            return True
        return False

    def _pack(
        self,
        networks: list[Trained],
        theta: np.ndarray,
        kept: np.ndarray,
        best: np.ndarray,
        trained: list[int] | None = None,
    ) -> None:
        """Train ``networks`` from now on, with these parameters (P, size).

        kept, best : those of the epochs with the lowest loss and the best score.
        trained : for each network, the rows trained on so far; None for the start.
        """
        backend = self._backend
        places = [each.place for each in networks]
        batches = PopulationBatches(backend, self._sources, places, self._batch_size)
        trainer = PopulationTrainer(*self._of, theta, batches, [each.settings for each in networks])
        trainer.trained = trained or trainer.trained
        copies = trainer.copy_theta(), trainer.copy_theta()
        for copy, values in zip(copies, (kept, best), strict=True):
            copy[...] = backend.asarray(values)
        validation = self._make_validation(networks, trainer)
        stopped = np.zeros(len(networks), bool)
        self._now, self._trainer, self._stopped = networks, trainer, stopped
        (self._kept, self._best), self._validation = copies, validation

    def _make_validation(
        self, networks: list[Trained], trainer: PopulationTrainer
    ) -> PopulationValidation | None:
        """Return the validation of all networks at once; None if it is not possible."""
        each = [trained.validation for trained in networks]
        if not can_be_together(self._of[1], each):
            return None
        validations = [of for of in each if of is not None]
        return PopulationValidation(*self._of, trainer, validations)

    def _begin(self) -> None:
        for k, each in enumerate(self._now):
            if each.listeners.on_start is not None:
                each.listeners.on_start(partial(self._snapshot, each))
            each.progress.begin()
            if each.validation is not None:
                forget_scores_of_others(each.progress.history, each.validation, self._parameters(k))

    def _parameters(self, k: int) -> Array:
        return self._of[1].views(self._trainer.theta[k])

    def _epoch(self) -> None:
        """Train for one epoch, and end the training of networks that have a reason to stop."""
        trainer = self._trainer
        self._epochs += 1
        rates = [
            each.recipe.rates(each.progress.history.epochs, trainer.batches.steps, of.state.rate)
            for each, of in zip(self._now, trainer.each, strict=True)
        ]
        with np.errstate(all="ignore"):
            losses = trainer.epochs([each.orders.of(self._epochs) for each in self._now], rates)
        finite = np.isfinite(losses)
        going = ~self._stopped & finite
        lowest = [
            bool(goes) and each.progress.record(loss)
            for each, loss, goes in zip(self._now, losses.tolist(), going, strict=True)
        ]
        trainer.keep(np.array(lowest), self._kept)
        ends: dict[int, StoppedBy] = {}
        improved = np.zeros(len(losses), bool)
        results = self._validate(going)
        for k in np.flatnonzero(~self._stopped).tolist():
            if finite[k]:
                improved[k], stopped = self._end_epoch(k, results[k], rates[k])
            else:
                stopped = self._diverged(k)
            if stopped is not None:
                ends[k] = stopped
        trainer.keep(improved, self._best)
        for k, reason in ends.items():
            self._finish(k, reason)

    def _validate(self, chosen: np.ndarray) -> list[ValidationResult | None]:
        """Return the validation results of the ``chosen`` networks (P,); None without any."""
        if self._validation is not None:
            return self._validation(chosen)
        return [
            each.validation(self._parameters(k)) if each.validation and chosen[k] else None
            for k, each in enumerate(self._now)
        ]

    def _end_epoch(
        self, k: int, result: ValidationResult | None, rates: float | np.ndarray
    ) -> tuple[bool, StoppedBy | None]:
        each = self._now[k]
        improved, stopped = each.progress.end_epoch(result, each.settings.state, rates)
        return improved and each.validation is not None, stopped

    def _diverged(self, k: int) -> StoppedBy:
        history, theta = self._now[k].progress.history, self._trainer.theta
        history.finite_weights = bool(np.isfinite(float(theta[k].sum(dtype=np.float64))))
        theta[k] = self._kept[k]
        return "non_finite"

    def _interrupt(self, k: int) -> None:
        theta = self._trainer.theta
        if not np.isfinite(self._backend.to_numpy(theta[k])).all():
            theta[k] = self._kept[k]
        self._finish(k, "interrupt")

    def _finish(self, k: int, reason: StoppedBy) -> None:
        """End the training of network ``k``; in the arrays it goes on until they are repacked."""
        each = self._now[k]
        history = each.progress.history
        history.stopped_by, history.seconds = reason, perf_counter() - each.progress.started
        if each.validation is not None and history.best_score > -np.inf:
            self._trainer.theta[k] = self._best[k]
        self._stopped[k] = True
        if each.orders.rng is not each.start.rng:
            each.start.rng.set_state(each.orders.rng.get_state())
        self._finished(each.number, self._fitted(k))

    def _snapshot(self, each: Trained) -> Fitted:
        k = next(k for k, now in enumerate(self._now) if now is each)
        return replace(self._fitted(k), history=each.progress.history.copy())

    def _fitted(self, k: int) -> Fitted:
        backend, network, _ = self._of
        each, trainer = self._now[k], self._trainer
        float64 = each.recipe.precision == "float64"
        return Fitted(
            network=network,
            theta=np.array(backend.to_numpy(trainer.theta[k])),
            state=trainer.host_state_of(k),
            history=each.progress.history,
            device=backend.name,
            engine=backend.engine,
            precision="float64" if float64 else backend.precision,
            launches=trainer.launches,
        )

    def _repack(self) -> None:
        """Go on with the networks that still train, in smaller arrays."""
        going, trainer = np.flatnonzero(~self._stopped).tolist(), self._trainer
        if not going:
            return
        arrays = trainer.theta, self._kept, self._best
        theta, kept, best = (self._backend.to_numpy(array)[going] for array in arrays)
        for k in going:
            self._now[k].settings.state = trainer.host_state_of(k)
        # An interrupt leaves the old arrays, or finds the new ones complete.
        trained = [trainer.trained[k] for k in going]
        self._pack([self._now[k] for k in going], theta, kept, best, trained)
