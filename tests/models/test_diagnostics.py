"""Confusion, calibration, ROC curves, errors and importances of table models."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.metrics import roc_auc_score

from gpubp import TableClassifier, TableRegressor
from gpubp.models import permutation_importance as importances
from gpubp.models.calibration import calibration, coverage
from gpubp.models.confusion_matrix import MOST_CLASSES, confusion_matrix
from gpubp.models.diagnostics import diagnostics, log_loss
from gpubp.models.learning_curves import MOST_POINTS, learning_curves
from gpubp.models.permutation_importance import outputs_of, permutation_importance, shuffled
from gpubp.models.residuals import MOST_POINTS as MOST_DOTS
from gpubp.models.residuals import residuals
from gpubp.models.roc_curves import MOST_CURVES, roc_curves
from gpubp.training.history import Epoch

RNG = np.random.default_rng(0)
N = 200
FRAME: dict[str, Any] = {
    "a": RNG.normal(size=N),
    "kind": np.array(["x", "y", "z"], object)[RNG.integers(0, 3, N)],
    "noise": RNG.normal(size=N),
}
FRAME["a"][::17] = np.nan
SUM = np.nan_to_num(FRAME["a"]) * 2 + (FRAME["kind"] == "x")
CLASSES = np.where(SUM > 0.5, "high", "low")


@pytest.fixture(scope="module")
def classifier() -> TableClassifier:
    model = TableClassifier(preset="plain", max_iter=20, random_state=0)
    return model.fit(FRAME | {"y": CLASSES}, target="y")


@pytest.fixture(scope="module")
def regressor() -> TableRegressor:
    model = TableRegressor(preset="plain", max_iter=20, random_state=0)
    return model.fit(FRAME | {"y": SUM}, target="y")


def test_the_confusion_matrix_worked_by_hand() -> None:
    truth, found = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 1, 1, 1, 1, 0])
    of = confusion_matrix(["a", "b", "never", "unknown"], truth, found)
    assert of.labels == ["a", "b", "unknown"]
    assert of.counts == [[1, 2, 0], [0, 2, 0], [1, 0, 0]]
    assert [(p.true, p.predicted, p.rows) for p in of.pairs] == [("a", "b", 2), ("unknown", "a", 1)]
    assert of.wrong == 3


def test_very_many_classes_have_pairs_only() -> None:
    n = MOST_CLASSES + 1
    truth = np.arange(n)
    of = confusion_matrix(list(range(n)), truth, np.roll(truth, 1))
    assert of.counts == ()
    assert len(of.pairs) == 20
    whole = confusion_matrix(list(range(n - 1)), truth[:-1], truth[:-1])
    assert len(whole.counts) == n - 1
    assert not whole.pairs


def test_the_calibration_worked_by_hand() -> None:
    P = np.array([0.05, 0.05, 0.05, 0.05, 0.95, 1.0])
    of = calibration("yes", P, np.array([0, 0, 0, 1, 1, 1], bool))
    low, high = of.bins
    assert (low.rows, low.mean, low.share) == (4, pytest.approx(0.05), 0.25)
    assert (high.rows, high.mean, high.share) == (2, pytest.approx(0.975), 1.0)
    assert of.error == pytest.approx((4 * 0.2 + 2 * 0.025) / 6)
    # Wilson's interval of 1 in 4, and of 2 in 2: z^2 / (n + z^2) at the lower end.
    assert (low.low, low.high) == (pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4))
    assert (high.low, high.high) == (pytest.approx(2 / (2 + 1.96**2)), 1.0)


def test_the_coverage_of_quantiles() -> None:
    Y = np.array([[1.0], [2.0], [3.0], [4.0]])
    quantiles = np.broadcast_to([3.0, 0.0], (4, 1, 2))
    found = coverage(["y"], [0.9, 0.1], Y, quantiles)
    assert [(each.level, each.share) for each in found] == [(0.1, 0.0), (0.9, 0.75)]


def test_roc_curves_are_those_of_the_largest_classes() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(8), [5, 80, 70, 60, 50, 40, 30, 0])
    P = rng.dirichlet(np.ones(8), len(truth))
    found = roc_curves([f"k{j}" for j in range(8)], truth, P, None)
    assert [of.label for of in found] == ["k1", "k2", "k3", "k4", "k5"]
    assert len(found) == MOST_CURVES
    for of, j in zip(found, range(1, 6), strict=True):
        assert of.auc == pytest.approx(roc_auc_score(truth == j, P[:, j]))
        assert len(of.false_positives) <= 60
        x, y = np.array(of.false_positives), np.array(of.true_positives)
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert (np.diff(x) >= 0).all()
        assert np.trapezoid(y, x) == pytest.approx(of.auc, abs=0.02)
    assert roc_curves(["a", "b"], np.zeros(4, int), P[:4, :2], 1) == []


def test_errors_worked_by_hand() -> None:
    true = np.arange(10.0)
    of = residuals("y", true, true + np.array([0, 0, 0, 0, 0, 0, 1, -1, 2, 10]))
    assert (of.rows, of.median_error, of.mean) == (10, 0.0, 1.2)
    assert of.largest_of_nine == pytest.approx(2.8)
    assert sum(of.counts) == 10
    assert of.edges[0] == -1
    assert of.edges[-1] == 10
    flat = residuals("y", true, true)
    assert sum(flat.counts) == 10


def test_many_rows_are_drawn_and_tails_are_counted() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=5000)
    of = residuals("y", true, true + rng.standard_cauchy(5000))
    assert len(of.true) == len(of.predicted) == MOST_DOTS
    assert of.below + of.above + sum(of.counts) == 5000
    assert 10 < of.below < 40


def test_shuffling_encoded_columns_is_shuffling_the_column(classifier: TableClassifier) -> None:
    Z, order = classifier.encode(FRAME), np.random.default_rng(1).permutation(N)
    start = 0
    for encoding in classifier.encoder_.encodings_:
        name, stop = encoding.type.name, start + len(encoding.outputs)
        moved = FRAME | {name: FRAME[name][order]}
        for kind in (Z, sparse.csr_matrix(Z)):
            found = shuffled(kind, slice(start, stop), order)
            found = found.toarray() if sparse.issparse(found) else found
            np.testing.assert_array_equal(found, classifier.encode(moved))
        np.testing.assert_array_equal(
            outputs_of(classifier, found), classifier.predict_proba(moved)
        )
        start = stop
    assert start == Z.shape[1]


def test_the_importance_is_that_of_the_columns(
    classifier: TableClassifier, regressor: TableRegressor
) -> None:
    for model, y, metric in ((classifier, CLASSES, "log_loss"), (regressor, SUM, "r2")):
        found = diagnostics(model, FRAME | {"y": y}).importance
        assert found is not None
        assert (found.metric, found.rows, found.repeats) == (metric, N, 5)
        assert [each.column for each in found.columns] == ["a", "kind", "noise"]
        a, _, noise = found.columns
        assert a.mean > 0.25
        assert abs(noise.mean) < 0.05
        again = diagnostics(model, FRAME | {"y": y}).importance
        assert again == found


def test_the_work_of_the_importance_is_bounded(
    regressor: TableRegressor, monkeypatch: pytest.MonkeyPatch
) -> None:
    Z = np.tile(regressor.encode(FRAME), (20, 1))

    def found() -> importances.Importance:
        return permutation_importance(regressor, Z, lambda _: np.mean, "r2", 1, 0)

    assert (found().rows, found().repeats) == (2000, 5)
    monkeypatch.setattr(importances, "MOST_WORK", 1.0)
    assert (found().rows, found().repeats) == (200, 2)
    monkeypatch.setattr(importances, "MOST_SECONDS", -1.0)
    assert list(found().left_out) == ["a", "kind", "noise"]


def test_the_log_loss_of_known_labels() -> None:
    P = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    assert log_loss(np.array([0, 1, 7]), P) == pytest.approx(-np.log([0.5, 0.75]).mean())
    assert np.isfinite(log_loss(np.array([1, 1, 1]), P))
    assert np.isnan(log_loss(np.array([2, 3, 4]), P))
    assert np.isnan(log_loss(np.array([0, 1, 1]), P * np.nan))


def test_a_class_that_is_never_predicted_still_has_importances() -> None:
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=400), rng.normal(size=400)
    rare = (a > 0.5) & (rng.random(400) < 0.25)
    table = {"a": a, "noise": noise, "y": np.where(rare, "rare", "usual")}
    model = TableClassifier(preset="plain", max_iter=10, random_state=0).fit(table, target="y")
    assert set(model.predict(table)) == {"usual"}
    found = diagnostics(model, table).importance
    assert found is not None
    assert found.columns[0].column == "a"
    assert found.columns[0].mean > 5 * abs(found.columns[1].mean)


def test_diagnostics_agree_with_the_scores(
    classifier: TableClassifier, regressor: TableRegressor
) -> None:
    table = FRAME | {"y": CLASSES}
    of, scores = diagnostics(classifier, table), classifier.evaluate(table)
    assert of.confusion_matrix is not None
    counts = np.array(of.confusion_matrix.counts)
    assert counts.trace() / N == scores["accuracy"]
    assert of.roc_curves[0].label == classifier.positive_class_
    assert of.roc_curves[0].auc == pytest.approx(scores["roc_auc"])
    assert of.importance is not None
    assert of.importance.score == pytest.approx(scores["log_loss"], rel=1e-5)
    json.dumps(of.values(), allow_nan=False)
    table = FRAME | {"y": SUM}
    numbers, scores = diagnostics(regressor, table), regressor.evaluate(table)
    assert numbers.importance is not None
    assert numbers.importance.score == pytest.approx(scores["r2"])
    assert_allclose(numbers.residuals[0].true, SUM, rtol=1e-4)


def test_a_table_without_known_targets(classifier: TableClassifier) -> None:
    table = FRAME | {"y": np.full(N, None)}
    with pytest.raises(ValueError, match="target"):
        diagnostics(classifier, table)


def test_learning_curves_are_thinned(classifier: TableClassifier) -> None:
    (own,) = learning_curves(classifier.network_)
    assert list(own.losses) == pytest.approx(classifier.network_.loss_curve_, rel=1e-5)
    assert list(own.epochs) == list(range(1, 21))
    assert not own.rates
    record = [Epoch(k, 1 / k, None, True, 0.1, 1.0, 9) for k in range(1, 1001)]
    (long,) = learning_curves(classifier.network_, record)
    assert (long.count, len(long.losses)) == (1000, MOST_POINTS)
    assert (long.epochs[0], long.epochs[-1]) == (1, 1000)
    assert long.losses[-1] == 0.001
    assert set(long.rates) == {0.1}
