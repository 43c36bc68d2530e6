"""Numbers, sums and counts in the text of `gpubp explain`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MOST_TERMS = 6  # of a sum, in a wide layer
MOST_UNITS = 8  # of a layer


def number(value: float) -> str:
    """Return ``value`` to 12 significant digits."""
    return f"{value + 0.0:.12g}"  # + 0.0 turns -0.0 into 0


def largest(values: np.ndarray, count: int) -> list[int]:
    """Return the indices of the ``count`` largest absolute values, in ascending order."""
    if len(values) <= count:
        return list(range(len(values)))
    return sorted(int(k) for k in np.argsort(-np.abs(values), kind="stable")[:count])


def factor(value: float) -> str:
    """Return a number for a product or after a minus; a negative one is in brackets."""
    return f"({number(value)})" if value < 0 else number(value)


def joined(terms: Iterable[str], total: int, sign: str) -> str:
    """Return ``terms`` with ``sign`` between them, and the count of those left out of ``total``."""
    terms = list(terms)
    more = total - len(terms)
    return sign.join(terms) + (f"{sign}{more} more" if more > 0 else "")


def rest(total: int, shown: int, what: str, by: str) -> list[str]:
    """Return a line that counts the ``shown`` of ``total``; [] if all are shown."""
    return [f"({shown} of {total} {what}: those with the largest {by})"] if total > shown else []
