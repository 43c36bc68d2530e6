"""The page of a sweep: the best trials, and charts of the scores, each with its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from gpubp.reports.figures import FIGURES_CSS, figure
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
    importance_table,
    parallel_table,
    score_tables,
    time_table,
)
from gpubp.reports.sweep.text import best_rows, counts_text, metric_text, params_text, score_text
from gpubp.reports.tables import scroll_box
from gpubp.selection.trials import Sweep, importances

BEST_ROWS = 20

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
        element("div", "".join(sweep_figures(sweep)), class_="figures"),
        element("h2", "The best trials"),
        best_table(sweep),
    ]
    return page(title, "\n".join(body), FIGURES_CSS + STACKED_CSS + FIGURE_CSS)


def sweep_figures(sweep: Sweep) -> Iterator[str]:
    """Yield the figures of a sweep: importances, scores by parameter, best trials, time."""
    if shares := importances(sweep):
        table = importance_table(shares)
        yield figure("Which parameters matter", importance_chart(shares), _IMPORTANCE, [table])
    for name in sweep.varied:
        title = f"{metric_text(sweep.metric)} over {name}"
        yield figure(title, score_chart(sweep, name), _SCORES, list(score_tables(sweep, name)))
    if sweep.varied:
        title = f"The {len(best_trials(sweep))} best trials"
        inner = parallel_chart(sweep) + _legend(sweep)
        yield figure(title, inner, _PARALLEL, [parallel_table(sweep)])
    title = f"{metric_text(sweep.metric)} over time"
    yield figure(title, time_chart(sweep), _TIME, [time_table(sweep)])


def _legend(sweep: Sweep) -> str:
    entries = (
        element("li", f"{series_key(series)}{score_text(trial.mean)} (trial {trial.number})")
        for series, trial in enumerate(best_trials(sweep), start=1)
    )
    return element("ul", "".join(entries), class_="legend")


def best_table(sweep: Sweep, rows: int = BEST_ROWS) -> str:
    """Return the ``rows`` best trials as a table, the best first."""
    heads, *cells = best_rows(sweep.ranked[:rows], list(sweep.space), sweep.metric)

    def cell(name: str, head: str, text: str, scope: str | None) -> str:
        return element(name, escape(text), class_="number", scope=scope, data_label=head)

    lines = []
    for row in cells:
        first = element("th", escape(row[0]), scope="row", data_label=heads[0])
        pairs = zip(heads[1:], row[1:], strict=True)
        others = (cell("td", head, text, None) for head, text in pairs)
        lines.append(element("tr", first + "".join(others)))
    titles = [element("th", escape(heads[0]), scope="col")]
    titles += [element("th", escape(head), class_="number", scope="col") for head in heads[1:]]
    head = element("thead", element("tr", "".join(titles)))
    whole = element("table", head + element("tbody", "".join(lines)), class_="stacked")
    return scroll_box(whole, "The best trials")
