"""How the series of a chart look: each has a colour, a dash pattern and a mark of its own.

Series are numbered from 1. The colours differ for people with any kind of colour blindness, and
the dashes and marks tell series apart without colour.
"""

from __future__ import annotations

from gpubp.reports.html import element

COLOURS = 8  # --series-1 to --series-8 of every page
DASHES = ("none", "9 3", "2 3", "12 3 2 3", "16 4", "5 2", "1 2", "8 2 2 2 2 2")
# A square, a triangle, a diamond, a circle.
MARKS = (
    "M-5 -5H5V5H-5Z",
    "M0 -6L6 5H-6Z",
    "M0 -7L7 0L0 7L-7 0Z",
    "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0Z",
)


def series_css(count: int = COLOURS) -> str:
    """Return the style of the first ``count`` series: curves, marks and bars."""
    rules = [
        ".curve { fill: none; stroke-width: 2; stroke-linejoin: round; }",
        ".mark { stroke: var(--panel); stroke-width: 1; }",
        ".mark.hollow { stroke-width: 2; }",
    ]
    for k, dash in enumerate(DASHES[:count], start=1):
        rules += [
            f".curve.series-{k} {{ stroke: var(--series-{k}); stroke-dasharray: {dash}; }}",
            f".mark.series-{k}, .bar.series-{k} {{ fill: var(--series-{k}); }}",
            f".mark.hollow.series-{k} {{ fill: var(--panel); stroke: var(--series-{k}); }}",
        ]
    return "\n".join(rules) + "\n"


def colour(series: int) -> int:
    """Return the number of the colour of a series; they repeat after the last."""
    return (series - 1) % COLOURS + 1


def mark(series: int, x: float, y: float, *, hollow: bool = False) -> str:
    """Return the mark of a series at a place."""
    kind = f"mark{' hollow' if hollow else ''} series-{colour(series)}"
    shape = MARKS[(series - 1) % len(MARKS)]
    place = f"translate({x:.1f} {y:.1f})"
    return element("path", d=shape, transform=place, class_=kind)


def mark_key(series: int) -> str:
    """Return the mark of a series without a line, for a legend."""
    return element("svg", mark(series, 30, 8), viewBox="0 0 60 16", aria_hidden="true")


def series_key(series: int) -> str:
    """Return the line and the mark of a series, for a legend."""
    line = element("path", d="M1 8H59", class_=f"curve series-{colour(series)}")
    return element("svg", line + mark(series, 30, 8), viewBox="0 0 60 16", aria_hidden="true")
