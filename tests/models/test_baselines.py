from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from gpubp.models import baselines as module
from gpubp.models.baselines import Baseline, baselines, remarks
from gpubp.models.scores import class_scores, number_scores

AB = np.array(["a", "b"])


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


def probabilities(of_b: np.ndarray) -> np.ndarray:
    return np.stack([1 - of_b, of_b], axis=1)


def classifier(name: str, y: np.ndarray, of_b: np.ndarray) -> Baseline:
    P = probabilities(of_b)
    return Baseline(name, f"the {name} one", 9, class_scores(AB, y, P), P)


def said(y: np.ndarray, of_b: np.ndarray, *others: Baseline, **options: Any) -> list[str]:
    P = probabilities(of_b)
    return remarks("classification", y, P, others, classes=AB, **options)


def test_a_network_that_is_clearly_better_has_no_remarks() -> None:
    y = np.array(["a", "b"] * 50)
    right = np.where(y == "b", 0.9, 0.1)
    assert said(y, right, classifier("trivial", y, np.full(100, 0.5))) == []


def test_a_network_no_better_than_guessing_is_said_once() -> None:
    y = np.array(["a", "b"] * 50)
    same = np.tile([0.4, 0.4, 0.6, 0.6], 25)  # half of each class right
    trivial, linear = (classifier(name, y, np.full(100, 0.5)) for name in ("trivial", "linear"))
    assert said(y, same, trivial, linear) == [
        "the network is not clearly better than always guessing the trivial one: balanced accuracy "
        "0.500 against 0.500, log loss 0.714 against 0.693 on 100 test rows"
    ]


def test_a_network_that_is_worse_than_the_linear_model_is_said() -> None:
    y = np.array(["a", "b"] * 50)
    right = np.where(y == "b", 0.9, 0.1)
    worse = right.copy()
    worse[:40] = 1 - worse[:40]
    (remark,) = said(y, worse, classifier("linear", y, right))
    assert remark == (
        "the network is worse than the linear one: balanced accuracy 0.600 against 1.000, "
        "log loss 0.984 against 0.105 on 100 test rows"
    )


def test_a_better_log_loss_is_enough_to_be_better() -> None:
    y = np.array(["a", "b"] * 50)
    right, unsure = np.where(y == "b", 0.9, 0.1), np.where(y == "b", 0.6, 0.4)
    assert said(y, right, classifier("linear", y, unsure)) == []


def test_a_difference_within_noise_is_not_better() -> None:
    # Two rows more of 100 are right: a gain of .02, whose standard error is .014.
    y = np.array(["a", "b"] * 50)
    all_right = np.where(y == "b", 0.6, 0.4)
    linear = np.where(y == "b", 0.9, 0.1)
    linear[:2] = [0.6, 0.4]
    (remark,) = said(y, all_right, classifier("linear", y, linear))
    assert "not clearly better" in remark
    linear[:10] = np.tile([0.6, 0.4], 5)
    assert said(y, all_right, classifier("linear", y, linear)) == []


def test_a_class_that_is_never_predicted_is_said_with_what_to_do() -> None:
    y = np.array(["a"] * 980 + ["b"] * 20)
    of_b = np.where(y == "b", 0.4, 0.001)
    trivial = classifier("trivial", y, np.full(1000, 0.02))
    assert said(y, of_b, trivial) == [
        "class 'b' is never predicted, but has 20 of 1,000 test rows; "
        "--class-weight balanced trains for rare classes"
    ]
    assert said(y, of_b, trivial, class_weight="balanced") == [
        "class 'b' is never predicted, but has 20 of 1,000 test rows"
    ]


def test_many_classes_that_are_never_predicted_are_counted() -> None:
    classes = np.array(list("abcdef"))
    P = np.tile([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], (10, 1))
    y = np.array(list("aaaaabcdef"))
    (remark,) = remarks("classification", y, P, [], classes=classes, class_weight="balanced")
    assert remark == (
        "classes 'b', 'c', 'd' and 2 more are never predicted, but have 5 of 10 test rows"
    )


def test_rare_positives_make_accuracy_say_little() -> None:
    y = np.array(["a"] * 990 + ["b"] * 10)
    trivial = classifier("trivial", y, np.full(1000, 0.01))
    assert said(y, np.where(y == "b", 0.9, 0.001), trivial) == [
        "99.0 % of the test rows are 'a', so accuracy says little: look at balanced accuracy; "
        "--class-weight balanced trains for rare classes"
    ]


def number_model(y: np.ndarray, found: np.ndarray) -> Baseline:
    return Baseline("linear", "linear regression", 9, number_scores(y, found), found[:, None])


def test_numbers_are_compared_by_r2() -> None:
    y = np.tile([-1.0, 1.0], 50)
    near, far = 0.9 * y, 0.5 * y
    assert remarks("regression", y, near, [number_model(y, far)]) == []
    assert remarks("regression", y, far, [number_model(y, near)]) == [
        "the network is worse than linear regression: R² 0.750 against 0.990 on 100 test rows"
    ]
    assert remarks("regression", y, near, [number_model(y, near)]) == [
        "the network is not clearly better than linear regression: "
        "R² 0.990 against 0.990 on 100 test rows"
    ]


def test_the_targets_of_a_regression_count_alike_whatever_their_units() -> None:
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(100, 2)) * [1.0, 1e4]
    noise = rng.normal(size=(100, 2))
    # The network is much better in the small target and a little worse in the large one.
    own, other = Y + noise * [0.1, 3.1e3], Y + noise * [0.9, 3e3]
    linear = Baseline("linear", "linear regression", 9, number_scores(Y, other), other)
    assert remarks("regression", Y, own, [linear]) == []


def test_a_constant_target_is_compared_by_its_errors() -> None:
    y = np.full(10, 5.0)
    other = number_model(y, y + np.linspace(1, 2, 10))
    assert remarks("regression", y, y, [other]) == []


def test_no_test_rows_have_no_remarks() -> None:
    assert remarks("regression", np.empty(0), np.empty(0), []) == []
