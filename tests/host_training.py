"""A small training through any backend, for comparisons of backends and of recordings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpubp.backend import Backend
from gpubp.batches import Batches
from gpubp.inference import infer
from gpubp.losses import LOSSES
from gpubp.network import Network
from gpubp.optimizers import Adam, Optimizer
from gpubp.trainer import OptimizerState, Trainer

ROWS, BATCH = 61, 8
STEPS = 8  # of an epoch: seven full batches, then one of 5 rows


def trained(
    backend: Backend,
    dtype: str,
    loss: str,
    *,
    optimizer: Optimizer = Adam(),  # noqa: B008
    weights: np.ndarray | None = None,
    activations: tuple[str, str] = ("gelu", "relu"),
    parts: int = 1,
    epochs: int = 3,
    then: Callable[[int], None] | None = None,
    before: Callable[[Trainer], None] | None = None,
) -> np.ndarray:
    """Return the losses of a few epochs, then a network's outputs, in one row.

    activations : of the hidden layers, of 6 and 5 units. parts : of each batch.
    weights : at least ROWS weights of rows. then : called after each epoch with its number.
    before : called with the trainer when all is recorded.
    """
    rng = np.random.RandomState(0)
    network, chosen = Network((4, 6, 5, 3), activations), LOSSES[loss]
    X = rng.normal(size=(ROWS, 4)).astype(dtype)
    rows = (X[:, :3] + X[:, 1:] > 0).astype(dtype)
    Y = rows if chosen.targets == "rows" else rows.argmax(axis=1).astype(np.int32)
    theta = network.initial_theta(rng, np.dtype(dtype))
    weights = None if weights is None else weights[:ROWS]
    losses = []
    with backend.in_use(None, 0):
        batches, state = Batches(backend, X, Y, BATCH, weights), OptimizerState(0.05)
        options: dict[str, Any] = {"alpha": 0.1, "state": state, "parts": parts}
        trainer = Trainer(backend, network, chosen, optimizer, theta, batches, **options)
        if before is not None:
            before(trainer)
        for epoch in range(epochs):
            losses.append(trainer.epoch(rng.permutation(ROWS)))
            if then is not None:
                then(epoch)
        outputs = infer(backend, network, chosen, trainer.parameters, X)
    return np.append(losses, outputs)
