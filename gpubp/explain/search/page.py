"""The page of a comparison of searches: curves, sentences, and the extrapolation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from gpubp.explain.search.comparison import Comparison
from gpubp.explain.search.figure import FIGURE_CSS, chart, key, landscape
from gpubp.explain.search.figure_table import Table, chart_table, landscape_tables
from gpubp.explain.search.methods import Run
from gpubp.explain.search.text import (
    EXTRAPOLATION,
    HEADINGS,
    TITLES,
    backprop_time,
    extrapolation,
    heading,
    rates,
    sentences,
    table,
)
from gpubp.reports.figures import FIGURES_CSS
from gpubp.reports.html import STACKED_CSS, element, escape, page
from gpubp.reports.tables import chart_numbers, data_table, scroll_box

_CSS = (
    FIGURES_CSS
    + """
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 16px 0 8px; padding: 0;
  list-style: none; font-size: 0.9375rem; }
.legend svg { display: inline-block; width: 60px; height: 16px; vertical-align: -2px;
  margin-right: 6px; }
table { margin-bottom: 20px; }
sup { line-height: 0; font-size: max(0.75em, 12px); }
@media (min-width: 1100px) {
  .pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 48px; }
}
@media (max-width: 640px) {
  table.narrow { font-size: 0.8125rem; }
  table.narrow th, table.narrow td { padding-right: 8px; }
  table.narrow th.number { white-space: normal; }
}
"""
)


def search_page(comparison: Comparison) -> str:
    """Return the whole page."""
    name = comparison.example.name
    title = f"Searching for the weights of {name}"
    about = element("p", escape(_INTRODUCTION))
    about += element("p", _typeset(heading(comparison)), class_="quiet")
    found = "".join(element("p", _typeset(sentence)) for sentence in sentences(comparison))
    body = [
        element("h1", escape(title)),
        _pair(
            about,
            _table("Results of the methods", HEADINGS, table(comparison), numbers=range(1, 5)),
        ),
        _legend(comparison.runs),
        element("div", "".join(_figures(comparison)), class_="figures"),
        _pair(element("h2", "What happened") + found, "".join(_extrapolation(comparison))),
    ]
    return page(title, "\n".join(body), _CSS + STACKED_CSS + FIGURE_CSS)


def _pair(left: str, right: str) -> str:
    """Return two blocks, next to each other where the screen is wide enough."""
    return element("div", element("div", left) + element("div", right), class_="pair")


_INTRODUCTION = (
    "A network is as good as its weights. They can be searched for: change one weight at a time "
    "and keep each improvement, try every combination, or draw them at random. Backpropagation "
    "instead computes from the error in which direction each weight should go. Here all four "
    "methods look for the same weights, and every evaluation is counted and timed."
)


def _typeset(text: str) -> str:
    """Return the text of a terminal as markup: raised exponents, true signs."""
    text = escape(text).replace(" x 10^", " × 10^").replace(" us", " µs")
    text = re.sub(r"\b1e(\d+)", r"10^\1", text)
    text = re.sub(r"(\d)e([+-]\d+)", lambda m: f"{m[1]} × 10^{int(m[2])}", text)
    text = re.sub(r"\^(-?\d+)", r"<sup>\1</sup>", text)
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def _table(
    label: str, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]
) -> str:
    """Return a table whose rows, if they are wide, become blocks on a narrow screen.

    label : the table's name for screen readers. numbers : the columns that are numbers.
    """

    def cell(name: str, k: int, text: str, scope: str | None) -> str:
        kind = "number" if k in numbers else None
        inner = element("span", _typeset(text))  # one flex item, raised exponents and all
        label = None if scope == "col" else heads[k]
        return element(name, inner, class_=kind, scope=scope, data_label=label)

    def row(texts: Sequence[str]) -> str:
        first = cell("th", 0, texts[0], "row")
        others = (cell("td", k, text, None) for k, text in enumerate(texts) if k)
        return element("tr", first + "".join(others))

    columns = "".join(cell("th", k, text, "col") for k, text in enumerate(heads))
    head = element("thead", element("tr", columns))
    body = element("tbody", "".join(map(row, rows)))
    whole = element("table", head + body, class_="stacked" if len(heads) > 4 else "narrow")
    return scroll_box(whole, label)


def _extrapolation(comparison: Comparison) -> Iterator[str]:
    rows = extrapolation(comparison)
    if not rows:
        return
    yield element("h2", escape(EXTRAPOLATION))
    text = "Each additional weight multiplies the combinations by a thousand: the curse of "
    text += "dimensionality. The text that this comparison comes from assumes one evaluation per "
    text += "cycle of a 1 GHz clock; the last column has the rate that was measured here."
    yield element("p", escape(text))
    heads = ("weights", "combinations", *rates(comparison))
    yield _table(EXTRAPOLATION, heads, rows, numbers=range(4))
    yield element("p", _typeset(backprop_time(comparison)))


def _legend(runs: Sequence[Run]) -> str:
    entries = (element("li", key(run.method) + escape(TITLES[run.method])) for run in runs)
    return element("ul", "".join(entries), class_="legend")


def _figures(comparison: Comparison) -> Iterator[str]:
    runs = [run for run in comparison.runs if run.curve]
    spents: tuple[tuple[Literal["evaluations", "seconds"], str, str], ...] = (
        ("evaluations", "Lowest cost so far, by evaluations", _BY_EVALUATIONS),
        ("seconds", "Lowest cost so far, by time", _BY_TIME),
    )
    for spent, title, note in spents:
        if drawing := chart(spent, runs):
            yield _figure(title, drawing, note, [chart_table(spent, runs)])
    if comparison.example.network.n_parameters == 2 and (drawing := landscape(comparison)):
        tables = list(landscape_tables(comparison))
        yield _figure("The cost over the two weights", drawing, _LANDSCAPE, tables)


def _figure(title: str, drawing: str, note: str, tables: Sequence[Table]) -> str:
    """Return a drawing with its title, a note and its numbers."""
    numbers = [
        data_table(
            _typeset(table.caption),
            [_typeset(head) for head in table.heads],
            [[_typeset(cell) for cell in row] for row in table.rows],
        )
        for table in tables
    ]
    inner = element("figcaption", title) + drawing + element("p", note, class_="quiet")
    return element("figure", inner + chart_numbers(title, numbers))


_BY_EVALUATIONS = (
    "Both axes are logarithmic, and lower is better. An evaluation is a forward pass over all "
    "rows; for backpropagation it is a forward and a backward pass. A mark stands where a method "
    "ended."
)
_BY_TIME = (
    "The searches evaluate a population of networks at once, so that each evaluation takes much "
    "less time than a step of backpropagation, which has to wait for the step before it."
)
_LANDSCAPE = (
    "Lines of equal cost, half a power of ten apart; a wider line is a lower cost. From the plain "
    "dot, one weight at a time can go only across or up and down, and stalls in the valley; "
    "backpropagation follows it to the lowest cost."
)
