"""Successive halving follows HalvingRandomSearchCV and HalvingGridSearchCV of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import uniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline

from gpubp import MLPSearchCV
from gpubp.selection.halving import best_of_last_iteration, plan
from tests.selection.cases import classes, classifier, numbers, regressor, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RATES = {"learning_rate_init": [0.001 * 1.5**k for k in range(14)]}
ATTRIBUTES = (
    *("n_candidates_", "n_resources_", "n_iterations_", "n_remaining_candidates_"),
    *("n_required_iterations_", "n_possible_iterations_", "min_resources_", "max_resources_"),
)


def by_candidate(results: dict[str, Any]) -> dict[Any, Any]:
    """Return the test scores by iteration, number of resources and parameters."""
    rows = zip(results["iter"], results["n_resources"], results["params"], strict=True)
    keys = [(i, n, repr(sorted(params.items()))) for i, n, params in rows]
    return dict(zip(keys, results["mean_test_score"].round(12), strict=True))


def compare(ours: MLPSearchCV, theirs: Any) -> None:
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    keys = set(theirs.cv_results_)
    assert set(ours.cv_results_) == keys
    assert by_candidate(ours.cv_results_) == by_candidate(theirs.cv_results_)
    assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=1e-12)
    assert ours.cv_results_["iter"][ours.best_index_] == ours.n_iterations_ - 1
    assert ours.cv_results_["n_resources"].dtype == theirs.cv_results_["n_resources"].dtype


@pytest.mark.parametrize("options", [{}, {"factor": 2.5}, {"min_resources": 30}])
def test_more_rows_for_the_best(options: dict[str, Any]) -> None:
    X, y = classes(200, n_classes=2)
    shared = {"min_resources": "exhaust", "random_state": 1, "cv": 3, "scoring": "neg_log_loss"}
    shared |= {"return_train_score": True, **options}
    theirs = HalvingRandomSearchCV(classifier(), RATES, n_candidates=9, **shared).fit(X, y)
    ours = MLPSearchCV(classifier(), RATES, sampler="halving", n_iter=9, **shared).fit(X, y)
    compare(ours, theirs)
    assert ours.n_iterations_ > 1


def test_a_grid_with_the_smallest_number_of_rows() -> None:
    X, y = numbers(200)
    shared = {"random_state": 1, "cv": 2, "min_resources": "smallest", "max_resources": 100}
    theirs = HalvingGridSearchCV(regressor(), RATES, return_train_score=False, **shared).fit(X, y)
    ours = MLPSearchCV(regressor(), RATES, sampler="halving", n_iter=None, **shared).fit(X, y)
    compare(ours, theirs)
    assert ours.n_resources_ == [4, 12, 36]


@pytest.mark.parametrize("wrapped", [False, True])
def test_more_epochs_for_the_best(wrapped: bool) -> None:
    X, y = classes(90)
    estimator, name, space = classifier(max_iter=20), "max_iter", RATES
    if wrapped:
        estimator, name = make_pipeline(estimator), "mlpclassifier__max_iter"
        space = {f"mlpclassifier__{key}": values for key, values in RATES.items()}
    shared = {"min_resources": "exhaust", "random_state": 1, "cv": 2, "scoring": "neg_log_loss"}
    theirs = HalvingRandomSearchCV(
        *(estimator, space),
        n_candidates=9,
        resource=name,
        max_resources=20,
        return_train_score=False,
        **shared,
    ).fit(X, y)
    ours = MLPSearchCV(
        estimator, space, sampler="halving", n_iter=9, resource="epochs", **shared
    ).fit(X, y)
    compare(ours, theirs)
    assert ours.n_resources_ == [2, 6, 18]
    assert ours.best_estimator_.get_params()[name] == 18


def test_labels_of_text_as_objects() -> None:
    X, y = classes(90)
    labels = np.array(["a", "b", "c"], dtype=object)[y]
    search = MLPSearchCV(classifier(), RATES, sampler="halving", n_iter=4, cv=2, random_state=0)
    search.set_params(min_resources="smallest").fit(X, labels)
    assert search.min_resources_ == 2 * 2 * 3


def test_a_fit_that_fails_does_not_go_on() -> None:
    space = {"learning_rate_init": [-1.0, 0.1, 0.2, 0.3]}
    search = MLPSearchCV(
        *(classifier(), space),
        sampler="halving",
        n_iter=None,
        factor=2,
        cv=2,
        resource="epochs",
        max_resources=4,
    )
    told = warnings_of(lambda: search.fit(*classes()))
    assert "2 fits failed out of a total of 14" in told
    assert "scores are non-finite" in told
    later = search.cv_results_["iter"] > 0
    values = [each["learning_rate_init"] for each in search.cv_results_["params"]]
    assert -1.0 not in np.array(values)[later]
    assert search.n_candidates_ == [4, 2, 1]


def test_powers_are_not_rounded_down() -> None:
    # math.log(243, 3) is just below 5.
    assert plan(243, 3, 1, 243, exhaust=False).n_resources == (1, 3, 9, 27, 81, 243)


def test_exhaust_raises_the_first_resources() -> None:
    steps = plan(10, 2, 5, 100, exhaust=True)
    assert steps.n_candidates == (10, 5, 3, 2)
    assert steps.n_resources == (12, 24, 48, 96)


def test_the_best_of_iterations_without_scores_is_the_first_of_the_last() -> None:
    results = {"iter": np.array([0, 1, 1]), "mean_test_score": np.array([1.0, np.nan, np.nan])}
    assert best_of_last_iteration(results, "score") == 1


def test_refit_may_choose_another_candidate() -> None:
    search = MLPSearchCV(
        *(classifier(), RATES),
        sampler="halving",
        n_iter=4,
        cv=2,
        refit=lambda results: 2,
        random_state=0,
    ).fit(*classes())
    assert search.best_index_ == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_resources": 70}, "min_resources is 70, but only 60 are available"),
        ({"max_resources": 61}, "max_resources is 61, but X has 60 rows"),
        ({"resource": "epochs", "param_space": {"max_iter": [3, 4]}}, "resource='epochs' sets"),
        ({"param_space": {"alpha": uniform()}}, "has no grid"),
    ],
)
def test_parameters_that_conflict(options: dict[str, Any], message: str) -> None:
    options = {"param_space": RATES, "n_iter": None, **options}
    with pytest.raises(ValueError, match=message):
        MLPSearchCV(classifier(), sampler="halving", cv=2, **options).fit(*classes())
