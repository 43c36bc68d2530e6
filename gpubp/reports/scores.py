"""The scores of a model: next to simpler models, and class by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "f1": "F1",
    "r2": "R2",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "loss": "loss",
}
IN_UNITS = ("rmse", "mae")  # of the target, so of any size
MOST_CLASSES = 30
MOST_LABEL = 30
_CLASS_HEAD = {"precision": "precision", "recall": "recall", "f1": "F1"}


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """Return metrics as "accuracy 0.9750, log loss 0.0901"; of several targets the means alone."""
    return ", ".join(f"{METRICS[name]} {metrics[name]:.4f}" for name in metrics if name in METRICS)


def scores_table(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the metrics of several models as lines, one for each metric.

    scores : metrics by the name of the model. A metric that one lacks or that is NaN is a "-". Of
        several targets the means are shown; see `targets_table`.
    """
    names = [
        name
        for name in dict.fromkeys(name for metrics in scores.values() for name in metrics)
        if name in METRICS
    ]
    head = ["", *scores]
    rows = [
        [METRICS[name], *(_number(name, of.get(name)) for of in scores.values())] for name in names
    ]
    return _table([head, *rows])


def targets_table(targets: Sequence[str], metrics: Mapping[str, Any]) -> list[str]:
    """Return the metrics of each of several targets as lines; none for a single target."""
    by_target: Sequence[Mapping[str, float]] = metrics.get("per_output", ())
    if not by_target:
        return []
    names = [name for name in METRICS if any(name in of for of in by_target)]
    rows = [
        [_shortened(target), *(_number(name, of.get(name)) for name in names)]
        for target, of in zip(targets, by_target, strict=True)
    ]
    return _table([["target", *(METRICS[name] for name in names)], *rows])


def classes_table(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the scores of each class as lines; the rest of many classes is counted.

    classes : "label", "rows", "predicted" (how many rows were predicted to be of it),
        "precision", "recall" and "f1" of each.
    """
    shown = classes[:MOST_CLASSES]
    rows = [
        [
            _shortened(str(of["label"])),
            *(f"{of[name]:,}" for name in ("rows", "predicted") if name in of),
            *(_number(name, of[name]) for name in _CLASS_HEAD),
        ]
        for of in shown
    ]
    counts = [name for name in ("rows", "predicted") if shown and name in shown[0]]
    lines = _table([["class", *counts, *_CLASS_HEAD.values()], *rows])
    left = classes[MOST_CLASSES:]
    if left:
        count = sum(int(of["rows"]) for of in left)
        lines.append(f"... and {len(left):,} more classes with {count:,} rows")
    return lines


def _number(name: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.5g}" if name in IN_UNITS else f"{value:.4f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: the first column to the left, numbers to the right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        numbers = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([set_cell_size(first, widths[0]), *numbers]))
    return lines


def _shortened(text: str) -> str:
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if cell_len(text) <= MOST_LABEL:
        return text
    return set_cell_size(text, MOST_LABEL - 3).rstrip() + "..."
