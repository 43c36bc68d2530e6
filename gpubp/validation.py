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
from gpubp.training import rehearse


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
    """Rows to validate on, and what a network's parameters score on them.

    score : of outputs (n, n_outputs) on the host.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        rows: Rows,
        score: Callable[[np.ndarray], float],
    ) -> None:
        self._backend, self._network, self._loss = backend, network, loss
        self._X: Array | SparseRows = rows.X
        self._score = score

    def upload(self, trainer: Trainer, schedule: Schedule) -> None:
        """Keep the rows on the device, if there is room for them beside ``trainer``."""
        host = self._X
        if isinstance(host, SparseRows):
            return
        try:
            self._X = self._backend.asarray(host)
            rehearse(trainer, schedule, self.outputs)
        except MemoryError:
            self._X = host

    def outputs(self, parameters: Parameters) -> np.ndarray:
        """Return the network's outputs for the rows, (n, n_outputs), on the host."""
        return infer(self._backend, self._network, self._loss, parameters, self._X)

    def __call__(self, parameters: Parameters) -> float:
        """Return the score of ``parameters``."""
        return self._score(self.outputs(parameters))
