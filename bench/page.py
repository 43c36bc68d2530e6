"""The page of a run: what was measured where, rates over batch size, ratios, and the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.charts import CHART_CSS, Series, bars, chart, key, what_grows
from gpubp.bench.report import describe, heading, heads_of, table_cells, with_cases
from gpubp.bench.results import Part, Row
from gpubp.reports.html import element, escape, page

_CSS = """
.figures { display: grid; gap: 24px; margin: 8px 0 24px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
figure { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; max-width: 620px; }
figcaption { font-weight: 600; margin-bottom: 4px; }
figure p { font-size: 0.875rem; margin: 4px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0 0; padding: 0;
  list-style: none; font-size: 0.875rem; }
.legend svg { display: inline-block; width: 34px; height: 14px; vertical-align: -2px;
  margin-right: 6px; }
table { margin-bottom: 8px; }
"""
_Pairs = Sequence[tuple[Case, Row]]
_NAMES = {
    "batch": "rows of a batch",
    "width": "units of the hidden layers",
    "depth": "layers of weights",
    "rows": "rows of the data",
}


def bench_page(part: Part) -> str:
    """Return the whole page of a run."""
    pairs, suite = list(with_cases(part)), part.settings["suite"]
    title = f"gpubp bench {suite['name']}"
    lines = "".join(element("div", escape(line)) for line in heading(part))
    body = [
        element("h1", escape(title)),
        element("div", lines, class_="quiet"),
        element("div", "".join(_figures(pairs, suite["baseline"])), class_="figures"),
        element("h2", "All figures"),
        *_tables(pairs, heads_of(part), suite["baseline"]),
        *(element("p", text, class_="quiet") for text in _NOTES),
    ]
    return page(title, "\n".join(body), _CSS + CHART_CSS)


_NOTES = (
    "Every case ran in a fresh process in every round; cases took turns. The spread is the "
    "distance of the quartiles of the rounds. A ratio is the median of those within each round, "
    "and stands only where the losses show that both did the same work.",
    "Of products: the part of the time that the matrix products alone take, at their shapes. Of "
    "bytes: the part that a copy takes which moves as many bytes as a step has to. A star says "
    "that other processes kept cores busy.",
)


def _figures(pairs: _Pairs, baseline: str) -> Iterator[str]:
    looks = {peer: k for k, peer in enumerate(dict.fromkeys(case.peer for case, _ in pairs))}
    measured = [(case, row) for case, row in pairs if row.status == "ok" and row.timing]
    groups: dict[tuple[str, ...], list[tuple[Case, Row]]] = {}
    for case, row in measured:
        if case.vary and case.peer != FLOOR:
            # Networks whose names differ only in what grows share a chart: width-16, width-64.
            family = case.network if case.vary == "batch" else case.vary
            key_of = (case.vary, family, case.precision, case.how)
            groups.setdefault(key_of, []).append((case, row))
    for (vary, family, precision, how), own in groups.items():
        yield _growth(vary, f"{family}, {how}, {precision}", own)
    compared = [(case, row) for case, row in measured if "ratio" in row.figures]
    if compared:
        caption = element("figcaption", escape(f"Speed over that of {baseline}"))
        yield element("figure", caption + bars(compared, looks, baseline))


def _growth(vary: str, title: str, pairs: _Pairs) -> str:
    """Return the figure of one chart: the rate over the batch, else the cost over what grows."""
    y_name = {"batch": "rows/s", "rows": "seconds of a fit"}.get(vary, "µs a step")
    series = []
    for look, who in enumerate(dict.fromkeys(_who(case) for case, _ in pairs)):
        points = sorted((what_grows(c), _height(vary, row)) for c, row in pairs if _who(c) == who)
        series.append(Series(who, look, tuple(points)))
    entries = (element("li", key(one.look) + escape(one.name)) for one in series)
    legend = element("ul", "".join(entries), class_="legend")
    caption = element("figcaption", escape(f"{y_name} over {_NAMES[vary]}: {title}"))
    return element("figure", caption + chart(series, _NAMES[vary], y_name) + legend)


def _who(case: Case) -> str:
    return f"{case.peer} on {case.device}"


def _height(vary: str, row: Row) -> float:
    if vary == "batch":
        return row.figures["rows_per_second"]
    assert row.timing is not None  # else it would not have been measured
    return row.timing.median if vary == "rows" else row.figures["us_per_step"]


def _tables(pairs: _Pairs, heads: list[str], baseline: str) -> Iterator[str]:
    named = [f"× {baseline}" if head == "ratio" else head for head in heads]
    head = "".join(element("th", escape(text), class_="number") for text in named)
    for name in dict.fromkeys(case.name for case, _ in pairs):
        own = [(case, row) for case, row in pairs if case.name == name]
        rows = element("tr", element("th", "peer") + head)
        rows += "".join(_row(case, row, len(heads)) for case, row in own)
        yield element("h3", escape(name))
        yield element("p", escape(describe(own[0][0])), class_="quiet")
        yield element("div", element("table", rows), class_="scroll")


def _row(case: Case, row: Row, columns: int) -> str:
    peer, why = element("td", escape(case.peer)), "; ".join(filter(None, _reasons(row)))
    if row.status != "ok":
        text = element("td", escape(f"{row.status}: {why}"), colspan=columns)
        return element("tr", peer + text, class_="bad" if row.status == "failed" else "quiet")
    shown = table_cells(row)[:columns]
    cells = "".join(element("td", escape(cell), class_="number") for cell in shown)
    more = element("td", escape(why), colspan=columns + 1, class_="quiet")
    return element("tr", peer + cells) + (element("tr", more) if why else "")


def _reasons(row: Row) -> tuple[str, str]:
    return row.reason, row.not_compared
