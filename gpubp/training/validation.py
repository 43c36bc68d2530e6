"""Validation: score and loss of a network on rows that are not used for training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Parameters
from gpubp.training.data import CsrData, TrainingData
from gpubp.training.history import ValidationResult
from gpubp.training.inference import infer
from gpubp.training.loop import check_memory
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import Trainer

# (outputs for the rows (n, n_outputs) on the host, their loss) -> score, larger is better
Score = Callable[[np.ndarray, float], float]


def minus_loss(outputs: np.ndarray, loss: float) -> float:
    """Return the loss times -1."""
    return -loss


class ValidationSet(NamedTuple):
    """Validation rows, and the function that scores the outputs for them."""

    rows: TrainingData
    score: Score = minus_loss

    def in_dtype(self, recipe: Recipe, backend: Backend) -> ValidationSet:
        """Return the set with rows for ``backend``, in the dtype of ``recipe``."""
        return self._replace(rows=self.rows.in_dtype(recipe.dtype, backend))


class Validation:
    """Computes score and loss of a network's parameters on validation rows."""

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        held: ValidationSet,
    ) -> None:
        self._backend, self._network, self._loss = backend, network, loss
        rows, self._score = held
        n = len(rows.X)
        self._losses = np.empty(n)  # of each row, times its share
        weights = np.ones(n) if rows.weights is None else rows.weights.astype(np.float64)
        # If all weights are 0, dividing by 1 leaves the shares at 0.
        shares = (weights / (weights.sum() or 1)).astype(rows.X.dtype)
        self._data: tuple[Array | CsrData, Array, Array] = rows.X, rows.targets, shares
        self.n_rows, self.is_dense = n, not isinstance(rows.X, CsrData)

    def upload(self, trainer: Trainer, recipe: Recipe) -> None:
        """Keep the rows on the device if there is enough memory next to that of ``trainer``."""
        host = self._data
        if isinstance(host[0], CsrData):
            return
        try:
            X, Y, shares = (self._backend.asarray(array) for array in host)
            self._data = X, Y, shares
            check_memory(trainer, recipe, self.outputs)
        except MemoryError:
            self._data = host

    def upload_if_possible(self) -> None:
        """Keep the rows on the device if there is enough memory."""
        with suppress(MemoryError):
            X, Y, shares = (self._backend.asarray(array) for array in self._data)
            self._data = X, Y, shares

    def outputs(self, parameters: Parameters) -> np.ndarray:
        """Return the network's outputs for the rows, (n, n_outputs), on the host.

        The same forward pass also computes their losses.
        """
        X = self._data[0]
        return infer(self._backend, self._network, self._loss, parameters, X, self._note_losses)

    def _note_losses(self, start: int, Z: Array) -> None:
        """Store the losses of the rows from ``start`` on, whose logits are ``Z``."""
        backend, rows = self._backend, slice(start, start + len(Z))
        _, Y, shares = self._data
        row_losses = backend.zeros((len(Z),), np.float64)
        delta = backend.empty(Z.shape, Z.dtype)  # written by the loss, not used
        targets, share = backend.asarray(Y[rows]), backend.asarray(shares[rows])
        self._loss.evaluate(backend, Z, targets, share, row_losses, delta)
        self._losses[rows] = backend.to_numpy(row_losses)

    def __call__(self, parameters: Parameters) -> ValidationResult:
        """Return the score of ``parameters``, and their mean loss without the penalty."""
        outputs = self.outputs(parameters)
        return self.result(outputs, float(self._losses.sum()))

    def result(self, outputs: np.ndarray, loss: float) -> ValidationResult:
        """Return the result for the ``outputs`` of the rows, and their mean loss."""
        return ValidationResult(self._score(outputs, loss), loss)

    def on_host(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return X, the targets and the share of each row in the loss, on the host."""
        X, Y, shares = (self._backend.to_numpy(array) for array in self._data)
        return X, Y, shares
