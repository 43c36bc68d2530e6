from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpubp.models.baselines import Baseline
from gpubp.models.scores import class_scores, number_scores
from gpubp.models.verdict import NO_TEST, class_remarks, is_better, overfit_remarks, verdict

AB = np.array(["a", "b"])


def probabilities(of_b: np.ndarray) -> np.ndarray:
    return np.stack([1 - of_b, of_b], axis=1)


def classifier(name: str, y: np.ndarray, of_b: np.ndarray) -> Baseline:
    P = probabilities(of_b)
    label = {"trivial": "always 'a'", "linear": "logistic"}[name]
    return Baseline(name, f"the {name} one", 9, class_scores(AB, y, P), P, label)


def said(y: np.ndarray, of_b: np.ndarray, *others: Baseline) -> str:
    P = probabilities(of_b)
    return verdict("classification", y, P, class_scores(AB, y, P), others, classes=AB)


HALVES = np.array(["a", "b"] * 50)
RIGHT = np.where(HALVES == "b", 0.9, 0.1)
GUESSING = classifier("trivial", HALVES, np.full(100, 0.5))


def test_a_network_that_is_clearly_better() -> None:
    unsure = classifier("linear", HALVES, np.where(HALVES == "b", 0.6, 0.4))
    # A better log loss is enough.
    text = said(HALVES, RIGHT, GUESSING, unsure)
    assert text == (
        "better than the linear one: balanced accuracy 1.000 against 1.000, log loss 0.105 "
        "against 0.511 on 100 test rows"
    )
    assert is_better(text)


def test_a_network_no_better_than_guessing() -> None:
    same = np.tile([0.4, 0.4, 0.6, 0.6], 25)  # half of each class right
    linear = classifier("linear", HALVES, np.full(100, 0.5))
    assert said(HALVES, same, GUESSING, linear) == (
        "not clearly better than always answering 'a': balanced accuracy 0.500 against 0.500, log "
        "loss 0.714 against 0.693 on 100 test rows: the columns may say little about the target"
    )
    text = said(HALVES, same, GUESSING, classifier("linear", HALVES, RIGHT))
    assert "0.693, and worse than the linear one: balanced accuracy 0.500 against 1.000" in text
    assert text.endswith("on 100 test rows: use the simpler model")
    assert not is_better(text)


def test_a_network_that_is_worse_than_the_linear_model() -> None:
    worse = RIGHT.copy()
    worse[:30] = 1 - worse[:30]
    linear = RIGHT.copy()
    linear[:4] = 1 - linear[:4]
    assert said(HALVES, worse, GUESSING, classifier("linear", HALVES, linear)) == (
        "worse than the linear one on all 6 scores (balanced accuracy 0.700 against 0.960, "
        "log loss 0.765 against 0.193) on 100 test rows: use the simpler model"
    )


def test_worse_in_one_score_names_only_this_score() -> None:
    unsure = np.where(HALVES == "b", 0.55, 0.45)  # balanced accuracy 1, by chance the higher one
    linear = RIGHT.copy()
    linear[0] = 1 - linear[0]
    assert said(HALVES, unsure, GUESSING, classifier("linear", HALVES, linear)) == (
        "worse than the linear one: log loss 0.598 against 0.127 on 100 test rows: use the simpler "
        "model"
    )


def test_better_in_one_score_and_worse_in_another() -> None:
    own = np.where(HALVES == "b", 0.505, 0.495)
    own[:2] = 1 - own[:2]
    sure = np.where(HALVES == "b", 0.8, 0.2)
    sure[:20] = 1 - np.where(HALVES[:20] == "b", 0.505, 0.495)
    linear = classifier("linear", HALVES, sure)
    text = said(HALVES, own, classifier("trivial", HALVES, np.full(100, 0.3)), linear)
    assert text.startswith(
        "better than the linear one in balanced accuracy 0.980 against 0.800, but worse in log loss"
    )
    assert not is_better(text)


def test_accuracy_that_is_not_above_the_trivial_one_is_said() -> None:
    y = np.array(["a"] * 80 + ["b"] * 20)
    of_b = np.repeat([0.6, 0.1, 0.9, 0.1], [19, 61, 18, 2])  # 19 of a and 2 of b are wrong
    trivial = classifier("trivial", y, np.full(100, 0.2))
    linear = classifier("linear", y, np.full(100, 0.2))
    text = said(y, of_b, trivial, linear)
    assert ", and no better than always answering 'a' in accuracy (0.790 against 0.800)" in text


def test_a_difference_within_noise_is_not_better() -> None:
    # Two rows more of 100 are right: a gain of .02, whose standard error is .014.
    all_right = np.where(HALVES == "b", 0.6, 0.4)
    linear = np.where(HALVES == "b", 0.9, 0.1)
    linear[:2] = [0.6, 0.4]
    linear[2:] = all_right[2:]
    text = said(HALVES, all_right, GUESSING, classifier("linear", HALVES, linear))
    assert text.startswith("not clearly better than the linear one: ")
    assert text.endswith(": the simpler model may be enough")
    linear[:10] = np.tile([0.6, 0.4], 5)
    text = said(HALVES, all_right, GUESSING, classifier("linear", HALVES, linear))
    assert text.startswith("better than the linear one")


@pytest.mark.parametrize("n", [1, 8, 40])
def test_few_rows_cannot_tell(n: int) -> None:
    y, right = HALVES[:n], RIGHT[:n]
    others = [classifier("trivial", y, np.full(n, 0.5)), classifier("linear", y, right)]
    text = said(y, right, *others)
    verb = "row is" if n == 1 else "rows are"
    assert text.startswith(
        f"{n} test {verb} too few to distinguish the network from the linear one: "
    )
    assert not is_better(text)


def never(y: np.ndarray, of_b: np.ndarray, **options: Any) -> list[str]:
    return class_remarks(y, probabilities(of_b), AB, **options)


def test_a_class_that_is_never_predicted_is_said_with_what_to_do() -> None:
    y = np.array(["a"] * 980 + ["b"] * 20)
    of_b = np.where(y == "b", 0.4, 0.001)
    assert never(y, of_b) == [
        "class 'b' is never predicted, but has 20 of 1,000 test rows; "
        "--class-weight balanced trains for rare classes"
    ]
    assert never(y, of_b, class_weight="balanced") == [
        "class 'b' is never predicted, but has 20 of 1,000 test rows"
    ]


def test_many_classes_that_are_never_predicted_are_counted() -> None:
    classes = np.array(list("abcdef"))
    P = np.tile([0.5, 0.1, 0.1, 0.1, 0.1, 0.1], (10, 1))
    y = np.array(list("aaaaabcdef"))
    (remark,) = class_remarks(y, P, classes, "balanced")
    assert remark == (
        "classes 'b', 'c', 'd' and 2 more are never predicted, but have 5 of 10 test rows"
    )


def test_rare_positives_make_accuracy_say_little() -> None:
    y = np.array(["a"] * 990 + ["b"] * 10)
    assert never(y, np.where(y == "b", 0.9, 0.001)) == [
        "99.0 % of the test rows are 'a', so accuracy says little: look at balanced accuracy; "
        "--class-weight balanced trains for rare classes"
    ]


def number_model(y: np.ndarray, found: np.ndarray, name: str = "linear") -> Baseline:
    text, label = {"linear": ("linear regression", "linear"), "trivial": ("the mean", "mean")}[name]
    names = [f"y{j}" for j in range(y.shape[1])] if y.ndim > 1 else None
    outputs = found if found.ndim > 1 else found[:, None]
    return Baseline(name, text, 9, number_scores(y, found, names), outputs, label)


def of_numbers(y: np.ndarray, found: np.ndarray, *others: Baseline) -> str:
    names = [f"y{j}" for j in range(y.shape[1])] if y.ndim > 1 else None
    return verdict("regression", y, found, number_scores(y, found, names), others)


def test_numbers_are_compared_by_r2_and_shown_in_their_units() -> None:
    y = np.tile([-1e5, 1e5], 50)
    near, far, mean = 0.9 * y, 0.5 * y, number_model(y, 0 * y, "trivial")
    assert of_numbers(y, near, mean, number_model(y, far)) == (
        "better than linear regression: RMSE 10,000 against 50,000 on 100 test rows"
    )
    assert of_numbers(y, far, mean, number_model(y, near)) == (
        "worse than linear regression on all 3 scores (RMSE 50,000 against 10,000) on 100 test "
        "rows: use the simpler model"
    )
    assert of_numbers(y, near, mean, number_model(y, near)) == (
        "not clearly better than linear regression: RMSE 10,000 against 10,000 on 100 test rows: "
        "the simpler model may be enough"
    )


def test_the_targets_of_a_regression_count_alike_whatever_their_units() -> None:
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(100, 2)) * [1.0, 1e4]
    noise = rng.normal(size=(100, 2))
    # The network is much better in the small target and a little worse in the large one.
    own, other = Y + noise * [0.1, 3.1e3], Y + noise * [0.9, 3e3]
    trivial = number_model(Y, np.zeros_like(Y), "trivial")
    text = of_numbers(Y, own, trivial, number_model(Y, other))
    assert text.startswith("better than linear regression: mean R² 0.9")
    assert "RMSE" not in text


def test_targets_that_the_mean_predicts_as_well_are_named() -> None:
    Y = np.random.default_rng(0).normal(size=(100, 2))
    own = np.stack([Y[:, 0], 2 - Y[:, 1]], axis=1) * [1, 0.1]
    trivial = number_model(Y, np.zeros_like(Y), "trivial")
    text = of_numbers(Y, own, trivial, number_model(Y, Y * 0.999))
    assert text.startswith("worse than linear regression: mean R² ") or "all 2 targets" in text
    assert "no better than always answering the mean for 'y1'" in text


def test_a_constant_target_is_compared_by_its_errors() -> None:
    y = np.full(10, 5.0)
    other = number_model(y, y + np.linspace(1, 2, 10))
    assert is_better(of_numbers(y, y, other))


def test_no_test_rows() -> None:
    assert verdict("regression", np.empty(0), np.empty(0), {}, []) == NO_TEST


def test_training_rows_that_are_fitted_far_better_are_a_remark() -> None:
    assert overfit_remarks({"accuracy": 0.916}, {"accuracy": 0.733}, 240, "try this") == [
        "training rows are fitted far better than test rows, accuracy 0.916 in training against "
        "0.733: try this"
    ]
    assert overfit_remarks({"accuracy": 0.916}, {"accuracy": 0.733}, 20, "") == []
    assert overfit_remarks({"accuracy": 0.98}, {"accuracy": 0.95}, 9000, "") == []
    (remark,) = overfit_remarks({"r2": 0.856}, {"r2": 0.36}, 77, "try this")
    assert "R² 0.856 in training against 0.360" in remark
    assert overfit_remarks({"r2": 0.4}, {"r2": 0.25}, 77, "") == []


def test_a_quantile_is_compared_by_its_pinball_loss() -> None:
    y = np.random.default_rng(0).normal(size=200)
    high, mean = y + 0.1, number_model(y, 0 * y, "trivial")
    # The mean has the smaller squared error, the quantile the smaller pinball loss at 0.9.
    y_high = np.full(200, 1.28)
    scores = number_scores(y, y_high, level=0.9)
    other = replace(mean, scores=number_scores(y, 0 * y, level=0.9))
    text = verdict("regression", y, y_high, scores, [other], level=0.9)
    assert re.fullmatch(r"better than .*: pinball loss 0.\d+ against 0.\d+ on 200 test rows", text)
    assert not is_better(of_numbers(y, y_high, mean))
    by_errors = verdict("regression", y, high, number_scores(y, high), [mean], level=0.5)
    assert ": mean absolute error 0.1000 against 0." in by_errors
    assert overfit_remarks({"r2": 0.9}, {"r2": 0.1, "pinball_loss": 1.0}, 200, "") == []


def test_targets_of_a_quantile_have_no_r2() -> None:
    Y = np.random.default_rng(0).normal(size=(100, 2))
    own = np.stack([Y[:, 0], 9 - Y[:, 1]], axis=1)
    zeros, names = np.zeros_like(Y), ["y0", "y1"]
    other = replace(
        number_model(Y, zeros, "trivial"), scores=number_scores(Y, zeros, names, level=0.9)
    )
    linear = replace(other, name="linear", outputs=Y + 50, text="linear regression")
    scores = number_scores(Y, own, names, level=0.9)
    text = verdict("regression", Y, own, scores, [other, linear], level=0.9)
    assert "R²" not in text
