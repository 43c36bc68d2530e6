"""The training of an ensemble: networks of one shape, with seeds and rows of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import check_random_state

from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.estimators.callbacks import Note
from gpubp.estimators.checkpoint_run import CheckpointRun
from gpubp.estimators.checkpointed_fit import fit_members
from gpubp.estimators.class_weights import checked_weights
from gpubp.estimators.ensemble_listeners import Stop, listeners_of_member
from gpubp.estimators.ensemble_members import forget_members, set_members
from gpubp.estimators.ensemble_oob import set_oob
from gpubp.estimators.fitted_attributes import set_history
from gpubp.estimators.kept_steps import forget_steps
from gpubp.estimators.prepared_fit import PreparedEnsemble, described
from gpubp.estimators.recorded_predictions import forget_passes
from gpubp.estimators.start import members_before, note_minimised, start_of_member
from gpubp.estimators.validation_split import hold_out
from gpubp.logger import LOGGER
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, Start
from gpubp.training.history import History, OnEpoch
from gpubp.training.inference import free_device_parameters
from gpubp.training.population import Member
from gpubp.training.validation import ValidationSet


class _Rows(NamedTuple):
    """The rows of a member.

    part : the rows, of which some may be held out for validation.
    left_out : indices of the candidates for its left-out rows; drawn rows are removed later.
    drawn : the generator that draws the rows to train on, with replacement; None to take each once.
    """

    part: TrainingData
    left_out: np.ndarray
    drawn: np.random.RandomState | None = None


def train_members(
    estimator: Any,
    of: tuple[Any, Any, Any],
    *,
    given: tuple[Any, Any, Any] | None,
    on_epoch: OnEpoch | None,
    note: Note | None,
    run: CheckpointRun | None = None,
) -> History:
    """Train the members of ``estimator`` together, set its fitted attributes, return the history.

    of : X, y and sample weights. run : checkpoints. The others are those of `BaseMLP._train`.
    """
    prepared = prepare_members(estimator, of, given=given, on_epoch=on_epoch, note=note)
    results = fit_members(estimator, prepared, run)
    return finish_members(estimator, prepared, results)


def prepare_members(
    estimator: Any,
    of: tuple[Any, Any, Any],
    *,
    given: tuple[Any, Any, Any] | None = None,
    on_epoch: OnEpoch | None = None,
    note: Note | None = None,
    together: int | None = None,
) -> PreparedEnsemble:
    """Validate the input and return the fit to train.

    together : the number of networks to be trained at once; None for the members of ``estimator``.
    The other arguments are those of `train_members`.
    """
    began = perf_counter()
    _check(estimator)
    stage_before = estimator._of_fit("input_stage")
    estimator._note_parameters()
    free_device_parameters(estimator)
    goes_on = estimator.warm_start and hasattr(estimator, "coefs_")
    rows = estimator._validated(*of, False, not goes_on)
    before = members_before(estimator, stage_before) if goes_on else []
    for forget in (forget_steps, forget_passes, forget_members):
        forget(estimator)
    network, M = estimator._network(rows), int(estimator.n_members)
    backend = estimator._training_backend(rows.n_rows, network, together or M)
    rng = check_random_state(estimator.random_state)
    seeds = rng.randint(np.iinfo(np.int32).max, size=M)
    note_minimised(estimator, rows, seeds)
    rows, held = _rows_for(estimator, backend, rows, given, note, not goes_on)
    estimator._warn_of_batch_size(rows.n_rows)
    estimator._warn_of_weight_decay()
    own = _rows_of_members(estimator, rows, rng)
    stop, members, left_out = Stop(), [], []
    for k, (seed, part) in enumerate(zip(seeds, own, strict=True)):
        last = before[k] if goes_on else None
        member, unseen = _member(estimator, backend, network, int(seed), part, held, last)
        listeners = listeners_of_member(estimator, k, member.held, on_epoch, note, stop)
        members.append(replace(member, listeners=listeners))
        left_out += [unseen] if estimator.member_rows != "all" else []
    rows = rows._replace(weights=_sample_weights(estimator, rows.y, of[2]))
    return PreparedEnsemble(backend, members, seeds, rows, left_out, began, estimator.threads)


def finish_members(
    estimator: Any, prepared: PreparedEnsemble, results: Sequence[Fitted | None]
) -> History:
    """Set the fitted attributes after the training of ``prepared``; return the history.

    results : of the members; None for those that an interrupt left untrained.
    """
    kept = _begun(results)
    trained = [fitted for k in kept if (fitted := results[k]) is not None]
    seeds = [int(prepared.seeds[k]) for k in kept]
    history = set_members(estimator, trained, seeds, estimator._loss().output)
    if len(kept) < len(results):
        history.stopped_by = "interrupt"
        set_history(estimator, history, bool(estimator.early_stopping))
    if prepared.left_out:
        left_out = [prepared.left_out[k] for k in kept]
        set_oob(estimator, prepared.backend, trained[0].network, prepared.rows, left_out)
    history.seconds = perf_counter() - prepared.began
    return history


def _rows_for(
    estimator: Any,
    backend: Backend,
    rows: TrainingData,
    given: tuple[Any, Any, Any] | None,
    note: Note | None,
    from_scratch: bool,
) -> tuple[TrainingData, TrainingData | None]:
    """Return all rows and the given validation rows in the dtype and the units of training."""
    dtype = estimator._train_dtype(rows.X, backend)
    (note or LOGGER.info)(described(dtype, backend))
    rows = rows.in_dtype(dtype, backend)
    held = None if given is None else estimator._given_rows(given, rows.y.shape)
    both: tuple[TrainingData, TrainingData | None]
    both = estimator._in_training_units(rows, held, from_scratch)
    return both


def _sample_weights(estimator: Any, y: np.ndarray, sample_weight: Any) -> np.ndarray | None:
    """Return the weight of each row (n,) without its class weight; of label weights, the mean."""
    weights = checked_weights(y, sample_weight, by_label=estimator._is_multilabel(y))
    return weights if weights is None or weights.ndim == 1 else weights.mean(axis=1)


def _check(estimator: Any) -> None:
    """Raise ValueError for parameters that do not fit together in an ensemble."""
    members = f"n_members={estimator.n_members}"
    if hasattr(estimator, "_skl_callbacks"):
        raise ValueError(
            f"callbacks follow the training of one network, got {members}; set n_members=None, or "
            "use an estimator without set_callbacks"
        )
    if estimator.member_rows == "folds" and estimator.n_members < 2:
        raise ValueError(
            f"member_rows='folds' needs 2 members or more, got {members}; set n_members to the "
            "number of folds, or member_rows to 'all' or 'bootstrap'"
        )


def _rows_of_members(
    estimator: Any, rows: TrainingData, rng: np.random.RandomState
) -> Iterator[_Rows]:
    """Yield the rows of each member, by `member_rows`. rng : draws the folds and the bootstraps."""
    M, how = int(estimator.n_members), estimator.member_rows
    if how == "folds":
        for kept, out in _folds(estimator, rows, M, rng):
            yield _Rows(rows.part(kept), out)
        return
    every, drawn = np.arange(rows.n_rows), rng if how == "bootstrap" else None
    for _ in range(M):
        yield _Rows(rows, every, drawn)


def _folds(
    estimator: Any, rows: TrainingData, M: int, rng: np.random.RandomState
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the indices of the rows outside and inside each fold, stratified by class if possible.

    Classes are not stratified if all of them have fewer rows than there are folds, or if y is
    multi-label.
    """
    if rows.n_rows < M:
        raise ValueError(
            f"member_rows='folds' needs a row or more per fold, got n_members={M} and "
            f"n_samples={rows.n_rows}; set n_members to the number of rows or less"
        )
    stratified = is_classifier(estimator) and rows.y.ndim == 1
    if not stratified or np.unique(rows.y, return_counts=True)[1].max() < M:
        yield from KFold(M, shuffle=True, random_state=rng).split(rows.y)
        return
    with warnings.catch_warnings():  # of other classes that have fewer rows than there are folds
        warnings.simplefilter("ignore", UserWarning)
        folds = list(StratifiedKFold(M, shuffle=True, random_state=rng).split(rows.y, rows.y))
    yield from folds


def _member(
    estimator: Any,
    backend: Backend,
    network: Network,
    seed: int,
    rows: _Rows,
    held: TrainingData | None,
    before: Any = None,
) -> tuple[Member, np.ndarray]:
    """Return a member to train, and the indices of the rows that it does not see.

    seed : of its weights, validation split, row orders and dropout, as of a network alone.
    held : validation rows passed to fit. before : the member of the last fit, which it continues;
    None for new weights.
    """
    rng, part = np.random.RandomState(seed), rows.part
    recipe = replace(estimator._recipe(part, backend, int(estimator.max_iter)), seed=seed)
    if before is None:
        start = Start(network.initial_theta(rng, recipe.dtype, recipe.weights_init), rng)
    else:
        start = start_of_member(before, network, recipe.dtype, rng, estimator._minimised)
    unseen = rows.left_out
    if held is None and estimator.early_stopping and estimator.solver != "lbfgs":
        strata = estimator._strata(part.y)
        # A fold may lack rows of a class by the user's choice; without folds, the data lacks them.
        lenient = estimator.member_rows == "all"
        fraction = estimator.validation_fraction
        part, held = hold_out(part, fraction, strata, rng, train_on_lone=lenient)
        unseen = _without(unseen, held)
    if rows.drawn is not None:
        part = part.part(rows.drawn.randint(part.n_rows, size=part.n_rows))
        unseen = _without(unseen, part)
    _check_weights(part, estimator.member_rows)
    validation_set = held and ValidationSet(held, estimator._score(held))
    loss = estimator._training_loss()
    return Member(network, loss, part, recipe, validation_set, start), unseen


def _without(places: np.ndarray, rows: TrainingData) -> np.ndarray:
    """Return ``places`` without those of ``rows``."""
    return places if rows.places is None else np.setdiff1d(places, rows.places)


def _check_weights(rows: TrainingData, member_rows: str) -> None:
    if rows.weights is not None and not rows.weights.any():
        change = "early_stopping=False" if member_rows == "all" else "member_rows='all'"
        raise ValueError(
            "all rows of a member have the weight 0, which leaves nothing to train on; leave rows "
            f"of weight 0 out of X, or set {change}"
        )


def _begun(results: Sequence[Fitted | None]) -> list[int]:
    """Return the indices of the members that were trained; after an interrupt, maybe not all.

    Raises KeyboardInterrupt if there is none.
    """
    begun = [k for k, fitted in enumerate(results) if fitted is not None]
    trained = [k for k in begun if (of := results[k]) is not None and of.history.epochs]
    if not begun:
        raise KeyboardInterrupt
    complete = len(begun) == len(results) and all(
        fitted is not None and fitted.stopped_by != "interrupt" for fitted in results
    )
    return begun if complete or not trained else trained
