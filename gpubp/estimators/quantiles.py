"""Quantiles: the outputs of a network for several levels, sorted so that they do not cross."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.backends.foreign_arrays import is_on_device, on_host, to_device_of
from gpubp.backends.protocol import Array


def by_level(outputs: Array, quantile: Any) -> Array:
    """Return network outputs (n, levels x k) as sorted quantiles (n, k, levels).

    outputs : for each level in turn, k columns, one per target.
    quantile : the level or levels, in any order; the result has the same order.
    The quantiles of a row and target are sorted, so that a higher level never has a lower
    quantile: the rearrangement of Chernozhukov, Fernandez-Val and Galichon, Quantile and
    Probability Curves Without Crossing (2010).

    Raises ValueError if the number of outputs is not a multiple of the number of levels.
    """
    levels = np.atleast_1d(quantile)
    if outputs.shape[1] % len(levels):
        raise ValueError(
            f"quantile has {len(levels)} levels, but the {outputs.shape[1]} outputs of the network "
            "are not a multiple of that; set quantile to its value in fit, or fit again"
        )
    if len(levels) == 1:
        return outputs[:, :, None]
    found = on_host(outputs).reshape(len(outputs), len(levels), -1).swapaxes(1, 2)
    quantiles = np.empty_like(found)
    quantiles[..., np.argsort(levels, kind="stable")] = np.sort(found, axis=-1)
    return to_device_of(quantiles, outputs) if is_on_device(outputs) else quantiles


def sorted_by_level(outputs: Array, quantile: Any) -> Array:
    """Return network outputs (n, levels x k), with the quantiles of each row and target sorted."""
    return by_level(outputs, quantile).swapaxes(1, 2).reshape(outputs.shape)


def nearest_to_the_median(quantile: Any) -> int:
    """Return the index of the level nearest to 0.5; of two equally near ones, the lower level."""
    levels = np.atleast_1d(quantile)
    # Rounded, since 0.95 - 0.5 and 0.5 - 0.05 differ in the last bit.
    return int(np.lexsort((levels, np.abs(levels - 0.5).round(12)))[0])


def level_of(regressor: Any) -> float | None:
    """Return the quantile level that `predict` of a fitted regressor estimates.

    It is 0.5, the median, for the losses 'absolute_error' and 'huber', and None for the losses
    that estimate the mean and for losses of one's own.
    """
    loss = regressor._of_fit("loss")
    if isinstance(loss, str) and loss in ("absolute_error", "huber"):
        return 0.5
    if not isinstance(loss, str) or loss != "quantile":
        return None
    levels = np.atleast_1d(regressor._of_fit("quantile"))
    return float(levels[nearest_to_the_median(levels)])


def check_levels(regressor: Any) -> None:
    """Raise ValueError for a sequence of quantiles with another loss than 'quantile'."""
    loss, quantile = regressor.loss, regressor.quantile
    if loss != "quantile" and np.ndim(quantile):
        raise ValueError(
            f"quantile={quantile!r} is for loss='quantile', got loss={loss!r}; set "
            "loss='quantile', or leave quantile out"
        )


def check_levels_of_fit(regressor: Any) -> None:
    """Raise ValueError if training continues with another number of quantile levels."""
    now = regressor._loss().outputs_per_target
    fitted = getattr(regressor, "_levels", now)
    if now != fitted:
        raise ValueError(
            f"loss={regressor.loss!r} and quantile={regressor.quantile!r} have {now} "
            f"level{'s' * (now != 1)}, but the model was fitted with {fitted}; set them back, "
            "or fit again"
        )
