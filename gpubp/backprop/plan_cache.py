"""Precomputed coefficients of an optimizer's updates: rate, penalty and bias corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp.backprop.optimizers import Optimizer

# Updates to plan at once, if an epoch has fewer; and numbers, if there are many networks.
AHEAD, MOST_NUMBERS = 1024, 1 << 20


class PlanCache:
    """The plans of consecutive epochs of ``steps`` updates, in ``dtype``.

    optimizers : one for each network; with ``lead`` = () there is one. A plan is (steps, …,
    columns), where … are the axes ``lead``.

    If rates and penalties did not change since the last epoch, and decays are 1, it computes the
    plans of many epochs at once, since an epoch of a single update takes less time than its plan.
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
        self,
        rates: list[float | np.ndarray],
        done: list[int],
        l2: list[np.ndarray],
        decays: Sequence[float | np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return the plan of one epoch; the arguments are those of `Optimizer.plan` by network.

        l2 : must not change in place: the same list means the same penalties.
        decays : for each network the factor of its weight decay, a number or one per update; None
            for 1.
        """
        at, alone = done[0] - self._firsts[0], len(done) == 1
        # Arrays are not compared: they change in each epoch, as decays do.
        plain = type(rates[0]) is float if alone else all(type(rate) is float for rate in rates)
        same = plain and decays is None and l2 is self._l2 and rates == self._rates
        planned = 0 <= at < len(self._plan) and at % self._steps == 0
        if not (same and planned and (alone or [n - at for n in done] == self._firsts)):
            self._plan_ahead(rates, done, l2, decays, same)
            kept = rates if plain and decays is None else []
            self._rates, self._firsts, self._l2, at = kept, done, l2, 0
        return self._plan[at : at + self._steps]

    def _plan_ahead(
        self,
        rates: list[float | np.ndarray],
        done: list[int],
        l2: list[np.ndarray],
        decays: Sequence[float | np.ndarray] | None,
        same: bool,
    ) -> None:
        """Plan the next epoch; or several, if all numbers are the ``same`` as before."""
        most = min(AHEAD, MOST_NUMBERS // (5 * len(self._optimizers)))
        epochs = max(1, most // self._steps) if same else 1
        plans = [
            _with_decay(optimizer, decay).plan(rate, first, np.tile(penalty, epochs))
            for optimizer, rate, first, penalty, decay in zip(
                self._optimizers, rates, done, l2, decays or [1.0] * len(done), strict=True
            )
        ]
        plan = np.stack(plans, axis=1) if self._lead else plans[0]
        self._plan = plan.astype(self._dtype)


def _with_decay(optimizer: Optimizer, factor: float | np.ndarray) -> Optimizer:
    """Return ``optimizer`` with its weight decay, if it has one, times ``factor``."""
    if not optimizer.decays or (type(factor) is float and factor == 1):
        return optimizer
    decaying: Any = optimizer  # `plan` also takes a weight decay for each update
    found: Optimizer = replace(decaying, weight_decay=decaying.weight_decay * factor)
    return found
