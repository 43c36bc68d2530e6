"""Recorded steps that are kept between trainings of one epoch each on a few rows.

In such a training, to bind the step and to copy parameters and optimizer state in and out takes
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
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Fitted, Start, fitted_of, make_trainer
from gpubp.training.history import History
from gpubp.training.loop import train
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer

MOST = 4  # steps to keep, each for another number of rows
KEPT_BYTES = 1 << 27  # parameters, gradient, optimizer state and their copies
ROWS_BYTES = 1 << 22  # rows of one step and their activations: larger ones gain nothing


class OwnBatches(Batches):
    """Batches that own their arrays, so that the rows can be replaced."""

    X: np.ndarray

    def _place(self, X: Any, Y: np.ndarray) -> None:
        self.X = self.backend.empty(X.shape, X.dtype)
        self.Y = self.backend.empty(Y.shape, Y.dtype)
        self.replace(X, Y, self._weights)

    def replace(self, X: np.ndarray, Y: np.ndarray, weights: np.ndarray | None) -> None:
        """Replace the rows by others of the same shapes, with weights if the first had weights."""
        self.X[...], self.Y[...] = X, Y
        if weights is not None:
            self._weights, self._of_one_step = weights, None


@dataclass(frozen=True)
class KeptStep:
    """A trainer with `OwnBatches` for a fixed number of rows, and its recipe."""

    trainer: Trainer
    recipe: Recipe


class KeptSteps:
    """The steps of one network for several numbers of rows, which all train the same arrays.

    The first step that is added allocates the arrays.
    """

    def __init__(self, backend: Backend, network: Network, loss: Loss) -> None:
        self.backend, self.network, self.loss = backend, network, loss
        self._steps: dict[tuple[Any, ...], KeptStep] = {}
        self._first: Trainer | None = None
        self._saved: list[np.ndarray] = []  # the parameters, then the optimizer's vectors

    @property
    def theta(self) -> np.ndarray:
        """The parameters (size,), which training changes in place."""
        return self._trained[0]

    @property
    def _trained(self) -> tuple[np.ndarray, ...]:
        assert self._first is not None
        return self._first.theta, *self._first.vectors

    def of(self, data: TrainingData) -> KeptStep | None:
        """Return the step for rows with the shapes of ``data``; None if there is none."""
        return self._steps.get(_form(data))

    def add(
        self,
        data: TrainingData,
        recipe: Recipe,
        theta: np.ndarray,
        state: OptimizerState,
        threads: int | None,
    ) -> KeptStep:
        """Add and return a step for rows with the shapes of ``data``.

        If there are MOST steps already, it replaces the oldest.
        theta, state : the initial parameters and optimizer state for the first step; for a later
        one, the current values. threads : see `fit`. Raises the errors of `fit`.
        """
        check_fit(self.network, self.loss, data, None, recipe, theta, state)
        start = Start(theta, np.random.RandomState(0), state=state)  # draws nothing without dropout
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
        """Train for one epoch on ``data`` and continue ``history``; call in `undone_on_failure`.

        state : has the learning rate and the number of updates so far. rng, threads : see `fit`.
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
        """Restore the arrays and the losses of ``history`` if the body of the with raises."""
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
    """Return whether a step for rows like ``data`` can be kept and is small enough."""
    # Dropout has another seed in each training.
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
    """Return the shapes and dtypes of ``data``, which are fixed for a step."""
    return data.X.shape, data.X.dtype, data.targets.shape, data.targets.dtype, data.weights is None
