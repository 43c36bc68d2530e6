"""The scores of a model: next to simpler models, target by target, and class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from gpubp.models.score_text import METRICS, metric_name, numbers_text
from gpubp.reports.labels import printable

MOST_CLASSES = 30
MOST_TARGETS = 20
MOST_LABEL = 30
_PER_TARGET = ("r2", "pinball_loss", "rmse", "mae")
_CLASS_HEAD = {"precision": "precision", "recall": "recall", "f1": "F1"}

Scores = Mapping[str, Any]


def metrics_text(metrics: Scores) -> str:
    """Return metrics as "accuracy 0.9750, log loss 0.0901"."""
    return ", ".join(
        f"{METRICS.get(name, name)} {numbers_text([value], name)[0]}"
        for name, value in metrics.items()
        if not isinstance(value, list | dict)
    )


def scores_table(
    scores: Mapping[str, Scores], *, positive: Any = None, classes: int = 0
) -> list[str]:
    """Return the metrics of several models as lines, one for each metric.

    scores : metrics by the name of the model. A missing metric or NaN is shown as "-". With
        several targets, each has lines of its own.
    positive, classes : arguments of `metric_name`.
    """
    if any("per_output" in of for of in scores.values()):
        return _targets_table(scores)
    names = dict.fromkeys(name for of in scores.values() for name in of)
    rows = [
        [metric_name(name, positive, classes), *_numbers(name, [*scores.values()])]
        for name in names
    ]
    return _table([["", *scores], *rows])


def _targets_table(scores: Mapping[str, Scores]) -> list[str]:
    """Return R² of each target and the mean R², then the errors of each target in its units."""
    models = list(scores.values())
    targets = [_of_targets(of) for of in models]
    names = list(dict.fromkeys(name for of in targets for name in of))
    rows = [["", *scores]]
    for metric in _PER_TARGET:
        if metric == "pinball_loss" and not any(metric in of for of in models):
            continue
        rows.append([METRICS[metric], *([""] * len(models))])
        for name in names[:MOST_TARGETS]:
            cells = _numbers(metric, [of.get(name, {}) for of in targets])
            rows.append([f"  {_shortened(name)}", *cells])
        if metric == "r2":
            rows.append([f"  mean of {len(names):,} targets", *_numbers("r2", models)])
    lines = _table(rows)
    more = len(names) - MOST_TARGETS
    return [*lines, f"... and {more:,} more targets"] if more > 0 else lines


def _of_targets(scores: Scores) -> Mapping[str, Scores]:
    """Return the scores of each target by name, or by number from an earlier model file."""
    if "per_target" in scores:
        named: Mapping[str, Scores] = scores["per_target"]
        return named
    return {f"target {j}": of for j, of in enumerate(scores.get("per_output", ()), start=1)}


def classes_table(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the scores of each class as lines; after MOST_CLASSES, the rest is counted.

    classes : one mapping per class: "label", "rows", "predicted" (the number of rows that were
        predicted as this class), "precision", "recall" and "f1".
    """
    shown = classes[:MOST_CLASSES]
    rows = [
        [
            _shortened(str(of["label"])),
            *(f"{of[name]:,}" for name in ("rows", "predicted") if name in of),
            *(numbers_text([of[name]], name)[0] for name in _CLASS_HEAD),
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


def _numbers(name: str, models: Sequence[Scores]) -> list[str]:
    """Return a metric of each model with the same decimals."""
    return numbers_text([of.get(name) for of in models], name)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines: the first column to the left, numbers to the right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        numbers = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([set_cell_size(first, widths[0]), *numbers]).rstrip())
    return lines


def _shortened(text: str) -> str:
    text = printable(text)
    if cell_len(text) <= MOST_LABEL:
        return text
    return set_cell_size(text, MOST_LABEL - 3).rstrip() + "..."
