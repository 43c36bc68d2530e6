"""The samplers of MLPSearchCV: which candidates are evaluated on which folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from gpubp.selection import halving, samplers, tpe
from gpubp.selection.evaluation import Evaluation
from gpubp.selection.folds import Folds, count_rows

# Rounds of a search with round_size="auto".
_ROUNDS = 5


@dataclass(frozen=True)
class Strategy:
    """How the candidates of a search are evaluated.

    n_candidates : the number of candidates, each counted in every iteration of it. run : evaluates
    them. attributes : fitted attributes of the search.
    """

    n_candidates: int
    run: Callable[[Evaluation], Any]
    attributes: dict[str, Any] = field(default_factory=dict)


def strategy_of(search: Any, folds: Folds) -> Strategy:
    """Return the strategy for the parameters of ``search``; raise ValueError if they conflict."""
    if search.sampler == "halving":
        return _halving(search, folds)
    if search.sampler == "tpe":
        return _tpe(search, folds)
    if search.sampler == "grid":
        candidates = samplers.grid(search.param_space)
    else:
        candidates = samplers.random(search.param_space, _n_iter(search), search.random_state)
    size = len(candidates)
    if search.time_limit is not None or search.round_size != "auto":
        size = _round_size(search, len(candidates))

    def run(evaluate: Evaluation) -> None:
        rows = folds.with_all_rows()
        for begin in range(0, len(candidates), size):
            evaluate(candidates[begin : begin + size], rows)

    return Strategy(len(candidates), run)


def _round_size(search: Any, n_candidates: int) -> int:
    if search.round_size == "auto":
        return max(1, -(-n_candidates // _ROUNDS))
    return int(search.round_size)


def _n_iter(search: Any) -> int:
    if search.n_iter is None:
        raise ValueError(
            f"n_iter is None, which sampler={search.sampler!r} does not take; give a number, or "
            "use sampler='grid' for all candidates"
        )
    return int(search.n_iter)


def _tpe(search: Any, folds: Folds) -> Strategy:
    n_iter = _n_iter(search)
    size = _round_size(search, n_iter)
    sampler = tpe.Tpe(search.param_space, n_iter, search.random_state)
    return Strategy(
        n_iter,
        lambda evaluate: tpe.run(evaluate, sampler, n_iter, size, folds.with_all_rows()),
    )


def _halving(search: Any, folds: Folds) -> Strategy:
    space, state = search.param_space, search.random_state
    if search.n_iter is None:
        candidates = samplers.grid(space)
    else:
        candidates = samplers.random(space, search.n_iter, state)
    by_rows = search.resource == "n_samples"
    epochs = None if by_rows else _max_iter(search.estimator)
    if epochs is not None and any(epochs in each for each in candidates):
        raise ValueError(
            f"param_space has {epochs!r}, which resource='epochs' sets; take it out of "
            "param_space, or use resource='n_samples'"
        )
    n = count_rows(folds.X)
    smallest = _smallest(search, folds) if by_rows else 1
    if not isinstance(search.min_resources, str):
        smallest = search.min_resources
    largest = _largest(search, n, epochs)
    exhaust = search.min_resources == "exhaust"
    steps = halving.plan(len(candidates), search.factor, smallest, largest, exhaust)
    kept = [] if by_rows else folds.with_all_rows()
    return Strategy(
        sum(steps.n_candidates),
        lambda evaluate: halving.run(
            evaluate,
            candidates,
            steps,
            lambda rows: folds.with_fraction(rows / n, state) if by_rows else kept,
            epochs,
        ),
        steps.attributes(),
    )


def _max_iter(estimator: Any) -> str:
    """Return the name of the parameter with the number of epochs."""
    return f"{estimator.steps[-1][0]}__max_iter" if isinstance(estimator, Pipeline) else "max_iter"


def _smallest(search: Any, folds: Folds) -> int:
    """Return the least number of rows: as in scikit-learn, 2 per fold and class."""
    classes = len(np.unique(folds.y)) if is_classifier(search.estimator) else 1
    return 2 * len(folds) * classes


def _largest(search: Any, n: int, epochs: str | None) -> int:
    """Return the largest number of resources. epochs : the parameter; None for ``n`` rows."""
    if search.max_resources != "auto":
        if epochs is None and search.max_resources > n:
            raise ValueError(
                f"max_resources is {search.max_resources}, but X has {n} rows; give at most as "
                "many, or 'auto'"
            )
        return int(search.max_resources)
    if epochs is None:
        return n
    most = search.estimator.get_params()[epochs]
    if isinstance(most, str):
        raise ValueError(
            f"resource='epochs' needs the largest number of epochs, but {epochs} of the estimator "
            f"is {most!r}; give it as max_resources"
        )
    return int(most)
