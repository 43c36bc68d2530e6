"""Validation: rows that training does not see, and how the network does on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.model_selection import train_test_split

from gpubp.backend import Array, Backend
from gpubp.inference import infer
from gpubp.losses import Loss
from gpubp.network import Network, Parameters
from gpubp.rows import Rows, SparseRows
from gpubp.schedules import Schedule
from gpubp.trainer import Trainer
from gpubp.training import Verdict, rehearse


def hold_out(
    rows: Rows, part: float, strata: np.ndarray | None, rng: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Return the rows to train on and those to hold out, as scikit-learn draws them.

    part : of the rows, to hold out. strata : (n,), what both keep in proportion; None for nothing.
    """
    kept, held = train_test_split(
        np.arange(len(rows.X)), random_state=rng, test_size=part, stratify=strata
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of "
            "your dataset."
        )
    return rows.take(kept), rows.take(held)


class Validation:
    """Rows to validate on, and what they say of a network's parameters.

    score : of outputs (n, n_outputs) on the host, and the loss.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        rows: Rows,
        score: Callable[[np.ndarray, float], float],
    ) -> None:
        self._backend, self._network, self._loss, self._score = backend, network, loss, score
        n = len(rows.X)
        self._losses = np.empty(n)  # of each row, its share
        weights = np.ones(n) if rows.weights is None else rows.weights.astype(np.float64)
        # Rows of weight 0 say nothing; dividing by 1 leaves their shares at 0.
        shares = (weights / (weights.sum() or 1)).astype(rows.X.dtype)
        self._data: tuple[Array | SparseRows, Array, Array] = rows.X, rows.targets, shares

    def upload(self, trainer: Trainer, schedule: Schedule) -> None:
        """Keep the rows on the device, if there is room for them beside ``trainer``."""
        host = self._data
        if isinstance(host[0], SparseRows):
            return
        try:
            X, Y, shares = (self._backend.asarray(array) for array in host)
            self._data = X, Y, shares
            rehearse(trainer, schedule, self.outputs)
        except MemoryError:
            self._data = host

    def outputs(self, parameters: Parameters) -> np.ndarray:
        """Return the network's outputs for the rows, (n, n_outputs), on the host.

        One forward pass gives the loss of the rows too.
        """
        X = self._data[0]
        return infer(self._backend, self._network, self._loss, parameters, X, self._note_losses)

    def _note_losses(self, start: int, Z: Array) -> None:
        """Note the losses of the rows from ``start`` on, whose logits are ``Z``."""
        backend, rows = self._backend, slice(start, start + len(Z))
        _, Y, shares = self._data
        row_losses = backend.zeros((len(Z),), np.float64)
        delta = backend.empty(Z.shape, Z.dtype)  # of no use here
        here = backend.asarray(Y[rows]), backend.asarray(shares[rows])
        self._loss.evaluate(backend, Z, *here, row_losses, delta)
        self._losses[rows] = backend.to_numpy(row_losses)

    def __call__(self, parameters: Parameters) -> Verdict:
        """Return the score of ``parameters``, and their mean loss without the penalty."""
        outputs = self.outputs(parameters)
        loss = float(self._losses.sum())
        return Verdict(self._score(outputs, loss), loss)
