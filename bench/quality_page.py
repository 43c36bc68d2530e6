"""The HTML page of `gpubp bench quality`: a plot of the errors, and the tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gpubp.bench.charts import CHART_CSS
from gpubp.bench.page import PAGE_CSS, figure
from gpubp.bench.quality_report import (
    HEADS,
    METRICS,
    by_table,
    cells_of,
    describe,
    main_scores,
    mean_ranks,
    measured_peers,
    quality_heading,
    reasons,
)
from gpubp.bench.results import Part, Row, find
from gpubp.reports.axis import Scale
from gpubp.reports.html import STACKED_CSS, element, escape, page, svg
from gpubp.reports.series import mark, series_key
from gpubp.reports.tables import data_table, scroll_box

# 360 units wide, as the other charts of a run.
_WIDTH, _LEFT, _RIGHT, _LINE, _NAME, _FOOT = 360, 18, 12, 15, 22, 48
_MOST = 4.0  # ratios above it, or below 1 / it, lie at the end of the axis
_TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)
_TERMS = {
    "error": "1 - accuracy, 1 - ROC AUC or 1 - R²: 0 is perfect",
    "spread": "standard deviation of the main score over the seeds",
    "log loss": "mean negative logarithm of the probability of the true class; lower is better",
    "fit s, predict s": "mean seconds over the seeds: of the training, with the peer's own "
    "preprocessing, and of the predictions for the test rows",
    "fit MB, predict MB": "the most memory meanwhile, above that of imports and data, in millions "
    "of bytes",
    "other cores": "cores that other processes kept busy meanwhile. If they are more than 0.25, "
    "do not trust the seconds; scores do not depend on them",
}


_CSS = ".whisker { stroke: var(--quiet); }\n"


class Errors(NamedTuple):
    """The errors of a peer on a table, divided by those of the first peer.

    mean : ratio of the mean errors. low, high : smallest and largest ratio of a seed.
    """

    peer: str
    mean: float
    low: float
    high: float


def quality_page(part: Part) -> str:
    """Return the whole page of a run."""
    title = "gpubp bench quality"
    lines = "".join(element("div", escape(line)) for line in quality_heading(part))
    terms = (
        element("dt", escape(term)) + element("dd", f"{escape(text)}.")
        for term, text in _TERMS.items()
    )
    left = _plot(part) + _ranks(part) + element("h2", "Terms") + element("dl", "".join(terms))
    left += "".join(element("p", escape(reason), class_="quiet") for reason in reasons(part))
    right = element("h2", "All scores") + "".join(_tables(part))
    body = [
        element("h1", title),
        element("div", lines, class_="quiet"),
        element("div", element("div", left) + element("div", right), class_="columns"),
    ]
    return page(title, "\n".join(body), PAGE_CSS + STACKED_CSS + CHART_CSS + _CSS)


def ratios(part: Part) -> list[tuple[str, list[Errors]]]:
    """Return every table with the errors of its peers over that of the run's first peer."""
    found = []
    for table, rows in by_table(part):
        base = find(part.rows, table, part.settings["suite"]["baseline"])
        if base is not None:
            measured = [row for row in rows if row.status == "ok"]
            found.append((table, [_errors(row, base) for row in measured]))
    return found


def _errors(row: Row, base: Row) -> Errors:
    own, theirs = ([1 - score for score in main_scores(each)] for each in (row, base))
    by_seed = [_ratio(a, b) for a, b in zip(own, theirs, strict=False)]
    mean = _ratio(statistics.fmean(own), statistics.fmean(theirs))
    return Errors(row.peer, mean, min(by_seed), max(by_seed))


def _ratio(error: float, base: float) -> float:
    """Return error / base; 1 if both are 0, infinity if only ``base`` is."""
    if base <= 0:
        return 1.0 if error <= 0 else math.inf
    return max(error, 0.0) / base


def _plot(part: Part) -> str:
    """Return the figure with a line per table and peer; "" without the first peer."""
    found, base = ratios(part), part.settings["suite"]["baseline"]
    peers = [peer for peer in measured_peers(part) if peer != base]
    looks = {peer: k for k, peer in enumerate(peers, 1)}
    if not found or not peers:
        return ""
    title = f"Error over that of {base}"
    keys = (element("li", series_key(look) + escape(peer)) for peer, look in looks.items())
    legend = element("ul", "".join(keys), class_="legend")
    note = element(
        "p",
        f"Right of the line, the error is larger than that of {escape(base)}. Marks: means over "
        f"the seeds; lines: smallest to largest of a seed. Beyond {_MOST:g} times, at the end.",
        class_="quiet",
    )
    return figure(title, _dots(title, found, looks) + legend + note, _numbers(title, found, peers))


def _dots(title: str, found: list[tuple[str, list[Errors]]], looks: dict[str, int]) -> str:
    scale, y, parts = Scale(1 / _MOST, _MOST, _LEFT, _WIDTH - _RIGHT, log=True), 0.0, []
    for table, errors in found:
        parts.append(element("text", escape(table), x=0, y=y + _NAME - 6, class_="case"))
        y += _NAME
        for one in errors:
            if one.peer in looks:
                parts += _dot(one, looks[one.peer], scale, y + _LINE / 2)
                y += _LINE
    axis = [_tick(tick, scale.at(tick), y + 6) for tick in _TICKS]
    text = element(
        "text",
        "times the error, logarithmic",
        x=_WIDTH / 2,
        y=y + 44,
        text_anchor="middle",
        class_="tick",
    )
    about = f"Tables: {', '.join(table for table, _ in found)}. Peers: {', '.join(looks)}."
    return svg(_WIDTH, y + _FOOT, "".join([*axis, *parts, text]), title, about=about)


def _dot(one: Errors, look: int, scale: Scale, y: float) -> Iterator[str]:
    ends = f"M{scale.at(one.low):.1f} {y:.1f}H{scale.at(one.high):.1f}"
    yield element("path", d=ends, class_="whisker")
    yield mark(look, scale.at(one.mean), y)


def _tick(value: float, x: float, bottom: float) -> str:
    line = element("path", d=f"M{x:.1f} 0V{bottom:.1f}", class_="one" if value == 1 else "axis")
    text = {"x": x, "y": bottom + 18, "text_anchor": "middle", "class_": "tick"}
    return line + element("text", f"{value:g}", **text)


def _numbers(title: str, found: list[tuple[str, list[Errors]]], peers: Sequence[str]) -> str:
    rows = []
    for table, errors in found:
        by_peer = {one.peer: f"{one.mean:.2f}" for one in errors}
        rows.append([escape(table), *(by_peer.get(peer, "-") for peer in peers)])
    return data_table(escape(title), ["table", *map(escape, peers)], rows)


def _ranks(part: Part) -> str:
    found = mean_ranks(part)
    if not found["ranks"]:
        return ""
    rows = [
        [escape(peer), f"{rank:.2f}"]
        for peer, rank in sorted(found["ranks"].items(), key=lambda item: item[1])
    ]
    caption = f"Mean rank by the main score over {found['tables']} tables; 1 is the best"
    return element("div", data_table(caption, ["peer", "mean rank"], rows), class_="numbers")


def _tables(part: Part) -> Iterator[str]:
    for table, rows in by_table(part):
        measured = [row for row in rows if row.status == "ok"]
        yield element("h3", escape(table))
        yield element("p", escape(describe(table, rows).partition(": ")[2]), class_="quiet")
        if measured:
            heads = [METRICS[measured[0].notes["metric"]], *HEADS]
            first = element("th", "peer", scope="col")
            cells = "".join(element("th", h, class_="number", scope="col") for h in heads)
            head = element("thead", element("tr", first + cells))
            body = element("tbody", "".join(_row(row, heads) for row in measured))
            yield scroll_box(element("table", head + body, class_="stacked"), f"Scores of {table}")


def _row(row: Row, heads: Sequence[str]) -> str:
    first = element("th", escape(row.peer), scope="row", data_label="peer")
    cells = (
        element("td", escape(cell), class_="number", data_label=head)
        for cell, head in zip(cells_of(row), heads, strict=True)
    )
    return element("tr", first + "".join(cells))
