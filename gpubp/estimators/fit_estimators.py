"""Fitting one estimator, or many together, without warnings at the end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.foreign_arrays import is_on_device
from gpubp.estimators.callbacks import Note, with_callbacks
from gpubp.estimators.checkpoint_run import CheckpointRun
from gpubp.estimators.ensemble_fit import finish_members, prepare_members
from gpubp.estimators.fitted_attributes import rollback
from gpubp.estimators.mlp import BaseMLP
from gpubp.estimators.population_workers import active_workers, train_on_workers
from gpubp.estimators.prepared_fit import Prepared, PreparedEnsemble, PreparedFit
from gpubp.estimators.scoring import Scorer
from gpubp.estimators.shared_rows import SharedRows
from gpubp.training.data import TakenRows
from gpubp.training.deadline import Deadline
from gpubp.training.fit import Fitted, Listeners
from gpubp.training.history import History, OnEpoch
from gpubp.training.population import Member, train_population


def fit_estimator(
    estimator: BaseMLP,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    given: tuple[Any, Any, Any] | None = None,
    on_epoch: OnEpoch | None = None,
    note: Note | None = None,
    run: CheckpointRun | None = None,
) -> History:
    """Fit ``estimator`` like its fit, but without warnings at the end; return the history.

    given : X, y and sample weights of the validation rows for early_stopping.
    on_epoch : called after each epoch; returns True to stop.
    note : called with each message for the user.
    run : saves the state of the training; None does not.
    """
    estimator._validate_params()
    with rollback(estimator):
        history: History = estimator._train(
            *(X, y, sample_weight),
            given=given,
            on_epoch=on_epoch,
            note=note,
            run=run,
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


Outcome = History | Exception
OnEnd = Callable[[int, Outcome], None]


class _Ends:
    """Calls ``on_end`` for each fit once.

    fits : the indices of the fits that have ended. raised : whether ``on_end`` raised.
    """

    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end
        self.fits: set[int] = set()
        self.raised = False

    def __call__(self, k: int, outcome: Outcome) -> None:
        self.fits.add(k)
        try:
            self._on_end(k, outcome)
        except BaseException:
            self.raised = True
            raise


def fit_together(
    fits: Sequence[Fit], on_end: OnEnd, *, note: Note | None = None, others: int = 0
) -> bool:
    """Fit many estimators at once, each as `fit_estimator` would; return whether interrupted.

    An interrupt ends the fits that are being trained; the others have no outcome.

    on_end : called with the index and the outcome of each fit when it ends. The outcome is the
    history of the training, or the exception of a fit that fails. Parameters and rows that are
    invalid fail before any training. An estimator is fitted only if its outcome is a history. If
    ``on_end`` raises, no other fit is trained; its KeyboardInterrupt is an interrupt.
    note : called with each message for the user.
    others : the number of networks that were trained in an earlier run, but count for the choice of
        the engine, so that engine and results are those of a single run.

    With `joblib.parallel_config` or `run_on_ranks`, other processes train the networks, with the
    same results, except that fits which share a RandomState object each get a generator of their
    own, seeded by it.

    Fits that share a RandomState object draw from it in another order than one after the other. If
    a scorer or a listener of one fit raises, the fits trained with it start over one by one, which
    calls their scorers, callbacks and ``on_epoch`` again.
    """
    ends = _Ends(on_end)
    try:
        groups, starts = _prepare(fits, ends, note, others)
        for group in groups:
            places = list(group)
            try:
                interrupted = _train_together(fits, group, ends, note)
            except Exception:  # of a scorer or a listener of one of them, or there is no memory
                if ends.raised:
                    raise
                left = {k: starts[k] for k in places if k not in ends.fits}
                interrupted = _train_one_by_one(fits, left, ends, note)
            if interrupted:
                return True
    except KeyboardInterrupt:  # of on_end, unless the training caught it
        return True
    return False


class _Start:
    """The attributes and the generator of ``estimator`` before its fit, to begin it again."""

    def __init__(self, estimator: Any) -> None:
        self._estimator, self._attributes = estimator, dict(vars(estimator))
        own = estimator.random_state
        self._state = (
            own.get_state(legacy=False) if isinstance(own, np.random.RandomState) else None
        )

    def restore(self) -> None:
        end_callbacks(self._estimator)
        vars(self._estimator).clear()
        vars(self._estimator).update(self._attributes)
        if self._state is not None:
            self._estimator.random_state.set_state(self._state)


@with_callbacks  # type: ignore[untyped-decorator]
def end_callbacks(estimator: BaseMLP) -> None:
    """End scikit-learn's callbacks of a fit: the decorator does so after the call."""


def _prepare(
    fits: Sequence[Fit], ends: _Ends, note: Note | None, others: int
) -> tuple[list[dict[int, Prepared]], list[_Start]]:
    """Return the fits to train by backend, and the start of each fit; those that fail end here."""
    prepared: dict[int, Prepared] = {}
    starts: list[_Start] = []
    shared, together = SharedRows(), others + sum(networks_of(each.estimator) for each in fits)
    for k, each in enumerate(fits):
        starts.append(_Start(each.estimator))
        try:
            prepared[k] = shared.share(each.X, _prepared(each, together, note))
            continue
        except Exception as error:  # the fits are independent: the others go on
            failure = error
        ends(k, failure)
    return _by_backend(prepared), starts


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


def _train_together(
    fits: Sequence[Fit], prepared: dict[int, Prepared], end: OnEnd, note: Note | None
) -> bool:
    """Train the networks of fits with equal backends; return whether it was interrupted.

    prepared : fits are removed when they end.
    end : called with the index of each fit and its outcome when all of its networks are trained,
    or some before an interrupt.
    """
    backend, threads = next((of.backend, of.threads) for of in prepared.values())
    places = [(k, j) for k, each in prepared.items() for j in range(len(each.members))]
    trained: dict[int, list[Fitted | None]]
    trained = {k: [None] * len(each.members) for k, each in prepared.items()}

    def finish(place: int, fitted: Fitted) -> None:
        k, j = places[place]
        trained[k][j] = fitted
        # Initial parameters, and arrays that a scorer of validation rows refers to, are freed.
        members[place] = replace(members[place], start=None, held=None, listeners=Listeners())
        if all(of is not None for of in trained[k]):
            end(k, _finished(fits[k].estimator, prepared.pop(k), trained.pop(k)))

    members = [prepared[k].members[j] for k, j in places]
    warn = note or partial(warnings.warn, stacklevel=2)
    if (workers := active_workers(warn)) is None:
        interrupted = train_population(backend, members, finish, threads=threads)
    else:
        interrupted = train_on_workers(
            *(workers, backend, members),
            [of for k, each in prepared.items() for of in _for_workers(fits[k], each)],
            finish,
            threads=threads,
            note=warn,
        )
    for k, own in trained.items():
        if any(of is not None for of in own):
            end(k, _finished(fits[k].estimator, prepared[k], own))
    return interrupted


def _for_workers(fit: Fit, prepared: Prepared) -> list[Member | None]:
    """Return the networks of a fit as another process trains them; None for those that it cannot.

    Functions that are called in each epoch, and print or count, are called in this process only.
    """
    deadline = fit.on_epoch if isinstance(fit.on_epoch, Deadline) else None
    estimator = fit.estimator
    is_followed = estimator.verbose or hasattr(estimator, "_skl_callbacks")
    if is_followed or fit.on_epoch is not deadline:
        return [None] * len(prepared.members)
    return [_for_worker(member, deadline) for member in prepared.members]


def _for_worker(of: Member, deadline: Deadline | None) -> Member | None:
    X = of.data.X.whole if isinstance(of.data.X, TakenRows) else of.data.X
    if is_on_device(X):
        return None
    score = None if of.held is None else of.held.score
    begin = score.begin if isinstance(score, Scorer) else None
    # A training reads neither y nor places, which would be sent too.
    data = of.data._replace(y=of.data.targets, places=None)
    return replace(of, data=data, listeners=Listeners(begin, deadline and deadline.on_epoch))


def _train_one_by_one(
    fits: Sequence[Fit], starts: dict[int, _Start], end: OnEnd, note: Note | None
) -> bool:
    """Fit the estimators one after the other from their ``starts``; return whether interrupted."""
    for k, start in starts.items():
        start.restore()
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


def _by_backend(prepared: dict[int, Prepared]) -> list[dict[int, Prepared]]:
    """Return groups of fits that can use the same backend."""
    groups: dict[tuple[Any, ...], dict[int, Prepared]] = {}
    for k, each in prepared.items():
        backend = each.backend
        key = backend.name, backend.engine, backend.precision, each.threads
        groups.setdefault(key, {})[k] = each
    return list(groups.values())
