"""Trainings of one epoch each on a few rows, whose steps stay recorded and whose arrays stay.

Around the step of such a training, to bind it, and to copy what it goes on from in and out, takes
longer than the step itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.batches import Batches
from gpubp.training.check_fit import check_fit
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, Start, fitted_of, make_trainer
from gpubp.training.history import History
from gpubp.training.loop import train
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import OptimizerState, Trainer

MOST = 4  # steps, each for a number of rows
KEPT_BYTES = 1 << 27  # of the parameters and what is as long as they are
ROWS_BYTES = 1 << 22  # of the rows of one step, and of its activations: more of them gain nothing


class OwnBatches(Batches):
    """Batches in arrays of their own, where other rows can take the place of these."""

    X: np.ndarray

    def _place(self, X: Any, Y: np.ndarray) -> None:
        self.X = self.backend.empty(X.shape, X.dtype)
        self.Y = self.backend.empty(Y.shape, Y.dtype)
        self.replace(X, Y, self._weights)

    def replace(self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray | None) -> None:
        """Take other rows from now on, of the same shapes, and weighted if these are."""
        self.X[...], self.Y[...] = X, Y
        if weights is not None:
            self._weights, self._of_one_step = weights, None


@dataclass(frozen=True)
class KeptStep:
    """A trainer for some number of rows, which has `OwnBatches`, and how it trains."""

    trainer: Trainer
    recipe: Recipe


class KeptSteps:
    """The steps of one network, for several numbers of rows, that all train the same arrays.

    The first that is added has them made.
    """

    def __init__(self, backend: Backend, network: Network, loss: Loss) -> None:
        self.backend, self.network, self.loss = backend, network, loss
        self._steps: dict[tuple[Any, ...], KeptStep] = {}
        self._first: Trainer | None = None
        self._saved: list[np.ndarray] = []  # the parameters, then the optimizer's vectors

    @property
    def theta(self) -> np.ndarray:
        """The parameters, which training changes in place."""
        return self._trained[0]

    @property
    def _trained(self) -> tuple[np.ndarray, ...]:
        assert self._first is not None
        return self._first.theta, *self._first.vectors

    def of(self, data: TrainingData) -> KeptStep | None:
        """Return the step for rows such as ``data``, if there is one."""
        return self._steps.get(_form(data))

    def add(
        self,
        data: TrainingData,
        recipe: Recipe,
        theta: np.ndarray,
        state: OptimizerState,
        threads: int | None,
    ) -> KeptStep:
        """Return a new step for rows such as ``data``, in place of the oldest if there are MOST.

        theta, state : where training begins; for all but the first step, where it is. threads :
        see `fit`, which raises the same.
        """
        check_fit(self.network, self.loss, data, None, recipe, theta, state)
        start = Start(theta, np.random.RandomState(0), state=state)  # without dropout, no draws
        of = self.backend, self.network, self.loss
        with self._in_use(data, recipe, threads):
            trainer = make_trainer(*of, data, recipe, start, kind=OwnBatches, beside=self._first)
        if self._first is None:
            self._first = trainer
            self._saved = [np.empty_like(array) for array in self._trained]
        while len(self._steps) >= MOST:
            del self._steps[next(iter(self._steps))]
        step = self._steps[_form(data)] = KeptStep(trainer, recipe)
        return step

    def epoch(
        self,
        step: KeptStep,
        data: TrainingData,
        state: OptimizerState,
        rng: np.random.RandomState,
        history: History,
        threads: int | None,
    ) -> Fitted:
        """Train for one epoch on ``data``, within `undone_on_failure`; continue ``history``.

        state : the rate and the count of updates to go on with. rng, threads : see `fit`.
        """
        trainer, batches = step.trainer, cast(OwnBatches, step.trainer.batches)
        batches.replace(cast(np.ndarray, data.X), data.targets, data.weights)
        trainer.state = OptimizerState(state.rate, state.updates)
        with self._in_use(data, step.recipe, threads):
            train(trainer, step.recipe, rng, history, kept=self._saved[0])
        return fitted_of(trainer, step.recipe, history)

    def _in_use(
        self, data: TrainingData, recipe: Recipe, threads: int | None
    ) -> AbstractContextManager[None]:
        rows = min(recipe.batch_size, data.n_rows)
        work: int = rows * self.network.n_parameters
        limit: AbstractContextManager[None] = self.backend.in_use(threads, work)
        return limit

    @contextmanager
    def undone_on_failure(self, history: History) -> Iterator[None]:
        """Put the arrays, and the losses of ``history``, back if what is done inside raises."""
        epochs = len(history.losses)
        for saved, array in zip(self._saved, self._trained, strict=True):
            np.copyto(saved, array)
        try:
            yield
        except BaseException:
            for saved, array in zip(self._saved, self._trained, strict=True):
                np.copyto(array, saved)
            del history.losses[epochs:]
            raise


def can_be_kept(backend: Backend, network: Network, data: TrainingData, recipe: Recipe) -> bool:
    """Return whether a step for rows such as ``data`` can be kept, and is small enough for it."""
    # Dropout is drawn for each training.
    if (
        backend.name != "cpu"
        or not isinstance(data.X, np.ndarray)
        or recipe.epochs != 1
        or recipe.solver == "lbfgs"
        or any(recipe.dropout)
    ):
        return False
    size = network.theta_size(recipe.dtype) * recipe.dtype.itemsize
    arrays = 3 + 2 * len(recipe.optimizer.state_names)
    per_batch = 3 * min(recipe.batch_size, data.n_rows) * sum(network.sizes)
    rows = (data.X.size + per_batch) * recipe.dtype.itemsize
    return arrays * size <= KEPT_BYTES and rows <= ROWS_BYTES


def _form(data: TrainingData) -> tuple[Any, ...]:
    """Return what rows must share to take each other's place in a step."""
    return data.X.shape, data.X.dtype, data.targets.shape, data.targets.dtype, data.weights is None
