"""Checks of the arguments of `fit`, so that a mistake has a clear message."""

from __future__ import annotations

import numpy as np

from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.recipe import Recipe


def check_fit(
    network: Network,
    loss: Loss,
    data: TrainingData,
    held: TrainingData | None,
    recipe: Recipe,
    theta: np.ndarray,
    state: OptimizerState | None,
) -> None:
    """Raise ValueError for arguments of `fit` that do not fit together.

    theta, state : the initial parameters and the optimizer state of its ``start``.
    """
    _check_dropout(network, recipe)
    if recipe.factors is not None:
        recipe.factors.check(network)
    _check_data(network, loss, data, "data")
    if held is not None and recipe.solver != "lbfgs":
        _check_data(network, loss, held, "held")
        _check_weights(data, "train")
        _check_weights(held, "validate")
    _check_start(network, recipe, theta, state)


def _check_dropout(network: Network, recipe: Recipe) -> None:
    """Raise ValueError unless there is one dropout rate for the inputs and each hidden layer."""
    layers = len(network.sizes) - 1
    if recipe.dropout and len(recipe.dropout) != layers:
        raise ValueError(
            f"recipe.dropout has {len(recipe.dropout)} rates, but the network needs {layers}: one "
            "for its inputs and one per hidden layer"
        )


def _check_data(network: Network, loss: Loss, data: TrainingData, name: str) -> None:
    """Raise ValueError for rows that do not fit the network and its loss."""
    n, d = data.X.shape
    if n == 0:
        raise ValueError(f"{name} has no rows; give at least one")
    if d != network.n_inputs:
        raise ValueError(f"{name}.X has {d} columns, but the network has {network.n_inputs} inputs")
    if len(data.targets) != n or (data.weights is not None and data.weights.shape != (n,)):
        raise ValueError(f"{name} has {n} rows of X, but not as many targets or weights")
    k = network.sizes[-1]
    if loss.targets == "index":
        y = data.targets
        if y.ndim != 1 or y.dtype.kind not in "iu" or int(y.min()) < 0 or int(y.max()) >= k:
            raise ValueError(f"{name}.targets must be classes from 0 to {k - 1}, int32 (n,)")
        return
    columns = k * loss.columns_per_output // loss.outputs_per_target
    if data.targets.ndim != 2 or data.targets.shape[1] != columns or k % loss.outputs_per_target:
        raise ValueError(
            f"{name}.targets has shape {data.targets.shape}, but loss {loss.name!r} needs (n, "
            f"{columns}) for a network of {k} outputs"
        )


def _check_weights(data: TrainingData, purpose: str) -> None:
    """Raise ValueError if all rows have weight 0."""
    if data.weights is not None and not data.weights.any():
        raise ValueError(
            f"all {data.n_rows} rows to {purpose} on have weight 0, from sample_weight and "
            "class_weight; give some of them a weight above 0, or pass X_val and y_val to choose "
            "the validation rows"
        )


def _check_start(
    network: Network, recipe: Recipe, theta: np.ndarray, state: OptimizerState | None
) -> None:
    """Raise ValueError for parameters or a state of another network, dtype or solver."""
    size = network.theta_size(recipe.dtype)
    if theta.shape != (size,) or theta.dtype != recipe.dtype:
        raise ValueError(
            f"start.theta is {theta.dtype} of shape {theta.shape}, but the network needs "
            f"{recipe.dtype} of shape ({size},); use network.pack(Ws, bs, recipe.dtype)"
        )
    if state is None or not state.vectors or recipe.solver == "lbfgs":
        return
    names = recipe.optimizer.state_names
    if len(state.vectors) != len(names):
        raise ValueError(
            f"start.state has {len(state.vectors)} vectors, but solver {recipe.solver!r} has the "
            f"vectors {', '.join(names)}; set state to None to start with zeros"
        )
