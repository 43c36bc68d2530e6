"""The errors of predicted numbers: points, a histogram, and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_POINTS = 600
MOST_TARGETS = 4
FEWEST_BINS, MOST_BINS = 5, 24
_TAILS = 0.5  # % of the residuals at either end that lie outside of the histogram


@dataclass(frozen=True)
class Residuals:
    """The errors, predicted minus true, of one target, in its units.

    true, predicted : of at most MOST_POINTS rows, drawn at random. rows : of all rows.
    edges : of the bins of the histogram. counts : rows per bin. below, above : rows outside of it.
    median_error, largest_of_nine : the absolute error that half and nine of ten rows stay within.
    largest : the largest absolute error.
    mean : of the errors.
    """

    target: str
    rows: int
    true: Sequence[float]
    predicted: Sequence[float]
    edges: Sequence[float]
    counts: Sequence[int]
    below: int
    above: int
    median_error: float
    largest_of_nine: float
    largest: float
    mean: float


def residuals(target: str, true: np.ndarray, predicted: np.ndarray, seed: int = 0) -> Residuals:
    """Return the errors of one target.

    true, predicted : (n,) with n > 0. seed : of the drawn points.
    """
    errors = predicted - true
    n = len(errors)
    drawn = np.arange(n)
    if n > MOST_POINTS:
        drawn = np.sort(np.random.default_rng(seed).choice(n, MOST_POINTS, replace=False))
    low, high = np.percentile(errors, [_TAILS, 100 - _TAILS])
    if n < 50:  # too few rows for tails
        low, high = errors.min(), errors.max()
    bins = int(np.clip(np.sqrt(n), FEWEST_BINS, MOST_BINS))
    counts, edges = np.histogram(errors, bins, _range(float(low), float(high)))
    middle, nine = np.quantile(np.abs(errors), [0.5, 0.9])
    return Residuals(
        target=target,
        rows=n,
        true=_rounded(true[drawn]),
        predicted=_rounded(predicted[drawn]),
        edges=_rounded(edges),
        counts=counts.tolist(),
        below=int((errors < edges[0]).sum()),
        above=int((errors > edges[-1]).sum()),
        median_error=float(middle),
        largest_of_nine=float(nine),
        largest=float(np.abs(errors).max()),
        mean=float(errors.mean()),
    )


def _range(low: float, high: float) -> tuple[float, float]:
    """Return a range for a histogram that has a width even if all values are equal."""
    least = 1e-9 * max(abs(low), abs(high)) or 1.0
    return (low, high) if high - low > least else (low - least, high + least)


def _rounded(values: np.ndarray) -> list[float]:
    """Return values to five significant digits, enough for a drawing."""
    return [float(f"{value:.5g}") for value in values.tolist()]
