"""The network as a drawing: units, their numbers, and edges as wide as what flows along them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gpubp.explain.layout import (
    FONT,
    LINE,
    NAME_GAP,
    PLATE_EDGE,
    PLATE_LINE,
    RADIUS,
    Box,
    Ends,
    Layout,
    Unit,
    place_labels,
)
from gpubp.explain.quantities import weight_name
from gpubp.reports.html import element, escape, svg

_MOST_TEXT = 16.0  # pixels on a screen; the least is FONT
_THIN, _THICK = 1.0, 5.0  # lines
_MOST_ARROWS = 16
_DIGITS = (6, 3, 2)  # of a number on an edge, the first for which all edges of a unit have room
_MOST_LABELS = 9  # between two layers at once; more cannot be distinguished


_MEANING = {
    "W": "size of the weight",
    "new_W": "size of the new weight",
    "dW": "size of the gradient",
    "blame": "share of the blame, w δ",
}


class Edges(NamedTuple):
    """How the edges between two layers are drawn.

    flow : the colour, and the direction of the arrows. matrix : the attribute of the layer's
    trace that widths and labels show. active : whether the stage is about these edges, so that
    they have labels.
    """

    flow: Literal["plain", "forward", "backward"]
    matrix: Literal["W", "new_W", "dW", "blame"]
    active: bool

    @property
    def flows(self) -> bool:
        """Whether something moves along the edges."""
        return self.flow != "plain" and self.matrix != "dW"

    @property
    def absolute(self) -> bool:
        """Whether widths have one scale in all drawings and steps, not one per drawing."""
        return self.matrix in ("W", "new_W")


class Plate(NamedTuple):
    """A line on the plate under each unit of a layer: its class, a word, and the number."""

    kind: str
    word: str
    name: str


class _Edge(NamedTuple):
    below: Unit
    above: Unit
    ends: Ends
    quantity: str
    value: float


@dataclass(frozen=True)
class Figure:
    """One drawing: the edges into each layer, and the plates of each layer."""

    layout: Layout
    label: str
    edges: Sequence[Edges]
    plates: Sequence[Sequence[Plate]]

    @property
    def legend(self) -> str:
        """The meaning of the drawing's lines."""
        matrices = {edges.matrix for edges in self.edges if edges.active} or {"W"}
        wide = ", ".join(_MEANING[matrix] for matrix in sorted(matrices))
        return f"Line width: {wide}. Dashed: negative."

    @property
    def about(self) -> str:
        """A description of the drawing for screen readers."""
        sizes = "-".join(str(size) for size in self.layout.q.example.network.sizes)
        text = f"A {sizes} network, drawn from left to right. {self.legend}"
        return f"{text} The numbers are in a table."

    def markup(self, kind: str | None = None) -> str:
        """Return the drawing as SVG; ``kind`` is its class."""
        layout = self.layout
        parts = [*self._headings()]
        parts += [self._gap(k, edges) for k, edges in enumerate(self.edges)]
        parts += [self._labels(k, edges) for k, edges in enumerate(self.edges) if edges.active]
        parts += [self._unit(unit) for column in layout.units for unit in column]
        sizes = (f"min-width:{layout.width:.0f}px", f"min-height:{layout.height:.0f}px")
        most = f"max-width:{layout.width * _MOST_TEXT / FONT:.0f}px"
        style = ";".join((*sizes, most))
        inner = "".join(parts)
        role = "group" if "data-for" in inner else "img"
        size = layout.width, layout.height
        return svg(*size, inner, self.label, role, about=self.about, style=style, class_=kind)

    def _headings(self) -> Iterator[str]:
        last = len(self.layout.units) - 1
        for k, column in enumerate(self.layout.units):
            hidden = "hidden" if last == 2 else f"hidden {k}"
            yield _text(column[0].x, FONT, _heading(k, last, hidden), "heading")
            q = self.layout.q
            below = q.traces[0].layers[k - 1].activation if k else ""
            if k == 0 and q.example.origin.X is not None:
                below = q.example.origin.scaling
            if k == 0 and q.example.network.stage is not None:
                below = "input stage"
            if below:
                yield _text(column[0].x, FONT + LINE, escape(below), "heading")

    def _unit(self, unit: Unit) -> str:
        layout, k, x, y = self.layout, unit.layer, unit.x, unit.y
        if unit.unit is None:
            more = f"{len(layout.q.shown[k].rest)} more"
            lines = _text(x, y - 2, "… and", "others") + _text(x, y + LINE - 1, more, "others")
            return element("g", lines)
        r, names = RADIUS, layout.names[k][unit.unit]
        first = y + 4 if layout.inside(k) else y - r - NAME_GAP - LINE * (len(names) - 1)
        parts = [element("title", escape(layout.q.example.names[k][unit.unit]))]
        parts.append(element("circle", cx=x, cy=y, r=r))
        parts += [_text(x, first + n * LINE, escape(name), "name") for n, name in enumerate(names)]
        parts.append(self._plate(unit))
        return element("g", "".join(parts), class_="unit", data_unit=f"{k}.{unit.unit}")

    def _plate_box(self, unit: Unit) -> Box | None:
        plates = self.plates[unit.layer]
        if not plates or unit.unit is None:
            return None
        widths = [self.layout.width_of(p.name.format(unit.unit), p.word) for p in plates]
        half = max(widths) / 2 + PLATE_EDGE
        top = unit.y + RADIUS + 1
        return Box(unit.x - half, top, unit.x + half, top + PLATE_LINE * len(plates) + 2)

    def _plate(self, unit: Unit) -> str:
        box = self._plate_box(unit)
        if box is None:
            return ""
        width, height = box.x1 - box.x0, box.y1 - box.y0
        parts = [element("rect", x=box.x0, y=box.y0, width=width, height=height, rx=4)]
        for n, plate in enumerate(self.plates[unit.layer], start=1):
            line = self._number(plate.name.format(unit.unit), plate.word)
            parts.append(_text(unit.x, box.y0 + PLATE_LINE * n - 2, line, plate.kind))
        return "".join(parts)

    def _number(self, name: str, word: str = "", digits: int = 6) -> str:
        return self.layout.q(name, digits, word=word).replace("span", "tspan")

    def _pairs(self, k: int) -> Iterator[tuple[Unit, Unit]]:
        below, above = self.layout.units[k : k + 2]
        return ((a, b) for b in above for a in below)

    def _edges(self, k: int, matrix: str) -> list[_Edge]:
        """The edges between the units that are shown."""
        q, found = self.layout.q, []
        for a, b in self._pairs(k):
            if a.unit is not None and b.unit is not None:
                name = f"layers.{k}.{matrix}.{a.unit}.{b.unit}"
                ends, value = self.layout.ends(a, b), q.first(name)
                found.append(_Edge(a, b, ends, name, value))
        return found

    def _gap(self, k: int, style: Edges) -> str:
        """Return the edges into layer k + 1; a larger number has a wider line."""
        edges = self._edges(k, style.matrix)
        values = [abs(edge.value) for edge in edges]
        scale = self.layout.largest_weight if style.absolute else max(values)
        parts = [self._line(edge, scale) for edge in edges]
        parts += [
            _line(self.layout.ends(a, b), class_="others")
            for a, b in self._pairs(k)
            if a.unit is None or b.unit is None
        ]
        if style.flows and style.active and len(edges) <= _MOST_ARROWS:
            parts += [_arrow(edge.ends, style.flow == "backward") for edge in edges]
        return element(
            "g",
            "".join(parts),
            class_=f"edges {style.flow} {'active' if style.active else 'still'}",
            data_gap=k,
            data_scale=repr(scale) if style.absolute else None,
        )

    def _line(self, edge: _Edge, scale: float) -> str:
        names = self.layout.q.example.names
        below = names[edge.below.layer][edge.below.unit or 0]
        above = names[edge.above.layer][edge.above.unit or 0]
        part = min(abs(edge.value) / scale, 1.0) if scale > 0 else 0.0
        return _line(
            edge.ends,
            element("title", escape(f"{below} → {above}")),
            style=f"--w:{_THIN + (_THICK - _THIN) * part:.3g}",
            class_="minus" if edge.value < 0 else None,
            data_w=self.layout.q.place(edge.quantity),
            data_ends=f"{edge.below.unit}.{edge.above.unit}",
        )

    def _labels(self, k: int, style: Edges) -> str:
        """Return the numbers on the edges into layer k + 1: all, or those of one unit at a time."""
        edges, taken = self._edges(k, style.matrix), self._taken(k)
        words = ["" if style.matrix == "blame" else f"{self._weight(edge)} " for edge in edges]
        none = [""] * len(edges)
        ways = ((words, 6), (none, 6), (none, 3)) if len(edges) <= _MOST_LABELS else ()
        for prefixes, digits in ways:
            labels = self._placed(edges, prefixes, taken, digits)
            if labels is not None:
                return element("g", labels, class_=f"labels {style.flow}", data_gap=k)
        return "".join(self._labels_by_unit(k, style, edges, taken))

    def _labels_by_unit(
        self, k: int, style: Edges, edges: list[_Edge], taken: list[Box]
    ) -> Iterator[str]:
        """Yield a group of labels for each unit that sums over these edges."""
        backward = style.matrix == "blame"
        groups: dict[Unit, list[_Edge]] = {}
        for edge in edges:
            groups.setdefault(edge.below if backward else edge.above, []).append(edge)
        first = max(groups, key=lambda unit: sum(abs(edge.value) for edge in groups[unit]))
        for unit, own in groups.items():
            # Without room for labels the group is empty, but its edges can still be highlighted.
            places = (self._placed(own, [""] * len(own), taken, n, far=backward) for n in _DIGITS)
            labels = next((found for found in places if found is not None), None)
            yield element(
                "g",
                labels or "",
                class_=f"labels {style.flow}",
                data_gap=k,
                data_for=f"{unit.layer}.{unit.unit}",
                hidden=unit != first,
            )

    def _placed(
        self,
        edges: list[_Edge],
        words: list[str],
        taken: list[Box],
        digits: int,
        far: bool | None = None,
    ) -> str | None:
        """Return the labels of ``edges`` to so many digits, or None without room for them.

        far : the preferred place of the labels: the middle if None, near the unit below if False,
        near the unit above if True.
        """
        width_of = self.layout.width_of
        labels = list(zip(words, edges, strict=True))
        widths = [width_of(edge.quantity, word, digits) for word, edge in labels]
        places = place_labels([edge.ends for edge in edges], widths, taken, far)
        if places is None:
            return None
        parts = []
        for edge, word, (x, y) in zip(edges, words, places, strict=True):
            parts.append(_text(x, y + 4, self._number(edge.quantity, word, digits)))
        return "".join(parts)

    def _taken(self, k: int) -> list[Box]:
        """Return the boxes that labels of the edges into layer k + 1 must not touch."""
        units = [unit for column in self.layout.units[k : k + 2] for unit in column]
        plates = [self._plate_box(unit) for unit in units]
        names = [box for unit in units for box in self.layout.boxes(unit)]
        return names + [box for box in plates if box is not None]

    def _weight(self, edge: _Edge) -> str:
        sizes = self.layout.q.example.network.sizes
        return weight_name(sizes, edge.below.layer, edge.below.unit or 0, edge.above.unit or 0)


def _heading(k: int, last: int, hidden: str) -> str:
    return "inputs" if k == 0 else "output" if k == last else hidden


def _text(x: float, y: float, inner: str, kind: str | None = None) -> str:
    return element("text", inner, x=x, y=y, class_=kind)


def _line(ends: Ends, inner: str = "", **attributes: object) -> str:
    x1, y1, x2, y2 = ends
    return element("line", inner, x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def _arrow(ends: Ends, backward: bool) -> str:
    """Return the head of an arrow, at the end of the edge in the direction of the flow."""
    (x, y), (x0, y0) = (ends.at(0), ends.at(1)) if backward else (ends.at(1), ends.at(0))
    length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
    u, v = 9 * (x - x0) / length, 9 * (y - y0) / length
    corners = [(x, y), (x - u - v / 2, y - v + u / 2), (x - u + v / 2, y - v - u / 2)]
    return element("path", d="M" + "L".join(f"{cx:.1f} {cy:.1f}" for cx, cy in corners) + "Z")
