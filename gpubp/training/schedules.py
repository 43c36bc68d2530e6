"""Schedules of the learning rate, and of dropout and weight decay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, numbers_of


def _cosine(x: np.ndarray) -> np.ndarray:
    """Return half a cosine, from 1 at x = 0 to 0 at x = 1.

    Loshchilov and Hutter, SGDR (2017), without restarts.
    """
    return 0.5 * (1 + np.cos(np.pi * x))


_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 250_000


def _one_cycle(x: np.ndarray) -> np.ndarray:
    """Return a rise from 1/25 to 1 in the first 30 % of the training, then a fall to 1/250,000.

    Smith and Topin, Super-Convergence (2019), in PyTorch's form.
    """
    rising, falling = 1 - _cosine(x / _RISE), _cosine((x - _RISE) / (1 - _RISE))
    up, down = _FIRST + (1 - _FIRST) * rising, _LAST + (1 - _LAST) * falling
    return np.where(x < _RISE, up, down)


_WARM, _COLD = 0.25, 1 / 25


def _warm_cosine(x: np.ndarray) -> np.ndarray:
    """Return a rise from 1/25 to 1 in the first quarter of the training, then a fall to 0.

    Both are half cosines. bench/NOTES.md, "The tuned recipe", has what was measured with it.
    """
    rising, falling = 1 - _cosine(x / _WARM), _cosine((x - _WARM) / (1 - _WARM))
    return np.where(x < _WARM, _COLD + (1 - _COLD) * rising, falling)


_LATE = 0.5


def _late_cosine(x: np.ndarray) -> np.ndarray:
    """Return 1 in the first half of the training, then a fall to 0 along half a cosine.

    The flat_cos of Holzmüller, Grinsztajn and Steinwart, Better by Default (2024).
    """
    return _cosine(np.maximum(0, (x - _LATE) / (1 - _LATE)))


@dataclass(frozen=True)
class RateSchedule:
    """An entry of SCHEDULES.

    doc : its description in the documentation and the command line.
    curve : x -> rate / initial rate, where x is the fraction of the training that is done; None if
        the rate does not depend on x alone.
    solvers : the solvers that use the schedule; None for all that train in epochs. With any other
        solver the rate is constant, as in scikit-learn.
    parameters : the parameters of the schedule, with the names that the estimators use.
    """

    name: str
    doc: str
    curve: Callable[[np.ndarray], np.ndarray] | None = None
    solvers: tuple[str, ...] | None = None
    parameters: tuple[HyperparameterSpec, ...] = ()

    def is_for(self, solver: str) -> bool:
        """Return whether ``solver`` uses this schedule."""
        return self.solvers is None or solver in self.solvers


# To add a schedule that is a curve, add its entry here; nothing else has to change.
SCHEDULES: dict[str, RateSchedule] = {
    schedule.name: schedule
    for schedule in (
        RateSchedule("constant", "The initial rate in every epoch."),
        RateSchedule(
            "invscaling",
            "Initial rate / (t + 1)^power_t after each epoch, where t is the number of rows seen.",
            solvers=("sgd",),
            parameters=(HyperparameterSpec("power_t", 0.5, "Exponent of t + 1."),),
        ),
        RateSchedule(
            "adaptive",
            "Divides the rate by 5 each time training would stop without improvement; training "
            "stops once the rate is 1e-6 or less.",
            solvers=("sgd",),
        ),
        RateSchedule("plateau", "Like 'adaptive', for every solver."),
        RateSchedule("cosine", "Falls to 0 over all epochs, along half a cosine.", _cosine),
        RateSchedule(
            "one_cycle",
            "Rises from 1/25 of the initial rate to the initial rate in the first 30 % of the "
            "epochs, then falls to 1/250,000 of it.",
            _one_cycle,
        ),
        RateSchedule(
            "warm_cosine",
            "Rises from 1/25 of the initial rate to the initial rate in the first quarter of the "
            "epochs, then falls to 0, both along half a cosine.",
            _warm_cosine,
        ),
    )
}
SCHEDULE_NUMBERS = numbers_of(SCHEDULES)


@dataclass(frozen=True)
class StrengthSchedule:
    """An entry of STRENGTH_SCHEDULES.

    doc : its description in the documentation.
    curve : x -> strength / given strength, where x is the fraction of the training that is done;
        None if the strength is constant.
    """

    name: str
    doc: str
    curve: Callable[[np.ndarray], np.ndarray] | None = None

    def at(self, x: np.ndarray) -> float | np.ndarray:
        """Return the strength at each ``x``; 1.0 if all are 1, so that plans can be kept."""
        factors = np.ones(1) if self.curve is None else self.curve(x)
        return 1.0 if (factors == 1).all() else factors


class Strengths(NamedTuple):
    """Factors of the dropout rates and of the weight decay in an epoch.

    Each is an array (steps,), or a number if all are equal.
    """

    dropout: float | np.ndarray = 1.0
    weight_decay: float | np.ndarray = 1.0


CONSTANT = Strengths()
# Schedules of the dropout rates and of the weight decay. An added entry needs no other change.
STRENGTH_SCHEDULES: dict[str, StrengthSchedule] = {
    schedule.name: schedule
    for schedule in (
        StrengthSchedule("constant", "The given value in every epoch."),
        StrengthSchedule(
            "late_cosine",
            "The given value in the first half of the epochs, then falls to 0 along half a cosine.",
            _late_cosine,
        ),
    )
}
