"""The schedule of a training: how long, at which learning rates, in which order, and until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


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


# The part of the initial rate, by the part of the training that lies behind.
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}


@dataclass(frozen=True)
class Schedule:
    """How long to train, at which learning rate, and when to stop early.

    learning_rate : "constant"; "invscaling", rate = initial / (samples + 1) ** power_t;
        "adaptive" and "plateau", rate / 5 instead of stopping, down to 1e-6; or one of CURVES.
    warmup : epochs in which the rate rises from 0, step by step, to what it would be.
    row_order : how to shuffle, "scikit-learn": drawn on the host as it draws; "hash": computed
        where the data lies, the same bits everywhere.
    tol, patience : training stops after more than ``patience`` epochs without an improvement of
        the loss (or the validation score) by ``tol``.
    """

    epochs: int
    initial_rate: float
    learning_rate: str = "constant"
    power_t: float = 0.5
    warmup: float = 0.0
    shuffle: bool = True
    row_order: str = "scikit-learn"
    tol: float = 1e-4
    patience: float = 10

    def rates(self, epoch: int, steps: int, rate: float) -> float | np.ndarray:
        """Return the learning rate of each step of an epoch, counted from 0; one where all agree.

        rate : what the epochs before have left of the initial rate.
        """
        curve = CURVES.get(self.learning_rate)
        if curve is None and epoch >= self.warmup:
            return rate
        done = epoch * steps + np.arange(steps)
        rates = np.full(steps, rate)
        if curve is not None:
            rates *= curve(done / (self.epochs * steps))
        if epoch < self.warmup:
            rates *= np.minimum(1, (done + 1) / (self.warmup * steps))
        return rates
