"""The figures of the errors of a regression."""

from __future__ import annotations

from collections.abc import Iterator

from gpubp.models.residuals import Residuals
from gpubp.reports.chart import HEIGHT, TOP, WIDTH, frame, scales
from gpubp.reports.figures import Table, figure
from gpubp.reports.html import element, number, svg
from gpubp.reports.labels import amount, label_text

FEWEST_ROWS = 10  # for a histogram

RESIDUALS_CSS = """
.dots { stroke: var(--series-1); stroke-width: 5; stroke-linecap: round; fill: none; }
.zero { stroke: var(--ink); stroke-dasharray: 4 4; fill: none; }
"""


def residual_figures(of: Residuals, level: float | None) -> Iterator[str]:
    """Yield the predicted numbers over the true ones, and the histogram of the errors.

    level : the quantile that is predicted; None for the mean.
    """
    yield _points_figure(of)
    if of.rows >= FEWEST_ROWS:
        yield _histogram_figure(of, level)


def _points_figure(of: Residuals) -> str:
    values = [*of.true, *of.predicted]
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
    ends = low - margin, high + margin
    x, y = scales(ends, ends)
    name = label_text(of.target)
    parts = frame(x, y, f"true {label_text(of.target, 22)}", "predicted")
    line = f"M{x.at(ends[0]):.1f} {y.at(ends[0]):.1f}L{x.at(ends[1]):.1f} {y.at(ends[1]):.1f}"
    dots = "".join(
        f"M{x.at(a):.1f} {y.at(b):.1f}h0" for a, b in zip(of.true, of.predicted, strict=True)
    )
    parts += [element("path", d=dots, class_="dots"), element("path", d=line, class_="zero")]
    title = f"Predicted and true {name}"
    about = (
        f"{len(of.true):,} rows; the median distance from the line is {amount(of.median_error)}."
    )
    note = (
        "One dot is one row. On the dashed line the prediction is right; above it, it is too "
        "high. Half of the predictions are off by at most "
        f"{amount(of.median_error)}, nine in ten by at most {amount(of.largest_of_nine)}."
    )
    if len(of.true) < of.rows:
        note += f" {len(of.true):,} of the {of.rows:,} rows are drawn."
    drawing = svg(WIDTH, HEIGHT, "".join(parts), title, about=about)
    rows = [
        ["rows", f"{of.rows:,}"],
        ["mean error, predicted minus true", number(of.mean, 4)],
        ["error of half of the rows, at most", number(of.median_error, 4)],
        ["error of nine in ten rows, at most", number(of.largest_of_nine, 4)],
    ]
    return figure(title, drawing, note, [Table(title, ["", "value"], rows)])


def _histogram_figure(of: Residuals, level: float | None) -> str:
    x, y = scales((of.edges[0], of.edges[-1]), (0, max(3, max(of.counts) * 1.05)))
    parts = frame(x, y, "error: predicted minus true", "rows")
    floor = y.at(0)
    bars = zip(of.edges, of.edges[1:], of.counts, strict=False)
    for low, high, count in bars:
        box = {"x": x.at(low) + 0.5, "width": max(x.at(high) - x.at(low) - 1, 0.5)}
        box |= {"y": y.at(count), "height": floor - y.at(count)}
        parts.append(element("rect", class_="bar series-1", **box))
    if of.edges[0] < 0 < of.edges[-1]:
        parts.append(element("path", d=f"M{x.at(0):.1f} {TOP}V{floor:.1f}", class_="zero"))
    name = label_text(of.target)
    title = f"Errors of {name}"
    note = (
        "How often an error occurs; 0, the dashed line, is right. A hill beside 0 means that the "
        f"predictions are too high or too low on the whole: the mean error is {amount(of.mean)}."
    )
    if level not in (None, 0.5):
        note += f" That is meant to be so for the {level:g} quantile."
    if of.below or of.above:
        note += (
            f" {of.below + of.above:,} rows with larger errors lie outside of the chart: "
            f"{of.below:,} to the left, {of.above:,} to the right."
        )
    about = f"Errors from {number(of.edges[0], 3)} to {number(of.edges[-1], 3)}."
    drawing = svg(WIDTH, HEIGHT, "".join(parts), title, about=about)
    rows = [
        [f"{number(low, 4)} to {number(high, 4)}", f"{count:,}"]
        for low, high, count in zip(of.edges, of.edges[1:], of.counts, strict=False)
    ]
    return figure(title, drawing, note, [Table(title, ["error", "rows"], rows)])
