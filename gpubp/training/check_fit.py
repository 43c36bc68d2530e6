"""Checks of what `fit` is given, so that a mistake is named instead of met within a step."""

from __future__ import annotations

import numpy as np

from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.data import TrainingData
from gpubp.training.recipe import Recipe
from gpubp.training.trainer import OptimizerState


def check_fit(
    network: Network,
    loss: Loss,
    data: TrainingData,
    held: TrainingData | None,
    recipe: Recipe,
    theta: np.ndarray,
    state: OptimizerState | None,
) -> None:
    """Raise ValueError for what `fit` cannot train on. theta, state : those of its start."""
    _check_dropout(network, recipe)
    _check_data(network, loss, data, "data")
    if held is not None and recipe.solver != "lbfgs":
        _check_data(network, loss, held, "held")
        _check_weights(data, "train")
        _check_weights(held, "validate")
    _check_start(network, recipe, theta, state)


def _check_dropout(network: Network, recipe: Recipe) -> None:
    """Raise ValueError for rates of dropout that are not one for each layer below the last."""
    layers = len(network.sizes) - 1
    if recipe.dropout and len(recipe.dropout) != layers:
        raise ValueError(
            f"recipe.dropout has {len(recipe.dropout)} rates, but the network takes {layers}, of "
            "its inputs and of each hidden layer"
        )


def _check_data(network: Network, loss: Loss, data: TrainingData, name: str) -> None:
    """Raise ValueError for rows that do not fit the network and its loss."""
    n, d = data.X.shape
    if n == 0:
        raise ValueError(f"{name} has no rows; give one at least")
    if d != network.sizes[0]:
        raise ValueError(f"{name}.X has {d} columns, but the network has {network.sizes[0]} inputs")
    if len(data.targets) != n or (data.weights is not None and data.weights.shape != (n,)):
        raise ValueError(f"{name} has {n} rows of X, and other numbers of targets or weights")
    k = network.sizes[-1]
    if loss.targets == "index":
        y = data.targets
        if y.ndim != 1 or y.dtype.kind not in "iu" or int(y.min()) < 0 or int(y.max()) >= k:
            raise ValueError(f"{name}.targets must be classes from 0 to {k - 1}, int32 (n,)")
        return
    columns = k * loss.columns_per_output // loss.outputs_per_target
    if data.targets.ndim != 2 or data.targets.shape[1] != columns or k % loss.outputs_per_target:
        raise ValueError(
            f"{name}.targets has shape {data.targets.shape}, but loss {loss.name!r} takes (n, "
            f"{columns}) for a network of {k} outputs"
        )


def _check_weights(data: TrainingData, purpose: str) -> None:
    """Raise ValueError for rows of which none has a weight."""
    if data.weights is not None and not data.weights.any():
        raise ValueError(
            f"the {data.n_rows} rows to {purpose} on all have weight 0, by sample_weight and "
            "class_weight; give some of them more, or choose the rows to validate on yourself, "
            "as X_val and y_val"
        )


def _check_start(
    network: Network, recipe: Recipe, theta: np.ndarray, state: OptimizerState | None
) -> None:
    """Raise ValueError for parameters, or a state, of another network, dtype or solver."""
    size = network.theta_size(recipe.dtype)
    if theta.shape != (size,) or theta.dtype != recipe.dtype:
        raise ValueError(
            f"start.theta is {theta.dtype} of shape {theta.shape}, but the network takes ({size},) "
            f"of {recipe.dtype}; take network.pack(Ws, bs, recipe.dtype)"
        )
    if state is None or not state.vectors or recipe.solver == "lbfgs":
        return
    names = recipe.optimizer.state_names
    if len(state.vectors) != len(names):
        raise ValueError(
            f"start.state has {len(state.vectors)} vectors, but solver {recipe.solver!r} keeps "
            f"{', '.join(names)}; start with state None"
        )
