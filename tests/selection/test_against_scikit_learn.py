"""MLPSearchCV finds what GridSearchCV and RandomizedSearchCV of scikit-learn find.

Compared: results, attributes, kinds of scoring, refit and cv, sample weights, groups, frames,
sparse matrices, pipelines, metadata routing. scikit-learn's own tests of its search classes that
have no counterpart here: those of n_jobs and pre_dispatch (no worker processes), of estimators
that are not networks (clustering, transformers, precomputed kernels, text), of the array API, and
of scikit-learn's callbacks on the search itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix
from scipy.stats import loguniform, randint
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPSearchCV
from tests.selection.cases import (
    SPACE,
    assert_same_results,
    classes,
    classifier,
    numbers,
    regressor,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def compare(estimator: Any, X: Any, y: Any, space: Any = None, **options: Any) -> MLPSearchCV:
    """Search the grid with both; assert equal results and return ours."""
    space = SPACE if space is None else space
    fit = options.pop("fit", {})
    theirs = GridSearchCV(estimator, space, **options).fit(X, y, **fit)
    ours = MLPSearchCV(estimator, space, sampler="grid", **options).fit(X, y, **fit)
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    for name in ("best_params_", "best_index_", "n_splits_", "multimetric_"):
        assert getattr(ours, name, None) == getattr(theirs, name, None), name
    assert hasattr(ours, "best_score_") == hasattr(theirs, "best_score_")
    if hasattr(theirs, "best_score_"):
        assert ours.best_score_ == pytest.approx(theirs.best_score_, abs=1e-12)
    if theirs.refit:
        assert ours.refit_time_ > 0
        assert_allclose(ours.predict(X), theirs.predict(X), rtol=0, atol=1e-12)
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-12)
    return ours


@pytest.mark.parametrize("return_train_score", [False, True])
def test_a_grid_of_classifiers(return_train_score: bool) -> None:
    X, y = classes()
    ours = compare(classifier(), X, y, return_train_score=return_train_score)
    assert_allclose(ours.classes_, [0, 1, 2])
    assert ours.n_features_in_ == 5
    assert ours.predict_proba(X).shape == (60, 3)
    assert ours.predict_log_proba(X).shape == (60, 3)


def test_a_grid_of_regressors() -> None:
    compare(regressor(target_scaling=True), *numbers(), cv=3)


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adamw"])
def test_solvers(solver: str) -> None:
    X, y = classes(n_classes=2)
    compare(classifier(solver=solver), X, y, {"alpha": [0.1, 1.0]}, cv=2)


def test_early_stopping_holds_out_the_same_rows() -> None:
    space = {"validation_fraction": [0.2, 0.4]}
    compare(classifier(early_stopping=True), *classes(), space, cv=3)


def test_float32_data_stay_float32() -> None:
    X, y = classes()
    ours = compare(classifier(), X.astype(np.float32), y, cv=2)
    assert ours.best_estimator_.coefs_[0].dtype == np.float32


def test_a_list_of_spaces_masks_parameters_that_a_candidate_has_not() -> None:
    space = [{"alpha": [0.1, 1.0]}, {"activation": ["tanh"], "hidden_layer_sizes": [(3,), (2, 2)]}]
    ours = compare(classifier(), *classes(), space, cv=2)
    assert ours.cv_results_["param_alpha"].mask.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    "space",
    [
        {"alpha": loguniform(1e-5, 1), "hidden_layer_sizes": [(2,), (3,)]},
        {"batch_size": randint(10, 30), "activation": ["relu", "tanh"]},
        [{"alpha": loguniform(1e-5, 1)}, {"learning_rate_init": [0.1, 0.2]}],
    ],
)
def test_random_draws_are_those_of_scikit_learn(space: Any) -> None:
    X, y = classes()
    options = {"n_iter": 4, "random_state": 3, "cv": 2}
    theirs = RandomizedSearchCV(classifier(), space, **options).fit(X, y)
    ours = MLPSearchCV(classifier(), space, **options).fit(X, y)
    assert_same_results(ours.cv_results_, theirs.cv_results_)


def test_a_small_space_is_drawn_without_repetition() -> None:
    with pytest.warns(UserWarning, match="smaller than n_iter"):
        search = MLPSearchCV(classifier(), {"alpha": [0.1, 1.0]}, n_iter=5, cv=2).fit(*classes())
    assert sorted(each["alpha"] for each in search.cv_results_["params"]) == [0.1, 1.0]


def both_scores(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    right = estimator.predict(X) == y
    return {"right": right.mean(), "wrong": 1 - right.mean()}


def one_score(estimator: Any, X: Any, y: Any) -> float:
    return float(estimator.predict_proba(X)[np.arange(len(y)), y].mean())


@pytest.mark.parametrize(
    ("scoring", "refit"),
    [
        ("neg_log_loss", True),
        (make_scorer(accuracy_score), True),
        (one_score, True),
        (["accuracy", "neg_log_loss"], "neg_log_loss"),
        ({"a": "accuracy", "b": one_score}, "b"),
        ({"a": "accuracy", "b": one_score}, False),
        (both_scores, "wrong"),
        (both_scores, False),
        (None, False),
        (None, lambda results: 1),
        (["accuracy", "neg_log_loss"], lambda results: 1),
    ],
)
def test_scoring_and_refit(scoring: Any, refit: Any) -> None:
    X, y = classes()
    options = {"scoring": scoring, "refit": refit, "cv": 2, "return_train_score": True}
    if callable(refit) and isinstance(scoring, list):  # score() has no metric to choose
        theirs = GridSearchCV(classifier(), SPACE, **options).fit(X, y)
        ours = MLPSearchCV(classifier(), SPACE, sampler="grid", **options).fit(X, y)
        assert_same_results(ours.cv_results_, theirs.cv_results_)
        assert ours.best_params_ == theirs.best_params_
        return
    ours = compare(classifier(), X, y, **options)
    if refit is False:
        assert not hasattr(ours, "predict")
        assert not hasattr(ours, "best_estimator_")
        assert not hasattr(ours, "refit_time_")


@pytest.mark.parametrize("scoring", [["accuracy", "neg_log_loss"], both_scores])
@pytest.mark.parametrize("refit", [True, "f1"])
def test_several_scores_need_one_for_refit(scoring: Any, refit: Any) -> None:
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", scoring=scoring, refit=refit, cv=2)
    with pytest.raises(ValueError, match="For multi-metric scoring"):
        search.fit(*classes())


@pytest.mark.parametrize(
    ("choice", "error"), [(1.5, TypeError), (6, IndexError), (-1, IndexError), ("0", TypeError)]
)
def test_a_refit_function_returns_an_index(choice: Any, error: type[Exception]) -> None:
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", refit=lambda results: choice, cv=2)
    with pytest.raises(error, match="best_index_"):
        search.fit(*classes())


@pytest.mark.parametrize(
    "cv",
    [
        None,
        3,
        KFold(3, shuffle=True, random_state=1),
        StratifiedKFold(2),
        ShuffleSplit(2, test_size=0.3, random_state=0),
        [(np.arange(40), np.arange(40, 60)), (np.arange(20, 60), np.arange(20))],
    ],
)
def test_splitters(cv: Any) -> None:
    compare(classifier(), *classes(), {"alpha": [0.1, 1.0]}, cv=cv)


def test_a_generator_of_splits_is_used_once() -> None:
    X, y = classes()
    splits = list(KFold(3).split(X))
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=iter(splits)).fit(X, y)
    theirs = GridSearchCV(classifier(), SPACE, cv=splits).fit(X, y)
    assert_same_results(search.cv_results_, theirs.cv_results_)


@pytest.mark.parametrize("cv", [GroupKFold(3), LeaveOneGroupOut()])
def test_groups(cv: Any) -> None:
    groups = np.arange(60) % 4
    compare(classifier(), *classes(), {"alpha": [0.1, 1.0]}, cv=cv, fit={"groups": groups})
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        MLPSearchCV(classifier(), SPACE, cv=cv).fit(*classes())


def test_sample_weights_reach_training_and_scores() -> None:
    X, y = classes()
    weights = np.random.RandomState(0).uniform(0.1, 3, len(y))
    ours = compare(classifier(), X, y, fit={"sample_weight": weights}, return_train_score=True)
    plain = MLPSearchCV(classifier(), SPACE, sampler="grid").fit(X, y)
    differs = ours.cv_results_["mean_test_score"] != plain.cv_results_["mean_test_score"]
    assert differs.any()


def test_given_validation_rows_are_those_of_every_fold() -> None:
    X, y = classes(90)
    fit = {"X_val": X[:30], "y_val": y[:30]}
    compare(classifier(early_stopping=True), X[30:], y[30:], cv=2, fit=fit)


def test_an_unknown_argument_of_fit_fails_every_fit() -> None:
    with pytest.raises(ValueError, match="unexpected keyword argument 'weight'"):
        MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2).fit(*classes(), weight=3)


def test_sparse_rows() -> None:
    X, y = classes()
    X[np.abs(X) < 0.5] = 0
    compare(classifier(), csr_matrix(X), y, cv=2)


def test_lists_of_rows() -> None:
    X, y = classes()
    compare(classifier(), X.tolist(), y.tolist(), cv=2)


def test_labels_of_text() -> None:
    X, y = classes()
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2)
    search.fit(X, np.array(["a", "b", "c"])[y])
    assert set(search.predict(X)) <= {"a", "b", "c"}
    assert search.classes_.tolist() == ["a", "b", "c"]


def test_frames_keep_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    X, y = classes()
    frame = pandas.DataFrame(X, columns=list("abcde"))
    ours = compare(classifier(), frame, pandas.Series(y), cv=2)
    assert ours.feature_names_in_.tolist() == list("abcde")


def test_multi_label_targets() -> None:
    X, y = classes()
    compare(classifier(), X, np.column_stack([y == 0, y > 1]).astype(int), cv=2)


def test_several_regression_targets() -> None:
    X, y = numbers()
    compare(regressor(), X, np.column_stack([y, -y]), cv=2)


def test_a_pipeline_scales_by_the_training_rows_of_each_fold() -> None:
    X, y = classes()
    pipeline = make_pipeline(StandardScaler(), classifier())
    space = {"standardscaler__with_mean": [True, False], "mlpclassifier__alpha": [0.1, 1.0]}
    weights = {"mlpclassifier__sample_weight": np.linspace(0.5, 2, len(y))}
    ours = compare(pipeline, 10 + 3 * X, y, space, cv=3, fit=weights)
    assert isinstance(ours.best_estimator_, Pipeline)


def test_a_step_may_be_replaced_or_passed_through() -> None:
    pipeline = make_pipeline(StandardScaler(), classifier())
    space = {
        "standardscaler": ["passthrough", StandardScaler(with_std=False)],
        "mlpclassifier": [classifier(), classifier(activation="tanh")],
    }
    compare(pipeline, *classes(), space, cv=2)


def test_a_pipeline_of_the_network_alone() -> None:
    compare(make_pipeline(classifier()), *classes(), {"mlpclassifier__alpha": [0.1, 1.0]}, cv=2)


def test_metadata_routing_passes_weights() -> None:
    X, y = classes()
    fit = {"sample_weight": np.linspace(0.1, 3, len(y)), "groups": np.arange(60) % 4}
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = classifier().set_fit_request(sample_weight=True)
        estimator.set_score_request(sample_weight=False)
        compare(estimator, X, y, cv=GroupKFold(2), fit=fit)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, estimator)
        space = {"mlpclassifier__alpha": [0.1, 1.0]}
        del fit["groups"]
        scoring = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        options = {"cv": 2, "scoring": scoring}
        theirs = GridSearchCV(pipeline, space, **options).fit(X, y, **fit)
        ours = MLPSearchCV(pipeline, space, sampler="grid", **options).fit(X, y, **fit)
        assert_same_results(ours.cv_results_, theirs.cv_results_)


def test_an_iterative_search_warns_as_the_fits_do() -> None:
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(4\)"):
        MLPSearchCV(classifier(), {"alpha": [0.1]}, n_iter=1, cv=2, refit=False).fit(*classes())
