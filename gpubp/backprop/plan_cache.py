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
        self._firsts: list[int] = [0]
        self._rates: Sequence[float | np.ndarray] = []
        self._l2: Sequence[np.ndarray] = []
        self._plan = np.empty((0, 0), dtype)

    def epoch(
        self, rates: list[float | np.ndarray], done: list[int], l2: list[np.ndarray]
    ) -> np.ndarray:
        """Return the plan of one epoch; the arguments are those of `Optimizer.plan` by network.

        l2 : must not change in place: the same list means the same penalties.
        """
        at, alone = done[0] - self._firsts[0], len(done) == 1
        # Arrays are not compared: they change in each epoch.
        plain = type(rates[0]) is float if alone else all(type(rate) is float for rate in rates)
        same = plain and l2 is self._l2 and rates == self._rates
        planned = 0 <= at < len(self._plan) and at % self._steps == 0
        if not (same and planned and (alone or [n - at for n in done] == self._firsts)):
            self._plan_ahead(rates, done, l2, same)
            self._rates, self._firsts, self._l2, at = rates if plain else [], done, l2, 0
        return self._plan[at : at + self._steps]

    def _plan_ahead(
        self, rates: list[float | np.ndarray], done: list[int], l2: list[np.ndarray], same: bool
    ) -> None:
        """Plan the next epoch; or several, if rates and penalties are the ``same`` as before."""
        most = min(AHEAD, MOST_NUMBERS // (5 * len(self._optimizers)))
        epochs = max(1, most // self._steps) if same else 1
        plans = [
            optimizer.plan(rate, first, np.tile(penalty, epochs))
            for optimizer, rate, first, penalty in zip(
                self._optimizers, rates, done, l2, strict=True
            )
        ]
        plan = np.stack(plans, axis=1) if self._lead else plans[0]
        self._plan = plan.astype(self._dtype)
