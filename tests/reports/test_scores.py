"""Scores next to those of simpler models, and class by class."""

from __future__ import annotations

from gpubp.reports.scores import (
    MOST_CLASSES,
    classes_table,
    metrics_text,
    scores_table,
    targets_table,
)


def test_metrics_in_a_line() -> None:
    assert metrics_text({"accuracy": 0.975, "log_loss": 0.09012}) == (
        "accuracy 0.9750, log loss 0.0901"
    )


def test_models_next_to_each_other() -> None:
    scores = {
        "network": {"r2": 0.5, "rmse": 123456.789, "mae": 1e-7},
        "trivial": {"r2": float("nan"), "rmse": 2.0},
    }
    assert scores_table(scores) == [
        "                        network  trivial",
        "R2                       0.5000        -",
        "RMSE                 1.2346e+05        2",
        "mean absolute error       1e-07        -",
    ]


def test_several_targets_have_means_and_a_table_of_their_own() -> None:
    metrics = {"r2": 0.5, "mae": 2.0, "per_output": [{"r2": 0.25, "mae": 1.0}, {"mae": 3.0}]}
    assert metrics_text(metrics) == "R2 0.5000, mean absolute error 2.0000"
    assert scores_table({"network": metrics})[1].split() == ["R2", "0.5000"]
    assert len(scores_table({"network": metrics})) == 3
    assert targets_table(["a", "b"], metrics) == [
        "target      R2  mean absolute error",
        "a       0.2500                    1",
        "b            -                    3",
    ]
    assert targets_table(["a"], {"r2": 0.5}) == []


def _class(label: object, **more: object) -> dict[str, object]:
    known = {"rows": 1200, "predicted": 3, "precision": 0.25, "recall": 1.0, "f1": 0.4}
    return {"label": label} | known | more


def test_classes() -> None:
    table = [_class("no"), _class("a\nb", predicted=0, precision=None, recall=0.0)]
    assert classes_table(table) == [
        "class   rows  predicted  precision  recall      F1",
        "no     1,200          3     0.2500  1.0000  0.4000",
        r"a\nb   1,200          0          -  0.0000  0.4000",
    ]


def test_many_classes_are_counted() -> None:
    lines = classes_table([_class(k) for k in range(MOST_CLASSES + 4)])
    assert len(lines) == 1 + MOST_CLASSES + 1
    assert lines[-1] == "... and 4 more classes with 4,800 rows"


def test_scores_of_each_target_are_not_in_the_table_of_models() -> None:
    of = {"r2": 0.5, "per_output": [{"r2": 0.4}, {"r2": 0.6}]}
    lines = scores_table({"network": of, "trivial": of})
    assert [line.split() for line in lines] == [["network", "trivial"], ["R2", "0.5000", "0.5000"]]
