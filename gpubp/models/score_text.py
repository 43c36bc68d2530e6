"""Scores as text: names of metrics, and rounded numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "f1": "F1",
    "pinball_loss": "pinball loss",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "loss": "loss",
}
IN_UNITS = ("pinball_loss", "rmse", "mae")  # in the units of the target, so of any magnitude
LOWER_IS_BETTER = ("log_loss", "pinball_loss", "rmse", "mae", "loss")
OF_ONE_CLASS = ("average_precision", "f1")
MEANS_OF_CLASSES = ("roc_auc", *OF_ONE_CLASS)
MOST_LABEL = 12  # characters of a label in the name of a metric


def metric_name(name: str, positive: Any = None, classes: int = 0) -> str:
    """Return the name of a metric as shown to the user.

    positive : label of the positive class, of F1 and average precision, if there are two classes.
    classes : number of classes; for more than two, some metrics are means over the classes.
    """
    text = METRICS.get(name, name)
    if positive is not None and name in OF_ONE_CLASS:
        return f"{text} of {short_label(positive)}"
    if classes > 2 and name in MEANS_OF_CLASSES:
        return f"{text}, mean{' of classes' if name == 'f1' else ''}"
    return text


def short_label(label: Any) -> str:
    """Return the repr of a label, shortened by "..." in the middle if it is long."""
    text = repr(label)
    half = MOST_LABEL // 2
    return text if len(text) <= MOST_LABEL else f"{text[: half - 1]}...{text[2 - half :]}"


def numbers_text(values: Iterable[float | None], name: str, digits: int = 4) -> list[str]:
    """Return values of the metric ``name`` as text, all with the same number of decimals.

    "-" stands for None and NaN.

    digits : decimals of a metric without a unit. RMSE and MAE have 4 significant digits, or all
    digits before the decimal point.
    """
    known = [None if x is None or not math.isfinite(x) else x for x in values]
    sizes = [abs(x) for x in known if x]
    if name in IN_UNITS and sizes:
        if not 1e-4 <= max(sizes) < 1e15:
            return ["-" if x is None else f"{x:.4g}" for x in known]
        digits = _decimals(max(sizes), min(sizes))
    elif sizes and max(sizes) >= 1000:  # for example R² of a model that is far off
        digits = 0
    return ["-" if x is None else f"{x:z,.{digits}f}" for x in known]


def _decimals(largest: float, smallest: float) -> int:
    """Return the decimals that show 4 digits of the largest number and 2 of the smallest.

    They are at most 3 more than the largest number needs.
    """
    enough = max(0, 3 - math.floor(math.log10(largest)))
    return min(max(enough, 1 - math.floor(math.log10(smallest))), enough + 3)


def against(own: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return two models' scores as "log loss 0.571 against 0.476, ..."."""
    parts = []
    for name in names:
        if name in own and name in other:
            first, second = numbers_text([own[name], other[name]], name, digits=3)
            parts.append(f"{METRICS.get(name, name)} {first} against {second}")
    return ", ".join(parts)
