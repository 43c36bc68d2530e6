"""MLPSearchCV: search hyperparameters by cross-validation, with the networks trained together."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from time import perf_counter
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import indexable

from gpubp.backends.foreign_arrays import on_host
from gpubp.estimators.hyperparameters import set_parameters
from gpubp.selection.evaluation import Evaluation, SearchStopped
from gpubp.selection.fold_fits import check_supported, split_off_target
from gpubp.selection.folds import Folds, is_table, rows_for_splitter
from gpubp.selection.halving import best_of_last_iteration
from gpubp.selection.progress import Progress
from gpubp.selection.scoring import Scoring
from gpubp.selection.strategies import strategy_of
from gpubp.selection.trial_log import NoTrialLog, TrialLog
from gpubp.tables.table import Table
from gpubp.training.deadline import Deadline

# Parameters of scikit-learn's search classes that are not needed.
_NOT_USED = ("n_jobs", "pre_dispatch")


class MLPSearchCV(BaseSearchCV):
    """Search of hyperparameters by cross-validation, with the networks trained together.

    Like GridSearchCV, RandomizedSearchCV and HalvingRandomSearchCV of scikit-learn, with the same
    results, but the networks of all candidates and folds are trained in one call.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TableClassifier, TableRegressor or Pipeline
        The estimator whose parameters are searched. The last step of a Pipeline is one of the
        others; its other steps are fitted to the training rows of each fold.
    param_space : dict or list of dict
        For each parameter, a list of values or a distribution of `scipy.stats`, as in
        RandomizedSearchCV. A list of dicts is a list of such spaces.
    sampler : {'random', 'grid', 'halving', 'tpe'}, default='random'
        How candidates are chosen:

        - 'random': ``n_iter`` random candidates.
        - 'grid': all combinations of the values; param_space has only lists.
        - 'halving': successive halving. Starts with ``n_iter`` random candidates and a small
          number of rows or epochs (``resource``). In each iteration, the best candidates go on
          with ``factor`` times as many.
        - 'tpe': ``n_iter`` candidates in rounds, each of which learns from the scores of the
          rounds before, by the tree-structured Parzen estimator of optuna. Needs
          ``pip install 'gpubp[sweep]'``.

    n_iter : int or None, default=10
        Number of candidates. None: all combinations of the values, for 'halving' only. Ignored by
        'grid'.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in GridSearchCV. Of several scores, 'halving' and 'tpe' use the one that refit names,
        or else the first.
    refit : bool, str or callable, default=True
        As in GridSearchCV.
    cv : int, splitter, iterable or None, default=None
        As in GridSearchCV.
    verbose : int, default=0
        1 prints the number of finished fits, the best score and the time left; 2 also prints the
        score of each candidate.
    random_state : int, RandomState instance or None, default=None
        For the choice of candidates, and of rows by 'halving'.
    error_score : 'raise' or numeric, default=np.nan
        Score of a fit that fails; "raise" raises its error.
    return_train_score : bool, default=False
        Whether `cv_results_` includes the scores on the training rows.
    time_limit : float or None, default=None
        Seconds after which the search stops as after an interrupt: `cv_results_` then has the
        candidates whose folds are all finished. The refit comes after this time. Networks that are
        trained together often end together, so with a limit 'random' and 'grid' train candidates
        in rounds; see ``round_size``.
    factor : float, default=3
        For 'halving': 1 / factor of the candidates go on, with factor times the resources.
    resource : {'n_samples', 'epochs'}, default='n_samples'
        For 'halving': rows, or epochs (max_iter). Each iteration trains from scratch.
    min_resources : int, 'exhaust' or 'smallest', default='exhaust'
        For 'halving': number of rows or epochs in the first iteration. 'smallest' is 1 epoch, or
        2 rows per fold and class (2 per fold for a regression). 'exhaust' is at least that, and
        large enough for the last iteration to come close to ``max_resources``.
    max_resources : int or 'auto', default='auto'
        For 'halving': largest number of rows or epochs in an iteration. 'auto' is the number of
        rows of X, or max_iter of the estimator.
    round_size : int or 'auto', default='auto'
        Number of candidates that are trained together in a round. 'auto': five rounds for 'tpe',
        and for 'random' and 'grid' with ``time_limit``, else one. 'halving' trains the candidates
        of each iteration together.

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
        Index of the best candidate in `cv_results_`.
    scorer_ : callable or dict
        The scorer, or the scorers by name.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the refit.
    multimetric_ : bool
        Whether there are several scores.
    n_unfinished_ : int
        Number of candidates that are not in `cv_results_`, because the search was stopped.
    stopped_by_ : str or None
        Why the search ended early: 'interrupt' or 'time_limit'; None if it did not.
    n_candidates_, n_resources_ : list of int
        Number of candidates and of resources of each iteration; only for 'halving', as are the
        other attributes of HalvingRandomSearchCV.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{k: v for k, v in BaseSearchCV._parameter_constraints.items() if k not in _NOT_USED},
        "estimator": [HasMethods(["fit"])],
        "param_space": [dict, list, tuple],
        "sampler": [StrOptions({"random", "grid", "halving", "tpe"})],
        "n_iter": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "factor": [Interval(Real, 1, None, closed="neither")],
        "resource": [StrOptions({"n_samples", "epochs"})],
        "min_resources": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"exhaust", "smallest"}),
        ],
        "max_resources": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "round_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    # Set by `gpubp sweep`, which keeps the results of finished candidates in a file.
    _trial_log: TrialLog = NoTrialLog()

    def __init__(
        self,
        estimator: Any,
        param_space: Any,
        *,
        sampler: str = "random",
        n_iter: int | None = 10,
        scoring: Any = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        time_limit: float | None = None,
        factor: float = 3,
        resource: str = "n_samples",
        min_resources: int | str = "exhaust",
        max_resources: int | str = "auto",
        round_size: int | str = "auto",
    ) -> None:
        set_parameters(self, locals())

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, *, target: Any = None, **params: Any) -> Self:
        """Search, then fit the best candidate to all rows if refit is set; return self.

        X : (n_samples, n_features) array-like or sparse matrix; for the estimators for tables also
            a Table, a frame or a dict of columns. y : as for the estimator.
        target : for the estimators for tables, the name of the target column of X instead of y.
        params : sample_weight for the estimator, and for the scorer if it takes weights; groups
            for the splitter of cv; X_val and y_val for early stopping.

        Raises KeyboardInterrupt after an interrupt, and TimeoutError after time_limit, if no
        candidate finished all folds by then; KeyboardInterrupt also if those that did all failed.
        """
        check_supported(self.estimator)
        self._warn_of_callbacks()
        all_rows = X, y
        if target is not None or (y is None and isinstance(X, Table)):
            X, y = split_off_target(self.estimator, X, y, target, params)
        elif not is_table(X):
            X, y = indexable(X, on_host(y))
        if y is None:
            raise ValueError(
                "MLPSearchCV requires y to be passed, but the target y is None; pass y, or for "
                "tables the name of a column of X as target"
            )
        scorer, metric = self._get_scorers()
        routed = self._get_routed_params_for_fit(params)
        splits = self._splits(X, y, routed.splitter.split)
        folds = Folds(X, y, splits, routed.estimator.fit, routed.scorer.score)
        scoring = Scoring(scorer, metric, self.error_score, self.return_train_score)
        evaluation = self._search(folds, scoring)
        scoring.complete(evaluation.results)
        self._set_results(evaluation, scorer, metric)
        if self.refit:
            of_target = {} if target is None else {"target": target}
            self._refit(*all_rows, {**routed.estimator.fit, **of_target})
        return self

    def _warn_of_callbacks(self) -> None:
        if getattr(self, "_skl_callbacks", None):
            warnings.warn(
                "MLPSearchCV does not call the callbacks that are set on it; set them on its "
                "estimator, or print the progress with verbose=1",
                UserWarning,
                stacklevel=4,
            )

    def _splits(self, X: Any, y: Any, of_split: Any) -> list[Any]:
        """Return the indices of the training and test rows of each fold."""
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        rows = rows_for_splitter(X)
        self.n_splits_ = cv.get_n_splits(rows, y, **of_split)
        splits = list(cv.split(rows, y, **of_split))
        if len(splits) != self.n_splits_:
            raise ValueError(
                f"cv.get_n_splits returned {self.n_splits_}, but cv.split returned {len(splits)} "
                "splits; the two must agree"
            )
        return splits

    def _search(self, folds: Folds, scoring: Scoring) -> Evaluation:
        """Evaluate the candidates; return the results."""
        strategy = strategy_of(self, folds)
        if not strategy.n_candidates * len(folds):
            raise ValueError(
                "No fits were performed: cv returned no folds, or param_space has no candidates"
            )
        for name, value in strategy.attributes.items():
            setattr(self, name, value)
        progress = Progress(self.verbose, strategy.n_candidates * len(folds))
        deadline = Deadline(self.time_limit)
        self._trial_log.begin(strategy.n_candidates, len(folds))
        evaluation = Evaluation(clone(self.estimator), scoring, deadline, progress, self._trial_log)
        self.n_unfinished_ = 0
        self.stopped_by_ = None
        try:
            strategy.run(evaluation)
        except (SearchStopped, KeyboardInterrupt):
            evaluation.stopped_by = evaluation.stopped_by or "interrupt"
            self.stopped_by_ = evaluation.stopped_by
            self.n_unfinished_ = strategy.n_candidates - len(evaluation.candidates)
            self._warn_why_stopped(evaluation)
        return evaluation

    def _warn_why_stopped(self, evaluation: Evaluation) -> None:
        """Warn of candidates that are left out; raise if none is finished, or all failed."""
        interrupted = evaluation.stopped_by == "interrupt"
        if interrupted and all(result["fit_error"] for result in evaluation.results):
            raise KeyboardInterrupt
        if not evaluation.candidates:
            raise TimeoutError(
                f"no candidate finished its {self.n_splits_} folds within "
                f"time_limit={self.time_limit!r} seconds; raise time_limit, or lower n_iter, cv or "
                "max_iter"
            )
        why = "was interrupted" if interrupted else f"reached time_limit={self.time_limit!r}"
        if not self.n_unfinished_:
            return
        total = self.n_unfinished_ + len(evaluation.candidates)
        warnings.warn(
            f"The search {why}: {self.n_unfinished_} of {total} candidates did not finish all "
            "folds and are left out of cv_results_",
            UserWarning,
            stacklevel=4,
        )

    def _set_results(self, evaluation: Evaluation, scorer: Any, metric: Any) -> None:
        """Set cv_results_ and the attributes of the best candidate."""
        results = self._format_results(
            evaluation.candidates, self.n_splits_, evaluation.results, evaluation.more
        )
        first = evaluation.results[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            metric = self.refit
        if self.refit or not self.multimetric_:
            if "iter" in results and not callable(self.refit):
                self.best_index_ = best_of_last_iteration(results, metric)
            else:
                self.best_index_ = self._select_best_index(self.refit, metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        self.scorer_ = scorer._scorers if isinstance(scorer, _MultimetricScorer) else scorer
        self.cv_results_ = results

    def _refit(self, X: Any, y: Any, fit_params: Any) -> None:
        """Fit the best candidate to all rows."""
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        began = perf_counter()
        self.best_estimator_ = best.fit(X, y, **fit_params)
        self.refit_time_ = perf_counter() - began
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_
