"""The HTML page of a run: machine, charts of rates and ratios, and the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.charts import (
    CHART_CSS,
    Series,
    bars,
    bars_table,
    chart,
    chart_table,
    is_disturbed,
    what_grows,
)
from gpubp.bench.report import describe, heading, heads_of, table_cells, with_cases
from gpubp.bench.results import Part, Row
from gpubp.bench.usage import BUSY_CORES
from gpubp.reports.html import STACKED_CSS, element, escape, page
from gpubp.reports.series import series_key
from gpubp.reports.tables import chart_numbers, scroll_box

PAGE_CSS = """
.figures { display: grid; gap: 24px; margin: 16px 0 24px; align-items: start; }
figure { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; max-width: 480px; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: 4px; }
figure p { font-size: 0.875rem; margin: 4px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0 0; padding: 0;
  list-style: none; font-size: 0.875rem; }
.legend svg { display: inline-block; width: 60px; height: 16px; vertical-align: -2px;
  margin-right: 6px; }
table { margin-bottom: 8px; }
h2 { margin-top: 16px; }
td.number, th.number { padding: 4px 0 4px 14px; }
dl { margin: 8px 0 16px; font-size: 0.875rem; }
dt { font-weight: 600; }
dd { margin: 0 0 8px; color: var(--quiet); max-width: 68ch; }
@media (max-width: 640px) { td.number { padding-left: 0; } }
@media (min-width: 720px) and (max-width: 1199px) {
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (min-width: 480px) {
  dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; }
  dd { margin: 0; }
}
@media (min-width: 1200px) {
  .columns { display: grid; grid-template-columns: 440px minmax(0, 1fr); gap: 48px; }
}
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
    figures = element("div", "".join(_figures(pairs, suite["baseline"])), class_="figures")
    heads = heads_of(part)
    terms = element("h2", "Terms") + _terms(pairs, heads, suite["baseline"])
    tables = element("h2", "All figures") + "".join(_tables(pairs, heads, suite["baseline"]))
    columns = element("div", figures + terms) + element("div", tables)
    body = [
        element("h1", escape(title)),
        element("div", lines, class_="quiet"),
        element("div", columns, class_="columns"),
    ]
    return page(title, "\n".join(body), PAGE_CSS + STACKED_CSS + CHART_CSS)


# In the order of the page: the words of a case's name, the rows, the columns.
_TERMS = {
    "case": "what a table is about, such as {case}: the network's name in the suite, the units of "
    "each layer, inputs first, and the rows of a batch; then the solver or the mode, the precision "
    "of the matrix products and the device",
    "peer": "the library that was measured. Every peer trains the same network from the same "
    "weights; every case ran in a fresh process in every round, and cases took turns",
    FLOOR: "the matrix products of a step alone, at their shapes, by the same BLAS as gpubp: a "
    "step that did nothing else would take this time",
    "us/step": "microseconds per training step, or per batch of predictions: the median of the "
    "rounds",
    "spread": "distance of the quartiles of the rounds, as a part of their median",
    "rows/s": "rows of data per second",
    "network-steps/s": "training steps per second, summed over the networks of a population",
    "ratio": "speed over that of {baseline}: the median of the ratios within each round, given "
    "only where the losses show that both did the same work. Above 1 is faster",
    "of products": "time of a step's matrix products alone over the time of the row: 100% would be "
    "these products and nothing else",
    "of bytes": "time of a copy that moves as many bytes as a step has to, over the time of the "
    "row",
    "of floor": "the least time that the measured ceilings of the device allow, over the time of "
    "the row",
    "peak MB": "the most memory in use, above that of imports and data, in millions of bytes",
    "other cores": "cores that other processes kept busy meanwhile",
    "*": f"disturbed: in at least one round other processes kept more than {BUSY_CORES:g} cores "
    "busy. Do not trust such a row. Its bar is hatched, its mark in a chart is hollow",
    "-": "not measured, or no meaning for this row",
}


def _terms(pairs: _Pairs, heads: Sequence[str], baseline: str) -> str:
    """Return the explanations of the terms that occur in the tables."""
    absent = {"of floor", "network-steps/s"} - set(heads)
    if all(case.peer != FLOOR for case, _ in pairs):
        absent.add(FLOOR)
    case = pairs[0][0].name if pairs else "S 64-100-10 b200 adam float32 cpu"
    entries = []
    for term, meaning in _TERMS.items():
        if term not in absent:
            entries.append(element("dt", escape(_head(term, baseline))))
            entries.append(
                element("dd", escape(meaning.format(baseline=baseline, case=case)) + ".")
            )
    return element("dl", "".join(entries))


def _head(head: str, baseline: str) -> str:
    """Return the name of a column as the page shows it."""
    return {"ratio": f"× {baseline}", "us/step": "µs/step"}.get(head, head)


def _figures(pairs: _Pairs, baseline: str) -> Iterator[str]:
    looks = {peer: k for k, peer in enumerate(dict.fromkeys(case.peer for case, _ in pairs), 1)}
    measured = [(case, row) for case, row in pairs if row.status == "ok" and row.timing]
    groups: dict[tuple[str, ...], list[tuple[Case, Row]]] = {}
    for case, row in measured:
        if case.vary and case.peer != FLOOR:
            # Networks that vary in the same quantity share a chart, such as width-16 and width-64.
            family = case.network if case.vary == "batch" else case.vary
            key_of = (case.vary, family, case.precision, case.how)
            groups.setdefault(key_of, []).append((case, row))
    for (vary, family, precision, how), own in groups.items():
        yield _growth(vary, f"{family}, {how}, {precision}", own)
    compared = [(case, row) for case, row in measured if "ratio" in row.figures]
    if compared:
        title = f"Speed over that of {baseline}"
        note = _note([row for _, row in compared], "Hatched")
        drawing = bars(compared, looks, baseline) + note
        yield figure(title, drawing, bars_table(compared, baseline))


def figure(title: str, drawing: str, table: str) -> str:
    """Return a drawing with its title and, closed, the table of its numbers."""
    caption = element("figcaption", escape(title))
    return element("figure", caption + drawing + chart_numbers(title, [table]))


def _note(rows: Sequence[Row], look: str) -> str:
    """Return the note that explains ``look`` if a row is disturbed, else ""."""
    text = f"{look}: other processes kept cores busy in a round; do not trust it."
    return element("p", text, class_="quiet") if any(map(is_disturbed, rows)) else ""


def _growth(vary: str, title: str, pairs: _Pairs) -> str:
    """Return one chart: the rate by batch size, or the cost by the varied quantity."""
    y_name = {"batch": "rows/s", "rows": "seconds of a fit"}.get(vary, "µs a step")
    series = []
    for look, who in enumerate(dict.fromkeys(_who(case) for case, _ in pairs), start=1):
        own = [(what_grows(case), row) for case, row in pairs if _who(case) == who]
        points = sorted((x, _height(vary, row)) for x, row in own)
        disturbed = frozenset(x for x, row in own if is_disturbed(row))
        series.append(Series(who, look, tuple(points), disturbed))
    entries = (element("li", series_key(one.look) + escape(one.name)) for one in series)
    legend = element("ul", "".join(entries), class_="legend")
    note = _note([row for _, row in pairs], "Hollow")
    drawing = chart(series, _NAMES[vary], y_name) + legend + note
    table = chart_table(series, _NAMES[vary], y_name)
    return figure(f"{y_name} over {_NAMES[vary]}: {title}", drawing, table)


def _who(case: Case) -> str:
    return f"{case.peer} on {case.device}"


def _height(vary: str, row: Row) -> float:
    if vary == "batch":
        return row.figures["rows_per_second"]
    assert row.timing is not None  # since the row is measured
    return row.timing.median if vary == "rows" else row.figures["us_per_step"]


def _tables(pairs: _Pairs, heads: list[str], baseline: str) -> Iterator[str]:
    named = [_head(head, baseline) for head in heads]
    cells = "".join(element("th", escape(text), class_="number", scope="col") for text in named)
    head = element("thead", element("tr", element("th", "peer", scope="col") + cells))
    for name in dict.fromkeys(case.name for case, _ in pairs):
        own = [(case, row) for case, row in pairs if case.name == name]
        body = element("tbody", "".join(_row(case, row, heads, named) for case, row in own))
        yield element("h3", escape(name))
        yield element("p", escape(describe(own[0][0])), class_="quiet")
        yield scroll_box(element("table", head + body, class_="stacked"), f"Figures of {name}")


def _row(case: Case, row: Row, columns: Sequence[str], heads: Sequence[str]) -> str:
    why = "; ".join(filter(None, (row.reason, row.not_compared)))
    peer = element("th", escape(case.peer), scope="row", data_label="peer")
    if row.status != "ok":
        text = element("td", escape(f"{row.status}: {why}"), colspan=len(heads))
        return element("tr", peer + text, class_="bad" if row.status == "failed" else "quiet")
    cells = "".join(
        element("td", escape(cell), class_="number", data_label=label)
        for cell, label in zip(table_cells(row, columns), heads, strict=True)
    )
    more = element("td", escape(why), colspan=len(heads) + 1, class_="quiet")
    return element("tr", peer + cells) + (element("tr", more) if why else "")
