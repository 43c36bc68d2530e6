"""The drawings of a comparison of searches: curves and contours of the cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from gpubp.explain.example import Example
from gpubp.explain.loss_landscape import losses_of
from gpubp.explain.parameters import parameters_of
from gpubp.explain.search.comparison import Comparison
from gpubp.explain.search.methods import Method, Run, weights_of
from gpubp.explain.search.text import TITLES
from gpubp.reports.axis import round_numbers
from gpubp.reports.html import element, escape, number, svg
from gpubp.reports.series import mark, series_css, series_key

# A drawing is 360 units wide, which a phone shows at 0.95 and a desk at up to 1.25 pixels each.
_WIDTH, _HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 18, 12, 56
_EXPONENT = 13  # its font size
_CELLS = 120  # of the landscape, along each side
_MOST_LEVELS = 20  # of its contours
_SERIES: dict[Method, int] = {"one_at_a_time": 1, "combinations": 2, "random": 3, "backprop": 4}

FIGURE_CSS = """
.axis { stroke: var(--line); fill: none; }
.contour { fill: none; stroke: var(--quiet); }
.halo { fill: none; stroke: var(--panel); stroke-width: 4; }
.start { fill: var(--ink); stroke: var(--panel); }
svg text { font-size: 14px; }
svg text.tick { fill: var(--quiet); }
""" + series_css(4)


def key(method: Method) -> str:
    """Return the line and the mark of a method, for a legend."""
    return series_key(_SERIES[method])


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis over whole decades, 10^low to 10^high, from pixel ``start`` to ``end``."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> Axis:
        """Return an axis that holds all positive ``values``, of one decade or more."""
        positive = [v for v in values if v > 0]
        low = math.floor(math.log10(min(positive)))
        return cls(low, max(low + 1, math.ceil(math.log10(max(positive)))), start, end)

    def at(self, value: float) -> float:
        """Return the pixel of ``value``; values below the axis, such as 0, lie at its start."""
        part = (math.log10(value) - self.low) / (self.high - self.low) if value > 0 else 0.0
        return self.start + max(0.0, part) * (self.end - self.start)

    @property
    def ticks(self) -> list[int]:
        """The decades that have a label, six at most."""
        stride = -(-(self.high - self.low) // 5)
        return list(range(self.low, self.high + 1, stride))


def chart(spent: Literal["evaluations", "seconds"], runs: Sequence[Run]) -> str:
    """Return curves of each run's lowest cost over ``spent``, on logarithmic axes.

    Returns "" if no run has a cost above 0 to draw.
    """
    curves = [(run, [(float(getattr(p, spent)), p.cost) for p in run.curve]) for run in runs]
    costs = [cost for _, points in curves for _, cost in points]
    if not any(cost > 0 for cost in costs):
        return ""
    ends = [float(getattr(run, spent)) for run, _ in curves]
    x = Axis.over([points[0][0] for _, points in curves] + ends, _LEFT, _WIDTH - _RIGHT)
    y = Axis.over(costs, _HEIGHT - _BOTTOM, _TOP)
    lines, marks = [], []
    for (run, points), end in zip(curves, ends, strict=True):
        series, last = _SERIES[run.method], points[-1][1]
        path = _steps([(x.at(value), y.at(cost)) for value, cost in points], x.at(end))
        lines.append(element("path", d=path, class_=f"curve series-{series}"))
        marks.append(mark(series, x.at(end), y.at(last)))
    drawing = "".join([*_ticks(x, y), *_names(spent, "cost"), *lines, *marks])
    ended = [f"{TITLES[run.method]} {number(run.cost, 3)}" for run, _ in curves]
    about = f"Both axes are logarithmic. Costs at the end: {', '.join(ended)}."
    return svg(_WIDTH, _HEIGHT, drawing, f"Lowest cost by {spent}", about=about)


def _steps(points: Sequence[tuple[float, float]], end: float) -> str:
    """Return a path of steps: right from each point to the x of the next, then down."""
    first, *rest = points
    steps = "".join(f"H{x:.1f}V{y:.1f}" for x, y in rest)
    return f"M{first[0]:.1f} {first[1]:.1f}{steps}H{end:.1f}"


def _ticks(x: Axis, y: Axis) -> Iterator[str]:
    for k in x.ticks:
        at = x.at(10.0**k)
        yield element("path", d=f"M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}", class_="axis")
        yield _power(k, at, _HEIGHT - _BOTTOM + 20, "middle")
    for k in y.ticks:
        at = y.at(10.0**k)
        yield element("path", d=f"M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}", class_="axis")
        yield _power(k, _LEFT - 7, at + 5, "end")


def _power(k: int, x: float, y: float, anchor: str) -> str:
    """Return 10^k as text: in full from 0.01 to 1000, else with a raised exponent."""
    if -2 <= k <= 3:
        inner = f"{10.0**k:,g}"
    else:
        raised = element("tspan", number(k), dy=-6.0, font_size=_EXPONENT)
        inner = f"10{raised}"
    return element("text", inner, x=x, y=y, text_anchor=anchor, class_="tick")


def _names(x_name: str, y_name: str) -> Iterator[str]:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    yield element(
        "text",
        escape(x_name),
        x=(_LEFT + _WIDTH - _RIGHT) / 2,
        y=_HEIGHT - 10,
        text_anchor="middle",
    )
    turned = f"translate(15 {middle:.1f}) rotate(-90)"
    yield element("text", escape(y_name), transform=turned, text_anchor="middle")


def walks_of(comparison: Comparison) -> list[Run]:
    """Return the runs of the methods that go from one set of weights to the next."""
    return [r for r in comparison.runs if r.curve and r.method in ("one_at_a_time", "backprop")]


def landscape(comparison: Comparison) -> str:
    """Return contours of the cost over two weights, with the paths of two methods.

    Returns "" if neither one weight at a time nor backpropagation has moved.
    """
    walks = walks_of(comparison)
    if not walks:
        return ""
    start = weights_of(comparison.example)
    frame = frame_of(start, walks)
    width, height = _WIDTH - _RIGHT - _LEFT, _HEIGHT - _BOTTOM - _TOP
    box = element("rect", x=_LEFT, y=_TOP, width=width, height=height)
    inside, marks = [*_contours(comparison.example, frame)], []
    for run in reversed(walks):  # backpropagation's curve below the corners of the other
        points = [p.weights for p in run.curve if p.weights is not None]
        line = "M" + "L".join(frame.place(*point) for point in points)
        inside.append(element("path", d=line, class_="halo"))
        inside.append(element("path", d=line, class_=f"curve series-{_SERIES[run.method]}"))
        marks.append(mark(_SERIES[run.method], *frame.at(*points[-1])))
    x, y = frame.at(*start)
    marks.append(element("circle", cx=x, cy=y, r=5, class_="start"))
    parts = [
        element("clipPath", box, id="frame"),
        element("g", "".join(inside), clip_path="url(#frame)"),
        element("rect", x=_LEFT, y=_TOP, width=width, height=height, class_="axis"),
        *frame.ticks(),
        *_names(*(p.name for p in parameters_of(comparison.example.network))),
        *marks,
    ]
    ways = ", ".join(f"{TITLES[run.method]} to cost {number(run.cost, 3)}" for run in walks)
    about = f"The ways of the methods that walk: {ways}. The dot is where they start."
    label = "Contours of the cost over the two weights"
    return svg(_WIDTH, _HEIGHT, "".join(parts), label, about=about)


@dataclass(frozen=True)
class Frame:
    """A part of the plane of two weights, x_low to x_high across, y_low to y_high upwards."""

    x_low: float
    y_low: float
    x_high: float
    y_high: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point."""
        across = (x - self.x_low) / (self.x_high - self.x_low)
        up = (y - self.y_low) / (self.y_high - self.y_low)
        width, height = _WIDTH - _RIGHT - _LEFT, _HEIGHT - _BOTTOM - _TOP
        return _LEFT + across * width, _HEIGHT - _BOTTOM - up * height

    def place(self, x: float, y: float) -> str:
        """Return the pixel of a point for a path."""
        return "{:.1f} {:.1f}".format(*self.at(x, y))

    def ticks(self) -> Iterator[str]:
        """Yield the labels of round numbers."""
        for value in round_numbers(self.x_low, self.x_high):
            at = self.at(value, self.y_low)[0]
            label = {"x": at, "y": _HEIGHT - _BOTTOM + 20, "text_anchor": "middle"}
            yield element("text", number(value), class_="tick", **label)
        for value in round_numbers(self.y_low, self.y_high):
            at = self.at(self.x_low, value)[1] + 5
            yield element(
                "text", number(value), class_="tick", x=_LEFT - 7, y=at, text_anchor="end"
            )


def frame_of(start: np.ndarray, walks: Sequence[Run]) -> Frame:
    """Return the part of the plane with the start and all points below a tenth of its cost."""
    seen = [start, *(run.weights for run in walks if run.weights is not None)]
    first = max(run.curve[0].cost for run in walks)
    for run in walks:
        seen += [p.weights for p in run.curve if p.weights is not None and p.cost < 0.1 * first]
    low, high = np.min(seen, axis=0), np.max(seen, axis=0)
    margin = 0.15 * np.maximum(high - low, 1e-3)
    return Frame(*(low - margin), *(high + margin))


def costs_at(example: Example, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Return the costs (len(xs), len(ys)) at the values of the first and the second weight."""
    places = [p.place for p in parameters_of(example.network)]
    thetas = np.repeat(example.theta[None], len(xs) * len(ys), axis=0)
    thetas[:, places] = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    return losses_of(example, thetas).reshape(len(xs), len(ys))


def _contours(example: Example, frame: Frame) -> Iterator[str]:
    """Yield lines of equal cost, half a decade apart; a lower cost has a wider line."""
    xs = np.linspace(frame.x_low, frame.x_high, _CELLS + 1)
    ys = np.linspace(frame.y_low, frame.y_high, _CELLS + 1)
    costs = costs_at(example, xs, ys)
    with np.errstate(all="ignore"):
        heights = 2 * np.log10(np.maximum(costs, 1e-300))
    if not np.isfinite(heights).all():
        return
    top = math.floor(heights.max())
    levels = range(max(math.ceil(heights.min()), top - _MOST_LEVELS), top + 1)
    for level in levels:
        pieces = _level(heights - level, xs, ys)
        line = "".join(f"M{frame.place(*a)}L{frame.place(*b)}" for a, b in pieces)
        depth = (top - level + 1) / (len(levels) + 1)
        yield element("path", d=line, class_="contour", stroke_width=0.4 + 1.6 * depth)


Spot = tuple[float, float]


def _level(heights: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> Iterator[tuple[Spot, Spot]]:
    """Yield the segments of the line at height 0 by marching squares, cell by cell."""
    above = heights > 0
    corners = above[:-1, :-1] + 2 * above[1:, :-1] + 4 * above[1:, 1:] + 8 * above[:-1, 1:]
    for i, j in np.argwhere((corners > 0) & (corners < 15)):
        around = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1), (i, j)]
        crossings = []
        for a, b in pairwise(around):
            if above[a] != above[b]:
                part = heights[a] / (heights[a] - heights[b])
                x = xs[a[0]] + part * (xs[b[0]] - xs[a[0]])
                crossings.append((x, ys[a[1]] + part * (ys[b[1]] - ys[a[1]])))
        yield from zip(crossings[::2], crossings[1::2], strict=True)
