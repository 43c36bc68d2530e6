"""Fitting one estimator, or many together, without warnings at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from gpubp.estimators.callbacks import Note
from gpubp.estimators.ensemble_fit import finish_members, prepare_members
from gpubp.estimators.fitted_attributes import rollback
from gpubp.estimators.mlp import BaseMLP
from gpubp.estimators.prepared_fit import Prepared, PreparedEnsemble, PreparedFit
from gpubp.estimators.shared_rows import SharedRows
from gpubp.training.fit import Fitted
from gpubp.training.history import History, OnEpoch
from gpubp.training.population import train_population


def fit_estimator(
    estimator: BaseMLP,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    given: tuple[Any, Any, Any] | None = None,
    on_epoch: OnEpoch | None = None,
    note: Note | None = None,
) -> History:
    """Fit ``estimator`` like its fit, but without warnings at the end; return the history.

    given : X, y and sample weights of the validation rows for early_stopping.
    on_epoch : called after each epoch; returns True to stop.
    note : called with each message for the user.
    """
    estimator._validate_params()
    with rollback(estimator):
        history: History = estimator._train(
            X, y, sample_weight, given=given, on_epoch=on_epoch, note=note
        )
    return history


class Fit(NamedTuple):
    """A call of ``estimator.fit``.

    Calls with the same X, the same object, share its memory. given, on_epoch : see
    `fit_estimator`.
    """

    estimator: BaseMLP
    X: Any
    y: Any
    sample_weight: Any = None
    given: tuple[Any, Any, Any] | None = None
    on_epoch: OnEpoch | None = None


Outcome = History | Exception | None
End = Callable[[int, Outcome], None]


def fit_together(
    fits: Sequence[Fit],
    *,
    on_finished: Callable[[int], None] | None = None,
    note: Note | None = None,
    others: int = 0,
) -> list[Outcome]:
    """Fit many estimators at once, each as `fit_estimator` would; return an outcome for each.

    The outcome is the history of the training; the exception of a fit that fails; or None if an
    interrupt came before its training. An estimator is fitted only if its outcome is a history.

    on_finished : called with the index of each fit after its estimator has its fitted attributes.
    note : called with each message for the user.
    others : the number of networks that were trained in an earlier run, but count for the choice of
        the engine, so that engine and results are those of a single run.
    """
    outcomes: list[Outcome] = [None] * len(fits)
    prepared: dict[int, Prepared] = {}
    shared, together = SharedRows(), others + sum(networks_of(each.estimator) for each in fits)
    for k, each in enumerate(fits):
        try:
            prepared[k] = shared.share(each.X, _prepared(each, together, note))
        except Exception as error:  # the fits are independent: the others go on
            outcomes[k] = error

    raised: list[BaseException] = []  # by on_finished

    def end(k: int, outcome: Outcome) -> None:
        outcomes[k] = outcome
        try:
            if on_finished is not None and isinstance(outcome, History):
                on_finished(k)
        except BaseException as error:
            raised.append(error)
            raise

    for places in _by_backend(prepared):
        try:
            interrupted = _is_interrupted(fits, {k: prepared[k] for k in places}, end)
        except Exception:  # of a scorer or a listener of one of them, or there is no memory
            if raised:
                raise
            left = [k for k in places if outcomes[k] is None]
            interrupted = _is_interrupted_alone(fits, left, end, note)
        if interrupted:
            break
    return outcomes


def networks_of(estimator: Any) -> int:
    """Return the number of networks of a fit; 1 for a wrong number, which is refused later."""
    members = estimator.n_members
    return int(members) if isinstance(members, Integral) else 1


def _prepared(each: Fit, together: int, note: Note | None) -> Prepared:
    estimator, *of, given, on_epoch = each
    estimator._validate_params()
    how: dict[str, Any] = {"given": given, "on_epoch": on_epoch, "note": note}
    with rollback(estimator):
        if estimator.n_members is not None:
            X, y, sample_weight = of
            return prepare_members(estimator, (X, y, sample_weight), **how, together=together)
        prepared = estimator._prepared(*of, **how, together=together)
    assert isinstance(prepared, PreparedFit)  # only partial_fit trains a kept step
    return prepared


def _is_interrupted(fits: Sequence[Fit], prepared: dict[int, Prepared], end: End) -> bool:
    """Train the networks of fits with equal backends; return whether an interrupt came.

    end : called with the number of each fit and its outcome when all of its networks are trained,
    or some before an interrupt.
    """
    first = next(iter(prepared.values()))
    places = [(k, j) for k, each in prepared.items() for j in range(len(each.members))]
    trained: dict[int, list[Fitted | None]]
    trained = {k: [None] * len(each.members) for k, each in prepared.items()}

    def finish(place: int, fitted: Fitted) -> None:
        k, j = places[place]
        trained[k][j] = fitted
        if all(of is not None for of in trained[k]):
            end(k, _finished(fits[k].estimator, prepared[k], trained.pop(k)))

    members = [prepared[k].members[j] for k, j in places]
    interrupted = train_population(first.backend, members, finish, threads=first.threads)
    for k, own in trained.items():
        if any(of is not None for of in own):
            end(k, _finished(fits[k].estimator, prepared[k], own))
    return interrupted


def _is_interrupted_alone(
    fits: Sequence[Fit], places: list[int], end: End, note: Note | None
) -> bool:
    """Fit the estimators one after the other; return whether an interrupt came."""
    for k in places:
        estimator, *of, given, on_epoch = fits[k]
        outcome: Outcome
        try:
            outcome = fit_estimator(estimator, *of, given=given, on_epoch=on_epoch, note=note)
        except Exception as error:
            outcome = error
        end(k, outcome)
        if isinstance(outcome, History) and outcome.stopped_by == "interrupt":
            return True
    return False


def _finished(estimator: BaseMLP, prepared: Prepared, trained: Sequence[Fitted | None]) -> History:
    """Set the fitted attributes of ``estimator``; return its history."""
    if isinstance(prepared, PreparedEnsemble):
        return finish_members(estimator, prepared, trained)
    (fitted,) = trained
    assert fitted is not None
    return estimator._finish(prepared, fitted)


def _by_backend(prepared: dict[int, Prepared]) -> list[list[int]]:
    """Return the indices of the fits that can use the same backend, group by group."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, each in prepared.items():
        backend = each.backend
        key = backend.name, backend.engine, backend.precision, each.threads
        groups.setdefault(key, []).append(k)
    return list(groups.values())
