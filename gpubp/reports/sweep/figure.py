"""The drawings of a sweep: scores over parameters, the best trials, importances, time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from gpubp.reports.axis import Scale
from gpubp.reports.chart import (
    BOTTOM,
    CHART_CSS,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    axis_names,
    ticks_across,
    ticks_up,
)
from gpubp.reports.html import element, escape, number, svg
from gpubp.reports.series import COLOURS, mark, series_css
from gpubp.reports.sweep.text import metric_text, score_text, value_text
from gpubp.selection.space import Range
from gpubp.selection.trials import Sweep, Trial

_LINE = 18  # between two rows of labels
_LETTER = 8.0  # width of a digit in a label
_BAR = 48  # from one bar to the next
_AXIS = 66  # from one axis of the parallel coordinates to the next
BEST_LINES = COLOURS  # trials in the parallel coordinates
# Scores so many times as far below the median as the best is above it lie below the axis.
_FAR = 4
_GOLDEN = 0.618  # spreads trials of equal values sideways

FIGURE_CSS = CHART_CSS + series_css(COLOURS)


@dataclass(frozen=True)
class _Places:
    """The pixels of the values of a parameter, and the labels: pixel and text.

    rows : rows of labels that are needed, so that neighbours do not touch.
    """

    at: Callable[[Any], float]
    labels: Sequence[tuple[float, str]]
    step: float = 0.0

    @property
    def rows(self) -> int:
        if not self.step:
            return 1
        widest = max(len(text) for _, text in self.labels) * _LETTER + 6
        return max(1, math.ceil(widest / self.step))


def _places(sweep: Sweep, name: str, start: float, end: float) -> _Places:
    """Return the pixels of a parameter on an axis from ``start`` to ``end``."""
    of = sweep.space[name]
    if isinstance(of, Range):
        scale = Scale(of.low, of.high, start, end, of.log)
        labels = [(scale.at(tick), number(tick, 3)) for tick in scale.ticks]
        return _Places(lambda value: scale.at(float(value)), labels)
    step = (end - start) / len(of)
    places = {repr(value): start + (k + 0.5) * step for k, value in enumerate(of)}
    labels = [(places[repr(value)], value_text(value)) for value in of]
    return _Places(lambda value: places[repr(value)], labels, abs(step))


def score_scale(trials: Sequence[Trial], start: float, end: float) -> Scale:
    """Return an axis for the scores; far worse ones than the median lie below it."""
    scores = np.array([trial.mean for trial in trials])
    best, middle = float(scores.max()), float(np.median(scores))
    low = max(float(scores.min()), middle - _FAR * (best - middle))
    margin = 0.05 * (best - low) or 0.05 * abs(best) or 0.05
    return Scale(low - margin, best + margin, start, end)


def score_chart(sweep: Sweep, name: str) -> str:
    """Return the scores of the trials over the values of a parameter."""
    trials = sweep.first_iteration
    across = _places(sweep, name, LEFT, WIDTH - RIGHT)
    height = HEIGHT + (across.rows - 1) * _LINE
    floor = height - BOTTOM - (across.rows - 1) * _LINE
    up = score_scale(trials, floor, TOP)
    parts = [*_across(across, floor), *ticks_up(up), *_names(name, sweep, floor, height)]
    best, *others = sorted(trials, key=lambda trial: trial.rank)
    for trial in reversed(others):
        x = across.at(trial.params[name])
        if across.step:
            x += ((trial.number * _GOLDEN) % 1 - 0.5) * min(across.step - 12, 30)
        parts.append(_dot(x, up.at(trial.mean), below=trial.mean < up.low))
    parts.append(mark(2, across.at(best.params[name]), up.at(best.mean)))
    about = (
        f"{len(trials)} trials. The best, at {value_text(best.params[name])}, has "
        f"{score_text(best.mean)}."
    )
    label = f"{metric_text(sweep.metric)} over {name}"
    return svg(WIDTH, height, "".join(parts), label, about=about)


def _dot(x: float, y: float, *, below: bool) -> str:
    kind = "mark hollow series-1" if below else "mark series-1"
    return element("circle", cx=x, cy=y, r=4.0, class_=kind)


def _across(of: _Places, floor: float) -> Iterator[str]:
    rows = [floor + 20 + (k % of.rows) * _LINE for k in range(len(of.labels))]
    yield from ticks_across(of.labels, floor, rows)


def _names(name: str, sweep: Sweep, floor: float, height: float) -> Iterator[str]:
    yield from axis_names(name, metric_text(sweep.metric), floor, height)


def best_trials(sweep: Sweep) -> list[Trial]:
    """Return the trials in the parallel coordinates, the best first."""
    return [trial for trial in sweep.ranked if not trial.failed][:BEST_LINES]


def parallel_chart(sweep: Sweep) -> str:
    """Return the best trials as lines that lead down from axis to axis; each axis lies across."""
    trials, names = best_trials(sweep), sweep.varied
    left, right = 24.0, WIDTH - 24.0
    axes = [_places(sweep, name, left, right) for name in names]
    axes.append(_score_places([trial.mean for trial in trials], left, right))
    heights = [float(_AXIS + (min(axis.rows, 2) - 1) * _LINE) for axis in axes]
    ys = list(accumulate(heights[:-1], initial=34.0))
    rows = [*names, metric_text(sweep.metric)]
    bars: list[str] = []
    labels: list[str] = []
    lines, marks = [], []
    for name, axis, y in zip(rows, axes, ys, strict=True):
        ticks = "".join(f"M{x:.1f} {y - 4:.1f}v8" for x, _ in axis.labels)
        bars.append(element("path", d=f"M{left} {y:.1f}H{right}{ticks}", class_="axis"))
        labels += _labels(name, axis, left, y)
    for series, trial in reversed(list(enumerate(trials, start=1))):
        values = [*(trial.params[name] for name in names), trial.mean]
        across = [axis.at(value) for axis, value in zip(axes, values, strict=True)]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, ys, strict=True))
        lines.append(element("path", d=path, class_=f"curve series-{series}"))
        marks.append(mark(series, across[-1], ys[-1]))
    about = f"The lines lead from {rows[0]} down to {rows[-1]}; the best trial is the first series."
    text = element("g", "".join(labels), class_="labels")
    drawing = "".join([*bars, *lines, text, *marks])
    return svg(WIDTH, ys[-1] + 34, drawing, f"The {len(trials)} best trials", about=about)


def _score_places(scores: Sequence[float], left: float, right: float) -> _Places:
    """Return an axis from the lowest to the highest of ``scores``."""
    low, high = min(scores), max(scores)
    scale = Scale(low, high, left, right)
    ends = [low, high] if high > low else [low]
    return _Places(scale.at, [(scale.at(end), score_text(end)) for end in ends])


def _labels(name: str, of: _Places, left: float, y: float) -> Iterator[str]:
    """Yield the name of an axis of the parallel coordinates, above it, and its labels, below.

    If two rows of labels are not enough, only the first and the last label are shown.
    """
    yield element("text", escape(name), x=left, y=y - 10)
    shown = of.labels if of.rows <= 2 else [of.labels[0], of.labels[-1]]
    for k, (x, text) in enumerate(shown):
        half = len(text) * _LETTER / 2
        place = min(max(x, half), WIDTH - half)
        down = y + 20 + (k % of.rows * _LINE if of.rows <= 2 else 0)
        yield element("text", escape(text), x=place, y=down, text_anchor="middle", class_="tick")


def importance_chart(shares: Mapping[str, float]) -> str:
    """Return the importances as bars."""
    scale = Scale(0, 1, 8, WIDTH - 60)
    parts = []
    for k, (name, share) in enumerate(shares.items()):
        y = 8.0 + k * _BAR
        parts.append(element("text", escape(name), x=8.0, y=y + 12))
        width = max(2.0, scale.at(share) - scale.start)
        box = {"x": 8.0, "y": y + 18, "width": width, "height": 14.0}
        parts.append(element("rect", class_="bar series-1", **box))
        text = f"{100 * share:.0f} %"
        parts.append(element("text", text, x=8 + width + 8, y=y + 30, class_="tick"))
    first = next(iter(shares))
    about = f"The most important is {first}, which explains {100 * shares[first]:.0f} %."
    height = 8 + len(shares) * _BAR + 4
    return svg(WIDTH, height, "".join(parts), "Importance of the parameters", about=about)


def best_by_time(sweep: Sweep) -> list[tuple[float, Trial]]:
    """Return the trials that were the best so far, each with the seconds until then."""
    found: list[tuple[float, Trial]] = []
    ends = accumulate(trial.seconds for trial in sweep.trials)
    for seconds, trial in zip(ends, sweep.trials, strict=True):
        if trial.failed or trial.iteration not in (None, 1):
            continue
        if not found or trial.mean > found[-1][1].mean:
            found.append((seconds, trial))
    return found


def time_chart(sweep: Sweep) -> str:
    """Return the best score so far over the seconds of the trials."""
    trials, found = sweep.first_iteration, best_by_time(sweep)
    total = sum(trial.seconds for trial in sweep.trials)
    x, floor = Scale(0, total, LEFT, WIDTH - RIGHT), HEIGHT - BOTTOM
    y = score_scale(trials, floor, TOP)
    ticks = _Places(x.at, [(x.at(tick), number(tick, 3)) for tick in x.ticks])
    ends = accumulate(trial.seconds for trial in sweep.trials)
    of_first = [(s, t) for s, t in zip(ends, sweep.trials, strict=True) if t in trials]
    dots = [_dot(x.at(s), y.at(t.mean), below=t.mean < y.low) for s, t in of_first]
    (first, start), *rest = [(x.at(seconds), y.at(trial.mean)) for seconds, trial in found]
    steps = "".join(f"H{at:.1f}V{up:.1f}" for at, up in rest)
    path = f"M{first:.1f} {start:.1f}{steps}H{x.at(total):.1f}"
    line = element("path", d=path, class_="curve series-2")
    seconds, best = found[-1]
    end = mark(2, x.at(seconds), y.at(best.mean))
    names = _names("seconds", sweep, floor, HEIGHT)
    drawing = "".join([*_across(ticks, floor), *ticks_up(y), *names, *dots, line, end])
    about = f"The best score, {score_text(best.mean)}, was found after {seconds:.3g} s."
    return svg(WIDTH, HEIGHT, drawing, f"{metric_text(sweep.metric)} over time", about=about)
