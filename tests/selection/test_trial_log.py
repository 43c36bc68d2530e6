"""A search that reports its finished candidates, and that knows the results of some."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import FitFailedWarning

from gpubp import MLPSearchCV
from gpubp.selection.group import Group
from tests.selection.cases import SPACE, assert_same_results, classes, classifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Log:
    """Keeps results, and knows those that it is given."""

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self._known = known or {}
        self.kept: dict[str, Any] = {}
        self.sizes: tuple[int, int] | None = None

    def begin(self, n_candidates: int, n_folds: int) -> None:
        self.sizes = n_candidates, n_folds

    def known(self, params: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
        return self._known.get(repr((params, more)))

    def finished(
        self, params: Mapping[str, Any], more: Mapping[str, Any], results: Sequence[Any]
    ) -> None:
        self.kept[repr((params, more))] = copy.deepcopy(results)


def searched(log: Log, **options: Any) -> MLPSearchCV:
    search = MLPSearchCV(classifier(), SPACE, cv=2, random_state=0, **options)
    search._trial_log = log
    return search.fit(*classes())


HALVING = {"sampler": "halving", "n_iter": 6, "factor": 2, "min_resources": 20}


@pytest.mark.parametrize("options", [{"sampler": "grid"}, HALVING, {"sampler": "tpe", "n_iter": 5}])
@pytest.mark.parametrize("count", [0, 3, 100])
def test_known_candidates_are_not_trained(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], count: int
) -> None:
    if options["sampler"] == "tpe":
        pytest.importorskip("optuna")
    first = Log()
    whole = searched(first, **options)
    total = len(whole.cv_results_["params"])
    assert first.sizes == (total, 2)
    assert len(first.kept) == total
    trained, run = [], Group.run

    def counting(self: Any, deadline: Any) -> Any:
        trained.extend(self._candidates)
        return run(self, deadline)

    monkeypatch.setattr(Group, "run", counting)
    second = Log(dict(list(first.kept.items())[:count]))
    resumed = searched(second, **options)
    assert len(trained) == len(second.kept) == max(0, total - count)
    assert_same_results(resumed.cv_results_, whole.cv_results_)
    assert resumed.best_params_ == whole.best_params_


def test_results_are_complete_when_they_are_reported() -> None:
    log = Log()
    search = searched(log, sampler="grid")
    for results in log.kept.values():
        assert len(results) == 2
        for result in results:
            assert {"test_scores", "fit_time", "score_time", "fit_error"} <= set(result)
            assert 0 < result["fit_time"] <= search.cv_results_["mean_fit_time"].sum() * 2


def test_fits_that_fail_are_reported() -> None:
    log = Log()
    search = MLPSearchCV(
        classifier(), {"alpha": [-1.0, 1.0]}, cv=2, sampler="grid", error_score=-7, refit=False
    )
    search._trial_log = log
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(*classes())
    failed = log.kept[repr(({"alpha": -1.0}, {}))]
    assert [result["test_scores"] for result in failed] == [-7, -7]
    assert "alpha" in failed[0]["fit_error"]
    known = Log(log.kept)
    search._trial_log = known
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        again = search.fit(*classes())
    assert known.kept == {}
    assert again.cv_results_["mean_test_score"][0] == -7


def test_time_is_up_but_known_candidates_count() -> None:
    log = Log()
    whole = searched(log, sampler="grid")
    known = Log(dict(list(log.kept.items())[:4]))
    with pytest.warns(UserWarning, match="2 of 6 candidates"):
        search = searched(known, sampler="grid", time_limit=1e-9, refit=False)
    assert search.stopped_by_ == "time_limit"
    expected = whole.cv_results_["mean_test_score"][:4]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)
