"""The scores of a fit in cv_results_, and those of a fit that failed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _score,
    _warn_or_raise_about_fit_failures,
)

from gpubp.selection.folds import Fold

Result = dict[str, Any]


class Scoring:
    """Computes the results of fits, in the form that scikit-learn's search classes use.

    scorer : as returned by BaseSearchCV._get_scorers. metric : the name of the score that ranks
    candidates, if there are several. error_score : of a fit that fails, or "raise". train : whether
    to score the training rows too.
    """

    def __init__(self, scorer: Any, metric: str | None, error_score: Any, train: bool) -> None:
        self._scorer, self._metric = scorer, metric
        self.error_score, self._train = error_score, train

    def of(self, estimator: Any, fold: Fold) -> Result:
        """Return the scores of a fitted estimator on a fold, and the time that they took."""
        began = perf_counter()
        test = self._score(estimator, fold.X_test, fold.y_test, fold.score_test)
        result = {"fit_error": None, "test_scores": test, "score_time": perf_counter() - began}
        if self._train:
            rows = fold.train
            result["train_scores"] = self._score(estimator, rows.X, rows.y, fold.score_train)
        return result

    def _score(self, estimator: Any, X: Any, y: Any, params: Mapping[str, Any]) -> Any:
        return _score(estimator, X, y, self._scorer, params, self.error_score)

    def of_failure(self, error: Exception) -> Result:
        """Return the scores of a fit that raised ``error``; raise it if error_score is "raise"."""
        if self.error_score == "raise":
            raise error
        text = "".join(traceback.format_exception(error))
        result = {"fit_error": text, "fit_time": 0.0, "score_time": 0.0}
        for name in ("test_scores", "train_scores") if self._train else ("test_scores",):
            if isinstance(self._scorer, _MultimetricScorer):
                result[name] = dict.fromkeys(self._scorer._scorers, self.error_score)
            else:
                result[name] = self.error_score
        return result

    def complete(self, results: Sequence[Result]) -> None:
        """Warn of fits that failed; raise if all did.

        The scores of failures become dicts if the scorer is a function that returns a dict, which
        only the scores of other fits show.
        """
        _warn_or_raise_about_fit_failures(results, self.error_score)
        if not isinstance(self._scorer, _MultimetricScorer):
            _insert_error_scores(results, self.error_score)

    def mean(self, results: Sequence[Result]) -> float:
        """Return the mean test score of the folds of a candidate, by the metric that ranks it."""
        return float(np.mean([self._one(each["test_scores"]) for each in results]))

    def _one(self, scores: Any) -> float:
        if not isinstance(scores, dict):  # also the score of a failure
            return float(scores)
        return float(scores[self._metric if self._metric in scores else next(iter(scores))])
