"""The figure of the importance of the columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gpubp.models.permutation_importance import ColumnImportance, Importance
from gpubp.models.score_text import LOWER_IS_BETTER, METRICS
from gpubp.reports.axis import Scale
from gpubp.reports.chart import WIDTH
from gpubp.reports.figures import Table, figure
from gpubp.reports.html import element, escape, number, svg
from gpubp.reports.labels import label_text

BARS = 20  # columns with a bar
MOST_ROWS = 100  # of the table
WEAK = 0.1  # share of the largest importance up to which a column is not worth a word
_STEP = 48  # from one bar to the next
_NAME = 34  # characters of a name above its bar

IMPORTANCE_CSS = ".spread { stroke: var(--ink); fill: none; stroke-width: 1.5; }\n"


def importance_figure(of: Importance, rows: str) -> str:
    """Return the figure. rows : the rows that were shuffled, such as "test rows"."""
    title = "Importance of the columns"
    shown = [each for each in of.columns[:BARS] if math.isfinite(each.mean)]
    about = ""
    if shown:
        first = shown[0]
        about = f"The most important is {label_text(first.column)}, {number(first.mean, 3)}."
    height = 8.0 + len(shown) * _STEP
    drawing = svg(WIDTH, height, "".join(_bars(shown)), title, about=about)
    return figure(title, drawing, _note(of, rows), [_table(title, of)])


def importance_sentence(of: Importance) -> str:
    """Return a sentence on the columns that matter most; "" if none does."""
    noise = 2 / math.sqrt(of.repeats)  # standard errors of the mean
    names = [
        repr(label_text(each.column))
        for each in of.columns
        if each.mean > max(noise * each.std, WEAK * of.columns[0].mean)
    ][:3]
    if not names:
        return ""
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"The network relies most on {listed}."


def _bars(shown: Sequence[ColumnImportance]) -> Iterator[str]:
    low = min(0.0, *(each.mean - each.std for each in shown))
    high = max(*(each.mean + each.std for each in shown), 1e-12)
    x = Scale(low, high, 8, WIDTH - 76)
    for k, each in enumerate(shown):
        y = 8.0 + k * _STEP
        yield element("text", escape(label_text(each.column, _NAME)), x=8.0, y=y + 12)
        left, right = sorted((x.at(0), x.at(each.mean)))
        box = {"x": left, "y": y + 18, "width": max(right - left, 1.0), "height": 10.0}
        yield element("rect", class_="bar series-1", **box)
        ends = x.at(each.mean - each.std), x.at(each.mean + each.std)
        caps = "".join(f"M{end:.1f} {y + 32:.1f}v6" for end in ends)
        line = f"M{ends[0]:.1f} {y + 35:.1f}H{ends[1]:.1f}{caps}"
        yield element("path", d=line, class_="spread")
        place = max(ends[1], right) + 6
        yield element("text", number(each.mean, 2), x=place, y=y + 30, class_="tick")


def _note(of: Importance, rows: str) -> str:
    name = METRICS[of.metric]
    name = name if of.metric == "r2" else f"the {name}"
    name += ", the error of the probabilities," if of.metric == "log_loss" else ""
    change = "rises" if of.metric in LOWER_IS_BETTER else "falls"
    note = (
        f"By how much {name} {change} if the values of one column are shuffled among the rows, "
        f"so that the network can no longer use them. Unshuffled it is {number(of.score, 3)}. Mean "
        f"of {of.repeats} shuffles of {of.rows:,} {rows}; the line below a bar is "
        "their standard deviation. Near 0, the network makes no use of the column; below 0, it "
        "predicts these rows better without, often by chance. Of two columns that say the same, "
        "each may look unimportant. It is what this network relies on, not what causes the target."
    )
    if len(of.columns) > BARS:
        note += f" {BARS} of {len(of.columns):,} columns have a bar; the table has more."
    if of.left_out:
        note += f" There was no time for {len(of.left_out):,} more columns."
    return note


def _table(title: str, of: Importance) -> Table:
    rows = [
        [label_text(each.column, 60), number(each.mean, 3), number(each.std, 2)]
        for each in of.columns[:MOST_ROWS]
    ]
    return Table(title, ["column", f"change of {METRICS[of.metric]}", "± standard deviation"], rows)
