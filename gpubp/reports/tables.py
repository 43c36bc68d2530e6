"""Tables of the HTML pages: the numbers behind a chart, and boxes in which wide tables scroll."""

from __future__ import annotations

from collections.abc import Sequence

from gpubp.reports.html import element

SUMMARY = "Numbers of this chart"


def data_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with a caption.

    caption, heads, rows : markup, in which the caller has escaped all text. The first cell of
    each row is the row's header.
    """
    columns = "".join(element("th", head, scope="col") for head in heads)
    lines = [
        element("tr", element("th", first, scope="row") + "".join(element("td", c) for c in cells))
        for first, *cells in rows
    ]
    head = element("thead", element("tr", columns))
    body = element("tbody", "".join(lines))
    return element("table", element("caption", caption) + head + body)


def scroll_box(inner: str, label: str) -> str:
    """Return a box in which ``inner`` scrolls sideways, also by the keyboard.

    label : the box's name for screen readers, plain text.
    """
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)


def chart_numbers(label: str, tables: Sequence[str], note: str = "") -> str:
    """Return the tables with the numbers of a chart, closed until the reader opens them.

    label : the chart's name, plain text. note : markup that follows the tables.
    """
    box = scroll_box("".join(tables), f"{label}: numbers")
    inner = element("summary", SUMMARY) + box + note
    return element("details", inner, class_="numbers")
