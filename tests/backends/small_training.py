"""A small training through any backend, for comparisons of backends and of recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES, Loss
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Adam, Optimizer
from gpubp.training.batches import Batches
from gpubp.training.epoch_plan import OptimizerState, StepSettings
from gpubp.training.inference import infer
from gpubp.training.trainer import Trainer

ROWS, BATCH = 61, 8
STEPS = 8  # of an epoch: seven full batches, then one of 5 rows


def trainer_of(
    backend: Backend,
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    theta: np.ndarray,
    batches: Batches,
    *,
    state: OptimizerState,
    parts: int = 1,
    **settings: Any,
) -> Trainer:
    """Return the trainer of one network. settings : see `StepSettings`."""
    each = [StepSettings(optimizer, state, **settings)]
    return Trainer(backend, network, loss, theta, batches, each, parts=parts)


def epochs_of(trainer: Trainer, orders: Iterable[Any]) -> np.ndarray:
    """Return the losses of one epoch per order, then the parameters, in one row."""
    losses = [trainer.epoch(order) for order in orders]
    return np.append(losses, trainer.backend.to_numpy(trainer.theta))


def trained(
    backend: Backend,
    dtype: str,
    loss: str,
    *,
    network: Network | None = None,
    rows: int = ROWS,
    alpha: float = 0.1,
    optimizer: Optimizer = Adam(),  # noqa: B008
    weights: np.ndarray | None = None,
    activations: tuple[str, str] = ("gelu", "relu"),
    parts: int = 1,
    clip_norm: float | None = None,
    epochs: int = 3,
    then: Callable[[int], None] | None = None,
    before: Callable[[Trainer], None] | None = None,
) -> np.ndarray:
    """Return the losses of a few epochs, then a network's outputs, in one row.

    network : of as many inputs as outputs, or more; by default of two hidden layers of 6 and 5
    units with ``activations``. parts : of each batch.
    weights : at least one for each of the ``rows``. then : called after each epoch with its number.
    before : called with the trainer when all is recorded.
    """
    rng = np.random.RandomState(0)
    network, chosen = network or Network((4, 6, 5, 3), activations), LOSSES[loss]
    X, k = rng.normal(size=(rows, network.sizes[0])).astype(dtype), network.sizes[-1]
    Y = (X[:, :k] + X[:, -k:] > 0).astype(dtype)
    Y = Y if chosen.targets == "numbers" else Y.argmax(axis=1).astype(np.int32)
    theta = network.initial_theta(rng, np.dtype(dtype))
    weights = None if weights is None else weights[:rows]
    losses = []
    with backend.in_use(None, 0):
        batches, state = Batches(backend, X, Y, BATCH, weights), OptimizerState(0.05)
        options: dict[str, Any] = {"alpha": alpha, "state": state, "parts": parts}
        options["clip_norm"] = clip_norm
        trainer = trainer_of(backend, network, chosen, optimizer, theta, batches, **options)
        if before is not None:
            before(trainer)
        for epoch in range(epochs):
            losses.append(trainer.epoch(rng.permutation(rows)))
            if then is not None:
                then(epoch)
        outputs = infer(backend, network, chosen, trainer.parameters, X)
    return np.append(losses, outputs)
