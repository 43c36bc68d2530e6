"""The frame of a chart: grid lines, the labels of the axes, and their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpubp.reports.axis import Scale
from gpubp.reports.html import element, escape, number

# A drawing is 360 units wide, which a phone shows at 0.95 and a desk at up to 1.25 pixels each.
WIDTH, HEIGHT = 360, 280
LEFT, RIGHT, TOP, BOTTOM = 70, 18, 14, 56
MOST_LETTERS = 5  # of a label left of the chart
LETTER = 9  # width of a letter of a label, with its share of the gap to the next label

CHART_CSS = """
.axis { stroke: var(--line); fill: none; }
svg text { font-size: 14px; }
svg text.tick { fill: var(--quiet); }
.labels text { stroke: var(--panel); stroke-width: 4px; paint-order: stroke; }
"""


def ticks_across(
    labels: Sequence[tuple[float, str]], floor: float, rows: Sequence[float] | None = None
) -> Iterator[str]:
    """Yield the grid lines and labels of the axis across.

    labels : pixel and text of each. floor : pixel of the axis. rows : pixel of each label's
    baseline; None for one row below the axis.
    """
    ys = [floor + 20] * len(labels) if rows is None else rows
    for (x, text), y in zip(labels, ys, strict=True):
        yield element("path", d=f"M{x:.1f} {TOP}V{floor:.1f}", class_="axis")
        yield element("text", escape(text), x=x, y=y, text_anchor="middle", class_="tick")


def ticks_up(of: Scale, width: float = WIDTH) -> Iterator[str]:
    """Yield the grid lines and labels of the axis that leads up."""
    for value, text in zip(of.ticks, _short(of.ticks), strict=True):
        y = of.at(value)
        yield element("path", d=f"M{LEFT} {y:.1f}H{width - RIGHT}", class_="axis")
        yield element("text", text, x=LEFT - 7, y=y + 5, text_anchor="end", class_="tick")


def _short(values: Sequence[float]) -> list[str]:
    """Return numbers as text that ends before the name of the axis: 1.5M, or with exponents."""
    if 1e4 <= max(map(abs, values), default=0) < 1e12:
        return [_in_thousands(value) for value in values]
    plain = [number(value, 4) for value in values]
    longest = max(map(len, plain), default=0)
    if longest <= MOST_LETTERS:
        return plain
    short = [_with_exponent(value) for value in values]
    return short if max(map(len, short)) < longest else plain


def _in_thousands(value: float) -> str:
    """Return 1,500,000 as 1.5M and 20,000 as 20k."""
    units = ((1e9, "bn"), (1e6, "M"), (1e3, "k"))
    size, letter = next((of for of in units if abs(value) >= of[0]), (1.0, ""))
    return number(value / size, 4) + letter


def _with_exponent(value: float) -> str:
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}".replace("-", "−") if value else "0"


def _apart(labels: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return all labels of an axis across, or every second one, with 0, if they would touch."""
    widest = LETTER * max((len(text) for _, text in labels), default=0)
    if len(labels) < 3 or labels[1][0] - labels[0][0] > widest:
        return labels
    return labels[next((k for k, (_, text) in enumerate(labels) if text == "0"), 0) % 2 :: 2]


def axis_names(
    across: str, up: str, floor: float, height: float, width: float = WIDTH
) -> Iterator[str]:
    """Yield the names of both axes, plain text. floor : pixel of the axis across."""
    middle = (LEFT + width - RIGHT) / 2
    yield element("text", escape(across), x=middle, y=height - 10.0, text_anchor="middle")
    turned = f"translate(15 {(TOP + floor) / 2:.1f}) rotate(-90)"
    yield element("text", escape(up), transform=turned, text_anchor="middle")


def frame(x: Scale, y: Scale, across: str, up: str) -> list[str]:
    """Return the grid, labels and names of a chart of the usual size with numbers on both axes."""
    floor = float(HEIGHT - BOTTOM)
    texts = zip(x.ticks, _short(x.ticks), strict=True)
    labels = _apart([(x.at(tick), text) for tick, text in texts])
    return [*ticks_across(labels, floor), *ticks_up(y), *axis_names(across, up, floor, HEIGHT)]


def scales(
    xs: tuple[float, float],
    ys: tuple[float, float],
    *,
    log: bool = False,
) -> tuple[Scale, Scale]:
    """Return the scales of a chart of the usual size, from the ranges of both axes.

    log : whether the axis that leads up is logarithmic.
    """
    return (
        Scale(*xs, LEFT, WIDTH - RIGHT),
        Scale(*ys, HEIGHT - BOTTOM, TOP, log),
    )
