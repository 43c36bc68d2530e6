"""The drawings of a run: figures over what grows, and bars of the ratios to one peer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gpubp.bench.cases import Case
from gpubp.bench.results import Row
from gpubp.explain.search.figure import Axis
from gpubp.reports.html import element, escape, number, svg

# 460 units wide, which a phone shows at 0.75 and a desk at up to 1.3 pixels each.
_WIDTH, _HEIGHT = 460, 350
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 22, 12, 62
_BAR, _GAP, _LABEL = 20, 6, 220
_COLOURS = 8
# A square, a triangle, a diamond, a circle: not by colour alone.
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
svg text { font-size: 15px; }
svg text.tick { fill: var(--quiet); }
""" + "".join(
    f".curve.series-{k} {{ stroke: var(--series-{k}); }} "
    f".mark.series-{k}, .bar.series-{k} {{ fill: var(--series-{k}); }}\n"
    for k in range(1, _COLOURS + 1)
)


@dataclass(frozen=True)
class Series:
    """One curve: who, and the points (x, y), both above 0, x ascending. look : its number."""

    name: str
    look: int
    points: tuple[tuple[float, float], ...]


def what_grows(case: Case) -> float:
    """Return the value of what a case's network varies."""
    sizes = {"width": max(case.sizes[1:-1], default=1), "depth": len(case.sizes) - 1}
    return float({**sizes, "batch": case.batch, "rows": case.rows}[case.vary])


def chart(series: Sequence[Series], x_name: str, y_name: str) -> str:
    """Return the curves over logarithmic axes."""
    xs, ys = ([point[k] for one in series for point in one.points] for k in (0, 1))
    x, y = Axis.over(xs, _LEFT, _WIDTH - _RIGHT), Axis.over(ys, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_ticks(x, y), *_names(x_name, y_name)]
    for one in series:
        places = [(x.at(a), y.at(b)) for a, b in one.points]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(element("path", d=path, class_=f"curve series-{_colour(one.look)}"))
        parts += [mark(one.look, *place) for place in places]
    return svg(_WIDTH, _HEIGHT, "".join(parts), f"{y_name} over {x_name}")


def mark(look: int, x: float, y: float) -> str:
    """Return the mark of the series of this number at a place."""
    place = f"translate({x:.1f} {y:.1f})"
    shape = _MARKS[look % len(_MARKS)]
    return element("path", d=shape, transform=place, class_=f"mark series-{_colour(look)}")


def _colour(look: int) -> int:
    return look % _COLOURS + 1


def key(look: int) -> str:
    """Return the line and the mark of the series of this number, for a legend."""
    line = element("path", d="M1 8H33", class_=f"curve series-{_colour(look)}")
    return element("svg", line + mark(look, 17, 8), viewBox="0 0 34 16", aria_hidden="true")


def _ticks(x: Axis, y: Axis) -> Iterator[str]:
    for k in x.ticks:
        at = x.at(10.0**k)
        yield element("path", d=f"M{at:.1f} {_TOP}V{_HEIGHT - _BOTTOM}", class_="axis")
        yield _text(_short(10.0**k), at, _HEIGHT - _BOTTOM + 27, "middle")
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
    yield element("text", escape(x_name), x=across, y=_HEIGHT - 8, text_anchor="middle")
    turned = f"translate(18 {middle:.1f}) rotate(-90)"
    yield element("text", escape(y_name), transform=turned, text_anchor="middle")


def bars(
    pairs: Sequence[tuple[Case, Row]],
    looks: dict[str, int],
    baseline: str,
    names: Mapping[str, str] | None = None,
) -> str:
    """Return a bar for each ratio, from 1 on over a logarithmic axis: as fast as ``baseline``.

    looks : the number of each peer's series. names : what peers are called, if not by their own.
    """
    names = names or {}
    ratios = [row.figures["ratio"] for _, row in pairs]
    least, most = (math.log(f([1.0, *ratios])) for f in (min, max))
    tops = list(_tops(pairs))
    height = tops[-1] + _BAR + 40
    scale = (_WIDTH - _LABEL - 62) / max(most - least, 1e-9)
    at, parts = _LABEL - least * scale, []
    for top, (case, _), ratio in zip(tops, pairs, ratios, strict=True):
        where = "" if case.device == "cpu" else f" {case.device}"
        label = f"{case.network} b{case.batch} {names.get(case.peer, case.peer)}{where}"
        name = {"x": _LABEL - 8, "y": top + 15, "text_anchor": "end"}
        parts.append(element("text", escape(label), class_="label", **name))
        look = f"bar series-{_colour(looks[case.peer])}"
        ends = sorted((at, at + math.log(ratio) * scale))
        size = {"width": ends[1] - ends[0], "height": _BAR}
        parts.append(element("rect", x=ends[0], y=top, rx=2, class_=look, **size))
        parts.append(element("text", f"{ratio:.2f}", x=ends[1] + 6, y=top + 15))
    parts.append(element("path", d=f"M{at:.1f} 0V{height - 28}", class_="one"))
    parts.append(_text(f"1 = {baseline}; the axis is logarithmic", at, height - 8, "middle"))
    return svg(_WIDTH, height, "".join(parts), f"Speed over that of {baseline}")


def _tops(pairs: Sequence[tuple[Case, Row]]) -> Iterator[int]:
    """Yield where each bar begins; cases are apart from each other."""
    top, before = 4, pairs[0][0].name
    for case, _ in pairs:
        top += 0 if case.name == before else 2 * _GAP
        yield top
        top, before = top + _BAR + _GAP, case.name
