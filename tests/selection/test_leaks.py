"""Training, encoders and transformers never see the rows of the test fold.

Each row has a number in its first column. Every test runs twice: as it is, and with a leak that
must be found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from gpubp import MLPSearchCV, TableClassifier, TableEncoder
from gpubp.estimators.mlp import BaseMLP
from gpubp.selection import folds
from tests.models.table_cases import PLAIN
from tests.selection.cases import classes, classifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 60
NUMBERS = np.arange(N, dtype=float)
FEATURES, LABELS = classes(N)
X = np.column_stack([NUMBERS, FEATURES])

Seen = dict[Any, set[float]]


class Recorder(TransformerMixin, BaseEstimator):
    """A transformer that keeps the numbers of the rows that it is fitted to."""

    def fit(self, X: Any, y: Any = None) -> Recorder:
        self.numbers_ = set(X[:, 0])
        return self

    def transform(self, X: Any) -> Any:
        return X


def plant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each fold train on all rows."""
    take, training_rows = folds.take_rows, folds.TrainingRows
    everything: dict[str, Any] = {}

    def remember(rows: Any, index: np.ndarray) -> Any:
        everything["X" if np.ndim(rows) == 2 else "y"] = rows
        return take(rows, index)

    def all_rows(X: Any, y: Any, params: Any) -> Any:
        return training_rows(everything["X"], everything["y"], params)

    monkeypatch.setattr(folds, "take_rows", remember)
    monkeypatch.setattr(folds, "TrainingRows", all_rows)


def record_networks(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """Return a dict that gets the training rows of each network, by its id."""
    trained: dict[int, Any] = {}
    prepared = BaseMLP._prepared

    def recording(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        trained[id(self)] = X
        return prepared(self, X, *args, **kwargs)

    monkeypatch.setattr(BaseMLP, "_prepared", recording)
    return trained


def record_encoders(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Return a dict that gets the numbers of the rows that an encoder learns from, by its id."""
    learned: Seen = {}
    fit_table = TableEncoder._fit_table

    def recording(self: Any, table: Any, whole: Any, named: bool) -> None:
        learned[id(self)] = set(table.column("x0").values)
        fit_table(self, table, whole, named)

    monkeypatch.setattr(TableEncoder, "_fit_table", recording)
    return learned


def run(estimator: Any, check: Callable[[Any, np.ndarray], int], **options: Any) -> int:
    """Search; return how many rows of test folds were seen.

    check : gets each fitted candidate and the rows of its test fold; returns how many it saw.
    """
    found: list[int] = []

    def scoring(estimator: Any, X: Any, y: Any) -> float:
        found.append(check(estimator, np.asarray(X)))
        return float(estimator.score(X, y))

    name = "alpha" if not hasattr(estimator, "steps") else f"{estimator.steps[-1][0]}__alpha"
    space = {name: [0.1, 1.0]}
    search = MLPSearchCV(estimator, space, scoring=scoring, refit=False, cv=3, **options)
    search.fit(X, LABELS)
    assert len(found) >= 6
    return sum(found)


SAMPLERS = [
    {"sampler": "grid"},
    {"sampler": "halving", "n_iter": 2, "factor": 2, "min_resources": 30, "random_state": 0},
]


@pytest.mark.parametrize("options", SAMPLERS)
@pytest.mark.parametrize("leak", [False, True])
def test_networks(monkeypatch: pytest.MonkeyPatch, leak: bool, options: dict[str, Any]) -> None:
    trained = record_networks(monkeypatch)
    if leak:
        plant(monkeypatch)

    def check(network: Any, X_test: np.ndarray) -> int:
        return len(set(trained[id(network)][:, 0]) & set(X_test[:, 0]))

    assert (run(classifier(), check, **options) > 0) == leak


@pytest.mark.parametrize("leak", [False, True])
def test_transformers(monkeypatch: pytest.MonkeyPatch, leak: bool) -> None:
    trained = record_networks(monkeypatch)
    if leak:
        plant(monkeypatch)

    def check(pipeline: Any, X_test: np.ndarray) -> int:
        test = set(X_test[:, 0])
        learned, rows = pipeline[0].numbers_, set(trained[id(pipeline[-1])][:, 0])
        assert learned == rows
        return len(learned & test)

    pipeline = make_pipeline(Recorder(), classifier())
    assert (run(pipeline, check, sampler="grid") > 0) == leak


@pytest.mark.parametrize("options", SAMPLERS)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("leak", [False, True])
def test_encoders(
    monkeypatch: pytest.MonkeyPatch, leak: bool, early_stopping: bool, options: dict[str, Any]
) -> None:
    trained, learned = record_networks(monkeypatch), record_encoders(monkeypatch)
    if leak:
        plant(monkeypatch)

    def check(model: Any, X_test: np.ndarray) -> int:
        seen = len(learned[id(model.encoder_)] & set(X_test[:, 0]))
        rows = {tuple(row) for row in trained[id(model.network_)].tolist()}
        return seen + len(rows & {tuple(row) for row in model.encode(X_test).tolist()})

    # One network: members of an ensemble hold out rows that their encoder has learned from.
    estimator = TableClassifier(**PLAIN | {"early_stopping": early_stopping})
    assert (run(estimator, check, **options) > 0) == leak
