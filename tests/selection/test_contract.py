"""scikit-learn's contract: checks, parameters, clone, pickle, tags, and the calls of training."""

from __future__ import annotations

import pickle
import warnings
import weakref
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPRegressor as SklearnMLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

import gpubp
from gpubp import MLPSearchCV, TableClassifier
from gpubp.estimators import fit_estimators
from gpubp.selection import group
from gpubp.selection.progress import Progress
from gpubp.training.data import TakenRows
from tests.selection.cases import SPACE, classes, classifier, numbers, regressor, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("make", [classifier, regressor])
def test_check_estimator_fails_nothing(make: Any) -> None:
    estimator = make(max_iter=30, learning_rate_init=0.05)
    search = MLPSearchCV(estimator, {"alpha": [1e-4]}, n_iter=1, cv=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(search, on_skip=None, on_fail=None)
    assert len(results) > 40
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}


def test_it_is_a_public_name() -> None:
    assert gpubp.MLPSearchCV is MLPSearchCV
    assert "MLPSearchCV" in gpubp.__all__


def test_parameters_and_clones() -> None:
    search = MLPSearchCV(classifier(alpha=0.3), SPACE, sampler="halving", factor=2, n_iter=None)
    params = search.get_params()
    assert params["estimator__alpha"] == 0.3
    assert (params["factor"], params["n_iter"], params["param_space"]) == (2, None, SPACE)
    copy = clone(search.set_params(estimator__alpha=0.4, n_iter=3))
    assert copy.estimator.alpha == 0.4
    assert copy.n_iter == 3
    assert "MLPSearchCV(" in repr(search)
    assert "MLPSearchCV" in search._repr_html_()


def test_fit_changes_no_parameter() -> None:
    estimator = classifier()
    search = MLPSearchCV(estimator, SPACE, sampler="grid", cv=2)
    before = pickle.dumps(search.get_params())
    assert search.fit(*classes()) is search
    assert pickle.dumps(search.get_params()) == before
    assert not hasattr(estimator, "coefs_")


def test_a_fitted_search_is_pickled() -> None:
    X, y = classes()
    options = {"scoring": ["accuracy", "neg_log_loss"], "refit": "accuracy", "cv": 2}
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", **options).fit(X, y)
    copy = pickle.loads(pickle.dumps(search))
    assert (copy.predict_proba(X) == search.predict_proba(X)).all()
    assert copy.best_params_ == search.best_params_
    assert copy.score(X, y) == search.score(X, y)


def test_tags_are_those_of_the_estimator() -> None:
    assert is_classifier(MLPSearchCV(classifier(), SPACE))
    assert is_regressor(MLPSearchCV(regressor(), SPACE))
    assert get_tags(MLPSearchCV(classifier(), SPACE)).classifier_tags.multi_label
    assert get_tags(MLPSearchCV(classifier(), SPACE)).input_tags.sparse
    assert not get_tags(MLPSearchCV(TableClassifier(), SPACE)).input_tags.sparse


def test_methods_are_those_of_the_estimator() -> None:
    assert not hasattr(MLPSearchCV(regressor(), SPACE), "predict_proba")
    assert not hasattr(MLPSearchCV(classifier(), SPACE), "transform")
    search = MLPSearchCV(classifier(), SPACE)
    assert not hasattr(search, "classes_")
    assert not hasattr(search, "n_features_in_")
    with pytest.raises(NotFittedError):
        search.predict(classes()[0])


def test_a_search_inside_a_cross_validation_and_a_pipeline() -> None:
    search = MLPSearchCV(regressor(), SPACE, sampler="grid", cv=2)
    assert cross_val_score(make_pipeline(StandardScaler(), search), *numbers(), cv=2).shape == (2,)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (LogisticRegression(), "LogisticRegression of scikit-learn; "),
        (make_pipeline(StandardScaler(), LogisticRegression()), "Pipeline .* last step LogisticRe"),
        (MLPSearchCV(classifier(), SPACE), "MLPSearchCV"),
    ],
)
def test_other_estimators_are_refused(estimator: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"estimator is {name}") as raised:
        MLPSearchCV(estimator, SPACE).fit(*classes())
    assert "GridSearchCV or RandomizedSearchCV of scikit-learn" in str(raised.value)


@pytest.mark.parametrize("pipeline", [False, True])
def test_the_network_of_scikit_learn_is_refused_with_the_import_to_change(pipeline: bool) -> None:
    theirs = SklearnMLPRegressor()
    estimator = make_pipeline(StandardScaler(), theirs) if pipeline else theirs
    expected = "MLPRegressor of scikit-learn; .*import MLPRegressor from gpubp instead"
    with pytest.raises(TypeError, match=expected):
        MLPSearchCV(estimator, SPACE).fit(*numbers())


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "bayes"},
        {"n_iter": 0},
        {"time_limit": 0},
        {"factor": 1},
        {"resource": "rows"},
        {"min_resources": "few"},
        {"max_resources": 0},
        {"round_size": 0},
        {"error_score": "none"},
        {"param_space": 3},
    ],
)
def test_invalid_parameters_are_named(options: dict[str, Any]) -> None:
    search = MLPSearchCV(classifier(), SPACE).set_params(**options)
    with pytest.raises(ValueError, match=f"The '{next(iter(options))}' parameter of MLPSearchCV"):
        search.fit(*classes())


class TestTraining:
    def test_all_candidates_and_folds_are_one_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[list[Any]] = []
        together = group.fit_together

        def recorded(fits: Any, *args: Any, **options: Any) -> Any:
            calls.append([(id(each.X), id(each.y)) for each in fits])
            return together(fits, *args, **options)

        monkeypatch.setattr(group, "fit_together", recorded)
        MLPSearchCV(classifier(), SPACE, sampler="grid", cv=3).fit(*classes())
        assert [len(call) for call in calls] == [18]
        assert len(set(calls[0])) == 3  # one copy of the rows per fold

    @pytest.mark.parametrize(
        ("convert", "options"),
        [
            (np.asarray, {}),
            (np.asarray, {"dtype": "float32"}),
            (np.asarray, {"early_stopping": True}),
            (np.ndarray.tolist, {}),
            (lambda X: (10 * X).astype(int), {}),
            (csr_matrix, {"dtype": "float32"}),
        ],
    )
    def test_converted_rows_are_in_memory_once_per_fold(
        self, monkeypatch: pytest.MonkeyPatch, convert: Any, options: dict[str, Any]
    ) -> None:
        seen: list[Any] = []
        train = fit_estimators.train_population

        def recorded(backend: Any, members: Any, *others: Any, **arguments: Any) -> Any:
            rows = [each.data.X for each in members]
            seen.extend(each.whole if isinstance(each, TakenRows) else each for each in rows)
            return train(backend, members, *others, **arguments)

        monkeypatch.setattr(fit_estimators, "train_population", recorded)
        X, y = classes()
        estimator = classifier(**options)
        MLPSearchCV(estimator, SPACE, sampler="grid", cv=3, refit=False).fit(convert(X), y)
        assert len(seen) == 18
        assert len({id(each) for each in seen}) == 3

    def test_networks_are_forgotten_when_scored(self) -> None:
        weights: list[weakref.ref[Any]] = []
        alive: list[int] = []

        def scoring(estimator: Any, X: Any, y: Any) -> float:
            weights.append(weakref.ref(estimator.coefs_[0]))
            alive.append(sum(each() is not None for each in weights))
            return float(estimator.score(X, y))

        search = MLPSearchCV(classifier(), SPACE, sampler="grid", scoring=scoring, cv=3)
        search.fit(*classes())
        assert len(alive) == 18
        assert max(alive) <= 2
        assert sum(each() is not None for each in weights) == 0


class TestProgress:
    def test_lines_of_a_search(self, capsys: pytest.CaptureFixture[str]) -> None:
        options = {"sampler": "grid", "cv": 2, "refit": False}
        search = MLPSearchCV(classifier(), {"alpha": [0.1, 1.0]}, **options, verbose=2)
        search.fit(*classes())
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "Fitting 2 folds for each of 2 candidates, totalling 4 fits"
        scores = search.cv_results_["mean_test_score"]
        expected = [f"score {s:.4g}: alpha={a}" for s, a in zip(scores, (0.1, 1.0), strict=True)]
        assert [line for line in lines if line.startswith("score")] == expected
        assert lines[-1].startswith(f"4/4 fits, best score {scores.max():.4g}, 0:00:0")
        search.set_params(verbose=0).fit(*classes())
        assert capsys.readouterr().out == ""

    def test_the_time_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr("gpubp.selection.progress.monotonic", lambda: now[0])
        lines: list[str] = []
        progress = Progress(1, 10, lines.append)
        for seconds in (1, 3, 4, 6):
            now[0] = seconds
            progress.end_fit()
        progress.end_candidate({"alpha": 1}, np.nan)
        progress.end_candidate({"alpha": 1}, 0.25)
        now[0] = 70
        progress.end_fit()
        assert lines == [
            "2/10 fits, 0:00:03 elapsed, about 0:00:12 left",
            "4/10 fits, 0:00:06 elapsed, about 0:00:09 left",
            "5/10 fits, best score 0.25, 0:01:10 elapsed, about 0:01:10 left",
        ]


class TestCallbacks:
    @pytest.fixture(autouse=True)
    def _callbacks(self) -> None:
        pytest.importorskip("sklearn.callback")

    def test_those_of_the_search_are_not_called(self) -> None:
        search = MLPSearchCV(classifier(), {"alpha": [0.1]}, n_iter=1, cv=2)
        search.set_callbacks(Counting())
        with pytest.warns(UserWarning, match="does not call the callbacks that are set on it"):
            search.fit(*classes())

    @pytest.mark.parametrize("stop", [False, True])
    def test_those_of_the_estimator_begin_and_end(self, stop: bool) -> None:
        calls.clear()

        def scoring(estimator: Any, X: Any, y: Any) -> float:
            if stop and estimator.alpha == 1.0:
                raise KeyboardInterrupt
            return 1.0

        estimator = classifier().set_callbacks(Counting())
        options = {"sampler": "grid", "cv": 2, "scoring": scoring, "refit": False}
        search = MLPSearchCV(estimator, {"alpha": [0.1, 1.0]}, **options)
        warnings_of(lambda: search.fit(*classes()))
        assert calls.count("setup") == calls.count("teardown") == 4
        assert calls.count("end") > 8


calls: list[str] = []


class Counting:
    """A callback that counts the calls of its hooks."""

    def setup(self, estimator: Any, context: Any) -> None:
        calls.append("setup")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        calls.append("begin")

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        calls.append("end")

    def teardown(self, estimator: Any, context: Any) -> None:
        calls.append("teardown")
