"""A training that fits into a time limit: fewer networks, then fewer epochs."""

from __future__ import annotations

from time import monotonic
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.training.deadline import Deadline
from gpubp.training.history import Epoch, OnEpoch

PROBE_STEPS = 20  # of the training that is timed
LEAST_EPOCHS = 6  # of an ensemble: with less time, one network trains longer
RESERVE = 0.9  # part of the time that the epochs may take by the estimate


def within(network: Any, Z: Any, y: Any, seconds: float) -> dict[str, Any]:
    """Return parameters of ``network`` with which its training takes at most ``seconds``.

    They are `max_iter` and `n_members`, where fewer have to do, or {}. A training on a few batches
    is timed, so they depend on the machine and on what else it does. Of lbfgs, which has no
    batches, nothing is timed.

    network : unfitted. Z, y : the encoded training rows and their targets.
    """
    if network.solver == "lbfgs":
        return {}
    began, rows = monotonic(), min(len(y), PROBE_STEPS * int(network.batch_size))
    places = np.arange(rows)
    if is_classifier(network) and y.ndim == 1:  # the probe needs a row of each class
        places = np.union1d(places, np.unique(y, return_index=True)[1])
    probe = clone(network).set_params(max_iter=1, early_stopping=False, member_rows="all")
    for _ in range(2):  # the first training also compiles
        started = monotonic()
        fit_estimator(probe, Z[places], y[places], None, note=_silent)
        taken = monotonic() - started
    left = RESERVE * (seconds - (monotonic() - began))
    epoch = taken * len(y) / len(places)
    planned, members = int(network.max_iter), network.n_members
    most = int(left / epoch)
    if most >= planned:
        return {}
    if members is not None and members > 1 and most < LEAST_EPOCHS:
        # By the number of cores, a single network takes from a part of the time to all of it.
        return {"n_members": None, "member_rows": "all", "max_iter": max(1, min(planned, most * 2))}
    return {"max_iter": max(1, most)}


def _silent(line: str) -> None:
    """Ignore a line of the timed training."""


class Limited:
    """Stops a training after its time, after calling ``on_epoch``."""

    def __init__(self, seconds: float, on_epoch: OnEpoch | None) -> None:
        self._deadline, self._on_epoch = Deadline(seconds), on_epoch

    def __call__(self, epoch: Epoch) -> bool:
        """Return whether the training is to stop after this epoch."""
        asked = self._on_epoch is not None and self._on_epoch(epoch)
        return self._deadline.is_over() or bool(asked)
