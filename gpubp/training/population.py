"""`fit_population`: many networks trained together, each as `fit` would train it alone.

Networks of one shape with equally many rows form a group. A group is trained as one network whose
arrays have one more axis, in waves that fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from gpubp.backends.foreign_arrays import is_on_device
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.check_fit import check_fit
from gpubp.training.data import CsrData, TakenRows, TrainingData
from gpubp.training.fit import Fitted, Listeners, Start, check_precision, fit, step_settings
from gpubp.training.history import History
from gpubp.training.population_batches import Sources
from gpubp.training.population_memory import most_networks
from gpubp.training.progress import Progress
from gpubp.training.recipe import Recipe
from gpubp.training.together import OnFinished, Orders, Together, Trained
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
    backend: Backend, members: Sequence[Member], *, threads: int | None = None
) -> list[Fitted | None]:
    """Train each of ``members`` as `fit` does; return the trained networks in the same order.

    threads : see `fit`.

    After an interrupt, the networks that were being trained have ``stopped_by`` "interrupt", and
    those that were not begun are None. Raises the errors of `fit`.
    """
    results: list[Fitted | None] = [None] * len(members)
    train_population(backend, members, results.__setitem__, threads=threads)
    return results


def train_population(
    backend: Backend,
    members: Sequence[Member],
    on_finished: OnFinished,
    *,
    threads: int | None = None,
) -> bool:
    """Train like `fit_population`, but keep no trained network; return whether it was interrupted.

    on_finished : called with the index of each network and its `Fitted` when its training ends.
    """
    for group in _groups(members):
        for wave in _waves(backend, members, group, threads):
            if len(wave) == 1:
                k = wave[0]
                fitted = _fit_alone(backend, members[k], threads)
                on_finished(k, fitted)
                interrupted = fitted.stopped_by == "interrupt"
            else:
                interrupted = _fit_together(backend, members, wave, on_finished, threads)
            if interrupted:
                return True
    return False


def _fit_alone(backend: Backend, of: Member, threads: int | None) -> Fitted:
    given: dict[str, Any] = {"held": of.held, "start": of.start, "listeners": of.listeners}
    return fit(backend, of.network, of.loss, of.data, of.recipe, **given, threads=threads)


def _groups(members: Sequence[Member]) -> list[list[int]]:
    """Return the indices of the members that can be trained together, the largest group first."""
    groups: dict[Any, list[int]] = {}
    for k, each in enumerate(members):
        groups.setdefault(_key(each) or k, []).append(k)
    return sorted(groups.values(), key=lambda group: -sum(_cost(members[k]) for k in group))


def _key(of: Member) -> tuple[Any, ...] | None:
    """Return the values that are equal for members of a group; None for one that trains alone."""
    X = of.data.X.whole if isinstance(of.data.X, TakenRows) else of.data.X
    recipe = of.recipe
    if recipe.solver == "lbfgs" or isinstance(X, CsrData) or is_on_device(X):
        return None
    shape = of.network, of.loss, of.data.n_rows, of.batch_rows, of.data.targets.dtype.kind
    return *shape, recipe.optimizer.step.name, recipe.precision, of.data.weights is None


def _cost(of: Member) -> int:
    """Return the multiply-adds of an epoch, about."""
    return of.data.n_rows * of.network.n_parameters


def _waves(
    backend: Backend, members: Sequence[Member], group: list[int], threads: int | None
) -> Iterator[list[int]]:
    """Yield the parts of a group that are trained at once."""
    first = members[group[0]]
    most = 1
    if len(group) > 1:
        most = most_networks(
            backend, first.network, first.recipe, first.data.n_rows, len(group), threads
        )
    for begin in range(0, len(group), most):
        yield group[begin : begin + most]


def _fit_together(
    backend: Backend,
    members: Sequence[Member],
    wave: list[int],
    finished: OnFinished,
    threads: int | None,
) -> bool:
    """Train the members of a wave at once; return whether there was an interrupt."""
    of = [members[k] for k in wave]
    first, started = of[0], perf_counter()
    check_precision(backend, first.recipe)
    work = sum(each.batch_rows * each.network.n_parameters for each in of)
    with backend.in_use(threads, work):
        networks = []
        known: dict[Any, Orders] = {}
        for place, (k, each) in enumerate(zip(wave, of, strict=True)):
            networks.append(_begun(backend, each, k, place, known, started))
        sources = Sources(backend, [each.data for each in of], first.recipe.dtype)
        together = Together(
            backend, first.network, first.loss, sources, first.recipe.batch_size, finished
        )
        return together.run(networks)


def _begun(
    backend: Backend, of: Member, number: int, place: int, known: dict[Any, Orders], started: float
) -> Trained:
    """Return a member that is ready to be trained. known : the orders of others in its wave."""
    recipe, network = of.recipe, of.network
    start = of.start or Start.new(network, recipe)
    held = of.held
    check_fit(network, of.loss, of.data, held and held.rows, recipe, start.theta, start.state)
    settings = step_settings(recipe, start)
    history = (start.history or History()).copy()
    validation = None
    if held is not None:
        validation = Validation(backend, network, of.loss, held.in_dtype(recipe, backend))
        validation.upload_if_possible()
    progress = Progress(recipe, history, of.data.n_rows, of.listeners.on_epoch, started)
    orders = _orders(known, of.data.n_rows, recipe, start.rng)
    return Trained(
        number, place, recipe, start, settings, progress, validation, of.listeners, orders
    )


def _orders(
    known: dict[Any, Orders], rows: int, recipe: Recipe, rng: np.random.RandomState
) -> Orders:
    """Return the orders drawn from ``rng``: those of a network whose generator draws the same."""
    name, keys, *rest = rng.get_state()
    key = recipe.shuffle, recipe.row_order, name, np.asarray(keys).tobytes(), *rest
    if key not in known:
        known[key] = Orders(rows, recipe, rng)
    return known[key]
