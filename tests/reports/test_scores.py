"""Scores next to those of simpler models, target by target, and class by class."""

from __future__ import annotations

import pytest

from gpubp.models.score_text import metric_name, numbers_text
from gpubp.reports.scores import (
    MOST_CLASSES,
    MOST_TARGETS,
    classes_table,
    metrics_text,
    scores_table,
)


def test_metrics_in_a_line() -> None:
    metrics = {"accuracy": 0.975, "log_loss": 0.09012, "rmse": 38613.7682, "per_output": []}
    assert metrics_text(metrics) == "accuracy 0.9750, log loss 0.0901, RMSE 38,614"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([38613.77, 202505.1, None], ["38,614", "202,505", "-"]),
        ([153.6131], ["153.6"]),
        ([1.5, 123.456, float("nan")], ["1.5", "123.5", "-"]),
        ([0.0123, 1234.5], ["0.012", "1,234.500"]),  # two digits of the smallest
        ([0.00051234], ["0.0005123"]),
        ([1e-9, 2.0], ["0.000000", "2.000000"]),
        ([1e-7], ["1e-07"]),
        ([1.23456e20, 0.0], ["1.235e+20", "0"]),
    ],
)
def test_errors_in_units_have_few_digits(values: list[float | None], texts: list[str]) -> None:
    assert numbers_text(values, "rmse") == texts


def test_metrics_are_named_by_the_class_they_are_of() -> None:
    assert metric_name("f1", "ALARM") == "F1 of 'ALARM'"
    assert metric_name("average_precision", 1) == "average precision of 1"
    assert metric_name("roc_auc", 1) == "ROC AUC"
    assert metric_name("f1", None, 3) == "F1, mean of classes"
    assert metric_name("roc_auc", None, 3) == "ROC AUC, mean"
    assert metric_name("accuracy", None, 3) == "accuracy"
    assert metric_name("f1", "a" * 60) == "F1 of 'aaaa...aaa'"


def test_models_next_to_each_other() -> None:
    scores = {
        "network": {"r2": 0.5, "rmse": 123456.789, "mae": 1e-7, "f1": 0.25},
        "mean": {"r2": float("nan"), "rmse": 2345.0},
    }
    assert scores_table(scores, positive="yes") == [
        "                     network   mean",
        "R²                    0.5000      -",
        "RMSE                 123,457  2,345",
        "mean absolute error    1e-07      -",
        "F1 of 'yes'           0.2500      -",
    ]


def _targets(scale: float, names: tuple[str, ...] = ("kg", "euros")) -> dict[str, object]:
    each = [{"r2": 0.5, "rmse": 2 * scale, "mae": scale}, {"r2": 1, "rmse": 1e4, "mae": 1e4}]
    pooled = {"r2": 0.75, "rmse": 77777.0, "mae": 77777.0, "per_output": each}
    return pooled | ({"per_target": dict(zip(names, each, strict=True))} if names else {})


def test_each_of_several_targets_has_its_rows() -> None:
    lines = scores_table({"network": _targets(0.25), "mean": _targets(0.5)})
    assert lines == [
        "                     network    mean",
        "R²",
        "  kg                  0.5000  0.5000",
        "  euros               1.0000  1.0000",
        "  mean of 2 targets   0.7500  0.7500",
        "RMSE",
        "  kg                   0.500   1.000",
        "  euros               10,000  10,000",
        "mean absolute error",
        "  kg                  0.2500  0.5000",
        "  euros               10,000  10,000",
    ]
    assert "  target 2" in "\n".join(scores_table({"train": _targets(1, ())}))
    each = {f"y{k}": {"r2": 0.5, "rmse": 1.0, "mae": 1.0} for k in range(MOST_TARGETS + 3)}
    many = {"r2": 0.5, "per_output": [*each.values()], "per_target": each}
    assert scores_table({"train": many})[-1] == "... and 3 more targets"


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


def test_a_score_that_rounds_to_0_has_no_sign() -> None:
    assert numbers_text([-0.00001, -0.5], "r2") == ["0.0000", "-0.5000"]
