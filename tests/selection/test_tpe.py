"""sampler="tpe": candidates by optuna, in rounds."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np
import pytest
from scipy.stats import loguniform, norm, randint, uniform

from gpubp import MLPSearchCV
from gpubp.selection.tpe import Tpe
from tests.selection.cases import classes, classifier, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_without_optuna_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "optuna", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'gpubp\[sweep\]'"):
        MLPSearchCV(classifier(), {"alpha": [0.1]}, sampler="tpe").fit(*classes())


class TestWithOptuna:
    @pytest.fixture(autouse=True)
    def _optuna(self) -> None:
        pytest.importorskip("optuna")

    def test_rounds_of_candidates(self, capsys: pytest.CaptureFixture[str]) -> None:
        space = {
            "alpha": loguniform(1e-5, 1),
            "batch_size": randint(5, 30),
            "hidden_layer_sizes": [(2,), (3,), (2, 2)],
            "activation": ["tanh"],
        }
        options = {"sampler": "tpe", "n_iter": 7, "cv": 2, "random_state": 0}
        search = MLPSearchCV(classifier(), space, **options, verbose=1).fit(*classes())
        params = search.cv_results_["params"]
        assert len(params) == 7
        assert all(1e-5 <= each["alpha"] <= 1 for each in params)
        assert all(type(each["batch_size"]) is int for each in params)
        assert all(5 <= each["batch_size"] < 30 for each in params)
        printed = capsys.readouterr()
        assert printed.out.count("Fitting 2 folds for each of 2 candidates") == 3
        assert "14/14 fits" in printed.out
        assert printed.err == ""  # optuna does not report
        again = MLPSearchCV(classifier(), space, **options).fit(*classes())
        assert again.cv_results_["params"] == params

    def test_several_spaces(self) -> None:
        space = [{"alpha": [0.1, 1.0]}, {"learning_rate_init": uniform(0.01, 0.1)}]
        search = MLPSearchCV(classifier(), space, sampler="tpe", n_iter=8, cv=2, random_state=0)
        search.fit(*classes())
        names = {tuple(each) for each in search.cv_results_["params"]}
        assert names == {("alpha",), ("learning_rate_init",)}

    def test_a_small_space_is_not_repeated(self) -> None:
        space = {"alpha": [0.1, 1.0], "activation": ["relu", "tanh"]}
        search = MLPSearchCV(classifier(), space, sampler="tpe", n_iter=9, cv=2, random_state=0)
        with pytest.warns(UserWarning, match="only 4 different candidates"):
            search.fit(*classes())
        assert len(search.cv_results_["params"]) == 4

    def test_it_learns_from_the_scores(self) -> None:
        tpe = Tpe({"a": uniform(0, 1), "b": norm(0, 1)}, 60, 0)
        means = []
        for _ in range(12):
            candidates = tpe.ask(5)
            scores = np.array([-((each["a"] - 0.2) ** 2) for each in candidates])
            tpe.tell(candidates, scores)
            means.append(scores.mean())
        assert np.mean(means[-4:]) > np.mean(means[:2]) / 4

    def test_fits_that_fail_are_avoided(self) -> None:
        search = MLPSearchCV(
            *(classifier(), {"learning_rate_init": [-1.0, 0.1, 0.2]}),
            sampler="tpe",
            n_iter=3,
            cv=2,
            random_state=0,
        )
        told = warnings_of(lambda: search.fit(*classes()))  # a round may have failures only
        assert "2 fits failed out of a total of 6" in told
        assert search.best_params_["learning_rate_init"] > 0

    def test_n_iter_is_required(self) -> None:
        with pytest.raises(ValueError, match="n_iter is None"):
            MLPSearchCV(classifier(), {"alpha": [1]}, sampler="tpe", n_iter=None).fit(*classes())

    def test_a_distribution_needs_quantiles(self) -> None:
        class Draws:
            def rvs(self, random_state: Any = None) -> float:
                return 0.1

        with pytest.raises(ValueError, match="no method ppf"):
            MLPSearchCV(classifier(), {"alpha": Draws()}, sampler="tpe").fit(*classes())
