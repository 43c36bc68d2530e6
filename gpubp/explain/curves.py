"""Loss and prediction over the steps, as two small drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from gpubp.explain.example import Example
from gpubp.explain.trace import StepTrace
from gpubp.reports.html import element, escape, number, svg
from gpubp.reports.tables import chart_numbers, data_table

_WIDTH, _HEIGHT = 360.0, 180.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 10.0, 26.0, 24.0
_MOST_POINTS = 1000


class Point(NamedTuple):
    """A quantity before and after one step, and its target value, None if it has none."""

    before: float
    after: float
    goal: float | None


class Curve:
    """The drawing of one quantity over the steps."""

    def __init__(self, title: str, traces: Sequence[StepTrace], points: Sequence[Point]) -> None:
        self.title = title
        self.traces = traces
        self.points = points
        values = [v for p in points for v in p if v is not None and math.isfinite(v)]
        self.first = traces[0].number - 1
        self.last = traces[-1].number
        low, high = min(values, default=0.0), max(values, default=1.0)
        # If training diverged, the steps before would be flat on a linear scale.
        self.log = low > 0 and high > 1000 * max(points[0].before, low)
        self.ticks = _log_ticks(low, high) if self.log else _ticks(min(low, 0.0), high)
        self.low, self.high = self.ticks[0], self.ticks[-1]

    def segment(self, k: int) -> list[float] | None:
        """Return x1, y1, x2, y2 of step k, or None if its values are not finite."""
        step, point = self.traces[k].number, self.points[k]
        if not (math.isfinite(point.before) and math.isfinite(point.after)):
            return None
        ends = (self._x(step - 1), self._y(point.before), self._x(step), self._y(point.after))
        return [round(v, 1) for v in ends]

    def markup(self) -> str:
        """Return the drawing."""
        scale = " (logarithmic)" if self.log else ""
        title = element("text", escape(self.title + scale), x=_LEFT, y=12.0, class_="title")
        inner = [title, *self._axes()]
        inner.append(element("path", d=_path(self._goals()), class_="goal"))
        inner.append(element("path", d=_path(self._line()), class_="curve"))
        inner.append(element("line", class_="now"))
        places: dict[str, Any] = {"data_x0": _LEFT, "data_x1": _WIDTH - _RIGHT}
        places |= {"data_first": self.first, "data_last": self.last}
        about = self._about()
        label = f"{self.title} over the steps"
        return svg(_WIDTH, _HEIGHT, "".join(inner), label, about=about, **places)

    def numbers(self, places: Sequence[int]) -> str:
        """Return the table of the drawing, with the steps at ``places``."""
        goals = any(point.goal is not None for point in self.points)
        several = len({trace.row for trace in self.traces}) > 1
        heads = ["Step", *(["Row"] if several else []), "Before", "After"]
        rows = []
        for k in places:
            trace, (before, after, goal) = self.traces[k], self.points[k]
            row = [str(trace.number), *([str(trace.row)] if several else [])]
            row += [number(before), number(after)]
            rows.append([*row, number(goal)] if goal is not None else row)
        label = f"{self.title} over the steps"
        table = data_table(escape(label), [*heads, *(["Target"] if goals else [])], rows)
        return chart_numbers(label, [table])

    def _about(self) -> str:
        """A description of the drawing for screen readers."""
        first, last = self.points[0], self.points[-1]
        ends = f"{number(first.before)} at step {self.first}, {number(last.after)} at {self.last}."
        return f"{self.title}: {ends} The numbers are in a table."

    def _line(self) -> list[list[float]]:
        """Return the steps as segments; of very many steps, some, and the lines between them."""
        places = range(0, len(self.points), -(-len(self.points) // _MOST_POINTS))
        segments = [segment for k in places if (segment := self.segment(k))]
        if len(places) == len(self.points):
            return segments
        if len({trace.row for trace in self.traces}) > 1:
            return [[x, y, x, y] for x, y, _, _ in segments]
        return [[*a[:2], *b[:2]] for a, b in pairwise(segments)]

    def _goals(self) -> list[list[float]]:
        places = range(0, len(self.points), -(-len(self.points) // _MOST_POINTS))
        goals = [(self.traces[k].number, self.points[k].goal) for k in places]
        return [
            [self._x(number - 1), self._y(goal), self._x(number), self._y(goal)]
            for number, goal in goals
            if goal is not None
        ]

    def _x(self, step: float) -> float:
        part = (step - self.first) / (self.last - self.first)
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * part

    def _y(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        part = (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * part

    def _axes(self) -> list[str]:
        floor, parts = _HEIGHT - _BOTTOM, []
        for tick in self.ticks:
            y = self._y(tick)
            ends = {"x1": _LEFT, "y1": y, "x2": _WIDTH - _RIGHT, "y2": y}
            parts.append(element("line", class_="axis", **ends))
            parts.append(element("text", number(tick), x=_LEFT - 6, y=y + 4, class_="end"))
        middle = (self.first + self.last) // 2
        for step in sorted({self.first, middle, self.last}):
            name = f"step {step}" if step == self.last else str(step)
            kind = "end" if step == self.last else None
            parts.append(element("text", name, x=self._x(step), y=floor + 17, class_=kind))
        return parts


def curves(example: Example, traces: Sequence[StepTrace]) -> list[Curve]:
    """Return the loss of each step's row, and its prediction, over the steps.

    A single prediction is in the units of the table.
    """
    losses = [Point(trace.loss, trace.new_loss, None) for trace in traces]
    title, points = _predictions(example, traces)
    return [Curve("Loss", traces, losses), Curve(title, traces, points)]


def _predictions(example: Example, traces: Sequence[StepTrace]) -> tuple[str, list[Point]]:
    if example.network.sizes[-1] == 1:
        values = ((t.prediction, t.new_prediction, t.target) for t in traces)
        return f"Prediction of {example.names[-1][0]}, and its target", [
            Point(*(example.origin.output(float(value[0]), 0) for value in three))
            for three in values
        ]
    if example.cost.targets == "index":
        right = [int(trace.target.argmax()) for trace in traces]
        return "Probability of the right class", [
            Point(float(t.prediction[j]), float(t.new_prediction[j]), 1.0)
            for t, j in zip(traces, right, strict=True)
        ]
    units = " (standardised)" if example.origin.scales_targets else ""
    return f"Mean distance from the target{units}", [
        Point(float(abs(t.prediction - t.target).mean()), after, 0.0)
        for t in traces
        for after in [float(abs(t.new_prediction - t.target).mean())]
    ]


def _path(segments: Sequence[Sequence[float]]) -> str:
    """Return one path of all segments; a segment that begins at the last end continues it."""
    parts: list[str] = []
    at: tuple[float, float] | None = None
    for x1, y1, x2, y2 in segments:
        if at is None or abs(x1 - at[0]) > 0.2 or abs(y1 - at[1]) > 0.2:
            parts.append(f"M{x1:.1f} {y1:.1f}")
        parts.append(f"L{x2:.1f} {y2:.1f}")
        at = (x2, y2)
    return "".join(parts)


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers, from at most ``low`` to at least ``high``."""
    if high <= low:
        high = low + 1.0
    size = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = next(m * size for m in (1, 2, 5, 10) if (high - low) / (m * size) <= 4)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = -(-(last - first) // 4)
    return [10.0**k for k in range(first, last + step, step)]
