"""Successive halving: many candidates with few resources, the best of them with more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from gpubp.selection.evaluation import Evaluation
from gpubp.selection.folds import Fold
from gpubp.selection.samplers import Params

Resource = Literal["n_samples", "epochs"]


@dataclass(frozen=True)
class Plan:
    """The iterations of a search: how many candidates each has, with how many resources.

    factor : see `plan`. required : the iterations after which less than ``factor`` candidates are
    left. possible : the iterations that the resources suffice for.
    """

    n_candidates: tuple[int, ...]
    n_resources: tuple[int, ...]
    factor: float
    smallest: int
    largest: int
    required: int
    possible: int

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes that HalvingRandomSearchCV has."""
        return {
            "n_candidates_": list(self.n_candidates),
            "n_resources_": list(self.n_resources),
            "n_iterations_": len(self.n_candidates),
            "n_remaining_candidates_": ceil(self.n_candidates[-1] / self.factor),
            "n_required_iterations_": self.required,
            "n_possible_iterations_": self.possible,
            "min_resources_": self.smallest,
            "max_resources_": self.largest,
        }


def plan(n_candidates: int, factor: float, smallest: int, largest: int, exhaust: bool) -> Plan:
    """Return the plan that HalvingRandomSearchCV of scikit-learn follows.

    factor : of the resources from one iteration to the next, and of the candidates, inverted.
    smallest, largest : limits of the resources. exhaust : raise ``smallest`` so that the last
    iteration has as many resources as possible.

    Raises ValueError if ``smallest`` is above ``largest``.
    """
    if smallest > largest:
        raise ValueError(
            f"min_resources is {smallest}, but only {largest} are available; lower min_resources, "
            "or raise max_resources"
        )
    required = 1 + _whole_powers(n_candidates, factor)
    if exhaust:
        smallest = max(smallest, int(largest // factor ** (required - 1)))
    possible = 1 + _whole_powers(largest // smallest, factor)
    counts, resources = [n_candidates], [smallest]
    for power in range(1, min(required, possible)):
        counts.append(ceil(counts[-1] / factor))
        resources.append(min(int(factor**power * smallest), largest))
    return Plan(tuple(counts), tuple(resources), factor, smallest, largest, required, possible)


def _whole_powers(number: int, factor: float) -> int:
    """Return the largest k with factor**k <= number; a logarithm could be rounded below k."""
    k = 0
    while factor ** (k + 1) <= number:
        k += 1
    return k


def run(
    evaluate: Evaluation,
    candidates: Sequence[Params],
    steps: Plan,
    folds_with: Callable[[int], Sequence[Fold]],
    resource: str | None,
) -> None:
    """Evaluate ``candidates`` by successive halving.

    folds_with : returns the folds for a number of resources.
    resource : the parameter that is set to the number of resources; None for the number of rows.
    """
    for i, n_resources in enumerate(steps.n_resources):
        if resource is not None:
            candidates = [{**each, resource: n_resources} for each in candidates]
        more = {"iter": i, "n_resources": n_resources}
        scores = evaluate(candidates, folds_with(n_resources), more)
        if np.isnan(scores).all():  # more resources would fail too
            return
        best_first = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
        if i + 1 < len(steps.n_candidates):
            candidates = [candidates[k] for k in best_first[: steps.n_candidates[i + 1]]]


def best_of_last_iteration(results: dict[str, Any], metric: str) -> int:
    """Return the index of the best candidate of the last iteration; its first if all are NaN."""
    places = np.flatnonzero(results["iter"] == np.max(results["iter"]))
    scores = results[f"mean_test_{metric}"][places]
    return int(places[0 if np.isnan(scores).all() else np.nanargmax(scores)])
