"""Target scaling: from y to the units of training, and from outputs to the units of y."""

from __future__ import annotations

import numpy as np

from gpubp.backends.foreign_arrays import device_of, is_on_device, to_device_of
from gpubp.backends.protocol import Array
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


def _columns(y: np.ndarray) -> np.ndarray:
    return y.reshape(len(y), -1)
