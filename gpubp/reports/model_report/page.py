"""The page of a model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gpubp.reports.chart import CHART_CSS
from gpubp.reports.figures import FIGURES_CSS, prose
from gpubp.reports.html import STACKED_CSS, element, escape, page
from gpubp.reports.labels import label_text, printable
from gpubp.reports.model_report.calibration import (
    CALIBRATION_CSS,
    calibration_figure,
    coverage_section,
)
from gpubp.reports.model_report.columns import columns_table
from gpubp.reports.model_report.confusion_matrix import CONFUSION_CSS, confusion_section
from gpubp.reports.model_report.facts import FACTS_CSS, about_model, about_timing
from gpubp.reports.model_report.learning_curves import CURVES_CSS, constant_rate, curve_figures
from gpubp.reports.model_report.permutation_importance import IMPORTANCE_CSS, importance_figure
from gpubp.reports.model_report.report import ModelReport
from gpubp.reports.model_report.residuals import RESIDUALS_CSS, residual_figures
from gpubp.reports.model_report.roc_curves import ROC_CSS, roc_figure
from gpubp.reports.model_report.scores import (
    CLASSES_NOTE,
    classes_table,
    scores_table,
    targets_table,
)
from gpubp.reports.model_report.sentences import summary
from gpubp.reports.series import series_css
from gpubp.reports.terminal import without_nan

_CSS = """
nav { margin: 0 0 24px; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 20px; list-style: none; margin: 0; padding: 0; }
a { color: var(--forward); }
nav a { display: inline-block; padding: 4px 0; }
section { margin: 0 0 32px; }
section > .scroll { margin: 0 0 16px; }
.summary { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 16px 4px; margin: 16px 0; }
.summary p { max-width: 90ch; }
td.number, th.number { padding: 4px 0 4px 14px; }
@media (min-width: 641px) {
  .stacked td:not(.number), .stacked th:not(.number) { padding-left: 14px; }
  .stacked th:first-child { padding-left: 0; }
}
table:not(.stacked) thead th { white-space: normal; }
pre { font: 0.8125rem/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; margin: 0;
  padding: 12px; background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
pre.json { max-height: 420px; overflow-y: auto; }
@media (max-width: 640px) {
  table.stacked td.nothing { display: none; }
  #classes :is(td, th) { padding-right: 0; }
  #classes .number { padding-left: 8px; }
  table.stacked td > span, table.stacked th > span { max-width: 65%; overflow-wrap: anywhere; }
}
"""
REPORT_CSS = (
    _CSS
    + FIGURES_CSS
    + STACKED_CSS
    + FACTS_CSS
    + CHART_CSS
    + series_css(5)
    + CONFUSION_CSS
    + ROC_CSS
    + CALIBRATION_CSS
    + RESIDUALS_CSS
    + CURVES_CSS
    + IMPORTANCE_CSS
)


class Section(NamedTuple):
    """A part of the page: its name in links, its heading, and its markup."""

    name: str
    heading: str
    inner: str


def model_page(report: ModelReport) -> str:
    """Return the whole page of a model."""
    evaluated = report.evaluated
    title = f"Model that predicts {label_text(report.target, 80)!r}"
    if evaluated.kind == "table":
        title += f", evaluated on {evaluated.source}"
    elif source := report.result.get("data", {}).get("source"):
        title += f", trained on {source}"
    sections = [*model_sections(report), *closing_sections(report.command, report.values())]
    return whole_page(title, report.written, list(summary(report)), sections)


def whole_page(
    title: str, written: str, sentences: Sequence[str], sections: Sequence[Section], css: str = ""
) -> str:
    """Return a page: title, sentences, links to the sections, and the sections.

    title, written, sentences : plain text.
    """
    links = (element("li", element("a", escape(of.heading), href=f"#{of.name}")) for of in sections)
    body = [
        element("h1", prose(title)),
        element("p", escape(f"Written {written}."), class_="quiet"),
        element("div", "".join(element("p", prose(s)) for s in sentences), class_="summary"),
        element("nav", element("ul", "".join(links)), aria_label="Sections"),
        *(
            element("section", element("h2", escape(of.heading)) + of.inner, id=of.name)
            for of in sections
        ),
    ]
    return page(printable(title), "\n".join(body), REPORT_CSS + css)


def model_sections(report: ModelReport) -> Iterator[Section]:
    """Yield the sections about a model; those without content are left out."""
    evaluated, found = report.evaluated, report.diagnostics
    yield Section("scores", "How well it predicts", _scores(report))
    if evaluated.classes:
        note = element("p", CLASSES_NOTE)
        yield Section("classes", "Class by class", note + classes_table(evaluated.classes))
    if (matrix := found.confusion_matrix) is not None:
        inner = confusion_section(matrix, found.rows)
        yield Section("confusion", "Which classes are confused", inner)
    if errors := list(_error_figures(report)):
        heading = "Errors" if found.residuals else "Probabilities"
        yield Section("errors", heading, _figures(errors) + _left_out(report))
    if found.coverage:
        yield Section("quantiles", "Quantiles", coverage_section(found.coverage))
    yield Section("columns", "Columns", _columns(report))
    if curves := _curves(report):
        yield Section("training", "Training", curves)
    yield Section("model", "What was trained on what", about_model(report))
    yield Section("timing", "Time and device", about_timing(report))


def closing_sections(command: str, values: dict[str, Any]) -> Iterator[Section]:
    """Yield the command that repeats the work, and the JSON of all."""
    note = element(
        "p",
        "Run it in the same folder. The same table, options and version of gpubp give the same "
        "result on the same kind of device, unless a limit of time or an interruption ended the "
        "work.",
    )
    yield Section("repeat", "Repeat it", note + element("pre", escape(command)))
    inner = element("pre", escape(_json(values)), class_="json", tabindex=0)
    details = element("details", element("summary", "All values as JSON") + inner)
    yield Section("json", "All values", details)


def _scores(report: ModelReport) -> str:
    evaluated = report.evaluated
    if not evaluated.scores:
        return element("p", "There are no rows with a known target, so there are no scores.")
    where = {
        "test": f"Scores on the {evaluated.rows:,} test rows, which were not used for the training",
        "training": f"Scores on the {evaluated.rows:,} training rows; no rows were kept for a test",
        "table": f"Scores on {evaluated.rows:,} rows of {evaluated.source}",
    }[evaluated.kind]
    if evaluated.baselines:
        where += ", next to simple models that were trained on the same rows as the network"
    if evaluated.training is not None:
        where += (
            ". The last column of numbers is the network on the rows that it has learned from: if "
            "these are far better, it has learned them by heart"
        )
    note = element("p", prose(f"{where}."))
    return note + scores_table(report) + targets_table(report)


def _error_figures(report: ModelReport) -> Iterator[str]:
    found = report.diagnostics
    if found.roc_curves:
        yield roc_figure(found.roc_curves, len(report.model["classes"]))
    if found.calibration is not None:
        yield calibration_figure(found.calibration)
    for each in found.residuals:
        yield from residual_figures(each, found.level)


def _left_out(report: ModelReport) -> str:
    more = len(report.model["targets"]) - len(report.diagnostics.residuals)
    if not report.diagnostics.residuals or more <= 0:
        return ""
    return element("p", f"The figures of {more:,} more targets are left out.", class_="quiet")


def _columns(report: ModelReport) -> str:
    columns, importance = report.model["columns"] or (), report.diagnostics.importance
    drawn = ""
    if importance is not None and math.isfinite(importance.score):
        drawn = _figures([importance_figure(importance, report.evaluated.noun)])
    return drawn + columns_table(columns, importance)


def _curves(report: ModelReport) -> str:
    scoring = report.model["recipe"].get("scoring")
    default = "accuracy" if report.model["task"] == "classification" else "r2"
    drawn = list(curve_figures(report.curves, report.unit, scoring or default))
    rate = constant_rate(report.curves, report.unit)
    return (_figures(drawn) if drawn else "") + (element("p", rate) if rate else "")


def _figures(drawn: Sequence[str]) -> str:
    return element("div", "".join(drawn), class_="figures")


def _json(values: dict[str, Any]) -> str:
    """Return values as JSON with a line per key of the first two levels."""
    lines = []
    for key, value in without_nan(values).items():
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, dict) and value:
            inner = (
                f"  {json.dumps(name, ensure_ascii=False)}: "
                f"{json.dumps(each, ensure_ascii=False, allow_nan=False)}"
                for name, each in value.items()
            )
            text = "{\n" + ",\n".join(inner) + "\n }"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}"
