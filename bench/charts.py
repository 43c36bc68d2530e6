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
from gpubp.reports.series import colour, mark, series_css
from gpubp.reports.tables import data_table

# 360 units wide; one unit is 0.95 pixels on a phone and up to 1.25 on a desktop.
_WIDTH, _HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 56
_BAR, _GAP, _HEADING, _LABEL, _VALUE = 18, 5, 24, 128, 58
_MOST_LETTERS = 38  # of a case's name that fit into the width, in bold of a wide font
HATCH = "hatch"  # the pattern over the bars of disturbed rows
CHART_CSS = """
.axis { stroke: var(--line); fill: none; }
.one { stroke: var(--quiet); stroke-dasharray: 4 4; }
.hatch { stroke: var(--panel); stroke-width: 4; }
svg text { font-size: 14px; }
svg text.tick { fill: var(--quiet); }
svg text.case { font-weight: 600; paint-order: stroke; stroke: var(--panel); stroke-width: 5px; }
""" + series_css()


@dataclass(frozen=True)
class Series:
    """One curve.

    look : its number, from 1. disturbed : the x of the points that other processes disturbed.
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
        parts.append(element("path", d=path, class_=f"curve series-{colour(one.look)}"))
        parts += [
            mark(one.look, *place, hollow=point[0] in one.disturbed)
            for point, place in zip(one.points, places, strict=True)
        ]
    about = f"Both axes are logarithmic. Series: {', '.join(one.name for one in series)}."
    return svg(_WIDTH, _HEIGHT, "".join(parts), f"{y_name} over {x_name}", about=about)


def chart_table(series: Sequence[Series], x_name: str, y_name: str) -> str:
    """Return the numbers of a chart: a row per x, a column per series; * marks disturbed ones."""
    values = [dict(one.points) for one in series]
    rows = [
        [
            _exact(x),
            *(
                f"{_exact(ys[x])}{'*' * (x in one.disturbed)}" if x in ys else "-"
                for one, ys in zip(series, values, strict=True)
            ),
        ]
        for x in sorted({x for one in series for x, _ in one.points})
    ]
    heads = [x_name, *(one.name for one in series)]
    return data_table(escape(f"{y_name} over {x_name}"), list(map(escape, heads)), rows)


def _exact(value: float) -> str:
    """Return 1500000 as "1,500,000" and 1.23456 as "1.235"."""
    return f"{value:,.0f}" if value >= 1000 else number(value, 4)


def bars_table(pairs: Sequence[tuple[Case, Row]], baseline: str) -> str:
    """Return the numbers of the bars: a row per case, a column per peer; * marks disturbed ones."""
    ratios = {(case.name, case.peer): row for case, row in pairs}
    peers = list(dict.fromkeys(case.peer for case, _ in pairs))
    rows = []
    for name in dict.fromkeys(case.name for case, _ in pairs):
        own = [ratios.get((name, peer)) for peer in peers]
        cells = [f"{r.figures['ratio']:.2f}{'*' * is_disturbed(r)}" if r else "-" for r in own]
        rows.append([escape(name), *cells])
    heads = ["case", *map(escape, peers)]
    return data_table(escape(f"Speed over that of {baseline}"), heads, rows)


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

    Bars stand under the name of their case; those of disturbed rows are hatched.
    looks : the number of each peer's series, from 1. names : what to call peers instead of their
    own names.
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
        look = f"bar series-{colour(looks[case.peer])}"
        parts.append(element("rect", rx=2, class_=look, **box))
        if is_disturbed(row):
            parts.append(element("rect", fill=f"url(#{HATCH})", **box))
        parts.append(element("text", f"{ratio:.2f}", x=ends[1] + 5, y=top + 14))
    notes = [f"1 = {baseline}; logarithmic axis", *([f"all cases:{common}"] if common else [])]
    for n, note in enumerate(notes):
        parts.append(_text(note, _WIDTH / 2, tops[-1] + _BAR + 28 + 20 * n, "middle"))
    least, most = min(ratios), max(ratios)
    about = f"Ratios from {least:.2f} to {most:.2f}; bars begin at 1 on a logarithmic axis."
    return svg(_WIDTH, height, "".join(parts), f"Speed over that of {baseline}", about=about)


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
