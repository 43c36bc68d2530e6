"""Stopping: what an epoch's loss or validation score means for the next epoch."""

from __future__ import annotations

from typing import NamedTuple

from gpubp.training.recipe import Recipe

LOWEST_RATE = 1e-6  # from which on "adaptive" and "plateau" stop instead


class Decision(NamedTuple):
    """What follows from an epoch.

    best : the best value so far; improved : whether this epoch has it. stale : epochs in a row
    without an improvement by ``tol``. rate : the learning rate of the next epoch; stop : whether
    there is none.
    """

    best: float
    improved: bool
    stale: int
    rate: float
    stop: bool


def decide(
    recipe: Recipe, value: float, best: float, stale: int, rate: float, samples: int
) -> Decision:
    """Return what follows from an epoch's ``value``: its validation score, or its loss times -1.

    best, stale : those of the epochs before. rate : the learning rate of this epoch. samples :
    rows trained on so far. The rules are scikit-learn's.
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
