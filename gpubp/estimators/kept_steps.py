"""Recorded training steps for partial_fit with few rows on the CPU, kept from call to call.

After such a call `coefs_` and `intercepts_` are views of the arrays that the next call trains, so
nothing is copied. The step is recorded again if one of these arrays was replaced or a parameter
has changed.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from functools import cache
from numbers import Integral
from operator import attrgetter
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from gpubp.backends.protocol import Backend
from gpubp.backprop.network import Network
from gpubp.estimators.fitted_attributes import set_fitted
from gpubp.estimators.per_thread import PerThread, are_same
from gpubp.training.data import TrainingData
from gpubp.training.epoch_plan import OptimizerState
from gpubp.training.fit import Start
from gpubp.training.history import History
from gpubp.training.kept_step import KeptStep, KeptSteps, can_be_kept
from gpubp.training.recipe import Recipe

MOST = 4  # estimators per thread whose steps are kept
# Parameters that do not change a step: the weights and the order of the rows are computed in each
# call, and partial_fit computes no scores.
_OF_NO_STEP = {"class_weight", "random_state", "scoring"}
_PLAIN = (str, int, float, np.generic, type(None))


@dataclass
class _Kept:
    """The kept steps of an estimator, and the values that they depend on.

    owner : weak reference to the estimator. parameters : see `_parameters`.
    dtype : of training. steps : the recorded steps.
    Ws, bs : its `coefs_` and `intercepts_`. shapes : the shapes of Ws, then of bs.
    history, state : its history and optimizer state after the last call.
    epochs : the number of losses in ``history``. best_epoch : the epoch of the lowest loss.
    rng : the generator that is seeded with an integer `random_state`.
    """

    owner: weakref.ref[Any]
    parameters: tuple[Any, ...]
    dtype: np.dtype
    steps: KeptSteps
    Ws: list[np.ndarray]
    bs: list[np.ndarray]
    shapes: list[tuple[int, ...]]
    history: History = field(default_factory=History)
    epochs: int = 0
    best_epoch: int | None = None
    state: OptimizerState | None = None
    rng: np.random.RandomState = field(default_factory=lambda: np.random.RandomState(0))

    def are_those_of(self, estimator: Any) -> bool:
        """Return whether the attributes of ``estimator`` are unchanged since the last call."""
        has = vars(estimator)
        Ws, bs = has.get("coefs_", ()), has.get("intercepts_", ())
        history = has.get("_history")
        if has.get("_optimizer_state") is not self.state or history is not self.history:
            return False
        if len(Ws) != len(self.Ws) or len(self.history.losses) != self.epochs:
            return False
        if not are_same([*Ws, *bs], [*self.Ws, *self.bs], self.shapes):
            return False
        return self.steps.network.bias or not any(map(np.any, bs))


_KEPT: PerThread[_Kept] = PerThread(MOST)


def train_on(estimator: Any, rows: TrainingData) -> History | None:
    """Train for one epoch with a kept step, or with a new one, which is then kept.

    Sets the fitted attributes and returns the history. If the kept steps cannot be used, changes
    nothing and returns None. rows : the validated rows.
    """
    kept = _taken(estimator, rows)
    if kept is None:
        return None
    steps, state = kept.steps, kept.state
    rows, _ = estimator._in_training_units(rows.in_dtype(kept.dtype, steps.backend), None, False)
    if state is None or estimator._training_loss() != steps.loss:
        return None
    step = steps.of(rows) or _added(estimator, kept, rows, state)
    if step is None:
        return None
    rng, seed = kept.rng, estimator.random_state
    if isinstance(seed, Integral):
        rng.seed(int(seed))  # 1.3 us; a new generator takes 77 us
    else:
        rng = check_random_state(seed)
    return _epoch(estimator, kept, step, rows, replace(kept.history), state, rng)


def keep(
    estimator: Any,
    backend: Backend,
    network: Network,
    rows: TrainingData,
    recipe: Recipe,
    start: Start,
) -> History | None:
    """Train for one epoch and keep the step; return None if the step cannot be kept.

    After None, the caller trains with `training.fit.fit`.
    rows : in the dtype and units of training. start : its history may be changed in place.
    """
    parameters = _parameters(estimator)
    listened = estimator.verbose or hasattr(estimator, "_skl_callbacks")
    if parameters is None or listened or not can_be_kept(backend, network, rows, recipe):
        return None
    steps = KeptSteps(backend, network, estimator._training_loss())
    state = start.state or OptimizerState(recipe.learning_rate)
    step = steps.add(rows, recipe, start.theta, state, estimator.threads)
    Ws, bs = network.arrays(steps.theta)
    shapes = [array.shape for array in (*Ws, *bs)]
    kept = _Kept(_KEPT.owner(estimator), parameters, recipe.dtype, steps, Ws, bs, shapes)
    return _epoch(estimator, kept, step, rows, start.history or History(), state, start.rng)


def forget_steps(estimator: Any) -> None:
    """Free the steps that this thread keeps for ``estimator``; its own arrays stay."""
    _KEPT.forget(estimator)


def _taken(estimator: Any, rows: TrainingData) -> _Kept | None:
    """Remove the steps kept for ``estimator`` and return them; None if they are out of date."""
    kept = next(_KEPT.of(estimator), None)
    if kept is None:
        return None
    _KEPT.take(kept)
    same = (
        isinstance(rows.X, np.ndarray)
        and estimator._train_dtype(rows.X, kept.steps.backend) == kept.dtype
        and kept.parameters == _parameters(estimator)
        and not hasattr(estimator, "_skl_callbacks")
        and kept.are_those_of(estimator)
    )
    return kept if same else None


def _added(
    estimator: Any, kept: _Kept, rows: TrainingData, state: OptimizerState
) -> KeptStep | None:
    """Return a new step for ``rows``; None if they need another network or backend."""
    network, steps = estimator._network(rows), kept.steps
    backend = estimator._training_backend(rows.n_rows, network)
    where = (backend.name, backend.engine)
    if network != steps.network or where != (steps.backend.name, steps.backend.engine):
        return None
    recipe = estimator._recipe(rows, backend, 1)
    if not can_be_kept(backend, network, rows, recipe):
        return None
    return steps.add(rows, recipe, steps.theta, state, estimator.threads)


def _epoch(
    estimator: Any,
    kept: _Kept,
    step: KeptStep,
    rows: TrainingData,
    history: History,
    state: OptimizerState,
    rng: np.random.RandomState,
) -> History:
    """Train for one epoch, set the fitted attributes, and store ``kept`` again."""
    steps, threads = kept.steps, estimator.threads
    with steps.undone_on_failure(history):
        fitted = steps.epoch(step, rows, state, rng, history, threads)
        parameters = [*kept.Ws], [*kept.bs]
        set_fitted(estimator, fitted, estimator._loss().output, parameters, kept.best_epoch)
    kept.history, kept.state = estimator._history, fitted.state
    kept.epochs, kept.best_epoch = len(history.losses), estimator.best_epoch_
    if history.stopped_by != "non_finite":  # otherwise the next call resets the state
        _KEPT.add(kept)
    return history


@cache
def _values(kind: Any) -> Any:
    return attrgetter(*(name for name in kind._get_param_names() if name not in _OF_NO_STEP))


def _parameters(estimator: Any) -> tuple[Any, ...] | None:
    """Return the parameters that a step depends on; None if one of them is mutable."""
    kind: Any = type(estimator)
    values = tuple(
        _frozen(value) if type(value) in (list, dict) else value
        for value in _values(kind)(estimator)
    )
    if not all(map(_is_plain, values)):
        return None
    seed = estimator.random_state
    return *values, seed if isinstance(seed, Integral) else None


def _frozen(value: Any) -> Any:
    """Return a list or a dict as a tuple, whose values cannot change."""
    if type(value) is dict:
        return tuple((name, _frozen(each)) for name, each in value.items())
    return tuple(value) if type(value) is list else value


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
