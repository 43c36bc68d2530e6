"""Stopping: whether and how training continues after an epoch, by its loss or score."""

from __future__ import annotations

from typing import NamedTuple

from gpubp.training.recipe import Recipe

LOWEST_RATE = 1e-6  # at or below it, "adaptive" and "plateau" stop


class Decision(NamedTuple):
    """The result of an epoch for the next one.

    best : the best value so far. improved : whether this epoch has the best value.
    stale : consecutive epochs without an improvement by ``tol``.
    rate : the learning rate of the next epoch. stop : whether to stop.
    """

    best: float
    improved: bool
    stale: int
    rate: float
    stop: bool


def decide(
    recipe: Recipe, value: float, best: float, stale: int, rate: float, samples: int
) -> Decision:
    """Return the decision after an epoch, by scikit-learn's rules.

    value : its validation score, or its loss times -1.
    best, stale : those of the previous decision. rate : the learning rate of this epoch.
    samples : rows trained on so far.
    """
    improved = value > best
    stale = stale + 1 if value < best + recipe.tol else 0
    best = value if improved else best
    if recipe.schedule == "invscaling":
        rate = recipe.learning_rate / (samples + 1) ** recipe.power_t
    if stale <= recipe.patience:
        return Decision(best, improved, stale, rate, stop=False)
    if recipe.schedule not in ("adaptive", "plateau") or rate <= LOWEST_RATE:
        return Decision(best, improved, stale, rate, stop=True)
    return Decision(best, improved, 0, rate / 5, stop=False)
