"""Candidates that are trained together on all folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from time import perf_counter
from typing import Any, Literal

from sklearn.base import clone

from gpubp.estimators.fit_estimators import Outcome, end_callbacks, fit_together
from gpubp.estimators.fitted_attributes import history_of
from gpubp.estimators.recorded_predictions import forget_passes
from gpubp.selection.fold_fits import FoldFit, fold_fit
from gpubp.selection.folds import Fold
from gpubp.selection.progress import Progress
from gpubp.selection.samplers import Params
from gpubp.selection.scoring import Result, Scoring
from gpubp.training.deadline import Deadline
from gpubp.training.inference import free_device_parameters

Reason = Literal["interrupt", "time_limit"]


class _TimeIsUp(Exception):
    """Ends fit_together when the time of the search is up."""


class Group:
    """Candidates that are trained together on all folds.

    estimator : of which each candidate is a clone with other parameters. on_candidate : called with
    the parameters and the results of each candidate when its folds are all finished. others : see
    `fit_together`.

    results : one per candidate and fold, the folds of a candidate in a row; None if unfinished.
    """

    def __init__(
        self,
        estimator: Any,
        candidates: Sequence[Params],
        folds: Sequence[Fold],
        scoring: Scoring,
        progress: Progress,
        on_candidate: Callable[[Params, list[Result]], None],
        others: int,
    ) -> None:
        self._estimator, self._scoring, self._progress = estimator, scoring, progress
        self._on_candidate, self._others = on_candidate, others
        self._began = perf_counter()
        self._candidates, self._n_folds = candidates, len(folds)
        self._pairs = list(product(candidates, folds))
        self._fits: dict[int, FoldFit] = {}
        self._scoring_seconds = 0.0
        self.results: list[Result | None] = [None] * len(self._pairs)

    def run(self, deadline: Deadline) -> Reason | None:
        """Train and score; return why the search is to stop, None if it goes on."""
        self._began = perf_counter()
        reason: Reason | None = None
        try:
            if self._train(deadline):
                reason = "interrupt"
        except KeyboardInterrupt:
            reason = "interrupt"
        except _TimeIsUp:
            reason = "time_limit" if None in self.results else None
        finally:
            for each in self._fits.values():  # that were not trained
                end_callbacks(each.fit.estimator)
        trained = [each for each in self.results if each and each["fit_error"] is None]
        share = self._training_seconds() / max(len(trained), 1)
        for result in trained:
            result["fit_time"] = share
        return reason

    def _training_seconds(self) -> float:
        return perf_counter() - self._began - self._scoring_seconds

    def _train(self, deadline: Deadline) -> bool:
        """Train and score; return whether it was interrupted."""
        for k, (params, fold) in enumerate(self._pairs):
            # As in scikit-learn, an unknown name raises: the parameters are cloned, since they may
            # be estimators.
            candidate = clone(self._estimator).set_params(**clone(params, safe=False))
            try:
                self._fits[k] = fold_fit(candidate, fold.train)
            except Exception as error:
                self._end(k, self._scoring.of_failure(error))
        places = list(self._fits)
        fits = [self._fits[k].fit._replace(on_epoch=deadline.on_epoch) for k in places]

        def on_end(j: int, outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                self._end(places[j], self._scoring.of_failure(outcome))
            else:
                self._finish(places[j], deadline)

        return fit_together(fits, on_end, others=self._others)

    def _finish(self, k: int, deadline: Deadline) -> None:
        """Score a trained network and forget its weights."""
        of, over = self._fits.pop(k), deadline.is_over()
        network = of.fit.estimator
        stopped = history_of(network).stopped_by
        began = perf_counter()
        try:
            if stopped != "interrupt" and not (over and stopped == "callback"):
                self._end(k, self._scored(of, self._pairs[k][1]))
        finally:
            _forget(network)
            self._scoring_seconds += perf_counter() - began
        if over:
            raise _TimeIsUp

    def _scored(self, of: FoldFit, fold: Fold) -> Result:
        try:
            fitted = of.finish()
        except Exception as error:
            return self._scoring.of_failure(error)
        return self._scoring.of(fitted, fold)

    def _end(self, k: int, result: Result) -> None:
        self.results[k] = result
        own = self.of_candidate(k // self._n_folds)
        if len(own) == self._n_folds:
            for each in own:  # all networks of the group were trained in this time
                each.setdefault("fit_time", self._training_seconds() / len(self._pairs))
            self._on_candidate(self._pairs[k][0], own)
            self._progress.end_candidate(self._pairs[k][0], self._scoring.mean(own))
        self._progress.end_fit()

    def of_candidate(self, number: int) -> list[Result]:
        """Return the results of the finished folds of a candidate."""
        own = self.results[number * self._n_folds : (number + 1) * self._n_folds]
        return [each for each in own if each is not None]


def _forget(network: Any) -> None:
    """Delete the fitted attributes of a network, and what predictions keep for it.

    The networks themselves are kept until the last of them is trained.
    """
    end_callbacks(network)
    free_device_parameters(network)
    forget_passes(network)
    parameters = network.get_params(deep=False)
    vars(network).clear()
    vars(network).update(parameters)
