"""Paragraphs, formulas and tables of the page of `gpubp explain`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import unescape

from gpubp.explain.quantities import Quantities, bias_name, weight_name
from gpubp.reports.html import element, escape

_MOST_ROWS = 24  # of a table that is open from the beginning
_THIRD = {"go": "es"}

Row = Callable[[int, int | None, int], list[str]]  # of a parameter: layer, source or None, unit


def paragraph(*sentences: str, kind: str | None = None) -> str:
    """Return a paragraph of sentences in markup; empty ones are left out."""
    return element("p", " ".join(sentence for sentence in sentences if sentence), class_=kind)


def law(formula: str) -> str:
    """Return a formula in symbols as a paragraph of its own."""
    return paragraph(formula, kind="law")


def formula(name: str, lines: Sequence[str], unit: str | None = None) -> str:
    """Return formulas with numbers under the heading ``name``; ``unit`` is the drawn one."""
    inner = "".join(element("p", line) for line in lines)
    return element("div", element("h3", name) + inner, class_="formula", data_unit=unit)


def plus(terms: Sequence[str], total: str) -> str:
    """Return a sum and its result; lines break only between the terms."""
    parts = [*terms[:1], *(f"+ {term}" for term in terms[1:]), f"= {total}"]
    return " ".join(element("span", part, class_="term") for part in parts)


def listing(words: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def sentence(text: str) -> str:
    """Return ``text`` with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, cards: bool | None = None
) -> str:
    """Return a table; the first column names the rows.

    cards : whether rows become cards on a phone, with each number next to its header; None: if
    there are more than three columns.
    """
    head = "".join(element("th", header, scope="col") for header in headers)
    labels = [unescape(re.sub(r"<[^>]*>", "", header)) for header in headers[1:]]
    body = []
    for first, *others in rows:
        cells = [
            element("td", element("span", cell), data_label=label)
            for cell, label in zip(others, labels, strict=True)
        ]
        body.append(element("tr", element("th", first, scope="row") + "".join(cells)))
    inner = element("thead", element("tr", head)) + element("tbody", "".join(body))
    many = len(headers) > 3 if cards is None else cards
    return element("table", inner, class_="cards" if many else None)


class Words:
    """The names of the units and layers of an example, and tables of them."""

    def __init__(self, q: Quantities) -> None:
        self.q = q
        self.network = q.example.network
        self.depth = len(q.traces[0].layers)

    def unit(self, layer: int, unit: int) -> str:
        """Return the name of a unit; layer 0 is the inputs."""
        return escape(self.q.example.names[layer][unit])

    def layer(self, layer: int) -> str:
        """Return the name of a layer in a sentence."""
        if layer == self.depth:
            return "the output"
        return "the hidden layer" if self.depth == 2 else f"hidden layer {layer}"

    def people(self, layer: int) -> str:
        """Return the units of a layer as persons: those with a title get an article."""
        names = [escape(name) for name in self.q.example.names[layer]]
        return listing([n if re.search(r"\b\w$", n) else f"the {n}" for n in names])

    def verb(self, layer: int, word: str) -> str:
        """Return the verb ``word`` in the form for the people of a layer."""
        return word if len(self.q.example.names[layer]) > 1 else f"{word}{_THIRD.get(word, 's')}"

    def expression(self, column: int, unit: int) -> str:
        """Return the output of a unit as an expression of the inputs and the weights."""
        if column == 0:
            return element("span", self.unit(0, unit), class_="forward")
        k, layers = column - 1, self.q.traces[0].layers
        f = layers[k].activation
        sums = k > 0 and layers[k - 1].activation == "identity"
        terms = []
        for i in range(self.network.sizes[k]):
            inner, name = self.expression(k, i), weight_name(self.network.sizes, k, i, unit)
            terms.append(f"{name} ({inner})" if sums else f"{name} {inner}")
        if self.network.bias:
            terms.append(bias_name(self.network.sizes, k, unit))
        total = " + ".join(terms)
        return total if f == "identity" else f"{escape(f)}({total})"

    def units(self, layer: int, headers: Sequence[str], quantities: Sequence[str]) -> str:
        """Return a table of the units of a layer; ``quantities`` are names with {} in them."""
        rows = [
            [self.unit(layer, j), *(self.q(name.format(j), 12) for name in quantities)]
            for j in self.q.shown[layer].units
        ]
        return table(headers, rows) + self.others(layer)

    def others(self, layer: int) -> str:
        """Return a line that counts the units that a table leaves out."""
        count = len(self.q.shown[layer].rest)
        return paragraph(f"… and {count} more units.", kind="quiet") if count else ""

    def parameters(self, headers: Sequence[str], row: Row) -> str:
        """Return a table of the weights and biases into each layer."""
        return "".join(self._into(k, headers, row) for k in range(self.depth))

    def _into(self, k: int, headers: Sequence[str], row: Row) -> str:
        sizes, above = self.network.sizes, self.q.shown[k + 1].units
        rows = []
        for j in above:
            for i in self.q.shown[k].units:
                line = f"{self.unit(k, i)} → {self.unit(k + 1, j)}"
                rows.append([f"{weight_name(sizes, k, i, j)} <small>{line}</small>", *row(k, i, j)])
        if self.network.bias:
            for j in above:
                name = f"{bias_name(sizes, k, j)} <small>{self.unit(k + 1, j)}</small>"
                rows.append([name, *row(k, None, j)])
        total = (sizes[k] + self.network.bias) * sizes[k + 1]
        count = f"{len(rows)} of {total}" if len(rows) < total else str(total)
        what = "Weights and biases" if self.network.bias else "Weights"
        summary = f"{what} into {self.layer(k + 1)} <small>({count})</small>"
        inner = element("summary", summary) + table(["", *headers], rows, cards=len(headers) > 1)
        return element("details", inner, open=len(rows) <= _MOST_ROWS)
