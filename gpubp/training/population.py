"""`fit_population`: many networks trained together, each as `fit` would train it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, Listeners, Start, fit
from gpubp.training.recipe import Recipe
from gpubp.training.validation import ValidationSet

OnFinished = Callable[[int, Fitted], None]


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


def fit_population(
    backend: Backend,
    members: Sequence[Member],
    *,
    on_finished: OnFinished | None = None,
    threads: int | None = None,
) -> list[Fitted | None]:
    """Train each of ``members`` as `fit` does; return the trained networks in the same order.

    on_finished : called with the index of each network and its `Fitted` when its training ends.
    threads : see `fit`.

    After an interrupt, the networks that were being trained have ``stopped_by`` "interrupt", and
    those that were not begun are None. Raises the errors of `fit`.
    """
    results: list[Fitted | None] = [None] * len(members)
    for k, each in enumerate(members):
        fitted = fit(
            backend,
            each.network,
            each.loss,
            each.data,
            each.recipe,
            held=each.held,
            start=each.start,
            listeners=each.listeners,
            threads=threads,
        )
        results[k] = fitted
        if on_finished is not None:
            on_finished(k, fitted)
        if fitted.stopped_by == "interrupt":
            break
    return results
