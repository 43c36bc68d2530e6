"""The training loop of a population: networks of one shape, epoch after epoch, until all stop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.batches import HashedOrder
from gpubp.training.epoch_plan import StepSettings
from gpubp.training.fit import Fitted, Listeners, Start, fitted
from gpubp.training.history import StoppedBy, ValidationResult
from gpubp.training.loop import forget_scores_of_others, row_orders
from gpubp.training.pauses import Pauses
from gpubp.training.population_batches import PopulationBatches, Sources
from gpubp.training.population_trainer import PopulationTrainer
from gpubp.training.population_validation import PopulationValidation, can_be_together
from gpubp.training.progress import Progress
from gpubp.training.recipe import Recipe
from gpubp.training.training_state import OnPauseOfSeveral, TrainingState
from gpubp.training.validation import Validation

# The networks that still train are copied to smaller arrays when they are at most this part.
REPACK = 0.75

Order = np.ndarray | HashedOrder
OnFinished = Callable[[int, Fitted], None]


class Orders:
    """The row orders of one network, or of several whose generators are in the same state.

    rng : draws the orders; several networks share a copy, so that each can end on its own.
    owner : the generator of the first network.
    """

    def __init__(self, rows: int, recipe: Recipe, rng: np.random.RandomState) -> None:
        self._rows, self._recipe, self.rng, self.owner = rows, recipe, rng, rng
        self._orders: Iterator[Order] | None = None
        self._epoch, self._is_shared = 0, False
        self.last: Order = np.arange(rows)  # that of the last epoch

    def share(self) -> Orders:
        """Return these orders for another network; call it before the first epoch."""
        if not self._is_shared:
            self._is_shared, self.rng = True, copy.deepcopy(self.rng)
        return self

    def of(self, epoch: int) -> Order:
        """Return the order of ``epoch``, counted from 1, which does not decrease."""
        if self._orders is None:
            self._orders = row_orders(self._rows, self._recipe, self.rng)
        while epoch > self._epoch:  # several epochs in the first call of a resumed training
            self.last, self._epoch = next(self._orders), self._epoch + 1
        return self.last


@dataclass
class MemberRun:
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


@dataclass(frozen=True)
class _Packed:
    """The networks that are in the arrays of ``trainer``, some of which may have stopped.

    kept, best : (P, size), parameters of the epochs with the lowest loss and with the best score.
    scores : (P,), the best scores.
    """

    runs: list[MemberRun]
    trainer: PopulationTrainer
    kept: Array
    best: Array
    scores: np.ndarray
    stopped: np.ndarray
    validation: PopulationValidation | None


class PopulationLoop:
    """Trains networks of one shape, each by its own recipe on its own rows of ``sources``.

    finished : called with the number of each network and its `Fitted` when its training ends.
    on_pause : called when the states of the networks can be saved.

    Networks that are resumed go on in the same epoch, at the same step.

    Raises MemoryError if the networks do not fit in memory at once.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        sources: Sources,
        runs: list[MemberRun],
        finished: OnFinished,
        on_pause: OnPauseOfSeveral | None = None,
    ) -> None:
        self._backend, self._network, self._loss = backend, network, loss
        self._sources, self._finished = sources, finished
        self._on_pause, self._pauses = on_pause, on_pause and Pauses(self._pause)
        theta = np.stack([each.start.theta for each in runs])
        kept = np.stack([each.start.kept for each in runs])
        best = np.stack([each.start.best for each in runs])
        self._epoch_number = 0
        self._packed = self._pack(runs, theta, kept=kept, best=best)
        if states := [each.start.resumed for each in runs if each.start.resumed]:
            self._epoch_number = states[0].history.epochs
            self._packed.trainer.begin_within(states[0].step, [of.sums for of in states])

    def run(self) -> bool:
        """Train until all networks have stopped; return whether there was an interrupt."""
        try:
            self._begin()
            while not self._packed.stopped.all():
                self._epoch()
                if 0 < (~self._packed.stopped).mean() <= REPACK:
                    self._repack()
                if not self._packed.stopped.all():
                    self._pause()
        except KeyboardInterrupt:
            for k in np.flatnonzero(~self._packed.stopped).tolist():
                self._interrupt(k)
            return True
        return False

    def _pack(
        self,
        runs: list[MemberRun],
        theta: np.ndarray,
        *,
        kept: np.ndarray,
        best: np.ndarray,
        rows_seen: list[int] | None = None,
    ) -> _Packed:
        """Return the networks of ``runs`` in arrays (P, size) of their own.

        rows_seen : for each network, the rows trained on so far; None for the start.
        """
        backend, of = self._backend, (self._backend, self._network, self._loss)
        places, settings = [run.place for run in runs], [run.settings for run in runs]
        recipe = runs[0].recipe  # the networks of a group have the same rows of a batch
        size, drop_last = recipe.batch_size, recipe.drop_last
        batches = PopulationBatches(backend, self._sources, places, size, drop_last=drop_last)
        trainer = PopulationTrainer(*of, theta, batches, settings)
        trainer.pauses = self._pauses
        trainer.rows_seen = rows_seen or trainer.rows_seen
        copies = trainer.copy_theta(), trainer.copy_theta()
        for array, values in zip(copies, (kept, best), strict=True):
            array[...] = backend.asarray(values)
        validation, each = None, [run.validation for run in runs if run.validation]
        if len(each) == len(runs) and can_be_together(self._network, each):
            validation = PopulationValidation(*of, trainer, each)
        else:
            for one in each:
                one.upload_if_possible()
        scores = np.array([run.progress.history.best_score for run in runs])
        return _Packed(runs, trainer, *copies, scores, np.zeros(len(runs), bool), validation)

    def _begin(self) -> None:
        for run in self._packed.runs:
            if run.listeners.on_start is not None:
                run.listeners.on_start(partial(self._snapshot, run))
            if run.start.resumed is None:
                run.progress.begin()
            else:
                run.progress.resume(run.start.resumed)
        for k, run in enumerate(self._packed.runs):
            if run.validation is not None and run.start.resumed is None:
                forget_scores_of_others(run.progress.history, run.validation, self._parameters(k))
                self._packed.scores[k] = run.progress.history.best_score

    def _pause(self, step: int = 0) -> None:
        """Let the states be saved after ``step`` steps of an epoch."""
        if self._on_pause is not None:
            self._on_pause(step, partial(self._states, step))

    def _states(self, step: int) -> dict[int, TrainingState]:
        """Return the states of the networks that are being trained, by their numbers."""
        packed, to_numpy = self._packed, self._backend.to_numpy
        trainer, found = packed.trainer, {}
        theta, kept, best = map(to_numpy, (trainer.theta, packed.kept, packed.best))
        for k in np.flatnonzero(~packed.stopped).tolist():
            run = packed.runs[k]
            found[run.number] = TrainingState(
                *(theta[k], kept[k], None if run.validation is None else best[k]),
                optimizer=trainer.host_state_of(k),
                history=run.progress.history_now(),
                lowest=run.progress.lowest,
                step=step,
                sums=trainer.sums_of(k) if step else (),
                together=True,
            )
        return found

    def _parameters(self, k: int) -> Array:
        return self._network.views(self._packed.trainer.theta[k])

    def _epoch(self) -> None:
        """Train for one epoch, and end the training of networks that have a reason to stop."""
        packed, trainer = self._packed, self._packed.trainer
        self._epoch_number += 1
        orders = [
            run.orders.last if stopped else run.orders.of(self._epoch_number)
            for run, stopped in zip(packed.runs, packed.stopped.tolist(), strict=True)
        ]
        steps = trainer.batches.steps
        rates = [
            run.recipe.rates(self._epoch_number - 1, steps, run.settings.state.rate)
            for run in packed.runs
        ]
        strengths = [run.recipe.strengths(self._epoch_number - 1, steps) for run in packed.runs]
        losses = trainer.train_each(orders, rates, strengths)
        finite = np.isfinite(losses)
        going = ~packed.stopped & finite
        lowest = [
            bool(goes) and run.progress.record(loss)
            for run, loss, goes in zip(packed.runs, losses.tolist(), going, strict=True)
        ]
        trainer.keep(np.array(lowest), packed.kept)
        for k in np.flatnonzero(~packed.stopped & ~finite).tolist():
            self._diverge(k)
        self._end_epoch(going, rates)

    def _end_epoch(self, going: np.ndarray, rates: list[float | np.ndarray]) -> None:
        """Validate the networks that are ``going`` (P,), keep the best, and tell the listeners."""
        packed, results = self._packed, self._validate(going)
        stops: dict[int, bool] = {}
        improved = np.zeros(len(going), bool)
        for k in np.flatnonzero(going).tolist():
            run = packed.runs[k]
            improved[k], stops[k] = run.progress.decide(results[k], run.settings.state)
        validated = np.array([run.validation is not None for run in packed.runs])
        packed.trainer.keep(improved & validated, packed.best)
        packed.scores[:] = [run.progress.history.best_score for run in packed.runs]
        # A listener may interrupt. Then the best parameters are those of the best score.
        for k, stop in stops.items():
            outcome = results[k], rates[k], bool(improved[k]), stop
            if (reason := packed.runs[k].progress.report(*outcome)) is not None:
                self._finish(k, reason)

    def _validate(self, chosen: np.ndarray) -> list[ValidationResult | None]:
        """Return the validation results of the ``chosen`` networks (P,); None without any."""
        if self._packed.validation is not None:
            return self._packed.validation(chosen)
        return [
            run.validation(self._parameters(k)) if run.validation and chosen[k] else None
            for k, run in enumerate(self._packed.runs)
        ]

    def _diverge(self, k: int) -> None:
        packed = self._packed
        theta, history = packed.trainer.theta, packed.runs[k].progress.history
        with np.errstate(all="ignore"):
            history.finite_weights = bool(np.isfinite(float(theta[k].sum(dtype=np.float64))))
        theta[k] = packed.kept[k]
        self._finish(k, "non_finite")

    def _interrupt(self, k: int) -> None:
        theta = self._packed.trainer.theta
        if not np.isfinite(self._backend.to_numpy(theta[k])).all():
            theta[k] = self._packed.kept[k]
        self._finish(k, "interrupt")

    def _finish(self, k: int, reason: StoppedBy) -> None:
        """End the training of network ``k``; in the arrays it goes on until they are repacked."""
        packed = self._packed
        run, history = packed.runs[k], packed.runs[k].progress.history
        history.stopped_by, history.seconds = reason, perf_counter() - run.progress.started
        if run.validation is not None and packed.scores[k] > -np.inf:
            packed.trainer.theta[k] = packed.best[k]
            # An interrupt may have come between a better score and its parameters.
            history.best_score = float(packed.scores[k])
        if run.orders.rng is not run.start.rng:
            run.start.rng.set_state(run.orders.rng.get_state(legacy=False))
        fitted_now = self._fitted(k)
        packed.stopped[k] = True  # an interrupt before ends it again
        self._finished(run.number, fitted_now)

    def _snapshot(self, run: MemberRun) -> Fitted:
        """Return the current state of a network that is being trained."""
        return self._fitted(next(k for k, of in enumerate(self._packed.runs) if of is run)).copy()

    def _fitted(self, k: int) -> Fitted:
        packed, network = self._packed, self._network
        run, trainer = packed.runs[k], packed.trainer
        theta = np.array(self._backend.to_numpy(trainer.theta[k]))
        of = theta, trainer.host_state_of(k), run.progress.history, trainer.launches
        return fitted(self._backend, network, run.recipe, *of)

    def _repack(self) -> None:
        """Go on with the networks that still train, in smaller arrays."""
        packed = self._packed
        going, trainer = np.flatnonzero(~packed.stopped).tolist(), packed.trainer
        arrays = trainer.theta, packed.kept, packed.best
        theta, kept, best = (self._backend.to_numpy(array)[going] for array in arrays)
        for k in going:
            packed.runs[k].settings.state = trainer.host_state_of(k)
        runs, rows_seen = [packed.runs[k] for k in going], [trainer.rows_seen[k] for k in going]
        # One assignment: an interrupt finds the old arrays or the new ones.
        self._packed = self._pack(runs, theta, kept=kept, best=best, rows_seen=rows_seen)
