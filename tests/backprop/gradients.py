"""Gradients of whole networks, by backpropagation and by central differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Parameters, Workspace, backward, forward

STEP = 1e-5


def evaluate(
    backend: Backend, network: Network, loss: Loss, theta: np.ndarray, X: Any, Y: Any, share: Any
) -> tuple[np.ndarray, Parameters, Workspace]:
    """Return the losses (...,) of networks theta (..., size), their views, and the workspace."""
    lead = theta.shape[:-1]
    work = Workspace(backend, network, X.shape[-2], theta.dtype, lead=lead)
    work.X = backend.asarray(X)
    parameters = network.views(backend.asarray(theta))
    forward(backend, network, parameters, work)
    row_losses = backend.zeros((*lead, X.shape[-2]), np.float64)
    Y = backend.asarray(np.broadcast_to(Y, lead + Y.shape[len(lead) :] if lead else Y.shape))
    loss.evaluate(backend, work.logits, Y, share, row_losses, work.deltas[-1])
    return backend.to_numpy(row_losses).sum(axis=-1), parameters, work


def gradient(
    backend: Backend, network: Network, loss: Loss, theta: np.ndarray, X: Any, Y: Any, share: Any
) -> np.ndarray:
    """Return dC/dtheta by backpropagation."""
    _, parameters, work = evaluate(backend, network, loss, theta, X, Y, share)
    gradient = backend.zeros(theta.shape, theta.dtype)
    backward(backend, network, parameters, network.views(gradient), work)
    return backend.to_numpy(gradient)


def central_differences(
    backend: Backend, network: Network, loss: Loss, theta: np.ndarray, X: Any, Y: Any, share: Any
) -> np.ndarray:
    """Return dC/dtheta of one network: each entry moved up and down, all as one population."""
    moves = STEP * np.eye(len(theta))
    thetas = np.concatenate([theta + moves, theta - moves])
    Y = np.broadcast_to(Y, (len(thetas), *Y.shape))
    up, down = np.split(evaluate(backend, network, loss, thetas, X, Y, share)[0], 2)
    return (up - down) / (2 * STEP)
