"""The numbers of a drawing of the network, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from gpubp.explain.figure import Figure
from gpubp.explain.markup import Words, listing, paragraph
from gpubp.explain.quantities import Quantities
from gpubp.reports.tables import chart_numbers, data_table

_PLATES = {"forward": "Value", "backward": "δ", "target": "Target"}
_MATRICES = {
    "W": "Weights",
    "new_W": "New weights",
    "dW": "Gradients of the weights",
    "blame": "Shares of the blame, w δ,",
}


def figure_numbers(figure: Figure) -> str:
    """Return the tables of a drawing: the numbers of its units, and those of its lines.

    The numbers are markup that the page's script fills in for each step.
    """
    words = Words(figure.layout.q)
    tables = [_units(figure, words), *_lines(figure, words)]
    return chart_numbers(figure.label, tables, _rest(words))


def _rest(words: Words) -> str:
    """Return a line that counts the units that the drawing leaves out, "" if there are none."""
    counts = enumerate(len(shown.rest) for shown in words.q.shown)
    parts = [f"{count} of {_layer(words, k)}" for k, count in counts if count]
    return paragraph(f"Not shown: {listing(parts)}.", kind="quiet") if parts else ""


def _layer(words: Words, k: int) -> str:
    return words.layer(k) if k else "the inputs"


def _units(figure: Figure, words: Words) -> str:
    """The number on each plate: a row per unit, a column per kind of plate."""
    q, layers = figure.layout.q, enumerate(figure.plates)
    plates = {plate.kind for layer in figure.plates for plate in layer}
    kinds = [kind for kind in _PLATES if kind in plates]
    rows = []
    for k, layer in layers:
        names = {plate.kind: plate.name for plate in layer}
        for j in q.shown[k].units if names else ():
            cells = [q(names[kind].format(j)) if kind in names else "" for kind in kinds]
            rows.append([words.unit(k, j), *cells])
    return data_table("Units", ["Unit", *(_PLATES[kind] for kind in kinds)], rows)


def _lines(figure: Figure, words: Words) -> Iterator[str]:
    """The number of each line: a row per unit on the left, a column per unit on the right."""
    q: Quantities = figure.layout.q
    for k, edges in enumerate(figure.edges):
        below, above = (q.shown[m].units for m in (k, k + 1))
        caption = f"{_MATRICES[edges.matrix]} from {_layer(words, k)} to {_layer(words, k + 1)}"
        rows = [
            [words.unit(k, i), *(q(f"layers.{k}.{edges.matrix}.{i}.{j}") for j in above)]
            for i in below
        ]
        yield data_table(caption, ["From", *(f"to {words.unit(k + 1, j)}" for j in above)], rows)
