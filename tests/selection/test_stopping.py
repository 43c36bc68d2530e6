"""Searches that are interrupted, or whose time is up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from gpubp import MLPSearchCV
from gpubp.selection import group
from gpubp.selection.evaluation import Evaluation
from gpubp.training import deadline
from tests.selection.cases import SPACE, classes, classifier, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def search_that_fails_at(score: int, error: type[BaseException], **options: Any) -> MLPSearchCV:
    """Return a search over a grid whose scorer raises at a call, with two folds."""
    calls: Iterator[int] = count(1)

    def scoring(estimator: Any, X: Any, y: Any) -> float:
        if next(calls) == score:
            raise error
        return float(estimator.score(X, y))

    return MLPSearchCV(classifier(), SPACE, sampler="grid", scoring=scoring, cv=2, **options)


def test_an_interrupt_keeps_the_finished_candidates() -> None:
    whole = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2).fit(*classes())
    search = search_that_fails_at(6, KeyboardInterrupt)
    told = warnings_of(lambda: search.fit(*classes()))
    assert told == (
        "The search was interrupted: 4 of 6 candidates did not finish all folds and are left out "
        "of cv_results_"
    )
    assert search.n_unfinished_ == 4
    expected = whole.cv_results_
    assert search.cv_results_["params"] == expected["params"][:2]
    assert (search.cv_results_["mean_test_score"] == expected["mean_test_score"][:2]).all()
    assert search.predict(classes()[0]).shape == (60,)  # refit


@pytest.mark.parametrize("score", [4, 12])
def test_an_interrupt_at_the_last_network_of_a_population_is_not_lost(score: int) -> None:
    """Of 12 fits on one backend, the last; of 4 that are followed by others, the last too."""
    search = search_that_fails_at(score, KeyboardInterrupt, refit=False)
    if score == 4:  # threads: each number has a backend of its own
        search.set_params(param_space={"alpha": [0.1, 1.0], "threads": [1, 2]})
    told = warnings_of(lambda: search.fit(*classes()))
    assert told.startswith("The search was interrupted")
    assert search.stopped_by_ == "interrupt"


def test_an_interrupt_between_two_rounds_keeps_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    call, rounds = Evaluation.__call__, count(1)

    def interrupt(self: Any, *args: Any) -> Any:
        if next(rounds) == 2:
            raise KeyboardInterrupt
        return call(self, *args)

    monkeypatch.setattr(Evaluation, "__call__", interrupt)
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2, round_size=4, refit=False)
    told = warnings_of(lambda: search.fit(*classes()))
    assert "The search was interrupted: 2 of 6 candidates" in told
    assert len(search.cv_results_["params"]) == 4


def test_an_interrupt_before_the_first_candidate_is_raised() -> None:
    with pytest.raises(KeyboardInterrupt):
        search_that_fails_at(2, KeyboardInterrupt).fit(*classes())


def test_an_interrupt_in_a_training_keeps_the_rounds_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together, rounds = group.fit_together, count(1)

    def interrupt(fits: Any, on_end: Any, **options: Any) -> Any:
        def on_epoch(epoch: Any) -> bool:
            raise KeyboardInterrupt

        if next(rounds) == 3:
            fits = [each._replace(on_epoch=on_epoch) for each in fits]
        return together(fits, on_end, **options)

    monkeypatch.setattr(group, "fit_together", interrupt)
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2, refit=False, round_size=2)
    told = warnings_of(lambda: search.fit(*classes()))
    assert "The search was interrupted: 2 of 6 candidates" in told
    assert len(search.cv_results_["params"]) == 4
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_an_interrupt_in_the_last_score_leaves_its_candidate_out() -> None:
    search = search_that_fails_at(12, KeyboardInterrupt)
    told = warnings_of(lambda: search.fit(*classes()))
    assert told.startswith("The search was interrupted: 1 of 6 candidates")
    assert search.n_unfinished_ == 1
    assert len(search.cv_results_["params"]) == 5


@pytest.mark.parametrize("sampler", ["tpe", "halving"])
def test_an_interrupt_in_the_last_score_of_a_round_ends_the_search(sampler: str) -> None:
    if sampler == "tpe":
        pytest.importorskip("optuna")
        search = search_that_fails_at(6, KeyboardInterrupt, n_iter=6, round_size=3)
    else:
        search = search_that_fails_at(12, KeyboardInterrupt, n_iter=6, factor=2)
        search.set_params(resource="epochs", max_resources=4)
    search.set_params(sampler=sampler, random_state=0)
    told = warnings_of(lambda: search.fit(*classes()))
    assert "The search was interrupted" in told
    n = len(search.cv_results_["params"])
    assert n == (2 if sampler == "tpe" else 5)
    assert set(search.cv_results_.get("iter", [0])) == {0}


@pytest.mark.parametrize("sampler", ["grid", "halving"])
def test_an_interrupt_after_the_last_score_of_a_round(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = group.fit_together

    def interrupted(*args: Any, **options: Any) -> bool:
        together(*args, **options)
        return True

    monkeypatch.setattr(group, "fit_together", interrupted)
    options = {"resource": "epochs", "factor": 2, "max_resources": 4, "n_iter": 6}
    search = MLPSearchCV(classifier(), SPACE, sampler=sampler, cv=2, **options)
    told = warnings_of(lambda: search.fit(*classes()))
    assert len(search.cv_results_["params"]) == 6
    assert search.n_unfinished_ == (0 if sampler == "grid" else 5)
    assert ("was interrupted: 5 of 11" in told) == (sampler == "halving")
    assert bool(told) == (sampler == "halving")


def test_a_group_with_unfinished_candidates_stops_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group.Group, "run", lambda self, deadline: None)
    with pytest.raises(KeyboardInterrupt):
        MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2).fit(*classes())


def test_failures_count_as_finished_after_an_interrupt() -> None:
    search = search_that_fails_at(4, KeyboardInterrupt)
    search.set_params(param_space={"alpha": [0.1, -1.0, 1.0]})
    told = warnings_of(lambda: search.fit(*classes()))
    assert "was interrupted: 1 of 3 candidates" in told
    assert [each["alpha"] for each in search.cv_results_["params"]] == [0.1, -1.0]


def test_an_interrupt_after_failures_alone_is_raised() -> None:
    search = search_that_fails_at(2, KeyboardInterrupt)
    search.set_params(param_space={"alpha": [-1.0, 0.1]})
    with pytest.raises(KeyboardInterrupt):
        search.fit(*classes())


def test_an_interrupted_halving_has_the_candidates_of_its_last_iteration() -> None:
    search = search_that_fails_at(17, KeyboardInterrupt)
    search.set_params(sampler="halving", n_iter=6, factor=2, resource="epochs", max_resources=4)
    told = warnings_of(lambda: search.fit(*classes()))
    assert "3 of 11 candidates" in told
    results = search.cv_results_
    assert results["iter"].tolist() == [0] * 6 + [1] * 2
    # The best goes first.
    first = results["mean_test_score"][:6]
    assert results["params"][6] == {**results["params"][int(first.argmax())], "max_iter": 2}
    assert results["iter"][search.best_index_] == 1


def test_the_time_limit_stops_a_training() -> None:
    X, y = classes()
    space = {"max_iter": [1, 10**6], "tol": [0.0]}
    search = MLPSearchCV(
        *(classifier(n_iter_no_change=10**6), space),
        sampler="grid",
        cv=2,
        time_limit=1,
        refit=False,
    )
    told = warnings_of(lambda: search.fit(X, y))
    assert told.startswith("The search reached time_limit=1: 1 of 2 candidates")
    assert search.cv_results_["params"] == [{"max_iter": 1, "tol": 0.0}]


def test_with_a_time_limit_candidates_are_trained_in_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(deadline, "monotonic", lambda: now[0])

    def scoring(estimator: Any, X: Any, y: Any) -> float:
        now[0] += 1
        return float(estimator.score(X, y))

    options = {"sampler": "grid", "cv": 2, "scoring": scoring, "refit": False}
    search = MLPSearchCV(classifier(), SPACE, **options, time_limit=7.5)
    told = warnings_of(lambda: search.fit(*classes()))
    # Six candidates are three rounds of two; the time is up in the second.
    assert "The search reached time_limit=7.5: 2 of 6 candidates" in told
    assert len(search.cv_results_["params"]) == 4


def test_without_a_finished_candidate_the_time_limit_raises() -> None:
    search = MLPSearchCV(classifier(), SPACE, sampler="grid", cv=2, time_limit=1e-9)
    with pytest.raises(TimeoutError, match="no candidate finished its 2 folds within time_limit"):
        search.fit(*classes())


def test_a_long_time_limit_changes_nothing() -> None:
    options = {"sampler": "grid", "cv": 2}
    plain = MLPSearchCV(classifier(), SPACE, **options).fit(*classes())
    search = MLPSearchCV(classifier(), SPACE, **options, time_limit=600)
    assert warnings_of(lambda: search.fit(*classes())) == ""
    assert search.n_unfinished_ == 0
    same = search.cv_results_["mean_test_score"] == plain.cv_results_["mean_test_score"]
    assert same.all()
