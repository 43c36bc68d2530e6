"""The trials of a sweep: parameters, scores of the folds, seconds; and which parameters matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpubp.selection.search import MLPSearchCV
from gpubp.selection.space import Range, Space

MOST_BINS = 6
FEWEST_TRIALS = 20  # for an importance


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.

    number : from 1, in the order of the search. scores : of the folds; NaN for a fit that failed.
    mean, std : of the scores. seconds : of the trainings and the scoring of all folds. rank : from
    1; trials of the last iteration of 'halving' come first. iteration, rows : of 'halving', from 1,
    and the number of rows; None for other samplers.
    """

    number: int
    params: Mapping[str, Any]
    scores: tuple[float, ...]
    mean: float
    std: float
    seconds: float
    rank: int
    iteration: int | None = None
    rows: int | None = None

    @property
    def failed(self) -> bool:
        """Whether the trial has no score, because a fit failed."""
        return not math.isfinite(self.mean)


@dataclass(frozen=True)
class Sweep:
    """The results of a sweep.

    trials : the finished ones, in the order of the search. best : the one of rank 1. total : the
    number of trials that were asked for. space : for each parameter, the values or the range.
    metric : name of the score. resumed : the number of trials from an earlier run. stopped_by :
    why trials are missing. seconds : of this run. source, target : names of table and target.
    """

    trials: Sequence[Trial]
    best: Trial
    total: int
    space: Space
    metric: str
    sampler: str
    folds: int
    seed: int
    resumed: int
    stopped_by: Literal["interrupt", "time_limit"] | None
    seconds: float
    source: str
    target: str

    @property
    def ranked(self) -> list[Trial]:
        """The trials, the best first."""
        return sorted(self.trials, key=lambda trial: trial.rank)

    @property
    def varied(self) -> list[str]:
        """The parameters that have more than one value."""
        return [name for name, of in self.space.items() if isinstance(of, Range) or len(of) > 1]

    @property
    def first_iteration(self) -> list[Trial]:
        """The trials with a score that were given equal resources: all, unless by 'halving'."""
        return [t for t in self.trials if t.iteration in (None, 1) and not t.failed]


def trials_of(search: MLPSearchCV) -> list[Trial]:
    """Return the trials of a search."""
    results = search.cv_results_
    n_folds = search.n_splits_
    means = results["mean_test_score"]
    iterations = results.get("iter", np.zeros(len(means), int))
    order = np.lexsort((np.arange(len(means)), -np.nan_to_num(means, nan=-np.inf), -iterations))
    ranks = np.empty(len(means), int)
    ranks[order] = np.arange(1, len(means) + 1)
    seconds = n_folds * (results["mean_fit_time"] + results["mean_score_time"])
    halving = "iter" in results
    return [
        Trial(
            number=k + 1,
            params=params,
            scores=tuple(float(results[f"split{j}_test_score"][k]) for j in range(n_folds)),
            mean=float(means[k]),
            std=float(results["std_test_score"][k]),
            seconds=float(seconds[k]),
            rank=int(ranks[k]),
            iteration=int(iterations[k]) + 1 if halving else None,
            rows=int(results["n_resources"][k]) if halving else None,
        )
        for k, params in enumerate(results["params"])
    ]


def importances(sweep: Sweep) -> dict[str, float]:
    """Return the share of the variance of the ranks of the scores that each parameter explains.

    The trials are grouped by the value of the parameter, or for a range into up to `MOST_BINS`
    groups of equally many trials. The share is epsilon squared of the analysis of variance,
    (SSB - (k - 1) MSW) / SST for k groups: about 0 for a parameter without effect, however many
    groups it has. Ranks are used because a diverged training would dominate the variance of the
    scores. The shares need not add up to 1, since parameters also act together. The largest comes
    first; there is none with fewer than `FEWEST_TRIALS` trials.
    """
    trials = sweep.first_iteration
    if len(trials) < FEWEST_TRIALS:
        return {}
    scores = np.array([trial.mean for trial in trials])
    ranks = _ranks(scores)
    found = {name: _share(ranks, groups_of(sweep, name, trials)) for name in sweep.varied}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks (n,) of values; equal values have their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2)[places]
    return ranks


def groups_of(sweep: Sweep, name: str, trials: Sequence[Trial]) -> np.ndarray:
    """Return the number of the group (n,) of each trial."""
    values = [trial.params[name] for trial in trials]
    of = sweep.space[name]
    if not isinstance(of, Range):
        known = {repr(value): k for k, value in enumerate(of)}
        return np.array([known[repr(value)] for value in values])
    bins = min(MOST_BINS, max(2, len(trials) // 5))
    order = np.argsort(np.argsort(np.array(values, float), kind="stable"), kind="stable")
    return np.asarray(order * bins // len(trials))


def _share(ranks: np.ndarray, groups: np.ndarray) -> float:
    total = float(np.sum((ranks - ranks.mean()) ** 2))
    parts = [ranks[groups == k] for k in np.unique(groups)]
    if total == 0 or len(parts) in (1, len(ranks)):
        return 0.0
    within = sum(float(np.sum((part - part.mean()) ** 2)) for part in parts)
    mean_within = within / (len(ranks) - len(parts))
    return max(0.0, (total - within - (len(parts) - 1) * mean_within) / total)
