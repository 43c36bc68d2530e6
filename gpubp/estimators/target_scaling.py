"""Target scaling: from y to the units of training, and from outputs to the units of y."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.foreign_arrays import device_of, is_on_device, to_device_of
from gpubp.backends.protocol import Array
from gpubp.backprop.custom_losses import as_loss
from gpubp.backprop.losses import LOSSES, REGRESSION_LOSSES, Loss
from gpubp.estimators.standardizer import Standardizer
from gpubp.training.data import TrainingData


def fitted_scaling(rows: TrainingData) -> Standardizer:
    """Return the standardizer of y of ``rows``, per column and with the weights of the rows.

    Rows of weight 0 are left out.
    Raises ValueError if the range of a column of y overflows float64.
    """
    Y, weights = _columns(rows.y), rows.weights
    if weights is not None and (counted := weights > 0).any():
        return Standardizer.fit(Y[counted], weights[counted].astype(np.float64))
    return Standardizer.fit(Y)


def scaled(rows: TrainingData, scaling: Standardizer) -> TrainingData:
    """Return the rows with the scaled y as targets."""
    return rows._replace(targets=scaling.transform(_columns(rows.y), rows.targets.dtype))


def unscaled(outputs: Array, scaling: Standardizer) -> Array:
    """Return outputs (n, k), a NumPy or CuPy array, in the units of y, float64.

    k : the number of columns of y, or a multiple of it: all columns, repeated in the same order.
    """
    times = outputs.shape[1] // scaling.mean.size
    mean, scale = np.tile(scaling.mean, times), np.tile(scaling.scale, times)
    if is_on_device(outputs):
        mean, scale = to_device_of(mean, outputs), to_device_of(scale, outputs)
    with device_of(outputs):
        return outputs * scale + mean


def can_scale_targets(estimator: Any, n_targets: int) -> bool:
    """Return whether the loss of ``estimator`` allows `target_scaling` for ``n_targets``."""
    if not isinstance(estimator.loss, str):
        return as_loss(estimator.loss).output == "identity"
    if estimator.loss not in REGRESSION_LOSSES:
        return True  # fit raises for an unknown loss
    several_deltas = estimator.loss == "huber" and n_targets > 1
    return LOSSES[estimator.loss].output == "identity" and not several_deltas


def check_loss_of_scaled(loss: Loss, n_targets: int) -> None:
    """Raise ValueError if ``loss`` does not work with ``n_targets`` scaled targets."""
    if loss.output != "identity":
        raise ValueError(
            "target_scaling=True makes targets of both signs, which are not allowed for loss "
            f"{loss.name!r}; set target_scaling=False, or choose another loss"
        )
    if loss.name == "huber" and n_targets > 1:
        raise ValueError(
            "target_scaling=True with loss='huber' is for one output, since huber_delta would "
            f"differ between the outputs, got {n_targets}; scale y before fit, or choose another "
            "loss"
        )


def _columns(y: np.ndarray) -> np.ndarray:
    return y.reshape(len(y), -1)
