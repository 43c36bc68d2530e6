"""The figures of a training: loss, validation score and learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpubp.models.learning_curves import LearningCurve
from gpubp.models.score_text import metric_name
from gpubp.reports.axis import Scale
from gpubp.reports.chart import HEIGHT, WIDTH, frame, scales
from gpubp.reports.figures import Table, figure
from gpubp.reports.html import element, escape, number, svg
from gpubp.reports.series import mark, mark_key, series_key

WIDE_RANGE = 20  # ratio of the largest to the smallest value from which on the axis is logarithmic
MOST_ROWS = 12  # of a table of numbers
THICK_LINES = 2  # more lines are thinner

CURVES_CSS = ".curve.thin { stroke-width: 1.25; }\n"
TRAINING, VALIDATION, KEPT = 1, 2, 3  # the series of a chart


class _Line(NamedTuple):
    """A line of a chart. kept : the epoch that has a mark."""

    series: int
    epochs: Sequence[int]
    values: Sequence[float]
    kept: int | None = None


def curve_figures(curves: Sequence[LearningCurve], unit: str, scoring: str | None) -> Iterator[str]:
    """Yield the figures of a training.

    unit : "epoch" or "iteration". scoring : name of the score of the validation rows, if any.
    """
    if not any(curve.count > 1 for curve in curves):
        return
    yield _loss_figure(curves, unit)
    if any(curve.scores for curve in curves) and not _is_loss(curves[0]):
        yield _score_figure(curves, unit, metric_name(scoring) if scoring else "score")
    rates = next((curve for curve in curves if curve.rates), None)
    if rates is not None and len(set(rates.rates)) > 1:
        yield _rate_figure(rates, unit, len(curves))


def constant_rate(curves: Sequence[LearningCurve], unit: str) -> str:
    """Return a sentence on what has no figure: a single epoch, or a constant learning rate."""
    if curves and all(curve.count == 1 for curve in curves):
        losses = ", ".join(number(curve.losses[0], 4) for curve in curves[:10])
        return f"There was one {unit}, with the loss {losses}, so there are no curves."
    values = {rate for curve in curves for rate in curve.rates}
    if len(values) != 1:
        return ""
    return f"The learning rate was {number(values.pop(), 4)} in every {unit}."


def _is_loss(curve: LearningCurve) -> bool:
    """Whether the score is the negative loss, which another figure shows."""
    return bool(curve.validation_losses) and all(
        a == -b or a != a for a, b in zip(curve.scores, curve.validation_losses, strict=True)
    )


def _loss_figure(curves: Sequence[LearningCurve], unit: str) -> str:
    lines = [_Line(TRAINING, curve.epochs, curve.losses) for curve in curves]
    held = [
        _Line(VALIDATION, curve.epochs, curve.validation_losses, curve.kept)
        for curve in curves
        if curve.validation_losses
    ]
    note = (
        "The loss is what training makes small: how far the answers are from the true ones. It "
        "is measured while the network changes, with dropout and label smoothing if they are "
        "used, so it may be larger than the same score above. A falling curve shows that the "
        "training rows are learned, not that new rows are predicted better."
    )
    keys = [(TRAINING, "training rows")]
    if held:
        keys.append((VALIDATION, "validation rows"))
        note += (
            " The validation rows are not learned from: where their loss rises while that of the "
            "training rows falls, the network begins to learn the training rows by heart."
        )
    text = "Loss of the training" + (" and of the validation rows" if held else "")
    return _figure(text, "loss", [*lines, *held], unit, note + _of_members(curves), keys)


def _score_figure(curves: Sequence[LearningCurve], unit: str, name: str) -> str:
    lines = [
        _Line(VALIDATION, curve.epochs, curve.scores, curve.kept)
        for curve in curves
        if curve.scores
    ]
    note = f"The {name} of the validation rows after each {unit}; higher is better."
    keys = [(VALIDATION, "validation rows")]
    text = f"{name[:1].upper()}{name[1:]} of the validation rows"
    return _figure(text, name, lines, unit, note + _of_members(curves), keys)


def _rate_figure(curve: LearningCurve, unit: str, networks: int) -> str:
    note = "The learning rate is the size of a training step."
    if networks > 1:
        note += " It is shown for the first network."
    line = _Line(TRAINING, curve.epochs, curve.rates)
    text = "Learning rate"
    return _figure(text, "learning rate", [line], unit, note, [], may_be_log=False)


def _of_members(curves: Sequence[LearningCurve]) -> str:
    return f" Each of the {len(curves)} networks has a line of its own." if len(curves) > 1 else ""


def _figure(
    title: str,
    name: str,
    lines: Sequence[_Line],
    unit: str,
    note: str,
    keys: Sequence[tuple[int, str]],
    *,
    may_be_log: bool = True,
) -> str:
    finite = [v for line in lines for v in line.values if math.isfinite(v)]
    last = max(epoch for line in lines for epoch in line.epochs)
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    log = may_be_log and low > 0 and high > WIDE_RANGE * low
    if not log:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
        low, high = low - margin * (low < 0 or low > margin), high + margin
        low = max(low, 0.0) if min(finite) >= 0 else low
    x, y = scales((1, max(last, 2)), (low, high), log=log)
    parts = frame(x, y, f"{unit}s", name + (" (logarithmic)" if log else ""))
    for line in lines:
        parts += _drawn(line, x, y, " thin" if len(lines) > THICK_LINES else "")
    drawing = svg(WIDTH, HEIGHT, "".join(parts), title, about=_about(lines, unit))
    if any(line.kept for line in lines):
        keys = [*keys, (KEPT, f"{unit} whose weights were kept")]
    return figure(title, drawing + _legend(keys), note, [_table(title, lines, unit)])


def _drawn(line: _Line, x: Scale, y: Scale, kind: str) -> Iterator[str]:
    """Yield the path of a line, with gaps where values are not finite, and its marks.

    kind : a further class of the path.
    """
    path, pen = [], "M"
    for epoch, value in zip(line.epochs, line.values, strict=True):
        if not math.isfinite(value):
            pen = "M"
            continue
        path.append(f"{pen}{x.at(epoch):.1f} {y.at(value):.1f}")
        pen = "L"
    yield element("path", d="".join(path), class_=f"curve series-{line.series}{kind}")
    if len(path) == 1:  # a line needs two points
        epoch, value = next(
            (e, v) for e, v in zip(line.epochs, line.values, strict=True) if math.isfinite(v)
        )
        yield mark(line.series, x.at(epoch), y.at(value))
    if (kept := line.kept) is not None:
        nearest = min(range(len(line.epochs)), key=lambda k: abs(line.epochs[k] - kept))
        if math.isfinite(line.values[nearest]):
            yield mark(KEPT, x.at(line.epochs[nearest]), y.at(line.values[nearest]))


def _legend(keys: Sequence[tuple[int, str]]) -> str:
    if not keys:
        return ""
    entries = (
        element("li", (mark_key if series == KEPT else series_key)(series) + escape(text))
        for series, text in keys
    )
    return element("ul", "".join(entries), class_="legend")


def _about(lines: Sequence[_Line], unit: str) -> str:
    names = {TRAINING: "Training rows", VALIDATION: "Validation rows"}
    first = {line.series: line for line in reversed(lines)}
    return " ".join(
        f"{names[series]}: {number(line.values[0], 4)} in {unit} {line.epochs[0]}, "
        f"{number(line.values[-1], 4)} in {unit} {line.epochs[-1]}."
        for series, line in sorted(first.items())
    )


def _table(title: str, lines: Sequence[_Line], unit: str) -> Table:
    """Return the values of the first network at some epochs."""
    names = {TRAINING: "training rows", VALIDATION: "validation rows"}
    first = {line.series: line for line in reversed(lines)}
    heads = [unit, *(names[series] for series in sorted(first))]
    epochs = lines[0].epochs
    count = min(MOST_ROWS, len(epochs))
    at = [round(k * (len(epochs) - 1) / max(1, count - 1)) for k in range(count)]
    rows = [[f"{epochs[k]:,}", *(number(first[s].values[k], 5) for s in sorted(first))] for k in at]
    several = sum(line.series == lines[0].series for line in lines) > 1
    return Table(title + (", first network" if several else ""), heads, rows)
