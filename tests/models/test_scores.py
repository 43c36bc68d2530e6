from __future__ import annotations

import math

import numpy as np
import pytest

from gpubp.models.scores import class_scores, number_scores, per_class, positive_class

AB = np.array(["a", "b"])
OF_B = [0.1, 0.6, 0.4, 0.9]  # probabilities of b


def of_two(second: list[float]) -> np.ndarray:
    P = np.array(second, dtype=np.float32)
    return np.stack([1 - P, P], axis=1)


def test_scores_of_two_classes() -> None:
    scores = class_scores(AB, np.array(["a", "a", "b", "b"]), of_two(OF_B))
    assert scores == pytest.approx(
        {
            "accuracy": 0.5,  # a and b right, one of each wrong
            "balanced_accuracy": 0.5,
            "log_loss": -(2 * math.log(0.9) + 2 * math.log(0.4)) / 4,
            "roc_auc": 3 / 4,  # of the pairs (b, a) only .4 < .6 is in the wrong order
            "average_precision": (1 + 2 / 3) / 2,  # b, a, b, a by falling probability
            "f1": 0.5,
        },
        rel=1e-6,
    )


def test_the_positive_class_can_be_the_first() -> None:
    y = np.array(["a", "b", "b", "b"])
    scores = class_scores(AB, y, of_two([0.4, 0.3, 0.8, 0.9]), positive="a")
    # Two rows are called a, one of them is: precision 1/2, recall 1. By falling probability of a,
    # .7 .6 .2 .1, a comes second; the AUC is that of b.
    assert scores["f1"] == pytest.approx(2 / 3)
    assert scores["average_precision"] == pytest.approx(1 / 2)
    assert scores["roc_auc"] == pytest.approx(2 / 3)
    assert class_scores(AB, y, of_two([0.4, 0.3, 0.8, 0.9]))["f1"] == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("classes", "y", "right"),
    [
        (["bad", "good"], ["good", "good", "bad"], "bad"),
        (["no", "yes"], ["no", "no", "yes"], "yes"),
        (["no", "yes"], ["no", "yes"], "yes"),
        ([0, 1], [0, 1, 1], 1),
    ],
)
def test_the_positive_class_is_the_second_or_the_rarer_text(
    classes: list[object], y: list[object], right: object
) -> None:
    assert positive_class(np.array(classes), np.array(y)) == right


def test_scores_of_three_classes() -> None:
    classes = np.array([3, 5, 9])
    P = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    scores = class_scores(classes, np.array([3, 5, 5, 9]), P)
    assert scores == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced_accuracy": (1 + 1 / 2 + 1) / 3,
            "log_loss": -(math.log(0.8) + math.log(0.3) + 2 * math.log(0.7)) / 4,
            "roc_auc": 1.0,  # .8 is above .5 .2 .1; .3 and .7 above .2 and .1; .7 above all
            "average_precision": 1.0,
            "f1": (2 / 3 + 2 / 3 + 1) / 3,
        }
    )


def test_a_class_without_rows_is_left_out_of_the_means() -> None:
    P = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.3, 0.6, 0.1]])
    scores = class_scores(np.array(["a", "b", "c"]), np.array(["a", "a", "b"]), P)
    assert scores["roc_auc"] == scores["average_precision"] == 1.0
    assert scores["balanced_accuracy"] == scores["f1"] == 1.0


def test_unknown_labels_are_wrong_and_leave_what_needs_their_probability_undefined() -> None:
    scores = class_scores(AB, np.array(["a", "zz", "b", "b"]), of_two(OF_B))
    # Recalls 1, 0 and 1/2. F1 of b: one of two found, one of two right.
    assert scores == pytest.approx({"accuracy": 0.5, "balanced_accuracy": 0.5, "f1": 0.5})


@pytest.mark.parametrize("label", ["a", "b"])
def test_rows_of_one_class_have_no_ranking(label: str) -> None:
    scores = class_scores(AB, np.array([label] * 2), of_two([0.1, 0.2]))
    assert {"roc_auc", "average_precision"}.isdisjoint(scores)
    assert scores["accuracy"] == (label == "a")
    # Neither in y nor predicted, b has no F1; in y and never predicted, it has 0.
    assert scores.get("f1") == (None if label == "a" else 0.0)


def test_no_rows_have_no_scores() -> None:
    none = np.array([], dtype=np.str_)
    assert class_scores(AB, none, np.empty((0, 2))) == {}
    assert number_scores(np.empty(0), np.empty(0)) == {}


def test_a_model_of_one_class() -> None:
    scores = class_scores(np.array(["a"]), np.array(["a", "a"]), np.ones((2, 1), np.float32))
    assert scores == {"accuracy": 1.0, "balanced_accuracy": 1.0, "log_loss": 0.0, "f1": 1.0}


def test_integer_labels_beyond_float64_stay_apart() -> None:
    classes = np.array([2**53, 2**53 + 1])
    scores = class_scores(classes, classes[[0, 1, 1]], of_two([0.1, 0.2, 0.9]))
    assert scores["accuracy"] == pytest.approx(2 / 3)


def test_each_class_has_its_figures() -> None:
    classes = np.array(["a", "b", "c"])
    y, labels = np.array(["a", "a", "a", "b", "zz"]), np.array(["a", "a", "c", "a", "c"])
    assert per_class(classes, y, labels) == [
        {"label": "a", "rows": 3, "predicted": 3}
        | dict.fromkeys(("precision", "recall", "f1"), pytest.approx(2 / 3)),
        {"label": "b", "rows": 1, "predicted": 0, "precision": None, "recall": 0.0, "f1": 0.0},
        {"label": "c", "rows": 0, "predicted": 2, "precision": 0.0, "recall": None, "f1": 0.0},
        {"label": "zz", "rows": 1, "predicted": 0, "precision": None, "recall": 0.0, "f1": 0.0},
    ]


def test_scores_of_numbers() -> None:
    # Errors 1, 0, 0, -1 around a truth of variance 1.25: R² = 1 - (2/4)/1.25.
    scores = number_scores(np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 3, 3]))
    assert scores == pytest.approx({"r2": 0.6, "rmse": math.sqrt(0.5), "mae": 0.5})


def test_several_targets_have_means_and_their_own_scores() -> None:
    Y = np.array([[1.0, 10], [3, 30]])
    scores = number_scores(Y, np.array([[1.0, 20], [3, 20]]))
    first, second = scores.pop("per_output")
    assert first == {"r2": 1.0, "rmse": 0.0, "mae": 0.0}
    assert second == {"r2": 0.0, "rmse": 10.0, "mae": 10.0}
    assert scores == {"r2": 0.5, "rmse": 5.0, "mae": 5.0}


def test_a_single_row_has_no_r2() -> None:
    assert number_scores(np.array([1.0]), np.array([3.0])) == {"rmse": 2.0, "mae": 2.0}
