"""MLPSearchCV: search hyperparameters by cross-validation, with the networks trained together."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from time import perf_counter
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import indexable

from gpubp.selection import samplers
from gpubp.selection.evaluation import Evaluation, SearchStopped
from gpubp.selection.fold_fits import check_supported
from gpubp.selection.folds import Fold, is_table, rows_for_splitter
from gpubp.selection.group import Deadline
from gpubp.selection.progress import Progress
from gpubp.selection.scoring import Scoring

# Parameters of scikit-learn's search classes that are not needed.
_NOT_USED = ("n_jobs", "pre_dispatch")


class MLPSearchCV(BaseSearchCV):
    """Search of hyperparameters by cross-validation, with all networks trained together.

    Like GridSearchCV and RandomizedSearchCV of scikit-learn, with the same results, but the
    networks of all candidates and folds are trained in one call, not one after the other.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        The estimator to search for, or a Pipeline whose last step is one of them.
    param_space : dict or list of dict
        For each parameter, a list of values or a distribution of `scipy.stats`, as in
        RandomizedSearchCV. A list of dicts is a list of such spaces.
    sampler : {'random', 'grid'}, default='random'
        How candidates are chosen:

        - 'random': ``n_iter`` random candidates.
        - 'grid': all combinations of the values; param_space has only lists.

    n_iter : int, default=10
        Number of candidates. Ignored by 'grid'.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in GridSearchCV.
    refit : bool, str or callable, default=True
        As in GridSearchCV.
    cv : int, splitter, iterable or None, default=None
        As in GridSearchCV.
    verbose : int, default=0
        1 prints the number of finished fits, the best score and the time left; 2 also prints the
        score of each candidate.
    random_state : int, RandomState instance or None, default=None
        For the choice of candidates.
    error_score : 'raise' or numeric, default=np.nan
        Score of a fit that fails; "raise" raises its error.
    return_train_score : bool, default=False
        Whether cv_results_ includes the scores on the training rows.
    time_limit : float or None, default=None
        Seconds after which the search stops as after an interrupt: cv_results_ then has the
        candidates whose folds are all finished. The refit comes after this time.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As in GridSearchCV. ``mean_fit_time`` is the time of the whole group of networks that were
        trained together, divided by their number.
    best_estimator_ : estimator
        The estimator fitted on all rows with the best parameters; only with refit.
    best_score_ : float
        Mean test score of the best candidate.
    best_params_ : dict
        Parameters of the best candidate.
    best_index_ : int
        Index of the best candidate in cv_results_.
    scorer_ : callable or dict
        The scorer, or the scorers by name.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the refit.
    multimetric_ : bool
        Whether there are several scores.
    n_unfinished_ : int
        Number of candidates that are not in cv_results_, because the search was stopped.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{k: v for k, v in BaseSearchCV._parameter_constraints.items() if k not in _NOT_USED},
        "estimator": [HasMethods(["fit"])],
        "param_space": [dict, list, tuple],
        "sampler": [StrOptions({"random", "grid"})],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        estimator: Any,
        param_space: Any,
        *,
        sampler: str = "random",
        n_iter: int = 10,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        time_limit: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.param_space = param_space
        self.sampler = sampler
        self.n_iter = n_iter
        self.scoring = scoring
        self.refit = refit
        self.cv = cv
        self.verbose = verbose
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.time_limit = time_limit

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, then fit the best candidate to all rows if refit is set; return self.

        X : (n_samples, n_features) array-like or sparse matrix. y : as for the estimator.
        params : sample_weight for the estimator, and for the scorer if it takes weights; groups
            for the splitter of cv.

        Raises KeyboardInterrupt after an interrupt, and TimeoutError after time_limit, if no
        candidate finished all folds by then.
        """
        check_supported(self.estimator)
        if not is_table(X):
            X, y = indexable(X, y)
        scorer, metric = self._get_scorers()
        routed = self._get_routed_params_for_fit(params)
        fit_params, of_split = routed.estimator.fit, routed.splitter.split
        folds = self._folds(X, y, fit_params, routed.scorer.score, of_split)
        scoring = Scoring(scorer, metric, self.error_score, self.return_train_score)
        evaluation = self._search(folds, scoring)
        self._set_results(evaluation, scorer, metric)
        if self.refit:
            self._refit(X, y, fit_params)
        return self

    def _folds(
        self, X: Any, y: Any, fit_params: Any, score_params: Any, of_split: Any
    ) -> list[Fold]:
        """Return the folds of cv, with copies of their rows."""
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        rows = rows_for_splitter(X)
        self.n_splits_ = cv.get_n_splits(rows, y, **of_split)
        splits = list(cv.split(rows, y, **of_split))
        if len(splits) != self.n_splits_:
            raise ValueError(
                f"cv.get_n_splits returned {self.n_splits_}, but cv.split returned {len(splits)} "
                "splits; the two must agree"
            )
        return [Fold(X, y, train, test, fit_params, score_params) for train, test in splits]

    def _search(self, folds: list[Fold], scoring: Scoring) -> Evaluation:
        """Evaluate the candidates; return the results."""
        candidates = self._candidates()
        progress = Progress(self.verbose, len(candidates) * len(folds))
        deadline = Deadline(self.time_limit)
        evaluation = Evaluation(clone(self.estimator), folds, scoring, deadline, progress)
        try:
            evaluation(candidates)
        except SearchStopped:
            self._warn_why_stopped(evaluation)
        self.n_unfinished_ = evaluation.unfinished
        return evaluation

    def _candidates(self) -> list[dict[str, Any]]:
        if self.sampler == "grid":
            return samplers.grid(self.param_space)
        return samplers.random(self.param_space, self.n_iter, self.random_state)

    def _warn_why_stopped(self, evaluation: Evaluation) -> None:
        """Warn of candidates that are left out; raise if none is finished."""
        interrupted = evaluation.stopped_by == "interrupt"
        if not evaluation.candidates:
            if interrupted:
                raise KeyboardInterrupt
            raise TimeoutError(
                f"no candidate finished its {self.n_splits_} folds within "
                f"time_limit={self.time_limit!r} seconds; raise time_limit, or lower n_iter, cv or "
                "max_iter"
            )
        why = "was interrupted" if interrupted else f"reached time_limit={self.time_limit!r}"
        left = evaluation.unfinished
        total = left + len(evaluation.candidates)
        warnings.warn(
            f"The search {why}: {left} of {total} candidates did not finish all folds and are left "
            "out of cv_results_",
            UserWarning,
            stacklevel=4,
        )

    def _set_results(self, evaluation: Evaluation, scorer: Any, metric: Any) -> None:
        """Set cv_results_ and the attributes of the best candidate."""
        if not evaluation.results:
            raise ValueError(
                "No fits were performed: cv returned no folds, or param_space has no candidates"
            )
        results = self._format_results(
            evaluation.candidates, self.n_splits_, evaluation.results, evaluation.more
        )
        first = evaluation.results[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        self.scorer_ = getattr(scorer, "_scorers", scorer)
        self.cv_results_ = results

    def _refit(self, X: Any, y: Any, fit_params: Any) -> None:
        """Fit the best candidate to all rows."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        began = perf_counter()
        self.best_estimator_ = best.fit(X, y, **fit_params)
        self.refit_time_ = perf_counter() - began
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_
