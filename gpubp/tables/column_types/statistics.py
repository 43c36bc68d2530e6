"""Statistics of the numbers in a column, with the same bits for any order of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Statistics:
    """Statistics of the values of a column without gaps, in the units of the column.

    low, high: smallest and largest value.
    scale: standard deviation, or 1 for a constant column.
    """

    low: float
    high: float
    median: float
    mean: float
    scale: float

    @property
    def has_two_values(self) -> bool:
        """Whether the column has at most two values.

        The variance is at most (mean - low) (high - mean), which two values alone reach: Bhatia
        and Davis, A Better Bound on the Variance (2000).
        """
        width = self.high - self.low
        if width <= 0:
            return True
        part = (self.mean - self.low) / width
        return bool((self.scale / width) ** 2 >= (1 - 1e-9) * part * (1 - part))


@dataclass(frozen=True, eq=False)
class SortedNumbers:
    """The numbers of a column in ascending order, float64, and the number of its gaps."""

    values: Array
    gaps: int

    @classmethod
    def of(cls, values: Array) -> SortedNumbers:
        """Return the sorted numbers of a column (n,) of any real dtype; NaN is a gap."""
        # Sorted in the column's own dtype, since float32 takes a third of the time of float64.
        ordered = np.sort(values)
        if ordered.dtype.kind == "f":
            ordered = ordered[: np.searchsorted(ordered, np.nan)]
        return cls(ordered.astype(np.float64, copy=False), len(values) - len(ordered))

    def distinct(self) -> int:
        """Return the number of distinct values."""
        if not len(self.values):
            return 0
        return 1 + int(np.count_nonzero(self.values[1:] != self.values[:-1]))

    def is_whole(self) -> bool:
        """Return whether all values are integers."""
        return bool((np.trunc(self.values) == self.values).all())

    def statistics(self) -> Statistics:
        """Return the statistics; raise ValueError for a range beyond float64.

        The numbers are first mapped to [0, 1], where squares cannot overflow or underflow.
        """
        values, count = self.values, len(self.values)
        low, high = float(values[0]), float(values[-1])
        with np.errstate(over="ignore"):
            width = float(values[-1] - values[0])
        if not np.isfinite(width):
            raise ValueError(f"its range, {low!r} to {high!r}, is too wide for float64")
        middle = values[(count - 1) // 2 : count // 2 + 1]
        median = float(middle[0] + (middle[-1] - middle[0]) / 2)
        if width == 0:
            return Statistics(low, high, median, low, 1.0)
        unit = (values - low) / width
        center = float(unit.sum()) / count
        unit -= center
        unit *= unit
        scale = width * float(np.sqrt(unit.sum() / count))
        # A width near the smallest float64 can round to 0.
        return Statistics(low, high, median, low + width * center, scale if scale > 0 else width)

    def far_ends(self) -> list[tuple[float, int]]:
        """Return the lowest and the highest number if they are outliers, each with its rows.

        A number is an outlier if it is farther from all others than these are from each other.
        """
        found = []
        for values, sign in ((self.values, 1.0), (-self.values[::-1], -1.0)):
            rows = int(np.searchsorted(values, values[0], side="right")) if len(values) else 0
            rest = values[rows:]
            with np.errstate(over="ignore"):
                alone = len(rest) > 0 and 0 < rest[-1] - rest[0] < rest[0] - values[0]
            if alone:
                found.append((sign * float(values[0]), rows))
        return found


def is_sentinel(number: float) -> bool:
    """Return whether a number is 99, -99, 999, ..., which often stand for missing values."""
    digits = f"{abs(number):.17g}"
    return len(digits) >= 2 and set(digits) == {"9"}
