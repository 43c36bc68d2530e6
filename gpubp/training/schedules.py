"""Schedules of the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, numbers_of


def _cosine(x: np.ndarray) -> np.ndarray:
    """Half a cosine, from 1 to 0; Loshchilov and Hutter, SGDR (2017), without restarts."""
    return 0.5 * (1 + np.cos(np.pi * x))


_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 250_000


def _one_cycle(x: np.ndarray) -> np.ndarray:
    """From 1/25 up to 1 in three tenths of the training, then down to 1/250,000.

    Smith and Topin, Super-Convergence (2019), in the form that PyTorch made usual.
    """
    rising, falling = 1 - _cosine(x / _RISE), _cosine((x - _RISE) / (1 - _RISE))
    up, down = _FIRST + (1 - _FIRST) * rising, _LAST + (1 - _LAST) * falling
    return np.where(x < _RISE, up, down)


@dataclass(frozen=True)
class RateSchedule:
    """An entry of SCHEDULES.

    doc : one sentence for a person.
    curve : x -> rate / initial rate, with x the part of the training that lies behind; None
        where the rate does not follow from x alone.
    solvers : those that it is for, None for all that train by epochs. scikit-learn's estimators
        ignore it for the others, and so do these: the rate is constant then.
    parameters : the numbers of an estimator that it takes.
    """

    name: str
    doc: str
    curve: Callable[[np.ndarray], np.ndarray] | None = None
    solvers: tuple[str, ...] | None = None
    parameters: tuple[HyperparameterSpec, ...] = ()

    def is_for(self, solver: str) -> bool:
        """Return whether ``solver`` trains by it."""
        return self.solvers is None or solver in self.solvers


# To add a schedule by its curve, add its entry; nothing else has to change.
SCHEDULES: dict[str, RateSchedule] = {
    schedule.name: schedule
    for schedule in (
        RateSchedule("constant", "The initial rate throughout."),
        RateSchedule(
            "invscaling",
            "Initial rate / (rows seen + 1)^power_t, after each epoch.",
            solvers=("sgd",),
            parameters=(HyperparameterSpec("power_t", 0.5, "Exponent of the rows seen."),),
        ),
        RateSchedule(
            "adaptive",
            "A fifth of the rate where training would stop for want of improvement, down to 1e-6.",
            solvers=("sgd",),
        ),
        RateSchedule("plateau", "As 'adaptive', for every solver."),
        RateSchedule("cosine", "Falls to 0 over all epochs, by half a cosine.", _cosine),
        RateSchedule(
            "one_cycle",
            "Rises for three tenths of the epochs, then falls to next to nothing.",
            _one_cycle,
        ),
    )
}
SCHEDULE_NUMBERS = numbers_of(SCHEDULES)
