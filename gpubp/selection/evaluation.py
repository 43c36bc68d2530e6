"""Evaluate the candidates of a search, group by group, and collect the results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from gpubp.estimators.fit_estimators import networks_of
from gpubp.selection.folds import Fold
from gpubp.selection.group import Group, Reason
from gpubp.selection.progress import Progress
from gpubp.selection.samplers import Params
from gpubp.selection.scoring import Result, Scoring
from gpubp.selection.trial_log import TrialLog
from gpubp.training.deadline import Deadline


class SearchStopped(Exception):
    """The search was interrupted, or its time is up; the results so far are kept."""


class Evaluation:
    """Evaluates groups of candidates and collects the results.

    estimator : of which each candidate is a clone with other parameters.
    deadline : after it, trainings are stopped. log : is told of each finished candidate; those
    whose results it knows are not trained.

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
        log: TrialLog,
    ) -> None:
        self._estimator, self._scoring = estimator, scoring
        self._deadline, self._progress, self._log = deadline, progress, log
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
        candidates, more = list(candidates), more or {}
        known = [self._log.known(params, more) for params in candidates]
        pairs = list(zip(candidates, known, strict=True))
        new = [params for params, of in pairs if of is None]
        old = [params for params, of in pairs if of is not None]
        trained = iter(self._train(new, old, folds, more))
        results = [next(trained) if of is None else of for of in known]
        finished = self._keep(candidates, results, len(folds), more)
        if len(finished) < len(candidates):
            self.stopped_by = self.stopped_by or "interrupt"
        if self.stopped_by:
            raise SearchStopped
        return np.array([self._scoring.mean(each) for each in finished])

    def _train(
        self,
        new: Sequence[Params],
        old: Sequence[Params],
        folds: Sequence[Fold],
        more: Mapping[str, Any],
    ) -> list[list[Result]]:
        """Train and score candidates; return the results of the finished folds of each.

        old : the candidates whose results are known.
        """
        self._progress.skip(len(old) * len(folds))
        if not new:
            return []
        if self._deadline.is_over():
            self.stopped_by = "time_limit"
            return [[] for _ in new]

        def on_candidate(params: Params, results: list[Result]) -> None:
            self._log.finished(params, more, results)

        self._progress.begin(len(new), len(folds))
        group = Group(
            *(self._estimator, new, folds, self._scoring, self._progress),
            on_candidate=on_candidate,
            others=len(folds) * sum(map(self._networks, old)),
        )
        self.stopped_by = group.run(self._deadline)
        return [group.of_candidate(number) for number in range(len(new))]

    def _networks(self, params: Params) -> int:
        """Return the number of networks of a candidate."""
        candidate = clone(self._estimator).set_params(**clone(params, safe=False))
        return networks_of(candidate.steps[-1][1] if isinstance(candidate, Pipeline) else candidate)

    def _keep(
        self,
        candidates: Sequence[Params],
        all_results: Sequence[list[Result]],
        n_folds: int,
        more: Mapping[str, Any],
    ) -> list[list[Result]]:
        """Keep the results of the candidates whose folds are all finished, and return them."""
        finished = []
        for params, results in zip(candidates, all_results, strict=True):
            if len(results) < n_folds:
                continue
            finished.append(results)
            self.candidates.append(params)
            for name, value in more.items():
                self.more[name].append(value)
            self.results += results
        return finished
