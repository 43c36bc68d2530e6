"""The table of the columns: their types, their encodings, and how much they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpubp.models.permutation_importance import Importance
from gpubp.reports.html import element, number
from gpubp.reports.labels import label_text
from gpubp.reports.model_report.scores import text_table
from gpubp.reports.tables import scroll_box

MOST_COLUMNS = 100
_MEANING = {
    "robust": "Robust: scaled by the middle half of the values.",
    "clipped": "Clipped: very large and very small values are drawn in.",
    "standardised": "Standardised: scaled to the mean 0 and the standard deviation 1.",
    "if empty": "+ 1 if empty: one more input says that the cell is empty.",
    "one-hot": "One-hot: one input for each value, 1 in the rows that have it and else 0.",
}
FEW = 20  # columns whose table is open at once
_LABEL = 60


def columns_table(columns: Sequence[Mapping[str, Any]], importance: Importance | None) -> str:
    """Return the columns as a table, those in use in the order of the table, then the others.

    columns : of `columns_of`.
    """
    by_name = {each.column: each.mean for each in importance.columns} if importance else {}
    ordered = sorted(columns, key=lambda column: not column["used"])
    heads = ["column", "type", "inputs", "gaps", "how it is used"]
    heads += ["importance"] * bool(by_name)
    lines = []
    for column in ordered[:MOST_COLUMNS]:
        mean = by_name.get(column["column"])
        line = [
            label_text(column["column"], _LABEL),
            str(column["type"]),
            f"{column['inputs']:,}" if column["used"] else "",
            f"{column['gaps']:,}" if column["gaps"] else "",
            _use(column),
            *(["" if mean is None else number(mean, 2)] if by_name else []),
        ]
        lines.append(line)
    more = len(columns) - MOST_COLUMNS
    rest = element("p", f"{more:,} more columns are left out here.", class_="quiet")
    note = element("p", _meanings(columns), class_="quiet")
    table = note + scroll_box(text_table(heads, lines, (1, 4)), "Columns")
    table += rest if more > 0 else ""
    if len(columns) <= FEW:
        return table
    return element("details", element("summary", f"Table of the {len(columns):,} columns") + table)


def _meanings(columns: Sequence[Mapping[str, Any]]) -> str:
    """Return what the words of the table mean, of those that occur in it."""
    used = " ".join(str(column["encoding"]) for column in columns if column["used"])
    known = [text for word, text in _MEANING.items() if word in used]
    return " ".join(["Inputs: the numbers that the network gets. Gaps: empty cells.", *known])


def _use(column: Mapping[str, Any]) -> str:
    """Return the encoding with the remarks, or why the column is left out."""
    remarks = [str(remark) for remark in column["remarks"]]
    if column["used"]:
        return "; ".join([str(column["encoding"]), *remarks])
    return "; ".join(remarks) or "left out"
