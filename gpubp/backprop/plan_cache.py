"""Precomputed coefficients of an optimizer's updates: rate, penalty and bias corrections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpubp.backprop.optimizers import Optimizer

# Updates to plan at once, if an epoch has fewer; and numbers, if there are many networks.
AHEAD, MOST_NUMBERS = 1024, 1 << 20


class PlanCache:
    """The plans of consecutive epochs of ``steps`` updates, in ``dtype``.

    optimizers : one for each network; with ``lead`` = () there is one. A plan is (steps, …,
    columns), where … are the axes ``lead``.

    If rates and penalties did not change since the last epoch, it computes the plans of many epochs
    at once, since an epoch of a single update takes less time than its plan.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        steps: int,
        dtype: np.dtype,
        lead: tuple[int, ...] = (),
    ) -> None:
        self._optimizers, self._steps, self._dtype, self._lead = optimizers, steps, dtype, lead
        self._first: list[int] = []
        self._rates: Sequence[float | np.ndarray] = []
        self._l2: Sequence[np.ndarray] = []
        self._plan = np.empty((0, 0), dtype)

    def epoch(
        self,
        rates: Sequence[float | np.ndarray],
        done: Sequence[int],
        l2: Sequence[np.ndarray],
    ) -> np.ndarray:
        """Return the plan of one epoch; the arguments are those of `Optimizer.plan` by network.

        l2 : must not change in place: the same sequence means the same penalties.
        """
        same = l2 is self._l2 and _are_equal_numbers(rates, self._rates)
        at = done[0] - self._first[0] if same else -1
        ahead = all(now - first == at for now, first in zip(done, self._first, strict=same))
        if not (same and ahead and 0 <= at < len(self._plan) and at % self._steps == 0):
            ahead_of_all = min(AHEAD, MOST_NUMBERS // (5 * len(self._optimizers)))
            epochs = max(1, ahead_of_all // self._steps) if same else 1
            plans = [
                optimizer.plan(rate, first, np.tile(of_each, epochs))
                for optimizer, rate, first, of_each in zip(
                    self._optimizers, rates, done, l2, strict=True
                )
            ]
            plan = np.stack(plans, axis=1) if self._lead else plans[0]
            self._plan, self._l2, at = plan.astype(self._dtype), l2, 0
            self._rates, self._first = [*rates], [*done]
        return self._plan[at : at + self._steps]


def _are_equal_numbers(
    rates: Sequence[float | np.ndarray], others: Sequence[float | np.ndarray]
) -> bool:
    """Return whether no rate is an array, and all are equal to the others."""
    return len(rates) == len(others) and all(
        isinstance(rate, float) and isinstance(other, float) and rate == other
        for rate, other in zip(rates, others, strict=True)
    )
