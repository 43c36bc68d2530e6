from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import mean_pinball_loss

from gpubp.models import baselines as module
from gpubp.models.baselines import baselines


def two_groups(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose first column alone says their class: a quarter are b."""
    y = np.where(np.arange(n) % 4 == 0, "b", "a")
    X = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    X[:, 0] = np.where(y == "b", 2, -2)
    return X, y


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_the_trivial_baseline_has_the_parts_of_the_classes_and_the_linear_one_the_columns(
    kind: Any,
) -> None:
    X, y = two_groups(40)
    trivial, linear = baselines("classification", kind(X), y, kind(X[:8]), y[:8])
    assert (trivial.name, trivial.text, trivial.rows) == (
        *("trivial", "the most frequent class, 'a'"),
        40,
    )
    assert trivial.scores["accuracy"] == 0.75
    assert trivial.scores["balanced_accuracy"] == 0.5
    assert trivial.scores["log_loss"] == pytest.approx(
        -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    )
    assert (linear.name, linear.text, linear.rows) == ("linear", "logistic regression", 40)
    assert linear.scores["accuracy"] == 1.0


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_baselines_of_numbers_are_in_their_units(kind: Any) -> None:
    X = np.random.default_rng(1).normal(size=(400, 2)).astype(np.float32)
    Y = np.stack([1e6 + 1000 * X[:, 0], X[:, 1] * 0.01, np.full(400, 7.0)], axis=1)
    trivial, linear = baselines("regression", kind(X), Y[:300], kind(X[300:]), Y[300:])
    assert trivial.text == "the mean"
    np.testing.assert_allclose(trivial.outputs[0], Y[:300].mean(axis=0))
    assert linear.text == "linear regression"
    assert (np.abs(linear.outputs - Y[300:]) <= [20, 2e-4, 1e-6]).all()
    assert linear.scores["per_output"][1]["r2"] > 0.999


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_encoded_rows_that_the_linear_model_may_use_are_enough(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINEAR_ROWS", 60)
    monkeypatch.setattr(module, "LINEAR_WORK", 3 * 1000)
    X, y = two_groups(3000)
    y = y if task == "classification" else X[:, 0]
    few = module.rows_for_linear(task, y, seed=3)
    assert len(few) == 60
    monkeypatch.setattr(module, "LINEAR_ROWS", 50)
    all_rows, of_few = (
        baselines(task, given, y, X, y, rows=rows, seed=3)[1]
        for given, rows in ((X, None), (X[few], few))
    )
    assert of_few.rows == all_rows.rows == 50
    np.testing.assert_array_equal(of_few.outputs, all_rows.outputs)


def test_one_target_may_have_no_axis_of_its_own() -> None:
    X = np.arange(20, dtype=np.float32)[:, None]
    _, linear = baselines("regression", X, X[:, 0] * 3, X, X[:, 0] * 3)
    assert linear.outputs.shape == (20, 1)
    assert linear.scores["r2"] > 0.99


def test_the_trivial_baseline_of_a_quantile_is_the_quantile() -> None:
    X = np.arange(21, dtype=np.float32)[:, None]
    y = X[:, 0] ** 2
    median, linear = baselines("regression", X, y, X, y, level=0.5)
    assert (median.text, median.label, linear.name) == ("the median", "median", "linear")
    np.testing.assert_array_equal(median.outputs, 100.0)
    assert "pinball_loss" not in median.scores
    (high,) = baselines("regression", X, y, X, y, level=0.9)  # the linear one estimates the mean
    assert (high.text, high.label) == ("the 0.9 quantile", "0.9 quantile")
    np.testing.assert_array_equal(high.outputs, 18.0**2)
    assert high.scores["pinball_loss"] == pytest.approx(
        mean_pinball_loss(y, y * 0 + 324, alpha=0.9)
    )


def test_the_linear_model_takes_a_part_of_many_rows_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LINEAR_ROWS", 50)
    X, y = two_groups(200)
    y[123], y[150] = "c", "d"
    _, linear = baselines("classification", X, y, X, y)
    # One row of each class is among them.
    assert linear.rows == 50
    assert (linear.outputs > 0).all()
    assert linear.text == "logistic regression on 50 of 200 rows"
    assert linear.outputs.shape == (200, 4)
    again = baselines("classification", X, y, X, y)[1]
    np.testing.assert_array_equal(again.outputs, linear.outputs)


def test_one_class_has_no_linear_model() -> None:
    X, y = np.ones((4, 1), np.float32), np.array(["a"] * 4)
    (trivial,) = baselines("classification", X, y, X, y)
    assert trivial.scores["accuracy"] == 1.0


def test_classes_of_the_network_without_rows_have_no_probability() -> None:
    X, y = two_groups(40)
    classes = np.array(["a", "aa", "b"])
    for baseline in baselines("classification", X, y, X, y, classes=classes):
        assert baseline.outputs.shape == (40, 3)
        assert (baseline.outputs[:, 1] == 0).all()
        assert baseline.scores["log_loss"] < 0.6


def test_class_weights_are_those_of_the_network() -> None:
    X, y = two_groups(400)
    X[:, 0] += np.random.default_rng(3).normal(size=400) * 4
    args = ("classification", X, y, X, y)
    plain, balanced = (baselines(*args, class_weight=w)[1] for w in (None, "balanced"))
    assert balanced.scores["balanced_accuracy"] > plain.scores["balanced_accuracy"]


def test_labels_are_short_names_for_the_heads_of_a_table() -> None:
    X, y = two_groups(40)
    labels = [of.label for of in baselines("classification", X, y, X, y)]
    assert labels == ["always 'a'", "logistic"]
    labels = [of.label for of in baselines("regression", X, X[:, 0], X, X[:, 0])]
    assert labels == ["mean", "linear"]


def test_scores_are_of_the_positive_class_and_of_named_targets() -> None:
    X, y = two_groups(40)  # of which a quarter are b; "always 'a'" finds them all
    (trivial, _) = baselines("classification", X, y, X, y, positive="a")
    assert trivial.scores["f1"] == pytest.approx(2 * 0.75 / 1.75)
    (_, linear) = baselines("regression", X, X[:, :2], X, X[:, :2], targets=("p", "q"))
    assert list(linear.scores["per_target"]) == ["p", "q"]
    assert linear.scores["per_target"]["q"] == linear.scores["per_output"][1]
