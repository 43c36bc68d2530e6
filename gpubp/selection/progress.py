"""Progress lines of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from math import isnan, nan
from time import monotonic
from typing import Any

# Seconds between two lines with the number of finished fits.
_INTERVAL = 2.0


class Progress:
    """Prints how many fits are finished, the best score so far and the time left.

    verbose : 0 prints nothing; 1 a line every two seconds; 2 also a line per candidate.
    total : the number of fits of the whole search.
    """

    def __init__(self, verbose: int, total: int, write: Callable[[str], None] = print) -> None:
        self._verbose, self._total, self._write = verbose, total, write
        self._finished, self._best = 0, nan
        self._began = self._printed = monotonic()

    def begin(self, n_candidates: int, n_folds: int) -> None:
        """Print the size of a group of candidates that are trained together."""
        if self._verbose:
            self._write(
                f"Fitting {n_folds} folds for each of {n_candidates} candidates, totalling "
                f"{n_candidates * n_folds} fits"
            )

    def skip(self, n_fits: int) -> None:
        """Leave out fits whose results are known."""
        self._total -= n_fits

    def end_fit(self) -> None:
        """Count a finished fit."""
        self._finished += 1
        now = monotonic()
        done = self._finished == self._total
        if self._verbose and (done or now - self._printed >= _INTERVAL):
            self._printed = now
            self._write(self._line(now - self._began))

    def end_candidate(self, params: Mapping[str, Any], score: float) -> None:
        """Note the mean test score of a candidate whose folds are all finished."""
        if isnan(self._best) or score > self._best:
            self._best = score
        if self._verbose > 1:
            text = ", ".join(f"{name}={params[name]!r}" for name in sorted(params))
            self._write(f"score {score:.4g}: {text}")

    def _line(self, seconds: float) -> str:
        left = seconds / self._finished * (self._total - self._finished)
        best = "" if isnan(self._best) else f", best score {self._best:.4g}"
        return (
            f"{self._finished}/{self._total} fits{best}, {_rounded(seconds)} elapsed, "
            f"about {_rounded(left)} left"
        )


def _rounded(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
