"""Robust scaling of numbers with smooth clipping, and a second output for heavy tails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.column_types.statistics import SortedNumbers

Array = NDArray[Any]

SCALINGS = ("standard", "robust")
LEAST_SPREAD = 0.25  # so that a column of nearly equal numbers is not stretched
LIMIT = 3.0  # clipped numbers, before they are standardised, lie in [-LIMIT, LIMIT]
# Tails are heavy if so large a part of the numbers is farther from the median than FAR times the
# typical distance. In a symmetric column that is 10 interquartile ranges, where clipping leaves
# (1 + 10² / 9) ** -1.5 = 2 % of a difference. bench/NOTES.md, "Robust scaling of numbers", has the
# alternatives that were measured.
FAR, FAR_SHARE = 20.0, 0.001
HUGE = 1e9  # z / sqrt(1 + z² / 9) is exactly 3 in float64 from here on, and z² does not overflow


@dataclass(frozen=True)
class RobustScale:
    """The scale of a number column, and that of its tails.

    A number x becomes c = z / sqrt(1 + z² / 9) for z = (x - median) / scale: smooth clipping, as in
    Holzmüller et al., "Better by Default", NeurIPS 2024. The output is (c - mean) / spread, since
    columns with light tails would be small otherwise: a uniform column has c in ±.95. If the tails
    are heavy, a second output is asinh((x - median) / tail), which grows as the logarithm of x.

    median: of the training rows.
    scale: their interquartile range; if it is 0, half their range; 1 for a constant column.
    tail: the typical distance from the median; 0 if the tails are not heavy.
    mean, spread: mean and standard deviation of their c; the spread is 1 for a constant
        column, and at least LEAST_SPREAD.
    """

    median: float
    scale: float
    tail: float
    mean: float
    spread: float

    @classmethod
    def of(cls, numbers: SortedNumbers) -> Self:
        """Return the scales of the numbers of a column, at least one, with a finite range."""
        values, found = numbers.values, numbers.statistics()
        middle = _quantile(values, 0.75) - _quantile(values, 0.25)
        width = found.high - found.low
        scale = middle or width / 2 or width or 1.0  # half of the smallest float64 is 0
        distances = np.abs(values - found.median)
        # The median of those above 0: nine tenths of the numbers may be 0.
        typical = float(np.median(distances[distances > 0])) if width else 0.0
        far = np.count_nonzero(distances / FAR > typical)
        is_heavy = far > 0 and far >= FAR_SHARE * len(values)
        tail = typical if is_heavy else 0.0
        clipped = _clipped(values, found.median, scale)
        spread = float(clipped.std())
        spread = max(spread, LEAST_SPREAD) if 0 < spread < np.inf else 1.0
        return cls(found.median, scale, tail, float(clipped.mean()), spread)

    @property
    def has_tail(self) -> bool:
        """Whether there is an output for the tails."""
        return self.tail > 0

    def scaled(self, numbers: Array) -> Array:
        """Return (c - mean) / spread with c = z / sqrt(1 + z² / 9), z = (numbers - median) / scale.

        numbers: float64 without NaN; any finite or infinite one is valid, since c is in [-3, 3].
        """
        return (_clipped(numbers, self.median, self.scale) - self.mean) / self.spread

    def tails(self, numbers: Array) -> Array:
        """Return the second output of heavy tails, at most 711 in size."""
        most = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            z = np.clip((numbers - self.median) / self.tail, -most, most)
        return np.arcsinh(z)


def _clipped(numbers: Array, median: float, scale: float) -> Array:
    """Return z / sqrt(1 + z² / 9), in [-3, 3], for z = (numbers - median) / scale."""
    with np.errstate(over="ignore"):
        z = np.clip((numbers - median) / scale, -HUGE, HUGE)
    return z / np.sqrt(1 + (z / LIMIT) ** 2)


def _quantile(values: Array, part: float) -> float:
    """Return a quantile of sorted values, interpolated between two as `numpy.quantile` does."""
    place = part * (len(values) - 1)
    below = int(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    return float(low + (high - low) * (place - below))
