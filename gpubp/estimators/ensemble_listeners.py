"""Functions called during the training of an ensemble: scorers, printing, progress."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gpubp.estimators.callbacks import Note
from gpubp.estimators.scoring import Scorer
from gpubp.training.fit import Listeners, Snapshot
from gpubp.training.history import Epoch, OnEpoch
from gpubp.training.validation import ValidationSet


@dataclass
class Stop:
    """Whether a function of the caller asked to stop: then all members stop after an epoch."""

    asked: bool = False


def listeners_of_member(
    estimator: Any,
    k: int,
    held: ValidationSet | None,
    on_epoch: OnEpoch | None,
    note: Note | None,
    stop: Stop,
) -> Listeners:
    """Return the listeners of member ``k``; the other arguments are those of `listeners_of`."""

    def begin(snapshot: Snapshot) -> None:
        if held is not None and isinstance(held.score, Scorer):
            held.score.begin(snapshot)

    def report(epoch: Epoch) -> bool:
        if estimator.verbose:
            _print(epoch, k)
        if on_epoch is not None and on_epoch(replace(epoch, member=k)):
            stop.asked = True
        return stop.asked

    called = estimator.verbose or on_epoch is not None
    warn = note or partial(warnings.warn, stacklevel=2)
    return Listeners(begin, report if called else None, warn)


def _print(epoch: Epoch, k: int) -> None:
    score = "" if epoch.score is None else f", validation score = {epoch.score:f}"
    print(f"Member {k}, iteration {epoch.number}, loss = {epoch.loss:.8f}{score}")
