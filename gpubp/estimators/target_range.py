"""The range of the training targets, to which predictions are clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.backends.foreign_arrays import device_of, is_on_device, to_device_of
from gpubp.backends.protocol import Array
from gpubp.training.data import TrainingData


@dataclass(frozen=True, eq=False)
class TargetRange:
    """The range of each column of y.

    low, high : (k,) float64.
    """

    low: np.ndarray
    high: np.ndarray

    def __post_init__(self) -> None:
        both = self.low, self.high
        if not all(of.dtype == np.float64 and np.isfinite(of).all() for of in both):
            raise ValueError("a range of targets must have finite numbers of dtype float64")
        if self.low.shape != self.high.shape or not (self.low <= self.high).all():
            raise ValueError(
                f"a range of targets must reach from low to high in each column, got {self.low!r} "
                f"and {self.high!r}"
            )

    @classmethod
    def of(cls, rows: TrainingData, before: TargetRange | None = None) -> TargetRange:
        """Return the range of y of ``rows``, extended to contain the range ``before``.

        Rows of weight 0 are left out, unless all are of weight 0.
        """
        Y, weights = rows.y.reshape(len(rows.y), -1), rows.weights
        if weights is not None and (counted := weights > 0).any():
            Y = Y[counted]
        low, high = Y.min(axis=0).astype(np.float64), Y.max(axis=0).astype(np.float64)
        if before is not None:
            low, high = np.minimum(low, before.low), np.maximum(high, before.high)
        return cls(low, high)


def clipped(outputs: Array, limits: TargetRange) -> Array:
    """Return outputs (n, k) in the units of y, a NumPy or CuPy array, clipped to ``limits``.

    k : the number of columns of y, or a multiple of it: all columns, repeated in the same order.
    The dtype stays; NaN stays NaN. An infinite output becomes NaN, since a network that overflows
    predicts nothing.
    """
    times = outputs.shape[1] // limits.low.size
    low, high = (np.tile(of, times).astype(outputs.dtype) for of in (limits.low, limits.high))
    if is_on_device(outputs):
        low, high = to_device_of(low, outputs), to_device_of(high, outputs)
    with device_of(outputs), np.errstate(invalid="ignore"):
        return outputs.clip(low, high) + (outputs - outputs)  # inf - inf is NaN, all others 0


def range_of(regressor: Any) -> TargetRange | None:
    """Return the range to which predictions are clipped; None before fit and without clipping."""
    low, high = (getattr(regressor, name, None) for name in ("target_low_", "target_high_"))
    return None if low is None or high is None else TargetRange(low, high)


def next_range(regressor: Any, rows: TrainingData, from_scratch: bool) -> TargetRange | None:
    """Return the range after a training on ``rows``.

    from_scratch : whether this is the first training, which decides whether predictions are
    clipped; the others extend the range.
    """
    before = None if from_scratch else range_of(regressor)
    clips = regressor.clip_predictions if from_scratch else before is not None
    return TargetRange.of(rows, before) if clips else None


def set_range(regressor: Any, limits: TargetRange | None) -> None:
    """Set the fitted attributes that hold ``limits``."""
    regressor.target_low_ = None if limits is None else limits.low
    regressor.target_high_ = None if limits is None else limits.high
