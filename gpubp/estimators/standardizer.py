"""Columns shifted to mean 0 and scaled to standard deviation 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray
_BLOCK_CELLS = 2**20


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Columns shifted to mean 0 and scaled to standard deviation 1.

    mean, scale: (d,) float64, in the units of the columns.
    """

    mean: Array
    scale: Array

    def __post_init__(self) -> None:
        for name, array in (("mean", self.mean), ("scale", self.scale)):
            if array.dtype != np.float64 or array.ndim != 1:
                raise ValueError(
                    f"{name} has dtype {array.dtype} and shape {array.shape}; give float64 (d,)"
                )
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity; give finite numbers")
        if self.mean.shape != self.scale.shape:
            raise ValueError(
                f"mean has {self.mean.size} columns and scale {self.scale.size}; give equal numbers"
            )
        if not (self.scale > 0).all():
            raise ValueError(f"scale holds {float(self.scale.min())!r}; give positive numbers")

    @classmethod
    def fit(cls, X: Array, weights: Array | None = None) -> Standardizer:
        """Return the standardizer of X (n, d), n >= 1, finite; a constant column gets scale 1.

        weights: (n,), the weights of the rows, above 0, with a finite sum; None for equal ones.
        The mean is computed before the squared deviations from it, so that a mean far from 0 loses
        no digits. Columns are first mapped to [0, 1], where a square cannot overflow or vanish.

        Raises ValueError if the range of a column overflows float64.
        """
        low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
        with np.errstate(over="ignore"):
            width = high - low
        if not np.isfinite(width).all():
            j = int(np.argmin(np.isfinite(width)))
            raise ValueError(
                f"column {j} (counted from 0) reaches from {float(low[j])!r} to "
                f"{float(high[j])!r}, too far for float64; rescale it"
            )
        unit = np.where(width > 0, width, 1.0)

        def mean(of: Callable[[Array], Array]) -> Array:
            total = np.zeros(X.shape[1])
            for rows in _row_blocks(X):
                values = of((X[rows] - low) / unit)
                total += values.sum(axis=0) if weights is None else weights[rows] @ values
            return total / (len(X) if weights is None else weights.sum(dtype=np.float64))

        center = mean(lambda values: values)
        scale = unit * np.sqrt(mean(lambda values: (values - center) ** 2))
        # The scale is 0 for constant columns, and can round to 0 if the width is near the smallest
        # float64.
        return cls(low + width * center, np.where(scale > 0, scale, unit))

    def transform(self, X: Array, dtype: DTypeLike = np.float64) -> Array:
        """Return (X - mean) / scale, computed in float64, as a C-contiguous array of ``dtype``."""
        self._check(X)
        Z = np.empty(X.shape, dtype)
        # A value beyond the range of ``dtype`` becomes infinite; the caller has to check.
        with np.errstate(over="ignore"):
            for rows in _row_blocks(X):
                Z[rows] = (X[rows].astype(np.float64) - self.mean) / self.scale
        return Z

    def _check(self, X: Array) -> None:
        """Raise ValueError unless X is (n, d), or (n,) for a single column."""
        d = self.mean.size
        if X.shape[1:] != (d,) and not (X.ndim == 1 and d == 1):
            raise ValueError(f"array has shape {X.shape}; give (n, {d})")


def _row_blocks(X: Array) -> Iterator[slice]:
    """Return slices over the rows of X, so that float64 intermediates stay small."""
    step = max(1, _BLOCK_CELLS * len(X) // max(1, X.size))
    return (slice(start, start + step) for start in range(0, len(X), step))
