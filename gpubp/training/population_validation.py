"""Validation of a population: one forward pass for all networks, each on its own rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Workspace, forward
from gpubp.training.history import ValidationResult
from gpubp.training.population_trainer import PopulationTrainer
from gpubp.training.validation import Validation

# Bytes of the rows and activations of a network, and of all: larger ones are validated one by one.
MOST_BYTES, MOST_IN_ALL = 1 << 23, 1 << 28


class PopulationValidation:
    """Validates the networks of ``trainer``; ``each`` is the validation of each network."""

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        trainer: PopulationTrainer,
        each: Sequence[Validation],
    ) -> None:
        self._backend, self._each = backend, each
        dtype, lead, rows = trainer.theta.dtype, (len(each),), each[0].n_rows
        work = Workspace(backend, network, rows, dtype, lead=lead, deltas=False)
        stacked = (np.stack(of) for of in zip(*(v.on_host() for v in each), strict=True))
        work.X, Y, shares = map(backend.asarray, stacked)
        self._row_losses = backend.zeros((*lead, rows), np.float64)
        self._outputs = backend.empty(work.logits.shape, dtype)
        parameters, row_losses = trainer.parameters, self._row_losses
        delta = backend.empty(work.logits.shape, dtype)  # written by the loss, not used

        def step() -> None:
            forward(backend, network, parameters, work)
            loss.evaluate(backend, work.logits, Y, shares, row_losses, delta)

        self._loss, self._logits = loss, work.logits
        self._run = backend.record(step, len(each), trainer.batches.step)

    def __call__(self, chosen: np.ndarray) -> list[ValidationResult | None]:
        """Return the results of the ``chosen`` networks (P,) bool, and None for the others."""
        self._row_losses[...] = 0
        with np.errstate(all="ignore"):
            self._run()
            self._loss.predict(self._backend, self._logits, out=self._outputs)
        losses = self._backend.to_numpy(self._row_losses).sum(axis=1)
        outputs = self._backend.to_numpy(self._outputs)
        return [
            of.result(outputs[k].copy(), float(losses[k])) if chosen[k] else None
            for k, of in enumerate(self._each)
        ]


def can_be_together(network: Network, each: Sequence[Validation]) -> bool:
    """Return whether a `PopulationValidation` is possible and has a bounded size."""
    if not all(of.is_dense for of in each):
        return False
    rows = {of.n_rows for of in each}
    size = max(rows) * (sum(network.sizes) + 3 * network.sizes[-1]) * 8
    return len(rows) == 1 and size <= MOST_BYTES and size * len(each) <= MOST_IN_ALL
