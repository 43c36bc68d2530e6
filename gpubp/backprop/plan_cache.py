"""Precomputed coefficients of an optimizer's updates: rate, penalty and bias corrections."""

from __future__ import annotations

import math

import numpy as np

from gpubp.backprop.optimizers import Optimizer

AHEAD = 1024  # updates to plan at once, if an epoch has fewer


class PlanCache:
    """The plans of an optimizer for consecutive epochs of ``steps`` updates, in ``dtype``.

    If rate and penalty did not change since the last epoch, it computes the plans of many epochs at
    once, since an epoch of a single update takes less time than its plan.
    """

    def __init__(self, optimizer: Optimizer, steps: int, dtype: np.dtype) -> None:
        self._optimizer, self._steps, self._dtype = optimizer, steps, dtype
        self._first, self._rate = 0, math.nan
        self._l2: np.ndarray | None = None
        self._plan = np.empty((0, 0), dtype)

    def epoch(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        """Return the plan of one epoch; see `Optimizer.plan`.

        l2 : must not change in place: the same array means the same penalty.
        """
        at = done - self._first
        same = isinstance(rate, float) and rate == self._rate and l2 is self._l2
        if not (same and 0 <= at < len(self._plan) and at % self._steps == 0):
            epochs = max(1, AHEAD // self._steps) if same else 1
            plan = self._optimizer.plan(rate, done, np.tile(l2, epochs))
            self._plan, self._first, self._l2, at = plan.astype(self._dtype), done, l2, 0
            self._rate = rate if isinstance(rate, float) else math.nan
        return self._plan[at : at + self._steps]
