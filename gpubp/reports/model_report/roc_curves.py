"""The figure of the ROC curves."""

from __future__ import annotations

from collections.abc import Sequence

from gpubp.models.roc_curves import RocCurve
from gpubp.reports.chart import HEIGHT, WIDTH, frame, scales
from gpubp.reports.figures import Table, figure
from gpubp.reports.html import element, escape, number, svg
from gpubp.reports.labels import label_text
from gpubp.reports.series import colour, mark, series_key

ROC_CSS = ".guess { stroke: var(--faint); fill: none; stroke-dasharray: 2 4; }\n"


def roc_figure(curves: Sequence[RocCurve], classes: int) -> str:
    """Return the figure. classes : of the model."""
    x, y = scales((0, 1), (0, 1))
    parts = frame(x, y, "false alarms", "found")
    ends = f"M{x.at(0):.1f} {y.at(0):.1f}L{x.at(1):.1f} {y.at(1):.1f}"
    parts.append(element("path", d=ends, class_="guess"))
    for series, curve in reversed(list(enumerate(curves, start=1))):
        points = [
            (x.at(a), y.at(b))
            for a, b in zip(curve.false_positives, curve.true_positives, strict=True)
        ]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        parts.append(element("path", d=path, class_=f"curve series-{colour(series)}"))
        middle = min(points, key=lambda point: abs(point[0] - x.at(0) + point[1] - y.at(1)))
        if len(curves) > 1:
            parts.append(mark(series, *middle))
    return figure(_title(curves), _drawing(curves, parts), _note(curves, classes), _tables(curves))


def _title(curves: Sequence[RocCurve]) -> str:
    return "ROC curve" if len(curves) == 1 else "ROC curves, each class against the rest"


def _drawing(curves: Sequence[RocCurve], parts: Sequence[str]) -> str:
    about = " ".join(f"{label_text(of.label)}: area {number(of.auc, 3)}." for of in curves)
    drawing = svg(WIDTH, HEIGHT, "".join(parts), _title(curves), about=about)
    entries = (
        element("li", series_key(k) + escape(f"{label_text(of.label)}, area {of.auc:.3f}"))
        for k, of in enumerate(curves, start=1)
    )
    if len(curves) == 1:
        return drawing
    return drawing + element("ul", "".join(entries), class_="legend")


def _note(curves: Sequence[RocCurve], classes: int) -> str:
    one = repr(curves[0].label) if len(curves) == 1 else "a class"
    below = f"below the curve is {curves[0].auc:.3f}; it is" if len(curves) == 1 else "below is"
    note = (
        f"How many rows of {one} are found (upwards) at the cost of how many false alarms among "
        "the other rows (to the right), as the probability that is called a yes is lowered. The "
        f"area {below} 1 for a perfect order and 0.5 for guessing, the dotted line."
    )
    if classes > 2 and len(curves) < classes:
        note += f" Of {classes:,} classes, the {len(curves)} with most rows are shown."
    return note


def _tables(curves: Sequence[RocCurve]) -> list[Table]:
    rows = []
    for curve in curves:
        found = [_found_at(curve, rate) for rate in (0.01, 0.05, 0.1, 0.2)]
        cells = [f"{100 * share:.1f} %" for share in found]
        rows.append([label_text(curve.label), f"{curve.rows:,}", f"{curve.auc:.4f}", *cells])
    heads = ["class", "rows", "area", *(f"found at {a} % false alarms" for a in (1, 5, 10, 20))]
    return [Table(_title(curves), heads, rows)]


def _found_at(curve: RocCurve, rate: float) -> float:
    pairs = zip(curve.false_positives, curve.true_positives, strict=True)
    return max(b for a, b in pairs if a <= rate)
