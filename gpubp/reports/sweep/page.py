"""The page of a sweep: the best trials, and charts of the scores, each with its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpubp.reports.html import STACKED_CSS, element, escape, page
from gpubp.reports.series import series_key
from gpubp.reports.sweep.figure import (
    FIGURE_CSS,
    best_trials,
    importance_chart,
    parallel_chart,
    score_chart,
    time_chart,
)
from gpubp.reports.sweep.figure_tables import (
    Table,
    importance_table,
    parallel_table,
    score_tables,
    time_table,
)
from gpubp.reports.sweep.text import best_rows, counts_text, metric_text, params_text, score_text
from gpubp.reports.tables import chart_numbers, data_table, scroll_box
from gpubp.selection.trials import Sweep, importances

BEST_ROWS = 20

_CSS = """
.figures { display: grid; gap: 24px; margin: 8px 0 24px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); }
figure { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; display: flex; flex-wrap: wrap; gap: 4px 16px; align-content: flex-start; }
figcaption { font-weight: 600; flex: 0 0 100%; }
figure svg { flex: 1 1 310px; min-width: 0; max-width: 450px; }
figure p { font-size: 0.875rem; flex: 1 1 170px; margin: 4px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 4px 0 0; padding: 0;
  list-style: none; font-size: 0.875rem; flex: 0 0 100%; }
figure .legend svg { display: inline-block; width: 60px; height: 16px; vertical-align: -2px;
  margin-right: 6px; }
"""

_SCORES = (
    "One dot is one trial; the triangle is the best. Hollow dots at the lower edge are trials far "
    "below the others."
)
_PARALLEL = "One line is one trial. It crosses the axis of each parameter at the value that it had."
_IMPORTANCE = (
    "Share of the variance of the ranks of the scores that the values of one parameter explain. "
    "Parameters also act together, so the shares need not add up to 100 %; with few trials they "
    "are rough."
)
_TIME = (
    "The line is the best score so far. Trials that were trained together share their time equally."
)


def sweep_page(sweep: Sweep) -> str:
    """Return the whole page."""
    title = f"Sweep of {sweep.target} in {sweep.source}"
    best = (
        f"Best of the cross-validation: {metric_text(sweep.metric)} {score_text(sweep.best.mean)} "
        f"± {sweep.best.std:.4f} with {params_text(sweep.best.params)}."
    )
    about = (
        "The best of many scores is too high by chance; the test rows, which no trial has seen, "
        "give the score to expect. gpubp inspect prints it."
    )
    body = [
        element("h1", escape(title)),
        element("p", escape(f"{counts_text(sweep)}."), class_="quiet"),
        element("p", escape(best)),
        element("p", escape(about), class_="quiet"),
        element("div", "".join(_figures(sweep)), class_="figures"),
        element("h2", "The best trials"),
        _best_table(sweep),
    ]
    return page(title, "\n".join(body), _CSS + STACKED_CSS + FIGURE_CSS)


def _figures(sweep: Sweep) -> Iterator[str]:
    if shares := importances(sweep):
        table = importance_table(shares)
        yield _figure("Which parameters matter", importance_chart(shares), _IMPORTANCE, [table])
    for name in sweep.varied:
        title = f"{metric_text(sweep.metric)} over {name}"
        yield _figure(title, score_chart(sweep, name), _SCORES, list(score_tables(sweep, name)))
    if sweep.varied:
        title = f"The {len(best_trials(sweep))} best trials"
        inner = parallel_chart(sweep) + _legend(sweep)
        yield _figure(title, inner, _PARALLEL, [parallel_table(sweep)])
    title = f"{metric_text(sweep.metric)} over time"
    yield _figure(title, time_chart(sweep), _TIME, [time_table(sweep)])


def _legend(sweep: Sweep) -> str:
    entries = (
        element("li", f"{series_key(series)}{score_text(trial.mean)} (trial {trial.number})")
        for series, trial in enumerate(best_trials(sweep), start=1)
    )
    return element("ul", "".join(entries), class_="legend")


def _figure(title: str, drawing: str, note: str, tables: Sequence[Table]) -> str:
    """Return a drawing with its title, a note and its numbers."""
    numbers = [
        data_table(
            escape(table.caption),
            [escape(head) for head in table.heads],
            [[escape(cell) for cell in row] for row in table.rows],
        )
        for table in tables
    ]
    caption = element("figcaption", escape(title))
    inner = caption + drawing + element("p", escape(note), class_="quiet")
    return element("figure", inner + chart_numbers(title, numbers))


def _best_table(sweep: Sweep) -> str:
    heads, *rows = best_rows(sweep.ranked[:BEST_ROWS], list(sweep.space), sweep.metric)

    def cell(name: str, head: str, text: str, scope: str | None) -> str:
        return element(name, escape(text), class_="number", scope=scope, data_label=head)

    lines = []
    for row in rows:
        first = element("th", escape(row[0]), scope="row", data_label=heads[0])
        pairs = zip(heads[1:], row[1:], strict=True)
        others = (cell("td", head, text, None) for head, text in pairs)
        lines.append(element("tr", first + "".join(others)))
    titles = [element("th", escape(heads[0]), scope="col")]
    titles += [element("th", escape(head), class_="number", scope="col") for head in heads[1:]]
    head = element("thead", element("tr", "".join(titles)))
    whole = element("table", head + element("tbody", "".join(lines)), class_="stacked")
    return scroll_box(whole, "The best trials")
