"""`fit_population`: many networks trained together, each with the numbers of `fit` to rounding.

Networks of one shape with equally many rows form a group. A group is trained as one network whose
arrays have one more axis, in waves that fit in memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.foreign_arrays import is_on_device
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.block_rows import BlockRows
from gpubp.training.check_fit import check_fit
from gpubp.training.data import CsrData, TakenRows, TrainingData
from gpubp.training.fit import Fitted, Listeners, Start, check_precision, fit, step_settings
from gpubp.training.history import History
from gpubp.training.population_batches import Sources
from gpubp.training.population_loop import MemberRun, OnFinished, Orders, PopulationLoop
from gpubp.training.population_memory import most_networks
from gpubp.training.progress import Progress
from gpubp.training.recipe import Recipe
from gpubp.training.training_state import OnPauseOfSeveral, TrainingState, pause_of_one
from gpubp.training.validation import Validation, ValidationSet


@dataclass(frozen=True)
class Member:
    """One network of a population: the arguments that `fit` takes for it."""

    network: Network
    loss: Loss
    data: TrainingData
    recipe: Recipe
    held: ValidationSet | None = None
    start: Start | None = None
    listeners: Listeners = field(default_factory=Listeners)

    @property
    def batch_rows(self) -> int:
        """The number of rows of a batch."""
        return min(self.recipe.batch_size, self.data.n_rows)


def fit_population(
    backend: Backend,
    members: Sequence[Member],
    *,
    threads: int | None = None,
    is_part: bool = False,
) -> list[Fitted | None]:
    """Train ``members``; return the trained networks in the same order.

    Each is equal to that of `fit`, up to rounding. Members must not share a generator, since its
    draws would come in another order.
    threads : see `fit`. is_part : see `train_population`.

    After an interrupt, the networks that were being trained have ``stopped_by`` "interrupt", and
    those that were not begun are None. Raises the errors of `fit`.
    """
    results: list[Fitted | None] = [None] * len(members)
    train_population(backend, members, results.__setitem__, threads=threads, is_part=is_part)
    return results


def train_population(
    backend: Backend,
    members: Sequence[Member],
    on_finished: OnFinished,
    *,
    threads: int | None = None,
    is_part: bool = False,
    on_pause: OnPauseOfSeveral | None = None,
) -> bool:
    """Train like `fit_population`, but keep no trained network; return whether it was interrupted.

    on_finished : called with the index of each network and its `Fitted` when its training ends.
    is_part : whether the members are a part of a group, with the same bits as in the whole group.
        Then a single member is trained like several, not by `fit`.
    on_pause : called when the states of the networks that are being trained can be saved. Networks
        that start from such a state end with the bits of a training that was not interrupted.

    Raises KeyboardInterrupt if an interrupt comes before the first training.
    """
    ended: list[int] = []

    def finished(k: int, fitted: Fitted) -> None:
        ended.append(k)
        on_finished(k, fitted)

    try:
        for group in groups(members):
            resumed = _resumed(members[group[0]])
            how = _How(finished, threads, is_part or bool(resumed and resumed.together), on_pause)
            for wave in _waves(backend, members, group, threads):
                if _train_in_waves(backend, members, wave, how):
                    return True
    except KeyboardInterrupt:  # while a wave was prepared
        if not ended:
            raise
        return True
    return False


class _How(NamedTuple):
    """How the waves of a group are trained; see `train_population`."""

    finished: OnFinished
    threads: int | None
    is_part: bool
    on_pause: OnPauseOfSeveral | None


def _train_in_waves(
    backend: Backend, members: Sequence[Member], wave: list[int], how: _How
) -> bool:
    """Train the members of a wave, or of smaller ones; return whether there was an interrupt."""
    if len(wave) > 1 or how.is_part:
        interrupted = _train_wave(backend, members, wave, how)
        if interrupted is not None:
            return interrupted
    if len(wave) == 1:
        (k,) = wave
        fitted = fit_member(backend, _with_pauses(members[k], k, how.on_pause), how.threads)
        how.finished(k, fitted)
        return fitted.stopped_by == "interrupt"
    members[wave[0]].listeners.note(
        f"{backend.name} has no room for {len(wave)} networks at once; they are trained in "
        "smaller groups"
    )
    backend.free_unused()
    half = len(wave) // 2
    parts = wave[:half], wave[half:]
    return any(_train_in_waves(backend, members, part, how) for part in parts)


def _with_pauses(of: Member, k: int, on_pause: OnPauseOfSeveral | None) -> Member:
    """Return member ``k``, whose training calls ``on_pause``."""
    if on_pause is None:
        return of
    return replace(of, listeners=replace(of.listeners, on_pause=pause_of_one(k, on_pause)))


def fit_member(backend: Backend, of: Member, threads: int | None) -> Fitted:
    """Train one network alone, by `fit`."""
    given: dict[str, Any] = {"held": of.held, "start": of.start, "listeners": of.listeners}
    return fit(backend, of.network, of.loss, of.data, of.recipe, **given, threads=threads)


def groups(members: Sequence[Member]) -> list[list[int]]:
    """Return the indices of the members that can be trained together, the largest group first."""
    found: dict[Any, list[int]] = {}
    for k, each in enumerate(members):
        found.setdefault(_key(each) or k, []).append(k)
    return sorted(found.values(), key=lambda group: -sum(epoch_work(members[k]) for k in group))


def _key(of: Member) -> tuple[Any, ...] | None:
    """Return the values that are equal for members of a group; None for one that trains alone."""
    X = of.data.X.whole if isinstance(of.data.X, TakenRows) else of.data.X
    recipe = of.recipe
    if recipe.solver == "lbfgs" or isinstance(X, CsrData | BlockRows) or is_on_device(X):
        return None
    shape = of.network, of.loss, of.data.n_rows, of.batch_rows, of.data.targets.dtype.kind
    step = recipe.optimizer.step.name, recipe.factors is None, recipe.precision, recipe.drop_last
    place: tuple[int, ...] = ()  # of a resumed training; those of a wave are at the same step
    if (resumed := _resumed(of)) is not None:
        if not resumed.together:
            return None
        place = resumed.history.epochs, resumed.step
    return *shape, *step, of.data.weights is None, place


def _resumed(of: Member) -> TrainingState | None:
    """Return the state from which the training of a member goes on; None for a new one."""
    return of.start.resumed if of.start else None


def epoch_work(of: Member) -> int:
    """Return the multiply-adds of an epoch, about."""
    return of.data.n_rows * of.network.n_parameters


def _waves(
    backend: Backend, members: Sequence[Member], group: list[int], threads: int | None
) -> Iterator[list[int]]:
    """Yield the parts of a group that are trained at once."""
    first, most = members[group[0]], 1
    if len(group) > 1:
        of = first.network, first.recipe, first.data.n_rows, len(group)
        most = most_networks(backend, *of, threads)
    for begin in range(0, len(group), most):
        yield group[begin : begin + most]


def _train_wave(
    backend: Backend,
    members: Sequence[Member],
    wave: list[int],
    how: _How,
) -> bool | None:
    """Train the members of a wave at once.

    Return whether there was an interrupt; None if they do not fit in memory at once, and then
    nothing has changed.
    """
    of = [members[k] for k in wave]
    first, started = of[0], perf_counter()
    check_precision(backend, first.recipe)
    generators = [each.start.rng for each in of if each.start]
    states = [rng.get_state(legacy=False) for rng in generators]
    work = sum(each.batch_rows * each.network.n_parameters for each in of)
    with backend.in_use(how.threads, work):
        try:
            known: dict[bytes, Orders] = {}
            runs = [
                _member_run(backend, each, k, place, known, started)
                for place, (k, each) in enumerate(zip(wave, of, strict=True))
            ]
            sources = Sources(backend, [each.data for each in of], first.recipe.dtype)
            shape = first.network, first.loss, sources
            loop = PopulationLoop(backend, *shape, runs, how.finished, how.on_pause)
        except MemoryError:
            for rng, state in zip(generators, states, strict=True):
                rng.set_state(state)
            return None
        return loop.run()


def _member_run(
    backend: Backend,
    of: Member,
    number: int,
    place: int,
    known: dict[bytes, Orders],
    started: float,
) -> MemberRun:
    """Return a member that is ready to be trained. known : the orders of others in its wave."""
    recipe, network, held = of.recipe, of.network, of.held
    start = of.start or Start.new(network, recipe)
    check_fit(network, of.loss, of.data, held and held.rows, recipe, start.theta, start.state)
    settings = step_settings(recipe, start)
    history = (start.history or History()).copy()
    scored = held and held.in_dtype(recipe, backend)
    rows = recipe.rows_of_epoch(of.data.n_rows)
    return MemberRun(
        number=number,
        place=place,
        recipe=recipe,
        start=start,
        settings=settings,
        progress=Progress(recipe, history, rows, of.listeners.on_epoch, started),
        validation=scored and Validation(backend, network, of.loss, scored),
        listeners=of.listeners,
        orders=_orders(known, of.data.n_rows, recipe, start.rng),
    )


def _orders(
    known: dict[bytes, Orders], rows: int, recipe: Recipe, rng: np.random.RandomState
) -> Orders:
    """Return the orders drawn from ``rng``: those of a network whose generator draws the same."""
    key = pickle.dumps((recipe.shuffle, recipe.row_order, rng.get_state(legacy=False)))
    # One generator of several networks draws an order for each, as NumPy's global one does.
    if key in known and known[key].owner is not rng:
        return known[key].share()
    known[key] = orders = Orders(rows, recipe, rng)
    return orders
