"""What the training of an estimator calls: callbacks, scorers, and what prints."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpubp.estimators.callbacks import FitTasks
from gpubp.estimators.scoring import Scorer
from gpubp.training.fit import Listeners, Snapshot
from gpubp.training.history import Epoch, OnEpoch
from gpubp.training.validation import Held

Note = Callable[[str], None]


def listeners_of(
    estimator: Any,
    tasks: FitTasks | None,
    kept: np.ndarray | None,
    held: Held | None,
    on_epoch: OnEpoch | None,
    note: Note | None,
) -> Listeners:
    """Return the listeners of one fit.

    tasks : scikit-learn's callbacks. kept : the rows trained on; None for all. held : the rows held
    out, with their score. on_epoch, note : of the caller; see `Listeners`.
    """
    each = (_print if estimator.verbose else None, on_epoch, tasks and tasks.end_epoch)
    called = [listener for listener in each if listener]

    def begin(snapshot: Snapshot) -> None:
        if held is not None and isinstance(held.score, Scorer):
            held.score.begin(snapshot)
        if tasks is not None:
            tasks.begin(snapshot, kept=kept)

    def report(epoch: Epoch) -> bool:
        stops = [listener(epoch) for listener in called]
        return any(stops)

    warn = partial(say, estimator, note, otherwise=partial(warnings.warn, stacklevel=2))
    return Listeners(begin, report if called else None, warn)


def say(
    estimator: Any,
    note: Note | None,
    line: str,
    otherwise: Callable[[str], object] = lambda line: None,
) -> None:
    """Give a line for a person to ``note``, or print it if verbose, or do ``otherwise``."""
    if note or estimator.verbose:
        (note or print)(line)
    else:
        otherwise(line)


def _print(epoch: Epoch) -> None:
    print(f"Iteration {epoch.number}, loss = {epoch.loss:.8f}")
    if epoch.score is not None:
        print(f"Validation score: {epoch.score:f}")
