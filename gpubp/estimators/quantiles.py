"""Quantiles: the outputs of a network that learns several levels, sorted by level."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.foreign_arrays import is_on_device, on_host, to_device_of
from gpubp.backends.protocol import Array


def by_level(outputs: Array, quantile: Any) -> Array:
    """Return outputs (n, levels k), k for each level in turn, as quantiles (n, k, levels).

    quantile : the level or levels, in any order. Those of a row and target are sorted, so that a
    higher level has no lower quantile: the rearrangement of Chernozhukov, Fernandez-Val and
    Galichon, Quantile and Probability Curves Without Crossing (2010).

    Raises ValueError for outputs of another number of levels.
    """
    levels = np.atleast_1d(quantile)
    if outputs.shape[1] % len(levels):
        raise ValueError(
            f"quantile has {len(levels)} levels, but the network has {outputs.shape[1]} outputs, "
            "which is no multiple; set quantile to that of fit, or fit again"
        )
    if len(levels) == 1:
        return outputs[:, :, None]
    found = on_host(outputs).reshape(len(outputs), len(levels), -1).swapaxes(1, 2)
    quantiles = np.empty_like(found)
    quantiles[..., np.argsort(levels, kind="stable")] = np.sort(found, axis=-1)
    return to_device_of(quantiles, outputs) if is_on_device(outputs) else quantiles


def nearest_to_the_median(quantile: Any) -> int:
    """Return which level is the nearest to 0.5, the lower one of two."""
    levels = np.atleast_1d(quantile)
    # 0.95 - 0.5 is not 0.5 - 0.05 to the last bit.
    return int(np.lexsort((levels, np.abs(levels - 0.5).round(12)))[0])
