"""Whether the predicted probabilities and quantiles are as often right as they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BINS = 10
_Z = 1.96  # of an interval of 95 %


@dataclass(frozen=True)
class Bin:
    """Rows with a similar probability.

    mean : of the probabilities. share : of the rows in which the event came true, and the 95 %
    interval [low, high] in which the true share lies.
    """

    rows: int
    mean: float
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Predicted probabilities against observed shares.

    label : the class whose probability it is; None for that of the class predicted, with
    more than two classes. bins : of equal width in the probability, without empty ones.
    error : mean distance of share and probability over the rows.
    """

    label: Any
    bins: Sequence[Bin]
    error: float


@dataclass(frozen=True)
class Coverage:
    """The share of the rows whose target is at most the predicted quantile of a level."""

    target: str
    level: float
    share: float


def calibration(label: Any, probabilities: np.ndarray, happened: np.ndarray) -> Calibration:
    """Return the calibration of probabilities (n,) of an event, and whether it happened (n,)."""
    places = np.minimum((probabilities * BINS).astype(np.intp), BINS - 1)
    bins = []
    for k in np.unique(places):
        own = places == k
        rows, share = int(own.sum()), float(happened[own].mean())
        mean = float(probabilities[own].mean(dtype=np.float64))
        bins.append(Bin(rows, mean, share, *_interval(share, rows)))
    error = sum(of.rows * abs(of.share - of.mean) for of in bins) / len(probabilities)
    return Calibration(label, bins, error)


def coverage(
    names: Sequence[str], levels: Sequence[float], Y: np.ndarray, quantiles: np.ndarray
) -> list[Coverage]:
    """Return the coverage of ``quantiles`` (n, targets, levels) of the true numbers Y (n, targets).

    names : of the targets.
    """
    shares = (Y[:, :, None] <= quantiles).mean(axis=0)
    return [
        Coverage(name, float(level), float(shares[j, k]))
        for j, name in enumerate(names)
        for k, level in sorted(enumerate(levels), key=lambda item: item[1])
    ]


def _interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n rows by Wilson's formula.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    z = _Z**2 / n
    middle = (share + z / 2) / (1 + z)
    half = _Z / (1 + z) * np.sqrt(share * (1 - share) / n + z / (4 * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
