"""The positions of a network's units in a drawing, and of the labels on its edges.

Laid out for a phone: 360 units wide with text of 12 pixels, which is never scaled down; a wider
drawing scrolls. Wide screens get a drawing of their own, with more room for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from gpubp.explain.quantities import Quantities
from gpubp.reports.html import number

FONT = 12.0
RADIUS = 17.0  # of a unit's circle
LINE, PLATE_LINE = 14.0, 15.0  # heights of a line of a name, and of a plate
NAME_GAP = 6.5  # from the base line of a name to its circle; its halo must not cut the rim
PLATE_EDGE = 3.0  # on each side of the text of a plate
PHONE = 360.0  # the width of a drawing that fits on a phone
_MARGIN = 46.0  # from the edge to the middle of the first and the last column
_ROOMY, _ROOMY_GAP = 560.0, 165.0  # of a drawing for wide screens: least width, between columns
_HEAD = 36.0  # room for the headings of the columns
_ROOM = 118.0  # height for a unit where there is room
_WIDTHS = {".": 0.32, " ": 0.32, "−": 0.84, "m": 0.97, "w": 0.82, "M": 0.86, "W": 0.99, "…": 1.0}
_WIDTHS |= dict.fromkeys("iljtfI|,:;'()[]-", 0.4)
# Where labels may stand on an edge, from its middle outward, and their distances from it.
_ALONG = tuple(0.5 + sign * 0.03 * n for n in range(11) for sign in (1, -1) if n or sign > 0)
_BESIDE = (0.0, -10.0, 10.0)


class Box(NamedTuple):
    """A rectangle that holds text."""

    x0: float
    y0: float
    x1: float
    y1: float


def text_width(text: str, size: float = FONT) -> float:
    """Return the width of ``text``, measured with DejaVu Sans, a wide font."""
    return size * sum(_WIDTHS.get(c, 0.64) for c in text)


def name_lines(name: str, width: float) -> list[str]:
    """Return ``name`` in one or two lines of at most ``width``, cut with … if it is longer."""
    lines = [""]
    for word in re.findall(r"[^\s_=.,-]*[\s_=.,-]?", name):
        if text_width((lines[-1] + word).rstrip()) > width and lines[-1] and len(lines) < 2:
            lines.append("")
        lines[-1] += word
    return [_cut(line.strip(), width) for line in lines if line.strip()] or ["·"]


def _cut(line: str, width: float) -> str:
    if text_width(line) <= width:
        return line
    while line and text_width(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"


class Unit(NamedTuple):
    """A unit in a drawing; ``unit`` is None for the mark of those that are not shown."""

    layer: int
    unit: int | None
    x: float
    y: float


class Ends(NamedTuple):
    """An edge in a drawing, from the unit below to the unit above."""

    x1: float
    y1: float
    x2: float
    y2: float

    def at(self, t: float) -> tuple[float, float]:
        """Return the point at the fraction ``t`` of the edge."""
        return self.x1 + t * (self.x2 - self.x1), self.y1 + t * (self.y2 - self.y1)


class Layout:
    """The positions of the units, which are equal in all drawings of a page.

    roomy : whether the drawing is for wide screens, with room for numbers on all edges.
    """

    def __init__(self, q: Quantities, *, roomy: bool = False) -> None:
        self.q = q
        self._widths: dict[tuple[str, int], float] = {}
        columns = len(q.shown)
        halves = [self._half(k) for k in range(columns)]
        self.margin = max(_MARGIN, halves[0] + 1, halves[-1] + 1)
        apart = max(a + b for a, b in pairwise(halves)) + 4
        fits = ((_ROOMY if roomy else PHONE) - 2 * self.margin) / (columns - 1)
        self.gap = max(fits, apart, _ROOMY_GAP if roomy else 0.0)
        self.width = 2 * self.margin + self.gap * (columns - 1)
        self.names = [
            {j: name_lines(names[j], min(self.gap - 6, 2 * self.margin - 4)) for j in shown.units}
            for names, shown in zip(q.example.names, q.shown, strict=True)
        ]
        counts = [len(shown.units) + bool(shown.rest) for shown in q.shown]
        heights = [self._cell(k) for k in range(columns)]
        room = min(_ROOM, 400 / max(counts))
        needed = [n * max(cell, room) for n, cell in zip(counts, heights, strict=True)]
        self.height = _HEAD + max(needed)
        self.units = [list(self._column(k, counts[k])) for k in range(columns)]

    def width_of(self, name: str, word: str = "", digits: int = 6) -> float:
        """Return the largest width of a number over all steps, with ``word`` before it."""
        key = name, digits
        if key not in self._widths:
            texts = {number(value, digits) for value in self.q.history(name)}
            self._widths[key] = max(map(text_width, texts))
        return self._widths[key] + text_width(word)

    def _half(self, layer: int) -> float:
        """Half the width of the widest plate that a layer has in any drawing."""
        last, above = len(self.q.shown) - 1, layer - 1
        plates = [
            ("", f"layers.{above}.A.{{}}"),
            ("δ ", f"layers.{above}.delta.{{}}"),
            ("", f"new.{above}.{{}}"),
        ]
        if layer == 0:
            plates = [("", "layers.0.inputs.{}")]
        if layer == last:
            plates.append(("target ", "target.{}"))
        units = self.q.shown[layer].units
        widths = [self.width_of(name.format(j), word) for word, name in plates for j in units]
        return max(widths) / 2 + PLATE_EDGE

    def inside(self, layer: int) -> bool:
        """Whether the names of a layer fit into its circles."""
        lines = self.names[layer].values()
        return all(len(two) == 1 and text_width(two[0]) <= 29 for two in lines)

    def above(self, layer: int) -> float:
        """The height of the names above a layer's circles."""
        most = max(len(lines) for lines in self.names[layer].values())
        return 0.0 if self.inside(layer) else LINE * most + NAME_GAP - 3

    def _cell(self, layer: int) -> float:
        return self.above(layer) + 2 * RADIUS + 2 * PLATE_LINE + 10

    def _column(self, layer: int, count: int) -> Iterator[Unit]:
        height = self.height - _HEAD
        step = min(height / count, 1.6 * max(self._cell(layer), min(_ROOM, height / count)))
        top = _HEAD + (height - step * count) / 2
        # The cell is centred in its step; the circle stands below the name.
        down = (step - self._cell(layer)) / 2 + self.above(layer) + RADIUS
        shown = self.q.shown[layer]
        units = [*shown.units, None] if shown.rest else list(shown.units)
        for n, unit in enumerate(units):
            yield Unit(layer, unit, self.margin + layer * self.gap, top + n * step + down)

    def reach(self, unit: Unit) -> float:
        """Return the distance from the middle of a unit at which its edges begin."""
        return 30.0 if unit.unit is None else RADIUS + 1

    def ends(self, a: Unit, b: Unit) -> Ends:
        """Return the edge between two units, from rim to rim."""
        dx, dy = b.x - a.x, b.y - a.y
        length = (dx * dx + dy * dy) ** 0.5
        u, v = dx / length, dy / length
        start, end = self.reach(a), self.reach(b)
        return Ends(a.x + u * start, a.y + v * start, b.x - u * end, b.y - v * end)

    def boxes(self, unit: Unit) -> list[Box]:
        """Return the boxes of a unit's circle and name."""
        x, y = unit.x, unit.y
        if unit.unit is None:
            return [Box(x - 32, y - 14, x + 32, y + 16)]
        r, names = RADIUS, self.names[unit.layer][unit.unit]
        circle = Box(x - r - 2, y - r - 2, x + r + 2, y + r + 2)
        if self.inside(unit.layer):
            return [circle]
        half = max(map(text_width, names)) / 2 + 1
        return [circle, Box(x - half, y - r - NAME_GAP + 2 - LINE * len(names), x + half, y - r)]

    @cached_property
    def largest_weight(self) -> float:
        """The largest absolute weight in any drawing; its line is the widest."""
        pairs = enumerate(pairwise(self.q.shown))
        return self.q.largest(
            [
                f"layers.{k}.{W}.{i}.{j}"
                for k, (below, above) in pairs
                for W in ("W", "new_W")
                for i in below.units
                for j in above.units
            ]
        )


def place_labels(
    edges: Sequence[Ends],
    widths: Sequence[float],
    taken: Sequence[Box],
    far: bool | None = None,
) -> list[tuple[float, float]] | None:
    """Return a position on each edge for a label of the given width, or None.

    taken : boxes that labels must not touch, as they must not touch each other. far : the part of
    the edge that is tried first: the middle if None, the beginning if False, the end if True.
    None is returned if one of the labels finds no room.
    """
    along = _ALONG if far is None else sorted(_ALONG, reverse=far)
    for t in along:  # in line with one another if possible
        boxes = [_label_box(edge.at(t), width) for edge, width in zip(edges, widths, strict=True)]
        if all(is_free(box, [*taken, *boxes[:n]]) for n, box in enumerate(boxes)):
            return [edge.at(t) for edge in edges]
    boxes, places = list(taken), []
    for edge, width in zip(edges, widths, strict=True):
        spots = [(x, y + beside) for beside in _BESIDE for x, y in map(edge.at, along)]
        spot = next((s for s in spots if is_free(_label_box(s, width), boxes)), None)
        if spot is None:
            return None
        boxes.append(_label_box(spot, width))
        places.append(spot)
    return places


def is_free(box: Box, taken: Sequence[Box]) -> bool:
    """Return whether ``box`` overlaps with none of ``taken``."""
    x0, y0, x1, y1 = box
    for left, top, right, bottom in taken:  # spelled out, since this runs most often
        if x0 < right and left < x1 and y0 < bottom and top < y1:
            return False
    return True


def _label_box(spot: tuple[float, float], width: float) -> Box:
    x, y = spot
    return Box(x - width / 2 - 1, y - 8, x + width / 2 + 1, y + 8)
