"""Evaluate the candidates of a search, group by group, and collect the results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpubp.selection.folds import Fold
from gpubp.selection.group import Deadline, Group, Params, Reason
from gpubp.selection.progress import Progress
from gpubp.selection.scoring import Result, Scoring


class SearchStopped(Exception):
    """The search was interrupted, or its time is up; the results so far are kept."""


class Evaluation:
    """Evaluates groups of candidates and collects the results.

    estimator : of which each candidate is a clone with other parameters.
    deadline : after it, trainings are stopped.

    candidates, results, more : the parameters of the candidates with all folds; the results of
    these folds; further entries of cv_results_. stopped_by : why the search ended early; None if
    it did not.
    """

    def __init__(
        self,
        estimator: Any,
        scoring: Scoring,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        self._estimator, self._scoring = estimator, scoring
        self._deadline, self._progress = deadline, progress
        self.candidates: list[Params] = []
        self.results: list[Result] = []
        self.more: dict[str, list[Any]] = defaultdict(list)
        self.stopped_by: Reason | None = None

    def __call__(
        self,
        candidates: Iterable[Params],
        folds: Sequence[Fold],
        more: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Train and score candidates together; return the mean test score of each.

        more : further entries of cv_results_, equal for these candidates.

        Raises SearchStopped if some could not be finished.
        """
        candidates = list(candidates)
        if self._deadline.is_over():
            self.stopped_by = "time_limit"
            raise SearchStopped
        self._progress.begin(len(candidates), len(folds))
        group = Group(self._estimator, candidates, folds, self._scoring, self._progress)
        self.stopped_by = group.run(self._deadline)
        finished = self._keep(candidates, group, len(folds), more or {})
        if self.stopped_by:
            raise SearchStopped
        return np.array([self._scoring.mean(results) for results in finished])

    def _keep(
        self, candidates: Sequence[Params], group: Group, n_folds: int, more: Mapping[str, Any]
    ) -> list[list[Result]]:
        """Keep the results of the candidates whose folds are all finished, and return them."""
        finished = []
        for number, params in enumerate(candidates):
            results = group.of_candidate(number)
            if len(results) < n_folds:
                continue
            finished.append(results)
            self.candidates.append(params)
            for name, value in more.items():
                self.more[name].append(value)
            self.results += results
        return finished
