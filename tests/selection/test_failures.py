"""Fits and scorers that fail: error_score, warnings and errors as in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from gpubp import MLPSearchCV
from gpubp.estimators import fit_estimators
from tests.selection.cases import (
    SPACE,
    assert_same_results,
    classes,
    classifier,
    numbers,
    regressor,
    warnings_of,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WRONG = {"alpha": [0.1, -1.0, 1.0]}


def both(space: Any, **options: Any) -> tuple[Any, Any, str, str]:
    """Search the grid with ours and with scikit-learn's; return both and their warnings."""
    ours = MLPSearchCV(classifier(), space, sampler="grid", cv=2, **options)
    theirs = GridSearchCV(classifier(), space, cv=2, **options)
    told = warnings_of(lambda: ours.fit(*classes()))
    expected = warnings_of(lambda: theirs.fit(*classes()))
    return ours, theirs, told, expected


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("score", [np.nan, 0.0, -1])
@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
def test_a_fit_that_fails_does_not_stop_the_others(score: Any, scoring: Any, train: bool) -> None:
    refit = "accuracy" if scoring else True
    options = {"error_score": score, "scoring": scoring, "refit": refit}
    ours, theirs, told, expected = both(WRONG, **options, return_train_score=train)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert ours.best_params_ == theirs.best_params_
    head = "\n2 fits failed out of a total of 6."
    assert head in told
    assert head in expected
    assert "The 'alpha' parameter of MLPClassifier must be a float" in told
    assert ("non-finite" in told) == ("non-finite" in expected)


def test_scores_by_a_function_that_returns_a_dict() -> None:
    def scores(estimator: Any, X: Any, y: Any) -> dict[str, float]:
        return {"a": float(estimator.score(X, y)), "b": 1.0}

    ours, theirs, _, _ = both(WRONG, scoring=scores, refit="a", error_score=0.0)
    assert_same_results(ours.cv_results_, theirs.cv_results_)


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        (WRONG, InvalidParameterError, "The 'alpha' parameter of MLPClassifier"),
        ({"dropout": [0.1, [0.1, 0.2]]}, ValueError, "dropout"),
        ({"n_members": [None, 1], "member_rows": ["folds"]}, ValueError, "needs 2 members"),
    ],
)
def test_an_error_is_raised_before_any_training(
    space: Any, error: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        pytest.fail("trained")

    monkeypatch.setattr(fit_estimators, "train_population", refuse)
    search = MLPSearchCV(classifier(), space, sampler="grid", cv=2, error_score="raise")
    with pytest.raises(error, match=message):
        search.fit(*classes())


@pytest.mark.parametrize("error_score", [np.nan, "raise"])
def test_errors_of_the_rows_are_raised(error_score: Any) -> None:
    X, y = classes()
    X[3, 2] = np.nan
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2, error_score=error_score)
    with pytest.raises(ValueError, match="Input X contains NaN") as raised:
        warnings_of(lambda: search.fit(X, y))
    if error_score == "raise":
        assert str(raised.value).startswith("Input X contains NaN")


def test_a_fold_that_fails_leaves_the_others() -> None:
    X, y = classes()
    X[3, 2] = np.nan
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=KFold(3), refit=False)
    told = warnings_of(lambda: search.fit(X, y))
    assert "12 fits failed out of a total of 18" in told  # it is a test row of the first fold
    assert "Scoring failed" in told


def test_all_fits_failed() -> None:
    search = MLPSearchCV(classifier(), {"alpha": [-1.0]}, sampler="grid", cv=2)
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        search.fit(*classes())


def test_an_unknown_parameter_is_raised() -> None:
    with pytest.raises(ValueError, match="Invalid parameter 'alfa' for estimator MLPClassifier"):
        MLPSearchCV(classifier(), {"alfa": [1]}, sampler="grid").fit(*classes())


def test_a_training_that_diverges_is_a_failure() -> None:
    space = {"learning_rate_init": [0.01, 1e200]}
    estimator = regressor(solver="sgd")
    search = MLPSearchCV(estimator, space, sampler="grid", cv=2)
    told = warnings_of(lambda: search.fit(*numbers()))
    assert "2 fits failed out of a total of 4" in told
    assert "non-finite parameter weights" in told
    assert search.best_params_ == {"learning_rate_init": 0.01}


def test_a_transformer_that_fails_is_a_failure() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier())
    space = {"standardscaler__with_mean": [True, "no"]}
    search = MLPSearchCV(pipeline, space, sampler="grid", cv=2)
    assert "2 fits failed out of a total of 4" in warnings_of(lambda: search.fit(*classes()))


class TestScorers:
    def test_an_error_of_the_scorer(self) -> None:
        def scoring(estimator: Any, X: Any, y: Any) -> float:
            if estimator.alpha == 1.0:
                raise ZeroDivisionError("by zero")
            return float(estimator.score(X, y))

        ours, theirs, told, _ = both(SPACE, scoring=scoring)
        assert_same_results(ours.cv_results_, theirs.cv_results_)
        assert "Scoring failed" in told
        search = MLPSearchCV(classifier(), SPACE, sampler="grid", scoring=scoring, cv=2)
        with pytest.raises(ZeroDivisionError, match="by zero"):
            search.set_params(error_score="raise").fit(*classes())

    def test_a_score_that_is_no_number(self) -> None:
        search = MLPSearchCV(classifier(), SPACE, sampler="grid", scoring=lambda *_: "good")
        with pytest.raises(ValueError, match="scoring must return a number"):
            search.fit(*classes())

    def test_ranks_of_scores_that_are_nan(self) -> None:
        def scoring(estimator: Any, X: Any, y: Any) -> float:
            return np.nan if estimator.alpha == 1.0 else float(estimator.score(X, y))

        ours, theirs, _, _ = both(SPACE, scoring=scoring)
        assert_same_results(ours.cv_results_, theirs.cv_results_)

    def test_an_unknown_name(self) -> None:
        with pytest.raises(ValueError, match="The 'scoring' parameter of MLPSearchCV"):
            MLPSearchCV(classifier(), SPACE, scoring="accurate").fit(*classes())


class TestInput:
    def test_lengths_must_agree(self) -> None:
        X, y = classes()
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            MLPSearchCV(classifier(), SPACE).fit(X, y[:-1])

    def test_y_is_required(self) -> None:
        with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
            MLPSearchCV(classifier(), SPACE, sampler="grid").fit(classes()[0])

    def test_no_folds(self) -> None:
        with pytest.raises(ValueError, match="No fits were performed"):
            MLPSearchCV(classifier(), SPACE, sampler="grid", cv=[]).fit(*classes())

    def test_an_empty_space(self) -> None:
        with pytest.raises(ValueError, match="No fits were performed"):
            MLPSearchCV(classifier(), [], sampler="grid", cv=2).fit(*classes())

    def test_empty_values(self) -> None:
        with pytest.raises(ValueError, match="non-empty sequence"):
            MLPSearchCV(classifier(), {"alpha": []}, sampler="grid", cv=2).fit(*classes())

    def test_a_distribution_has_no_grid(self) -> None:
        from scipy.stats import uniform

        with pytest.raises(ValueError, match="a distribution for 'alpha', which has no grid"):
            MLPSearchCV(classifier(), {"alpha": uniform()}, sampler="grid").fit(*classes())

    def test_a_splitter_that_miscounts(self) -> None:
        class Miscounting(KFold):
            def get_n_splits(self, *args: Any, **kwargs: Any) -> int:
                return 4

        search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=Miscounting(3))
        with pytest.raises(ValueError, match=r"get_n_splits returned 4, but cv\.split returned 3"):
            search.fit(*classes())


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)])
def test_a_scorer_of_early_stopping_that_fails_for_one_candidate(random_state: Any) -> None:
    """The others are fitted one by one, and the failure is that of its own fit."""

    def strict(estimator: Any, X: Any, y: Any) -> float:
        if estimator.alpha == 1.0:
            raise RuntimeError("not for alpha 1")
        return float(estimator.score(X, y))

    base = classifier(early_stopping=True, scoring=strict, random_state=random_state)
    grid = {"alpha": [0.1, 1.0, 0.5]}
    ours = MLPSearchCV(base, grid, sampler="grid", cv=2, refit=False)
    theirs = GridSearchCV(base, grid, cv=2, refit=False)
    told = warnings_of(lambda: ours.fit(*classes()))
    warnings_of(lambda: theirs.fit(*classes()))
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    assert np.isnan(ours.cv_results_["mean_test_score"][1])
    assert "not for alpha 1" in told
