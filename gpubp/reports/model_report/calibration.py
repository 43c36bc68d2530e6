"""The figure of the calibration: probabilities against what came true."""

from __future__ import annotations

from collections.abc import Sequence

from gpubp.models.calibration import Calibration, Coverage
from gpubp.reports.chart import HEIGHT, WIDTH, frame, scales
from gpubp.reports.figures import Table, figure, table_markup
from gpubp.reports.html import element, escape, svg
from gpubp.reports.labels import label_text
from gpubp.reports.series import mark
from gpubp.reports.tables import scroll_box

CALIBRATION_CSS = ".interval { stroke: var(--series-1); fill: none; stroke-width: 1.5; }\n"


def calibration_figure(of: Calibration) -> str:
    """Return the figure."""
    x, y = scales((0, 1), (0, 1))
    parts = frame(x, y, "predicted probability", "share that came true")
    ends = f"M{x.at(0):.1f} {y.at(0):.1f}L{x.at(1):.1f} {y.at(1):.1f}"
    parts.append(element("path", d=ends, class_="guess"))
    for each in of.bins:
        at = x.at(each.mean)
        bar = f"M{at:.1f} {y.at(each.low):.1f}V{y.at(each.high):.1f}"
        caps = "".join(f"M{at - 4:.1f} {y.at(end):.1f}h8" for end in (each.low, each.high))
        parts.append(element("path", d=bar + caps, class_="interval"))
        parts.append(mark(1, at, y.at(each.share)))
    event = "the predicted label" if of.label is None else repr(of.label)
    title = f"Calibration: the probability of {label_text(event, 24)}"
    points = f"{100 * of.error:.1f} percentage points"
    about = f"Predicted probabilities and observed shares differ by {points} on average."
    drawing = svg(WIDTH, HEIGHT, "".join(parts), title, about=about)
    note = (
        "Of the rows that get a probability of about 0.8, about 80 % should come true: squares on "
        "the dotted line are right, those below it promise too much. The bars are 95 % intervals; "
        f"long ones have few rows. On average the two differ by {points}."
    )
    return figure(title, drawing, note, [_table(title, of)])


def _table(title: str, of: Calibration) -> Table:
    rows = [
        [
            f"{each.mean:.3f}",
            f"{each.rows:,}",
            f"{100 * each.share:.1f} %",
            f"{100 * each.low:.1f} to {100 * each.high:.1f} %",
        ]
        for each in of.bins
    ]
    return Table(title, ["mean probability", "rows", "came true", "95 % interval"], rows)


def coverage_section(found: Sequence[Coverage]) -> str:
    """Return the shares of the rows below the predicted quantiles."""
    several = len({each.target for each in found}) > 1
    rows = [
        [
            *([label_text(each.target)] if several else []),
            f"{each.level:g}",
            f"{100 * each.level:.4g} %",
            f"{100 * each.share:.1f} %",
        ]
        for each in found
    ]
    heads = ["quantile", "wanted", "true values at or below it"]
    table = Table("Rows below the predicted quantiles", ["target"] * several + heads, rows)
    note = (
        "The network predicts quantiles: of all true values, the wanted share should lie at or "
        "below the prediction."
    )
    box = scroll_box(table_markup(table), "Rows below the predicted quantiles")
    return element("p", escape(note)) + element("div", box, class_="numbers")
