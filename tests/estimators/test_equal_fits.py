"""Equal fits leave equal estimators: equal hashes, as joblib.Memory takes them, and pickles."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import pytest

from gpubp.estimators.fit_estimators import fit_estimator
from tests.estimators.cases import BASE, OURS, PROBLEMS, X, fit

OPTIONS: list[dict[str, Any]] = [
    {},
    {"early_stopping": True},
    {"early_stopping": True, "scoring": "loss", "dropout": 0.2},
    {"solver": "lbfgs"},
    {"solver": "sgd", "warm_start": True},
]


def fitted(problem: str, options: dict[str, Any]) -> Any:
    kind, y = PROBLEMS[problem]
    model = OURS[kind](**BASE | options, device="cpu")
    for _ in range(1 + model.warm_start):
        fit(model, X, y)
    return model


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("problem", ["text labels", "multi-label", "regression"])
def test_equal_fits_have_equal_hashes_and_pickles(problem: str, options: dict[str, Any]) -> None:
    one, other = (fitted(problem, options) for _ in range(2))
    assert joblib.hash(one) == joblib.hash(other)
    assert pickle.dumps(one) == pickle.dumps(other)
    assert joblib.hash(pickle.loads(pickle.dumps(one))) == joblib.hash(one)
    one.predict(X)
    assert joblib.hash(one) == joblib.hash(other)
    assert joblib.hash(one) != joblib.hash(fitted(problem, options | {"random_state": 4}))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_time_that_a_fit_took_is_in_its_history(solver: str) -> None:
    model = OURS["regressor"](**BASE | {"solver": solver}, device="cpu")
    assert fit_estimator(model, X, PROBLEMS["regression"][1]).seconds > 0
