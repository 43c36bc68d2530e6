"""The state of a training that has not ended, with which it goes on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.history import History


@dataclass
class TrainingState:
    """Everything that the training of one network changes, on the host.

    The generator is not part of it: a training that goes on draws the row orders of the finished
    epochs again.
    theta : (size,), the parameters. kept : those of the epoch with the lowest loss. best : those of
    the epoch with the best validation score; None without validation.
    optimizer : the optimizer state at the beginning of the epoch, with the current vectors.
    history : of the finished epochs. lowest : the lowest loss of this training.
    step : number of steps made in the current epoch; 0 between two epochs.
    sums : the sums of these steps, see `EpochSums.of`; () between two epochs.
    together : whether the network is trained in the arrays of a population, as it then is when it
        goes on, even if it is the only one: its bits depend on it.
    """

    theta: np.ndarray
    kept: np.ndarray
    best: np.ndarray | None
    optimizer: OptimizerState
    history: History
    lowest: float
    step: int = 0
    sums: tuple[np.ndarray, ...] = ()
    together: bool = False


# Called when the state of a training can be saved: after each epoch, and several times a second
# within one. It gets the number of steps made in the epoch, 0 between two, and a function that
# returns the state, whose arrays training overwrites later. It raises KeyboardInterrupt to stop the
# training.
OnPause = Callable[[int, Callable[[], TrainingState]], None]
# The same for a population: the states of the networks that are being trained, by their indices.
OnPauseOfSeveral = Callable[[int, Callable[[], dict[int, TrainingState]]], None]


def pause_of_one(k: int, on_pause: OnPauseOfSeveral) -> OnPause:
    """Return ``on_pause`` for network ``k`` alone."""
    return lambda step, state: on_pause(step, lambda: {k: state()})
