"""The charts of a run: curves over the varied quantity, and bars of the ratios to one peer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from gpubp.bench.cases import Case
from gpubp.bench.results import Row
from gpubp.explain.search.figure import Axis
from gpubp.reports.html import element, escape, number, svg

# 360 units wide; one unit is 0.95 pixels on a phone and up to 1.25 on a desktop.
_WIDTH, _HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 56
_BAR, _GAP, _HEADING, _LABEL, _VALUE = 18, 5, 24, 128, 58
_MOST_LETTERS = 38  # of a case's name that fit into the width, in bold of a wide font
HATCH = "hatch"  # the pattern over the bars of disturbed rows
_COLOURS = 8
# Square, triangle, diamond, circle: series differ by shape as well as by colour.
_MARKS = (
    "M-5 -5H5V5H-5Z",
    "M0 -6L6 5H-6Z",
    "M0 -7L7 0L0 7L-7 0Z",
    "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0Z",
)

CHART_CSS = """
:root { --series-5: #8a6d00; --series-6: #a8236d; --series-7: #0b7285; --series-8: #586273; }
@media (prefers-color-scheme: dark) {
  :root { --series-5: #d9b84a; --series-6: #f083bd; --series-7: #5cc7d9; --series-8: #9fa9b7; }
}
.axis { stroke: var(--line); fill: none; }
.one { stroke: var(--quiet); stroke-dasharray: 4 4; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.mark { stroke: var(--panel); stroke-width: 1; }
.mark.disturbed { stroke-width: 2; }
.hatch { stroke: var(--panel); stroke-width: 4; }
svg text { font-size: 14px; }
svg text.tick { fill: var(--quiet); }
svg text.case { font-weight: 600; paint-order: stroke; stroke: var(--panel); stroke-width: 5px; }
""" + "".join(
    f".curve.series-{k} {{ stroke: var(--series-{k}); }} "
    f".mark.disturbed.series-{k} {{ fill: var(--panel); stroke: var(--series-{k}); }} "
    f".mark.series-{k}, .bar.series-{k} {{ fill: var(--series-{k}); }}\n"
    for k in range(1, _COLOURS + 1)
)


@dataclass(frozen=True)
class Series:
    """One curve.

    name : of the series. look : its number, which selects colour and mark.
    points : (x, y), both above 0, in ascending order of x.
    disturbed : the x of the points that other processes disturbed.
    """

    name: str
    look: int
    points: tuple[tuple[float, float], ...]
    disturbed: frozenset[float] = frozenset()


def is_disturbed(row: Row) -> bool:
    """Return whether other processes kept cores busy in a round of ``row``."""
    return bool(row.figures.get("disturbed_rounds"))


def what_grows(case: Case) -> float:
    """Return the value of the quantity that varies in the network of ``case``."""
    sizes = {"width": max(case.sizes[1:-1], default=1), "depth": len(case.sizes) - 1}
    return float({**sizes, "batch": case.batch, "rows": case.rows}[case.vary])


def chart(series: Sequence[Series], x_name: str, y_name: str) -> str:
    """Return the curves with logarithmic axes."""
    xs, ys = ([point[k] for one in series for point in one.points] for k in (0, 1))
    x, y = Axis.over(xs, _LEFT, _WIDTH - _RIGHT), Axis.over(ys, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_ticks(x, y), *_names(x_name, y_name)]
    for one in series:
        places = [(x.at(a), y.at(b)) for a, b in one.points]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(element("path", d=path, class_=f"curve series-{_colour(one.look)}"))
        parts += [
            mark(one.look, *place, disturbed=point[0] in one.disturbed)
            for point, place in zip(one.points, places, strict=True)
        ]
    return svg(_WIDTH, _HEIGHT, "".join(parts), f"{y_name} over {x_name}")


def mark(look: int, x: float, y: float, *, disturbed: bool = False) -> str:
    """Return the mark of series number ``look`` at (x, y), hollow if ``disturbed``."""
    place = f"translate({x:.1f} {y:.1f})"
    shape = _MARKS[look % len(_MARKS)]
    kind = f"mark{' disturbed' if disturbed else ''} series-{_colour(look)}"
    return element("path", d=shape, transform=place, class_=kind)


def _colour(look: int) -> int:
    return look % _COLOURS + 1


def key(look: int) -> str:
    """Return the line and the mark of series number ``look``, for a legend."""
    line = element("path", d="M1 8H33", class_=f"curve series-{_colour(look)}")
    return element("svg", line + mark(look, 17, 8), viewBox="0 0 34 16", aria_hidden="true")


def _ticks(x: Axis, y: Axis) -> Iterator[str]:
    for k in x.ticks:
        at = x.at(10.0**k)
        yield element("path", d=f"M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}", class_="axis")
        yield _text(_short(10.0**k), at, _HEIGHT - _BOTTOM + 20, "middle")
    for k in y.ticks:
        at = y.at(10.0**k)
        yield element("path", d=f"M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}", class_="axis")
        yield _text(_short(10.0**k), _LEFT - 7, at + 5, "end")


def _short(value: float) -> str:
    """Return 1500000 as "1.5M"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return number(value / size, 3) + unit
    return number(value, 3)


def _text(text: str, x: float, y: float, anchor: str) -> str:
    return element("text", escape(text), x=x, y=y, text_anchor=anchor, class_="tick")


def _names(x_name: str, y_name: str) -> Iterator[str]:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    across = (_LEFT + _WIDTH - _RIGHT) / 2
    yield element("text", escape(x_name), x=across, y=_HEIGHT - 10, text_anchor="middle")
    turned = f"translate(15 {middle:.1f}) rotate(-90)"
    yield element("text", escape(y_name), transform=turned, text_anchor="middle")


def bars(
    pairs: Sequence[tuple[Case, Row]],
    looks: dict[str, int],
    baseline: str,
    names: Mapping[str, str] | None = None,
) -> str:
    """Return a bar for each ratio, on a logarithmic axis; bars begin at 1, the ``baseline``.

    Bars are below the name of their case. Bars of disturbed rows are hatched.
    looks : the number of each peer's series. names : names to show for peers, by their own names.
    """
    names = names or {}
    ratios = [row.figures["ratio"] for _, row in pairs]
    least, most = (math.log(f([1.0, *ratios])) for f in (min, max))
    tops = list(_tops(pairs))
    common = _common_end([case.name for case, _ in pairs])
    height = tops[-1] + _BAR + (56 if common else 36)
    scale = (_WIDTH - _LABEL - _VALUE) / max(most - least, 1e-9)
    at, before = _LABEL - least * scale, ""
    parts = [_hatch()] if any(is_disturbed(row) for _, row in pairs) else []
    parts.append(element("path", d=f"M{at:.1f} 0V{tops[-1] + _BAR + 8}", class_="one"))
    for top, (case, row), ratio in zip(tops, pairs, ratios, strict=True):
        if case.name != before:
            parts.append(_case_name(case.name.removesuffix(common), top - 7))
        before = case.name
        label = {"x": _LABEL - 8, "y": top + 14, "text_anchor": "end"}
        parts.append(element("text", escape(names.get(case.peer, case.peer)), **label))
        ends = sorted((at, at + math.log(ratio) * scale))
        box = {"x": ends[0], "y": top, "width": ends[1] - ends[0], "height": _BAR}
        look = f"bar series-{_colour(looks[case.peer])}"
        parts.append(element("rect", rx=2, class_=look, **box))
        if is_disturbed(row):
            parts.append(element("rect", fill=f"url(#{HATCH})", **box))
        parts.append(element("text", f"{ratio:.2f}", x=ends[1] + 5, y=top + 14))
    notes = [f"1 = {baseline}; logarithmic axis", *([f"all cases:{common}"] if common else [])]
    for n, note in enumerate(notes):
        parts.append(_text(note, _WIDTH / 2, tops[-1] + _BAR + 28 + 20 * n, "middle"))
    return svg(_WIDTH, height, "".join(parts), f"Speed over that of {baseline}")


def _case_name(name: str, y: float) -> str:
    """Return the name of a case above its bars, narrowed to the drawing if it is very long."""
    most = _WIDTH if len(name) > _MOST_LETTERS else None
    adjust = "spacingAndGlyphs" if most else None
    return element(
        "text", escape(name), x=0, y=y, class_="case", textLength=most, lengthAdjust=adjust
    )


def _common_end(names: Sequence[str]) -> str:
    """Return the words after the batch with which all names end, such as " cpu"."""
    words = [name.split(" ")[3:] for name in dict.fromkeys(names)]
    if len(words) < 2:
        return ""
    ends = zip(*map(reversed, words), strict=False)
    common = [same[0] for same in takewhile(lambda w: len(set(w)) == 1, ends)]
    return "".join(f" {word}" for word in reversed(common))


def _hatch() -> str:
    """Return the pattern of stripes over a disturbed bar."""
    stripe = element("path", d="M2 0V8", class_="hatch")
    turned = {"patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
    return element("pattern", stripe, id=HATCH, width=8, height=8, **turned)


def _tops(pairs: Sequence[tuple[Case, Row]]) -> Iterator[int]:
    """Yield the top of each bar, with space for the name above the bars of a case."""
    top, before = 0, ""
    for case, _ in pairs:
        top += 0 if case.name == before else _HEADING
        yield top
        top, before = top + _BAR + _GAP, case.name
