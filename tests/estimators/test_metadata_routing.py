"""Weights and rows to validate on, routed by scikit-learn to the estimators inside others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning, UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
RNG = np.random.RandomState(0)
X = RNG.normal(3, 10, size=(80, 4))
LABELS = (X[:, 0] > X[:, 1]).astype(int)
Y = X @ [1.0, -2.0, 0.5, 0.0] / 10
WEIGHTS = RNG.randint(1, 4, 80).astype(float)
TRAIN, HELD = np.arange(60), np.arange(60, 80)
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (6,),
    "learning_rate_init": 0.02,
    "max_iter": 8,
    "random_state": 0,
    "device": "cpu",
}
EARLY = OPTIONS | {"early_stopping": True, "max_iter": 20}
DATA: dict[type, np.ndarray] = {MLPClassifier: LABELS, MLPRegressor: Y}


@pytest.fixture(autouse=True)
def _routing() -> Iterator[None]:
    with config_context(enable_metadata_routing=True):
        yield


def same_weights(one: Any, other: Any) -> bool:
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", DATA)
def test_what_may_be_requested(kind: type) -> None:
    request = kind().get_metadata_routing()
    names = {"sample_weight", "X_val", "y_val", "sample_weight_val"}
    assert set(request.fit.requests) == names
    assert set(request.score.requests) == {"sample_weight"}
    partial = {"sample_weight", "classes"} if kind is MLPClassifier else {"sample_weight"}
    assert set(request.partial_fit.requests) == partial
    model = kind().set_fit_request(sample_weight=True, X_val=True, y_val="targets_val")
    assert model.get_metadata_routing().fit.requests["y_val"] == "targets_val"


@pytest.mark.parametrize("kind", DATA)
def test_rows_to_validate_on_reach_the_network_transformed(kind: type) -> None:
    y = DATA[kind]
    network = kind(**EARLY).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("net", network)], transform_input=["X_val"])
    pipeline.fit(X[TRAIN], y[TRAIN], X_val=X[HELD], y_val=y[HELD], sample_weight_val=WEIGHTS[HELD])
    scaler = StandardScaler().fit(X[TRAIN])
    alone = kind(**EARLY).fit(
        scaler.transform(X[TRAIN]),
        y[TRAIN],
        X_val=scaler.transform(X[HELD]),
        y_val=y[HELD],
        sample_weight_val=WEIGHTS[HELD],
    )
    assert same_weights(pipeline["net"], alone)
    assert pipeline["net"].validation_scores_ == alone.validation_scores_


@pytest.mark.parametrize("kind", DATA)
def test_a_search_passes_the_weights_of_its_rows(kind: type) -> None:
    y, folds = DATA[kind], KFold(2)
    network = kind(**OPTIONS).set_fit_request(sample_weight=True)
    network.set_score_request(sample_weight=True)
    search = GridSearchCV(network, {"alpha": [1e-4, 10.0]}, cv=folds)
    search.fit(X, y, sample_weight=WEIGHTS)
    wanted = []
    for train, test in folds.split(X):
        model = kind(**OPTIONS, alpha=1e-4).fit(X[train], y[train], sample_weight=WEIGHTS[train])
        wanted.append(model.score(X[test], y[test], sample_weight=WEIGHTS[test]))
    got = [search.cv_results_[f"split{k}_test_score"][0] for k in range(2)]
    assert got == wanted
    best = kind(**OPTIONS, **search.best_params_).fit(X, y, sample_weight=WEIGHTS)
    assert same_weights(search.best_estimator_, best)


def test_a_search_passes_rows_to_validate_on_whole() -> None:
    network = MLPClassifier(**EARLY).set_fit_request(X_val=True, y_val=True)
    steps = [("scale", StandardScaler()), ("net", network)]
    pipeline = Pipeline(steps, transform_input=["X_val"])
    folds = cross_validate(
        pipeline,
        X[TRAIN],
        LABELS[TRAIN],
        cv=KFold(3),
        params={"X_val": X[HELD], "y_val": LABELS[HELD]},
        return_estimator=True,
        error_score="raise",
    )
    for fitted in folds["estimator"]:
        best = fitted["net"].best_validation_score_
        assert best == fitted.score(X[HELD], LABELS[HELD])


def test_weights_reach_the_network_at_the_end_of_a_pipeline() -> None:
    network = MLPClassifier(**OPTIONS).set_fit_request(sample_weight=True)
    scale = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = make_pipeline(scale, network).fit(X, LABELS, sample_weight=WEIGHTS)
    scaled = StandardScaler().fit_transform(X)
    alone = MLPClassifier(**OPTIONS).fit(scaled, LABELS, sample_weight=WEIGHTS)
    assert same_weights(pipeline[-1], alone)


def test_what_is_not_requested_is_refused() -> None:
    search = GridSearchCV(MLPClassifier(**OPTIONS), {"alpha": [1.0]}, cv=2)
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        search.fit(X, LABELS, sample_weight=WEIGHTS)
