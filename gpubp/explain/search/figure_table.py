"""The numbers of the drawings of a comparison of searches, as tables of plain text."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from gpubp.explain.parameters import parameters_of
from gpubp.explain.search.comparison import Comparison
from gpubp.explain.search.figure import costs_at, frame_of, walks_of
from gpubp.explain.search.methods import Point, Run, weights_of
from gpubp.explain.search.text import TITLES, cost_text
from gpubp.reports.axis import round_numbers

_MOST_PLACES = 16  # of a walk


class Table(NamedTuple):
    """A table; the first cell of each row names the row."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def chart_table(spent: Literal["evaluations", "seconds"], runs: Sequence[Run]) -> Table:
    """Return the lowest cost of each run at round values of ``spent``, and at the run's end."""
    starts = [float(getattr(run.curve[0], spent)) for run in runs]
    ends = [float(getattr(run, spent)) for run in runs]
    rows = [
        [f"{value:,.6g}", *(_cost_at(spent, run, value) for run in runs)]
        for value in _one_two_five(min(starts), max(ends))
    ]
    rows.append([f"{spent} at the end", *(f"{end:,.6g}" for end in ends)])
    rows.append(["cost at the end", *(cost_text(run.cost) for run in runs)])
    heads = [spent, *(TITLES[run.method] for run in runs)]
    return Table(f"Lowest cost so far, by {spent}", heads, rows)


def _cost_at(spent: str, run: Run, value: float) -> str:
    """Return the lowest cost when the run had spent ``value``; "-" outside of the run."""
    after = bisect_right([getattr(point, spent) for point in run.curve], value)
    inside = after > 0 and value <= getattr(run, spent)
    return cost_text(run.curve[after - 1].cost) if inside else "-"


def _one_two_five(low: float, high: float) -> Iterator[float]:
    """Yield 1, 2 and 5 times powers of ten from ``low`` to ``high``, both above 0."""
    for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (v for m in (1, 2, 5) if low <= (v := float(f"{m}e{k}")) <= high)


def landscape_tables(comparison: Comparison) -> Iterator[Table]:
    """Yield the costs at round numbers of the two weights, and the places of each walk."""
    walks = walks_of(comparison)
    across, up = (p.name for p in parameters_of(comparison.example.network))
    frame = frame_of(weights_of(comparison.example), walks)
    xs = np.array(round_numbers(frame.x_low, frame.x_high))
    ys = np.array(round_numbers(frame.y_low, frame.y_high))
    costs = costs_at(comparison.example, xs, ys)
    rows = [
        [f"{up} = {y:g}", *(cost_text(cost) for cost in costs[:, j])]
        for j, y in reversed(list(enumerate(ys)))
    ]
    heads = ["", *(f"{across} = {x:g}" for x in xs)]
    yield Table(f"Cost at values of {across} and {up}", heads, rows)
    for run in walks:
        points = [p for p in run.curve if p.weights is not None]
        places = np.linspace(0, len(points) - 1, min(_MOST_PLACES, len(points))).round()
        rows = [_place(points[int(k)]) for k in places]
        yield Table(f"The way of {TITLES[run.method]}", ["evaluations", across, up, "cost"], rows)


def _place(point: Point) -> list[str]:
    assert point.weights is not None
    weights = (f"{weight:.4g}" for weight in point.weights)
    return [f"{point.evaluations:,}", *weights, cost_text(point.cost)]
