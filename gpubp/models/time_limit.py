"""A training that fits into a time limit: fewer epochs, or one network instead of an ensemble."""

from __future__ import annotations

from time import monotonic
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from gpubp.estimators.callbacks import Note
from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.logger import LOGGER
from gpubp.training.deadline import Deadline
from gpubp.training.history import Epoch, History, OnEpoch

PROBE_STEPS = 20  # of the training that is timed
LEAST_EPOCHS = 6  # of an ensemble: with less time, one network trains longer
RESERVE = 0.9  # part of the time that the epochs may take by the estimate


def within(network: Any, Z: Any, y: Any, seconds: float) -> dict[str, Any]:
    """Return parameters of ``network`` with which its training takes at most ``seconds``.

    These are a smaller `max_iter` and, for an ensemble, `n_members` and `member_rows` of one
    network; {} if the time is enough. A training on a few batches is timed, so the result depends
    on the machine and its load. lbfgs has no batches and is not timed.

    network : unfitted, or one whose training goes on, which keeps its members.
    Z, y : the encoded training rows and their targets.
    """
    if network.solver == "lbfgs":  # `Limited` stops it when the time is over
        return {}
    began, batch_size = monotonic(), min(len(y), int(network.batch_size))
    rows = min(len(y), PROBE_STEPS * batch_size)
    places = np.arange(rows)
    if is_classifier(network) and y.ndim == 1:  # the probe needs a row of each class
        places = np.union1d(places, np.unique(y, return_index=True)[1])
    probe = clone(network).set_params(
        batch_size=batch_size, max_iter=1, early_stopping=False, member_rows="all", scoring=None
    )
    for _ in range(2):  # the first training also compiles
        started = monotonic()
        history = fit_estimator(probe, Z[places], y[places], None, note=_silent)
        if history.stopped_by == "interrupt":
            raise KeyboardInterrupt
        taken = monotonic() - started
        if monotonic() - began >= seconds:
            break
    left = RESERVE * (seconds - (monotonic() - began))
    epoch = taken * len(y) / len(places)
    planned, members = int(network.max_iter), network.n_members
    most = int(left / epoch)
    if most >= planned:
        return {}
    goes_on = network.warm_start and hasattr(network, "coefs_")
    if members is not None and members > 1 and most < LEAST_EPOCHS and not goes_on:
        # A single network takes between 1 / members of the ensemble's time and all of it,
        # depending on the number of cores; so it is given twice the epochs.
        return {"n_members": None, "member_rows": "all", "max_iter": max(1, min(planned, most * 2))}
    return {"max_iter": max(1, most)}


def _silent(line: str) -> None:
    """Ignore a line of the timed training."""


class Limited:
    """Reduces a training to its time, and stops it when that is over, after ``on_epoch``.

    notes : of a checkpoint. The reduction and the time used are kept there, and a training that
    goes on has the same reduction and the time that was left.
    """

    def __init__(self, seconds: float, on_epoch: OnEpoch | None, notes: dict[str, Any]) -> None:
        self._seconds, self._reduced, self._epochs = float(seconds), "", 0
        self._notes, self._used = notes, float(notes.get("time_limit", {}).get("used", 0))
        self._deadline, self._on_epoch = Deadline(seconds - self._used), on_epoch
        self._began = monotonic()

    def reduce(self, network: Any, Z: Any, y: Any, note: Note | None) -> None:
        """Set the parameters that `within` returns, and note the reduction."""
        known = self._notes.get("time_limit")
        changed = within(network, Z, y, self._seconds) if known is None else known["changed"]
        self._notes["time_limit"] = {"changed": changed, "used": self._used}
        if "n_members" in changed:
            self._reduced = f"1 network instead of {network.n_members}, "
        if changed:
            epochs = changed["max_iter"]
            self._reduced += f"{epochs} epoch{'s' * (epochs != 1)} of {network.max_iter}"
            (note or LOGGER.info)(
                f"time limit of {self._seconds:g} s: {self._reduced}; the model depends on the "
                "speed of the machine"
            )
        network.set_params(**changed)
        self._epochs = int(network.max_iter)

    def begin_anew(self) -> None:
        """Forget the time used so far, which was that of a training on other rows."""
        self._used, self._deadline = 0.0, Deadline(self._seconds + self._began - monotonic())
        self._notes["time_limit"]["used"] = self._used

    def record(self, history: History) -> dict[str, Any]:
        """Return the entry of a model file: the seconds, and the reduction in words or ""."""
        reduced = self._reduced
        if history.stopped_by == "callback" and history.epochs < self._epochs:
            unit = "epoch" if history.minimum is None else "iteration"
            stopped = f"stopped after {unit} {history.epochs}"
            reduced = f"{reduced}, {stopped}" if reduced else stopped
        return {"seconds": self._seconds, "reduced": reduced}

    def __call__(self, epoch: Epoch) -> bool:
        """Return whether the training is to stop after this epoch."""
        self._notes["time_limit"]["used"] = self._used + monotonic() - self._began
        asked = self._on_epoch is not None and self._on_epoch(epoch)
        return self._deadline.is_over() or bool(asked)
