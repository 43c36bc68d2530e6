"""Figures of a page: a drawing with its title, a note, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpubp.reports.html import element, escape
from gpubp.reports.labels import printable
from gpubp.reports.tables import chart_numbers, data_table

FIGURES_CSS = """
.figures { display: grid; gap: 24px; margin: 8px 0 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
figure { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; display: flex; flex-wrap: wrap; gap: 4px 16px; align-content: flex-start; }
figcaption { font-weight: 600; flex: 0 0 100%; }
figure svg { flex: 1 1 310px; min-width: 0; max-width: 450px; }
figure p { font-size: 0.875rem; flex: 1 1 170px; margin: 4px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0 0; padding: 0;
  list-style: none; font-size: 0.875rem; flex: 0 0 100%; }
figure .legend { order: 1; }
figure .numbers { order: 2; }
figure .legend svg { display: inline-block; width: 60px; height: 16px; vertical-align: -2px;
  margin-right: 6px; }
"""


class Table(NamedTuple):
    """A table of plain text; the first cell of each row names the row."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def figure(title: str, drawing: str, note: str, tables: Sequence[Table]) -> str:
    """Return a drawing with its title, a note, and its numbers.

    title, note : plain text. drawing : markup.
    """
    caption = element("figcaption", prose(title))
    inner = caption + drawing + element("p", prose(note), class_="quiet")
    return element("figure", inner + chart_numbers(title, [table_markup(of) for of in tables]))


def table_markup(table: Table) -> str:
    """Return a table with its text escaped."""
    return data_table(
        escape(table.caption),
        [escape(head) for head in table.heads],
        [[escape(printable(cell)) for cell in row] for row in table.rows],
    )


def prose(text: str) -> str:
    """Return plain text as markup, in which a percent sign stays with its number."""
    return escape(printable(text)).replace(" %", "\u00a0%")
