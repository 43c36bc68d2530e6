"""Fitting one estimator, or many together, without warnings at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpubp.estimators.fitted_attributes import rollback
from gpubp.estimators.mlp import BaseMLP
from gpubp.estimators.prepared_fit import PreparedFit
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
    note: Callable[[str], None] | None = None,
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


def fit_together(
    fits: Sequence[Fit],
    *,
    on_finished: Callable[[int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> list[Outcome]:
    """Fit many estimators at once, each as `fit_estimator` would; return an outcome for each.

    The outcome is the history of the training; an exception if the input of the fit is invalid; or
    None if an interrupt came before its training. An estimator is fitted only if its outcome is a
    history.

    on_finished : called with the index of each fit after its estimator has its fitted attributes.
    note : called with each message for the user.
    """
    outcomes: list[Outcome] = [None] * len(fits)
    prepared: dict[int, PreparedFit] = {}
    shared = SharedRows()
    ensembles = [k for k, each in enumerate(fits) if each.estimator.n_members is not None]
    for k, each in enumerate(fits):
        if k in ensembles:
            continue
        try:
            prepared[k] = shared.share(each.X, _prepared(each, len(fits), note))
        except Exception as error:  # the fits are independent: the others go on
            outcomes[k] = error

    for places in _by_backend(prepared):
        first = prepared[places[0]]

        def finish(place: int, fitted: Fitted, places: list[int] = places) -> None:
            k = places[place]
            outcomes[k] = fits[k].estimator._finish(prepared[k], fitted)
            if on_finished is not None:
                on_finished(k)

        members = [prepared[k].member for k in places]
        if train_population(first.backend, members, finish, threads=first.threads):
            return outcomes
    for k in ensembles:  # each is a population of its own
        outcomes[k] = _ensemble_outcome(fits[k], note)
        if on_finished is not None and isinstance(outcomes[k], History):
            on_finished(k)
        if getattr(outcomes[k], "stopped_by", "") == "interrupt":
            break
    return outcomes


def _ensemble_outcome(each: Fit, note: Callable[[str], None] | None) -> Outcome:
    estimator, X, y, sample_weight, given, on_epoch = each
    try:
        return fit_estimator(
            estimator, X, y, sample_weight, given=given, on_epoch=on_epoch, note=note
        )
    except KeyboardInterrupt:
        return None
    except Exception as error:
        return error


def _prepared(each: Fit, together: int, note: Callable[[str], None] | None) -> PreparedFit:
    estimator, X, y, sample_weight, given, on_epoch = each
    estimator._validate_params()
    with rollback(estimator):
        prepared = estimator._prepared(
            X,
            y,
            sample_weight,
            given=given,
            on_epoch=on_epoch,
            note=note,
            together=together,
        )
    assert isinstance(prepared, PreparedFit)  # only partial_fit trains a kept step
    return prepared


def _by_backend(prepared: dict[int, PreparedFit]) -> list[list[int]]:
    """Return the indices of the fits that can use the same backend, group by group."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, each in prepared.items():
        backend = each.backend
        key = backend.name, backend.engine, backend.precision, each.threads
        groups.setdefault(key, []).append(k)
    return list(groups.values())
