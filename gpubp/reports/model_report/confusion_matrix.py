"""The confusion matrix as a table, or the most frequent mistakes among many classes."""

from __future__ import annotations

from gpubp.models.confusion_matrix import MOST_CLASSES, ConfusionMatrix
from gpubp.reports.html import element, escape
from gpubp.reports.labels import label_text
from gpubp.reports.tables import data_table, scroll_box

SHADES = 4  # steps of the ground of a cell

CONFUSION_CSS = """
:root { --right-1: #e6f2ea; --right-2: #cbe6d4; --right-3: #acd8ba; --right-4: #8fca9f;
  --wrong-1: #fbede4; --wrong-2: #f7d9c5; --wrong-3: #f2c1a1; --wrong-4: #eba97f; }
@media (prefers-color-scheme: dark) {
  :root { --right-1: #1d2f27; --right-2: #1f3f2d; --right-3: #205034; --right-4: #21613c;
    --wrong-1: #32271f; --wrong-2: #452f20; --wrong-3: #5a3820; --wrong-4: #6f4220; }
}
.confusion { font-size: 0.8125rem; }
.confusion caption { text-align: left; color: var(--quiet); padding-bottom: 4px; }
.confusion th, .confusion td { padding: 3px 8px; border: 1px solid var(--line); }
.confusion td { text-align: right; min-width: 2.6em; }
.confusion thead th { text-align: right; vertical-align: bottom; }
.confusion tbody th { text-align: left; white-space: nowrap; }
.confusion td.diagonal { font-weight: 700; }
""" + "".join(
    f".confusion td.{kind}-{k} {{ background: var(--{kind}-{k}); color: var(--ink); }}\n"
    for kind in ("right", "wrong")
    for k in range(1, SHADES + 1)
)


def confusion_section(matrix: ConfusionMatrix, rows: int) -> str:
    """Return the matrix of up to MOST_CLASSES classes, else the most frequent mistakes."""
    if not matrix.counts:
        return _pairs(matrix, rows)
    note = (
        "Each line has the rows of one true label, each column those that the network gives one "
        "label. The bold numbers on the diagonal are right answers (green); all others are "
        "mistakes (orange). A darker ground is a larger part of the line."
    )
    return element("p", escape(note)) + scroll_box(_table(matrix), "Confusion matrix")


def _table(matrix: ConfusionMatrix) -> str:
    names = [escape(label_text(label)) for label in matrix.labels]
    heads = element("th", "true ↓ predicted →", scope="col")
    heads += "".join(element("th", name, scope="col") for name in names)
    lines = []
    for i, counts in enumerate(matrix.counts):
        total = sum(counts)
        cells = "".join(
            element("td", f"{count:,}" if count else "·", class_=_kind(i == j, count, total))
            for j, count in enumerate(counts)
        )
        lines.append(element("tr", element("th", names[i], scope="row") + cells))
    head = element("thead", element("tr", heads))
    return element("table", head + element("tbody", "".join(lines)), class_="confusion")


def _kind(is_right: bool, count: int, total: int) -> str | None:
    shade = min(SHADES, 1 + int(SHADES * count / total)) if count else 0
    kind = f"{'right' if is_right else 'wrong'}-{shade}" if shade else ""
    return " ".join(filter(None, ["diagonal" if is_right else "", kind])) or None


def _pairs(matrix: ConfusionMatrix, rows: int) -> str:
    """Return the most frequent mistakes."""
    if not matrix.pairs:
        return element("p", "There are no mistakes.")
    note = (
        f"There are {len(matrix.labels):,} labels, too many for a whole matrix of more than "
        f"{MOST_CLASSES} lines. These are the most frequent of the {matrix.wrong:,} mistakes in "
        f"{rows:,} rows."
    )
    lines = [
        [
            escape(label_text(pair.true)),
            escape(label_text(pair.predicted)),
            f"{pair.rows:,}",
        ]
        for pair in matrix.pairs
    ]
    table = data_table("Most frequent mistakes", ["true label", "predicted", "rows"], lines)
    box = element("div", scroll_box(table, "Most frequent mistakes"), class_="numbers")
    return element("p", escape(note)) + box
