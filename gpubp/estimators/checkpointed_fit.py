"""The training of a prepared fit, with or without checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gpubp.estimators.callbacks import Note
from gpubp.estimators.checkpoint import Checkpoint
from gpubp.estimators.checkpoint_run import CheckpointRun, check_repeatable
from gpubp.estimators.prepared_fit import PreparedEnsemble, PreparedFit
from gpubp.estimators.training_identity import identity_of
from gpubp.training.fit import Fitted
from gpubp.training.population import fit_population, train_population
from gpubp.training.training_state import TrainingState, pause_of_one


def run_of(
    estimator: Any,
    checkpoint: Checkpoint | None,
    note: Note | None,
    settings: Mapping[str, Any] | None = None,
) -> CheckpointRun | None:
    """Return the checkpoints of a fit of ``estimator``; None without any.

    settings : see `CheckpointRun`.

    Raises ValueError for a fit that cannot have checkpoints.
    """
    if checkpoint is None:
        return None
    check_repeatable(estimator)
    return CheckpointRun(checkpoint, note, settings)


@contextmanager
def checkpointed(
    estimator: Any, prepared: PreparedFit, run: CheckpointRun | None
) -> Iterator[PreparedFit]:
    """Return a context with ``prepared``, which goes on from a checkpoint and saves others."""
    backend, of, _, _ = prepared
    if run is None or of.start is None:
        yield prepared
        return
    held, theta = of.held and of.held.rows, of.start.theta

    def identity() -> dict[str, Any]:
        return identity_of(estimator, of.data, held, [theta])

    (start,) = run.begin(identity, backend, of.network, [of.start])
    listeners = replace(of.listeners, on_pause=pause_of_one(0, run.pause))
    with run.signals_at_pauses():
        yield prepared._replace(member=replace(of, start=start, listeners=listeners))


def fit_members(
    estimator: Any, prepared: PreparedEnsemble, run: CheckpointRun | None
) -> list[Fitted | None]:
    """Train the members of ``prepared``; see `fit_population` for the result."""
    backend, members, threads = prepared.backend, prepared.members, prepared.threads
    if run is None:
        return fit_population(backend, members, threads=threads)
    starts = [of.start for of in members if of.start]
    held, thetas = members[0].held, [start.theta for start in starts]

    def identity() -> dict[str, Any]:
        return identity_of(estimator, prepared.rows, held and held.rows, thetas)

    starts = run.begin(identity, backend, members[0].network, starts)
    left = [k for k in range(len(members)) if k not in run.ended]
    results = [run.ended.get(k) for k in range(len(members))]

    def on_finished(place: int, fitted: Fitted) -> None:
        results[left[place]] = fitted
        run.finished(left[place], fitted)

    def on_pause(step: int, states: Callable[[], dict[int, TrainingState]]) -> None:
        run.pause(step, lambda: {left[place]: of for place, of in states().items()})

    with run.signals_at_pauses():
        interrupted = train_population(
            *(backend, [replace(members[k], start=starts[k]) for k in left], on_finished),
            threads=threads,
            on_pause=on_pause,
        )
    if not interrupted:
        run.end()
    return results
