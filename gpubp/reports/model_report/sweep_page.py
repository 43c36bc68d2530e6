"""The page of `gpubp sweep --report`: the trials, and the model of the best one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpubp.reports.html import element, escape
from gpubp.reports.model_report.facts import fact_list
from gpubp.reports.model_report.page import Section, closing_sections, model_sections, whole_page
from gpubp.reports.model_report.report import ModelReport
from gpubp.reports.model_report.sentences import summary
from gpubp.reports.series import COLOURS, series_css
from gpubp.reports.sweep.files import sweep_values, trial_values
from gpubp.reports.sweep.page import best_table, sweep_figures
from gpubp.reports.sweep.text import counts_text, metric_text, score_text, value_text
from gpubp.selection.trials import Sweep

BEST_ROWS = 10  # of the table of trials
MOST_TRIALS = 200  # in the JSON


def sweep_report_page(sweep: Sweep, report: ModelReport) -> str:
    """Return the whole page. report : of the model that was trained with the best trial."""
    sections = [
        *_of_sweep(sweep),
        *model_sections(report),
        *closing_sections(report.command, _values(sweep, report)),
    ]
    title = f"Sweep of {sweep.target} in {sweep.source}"
    sentences = [*_sentences(sweep), *summary(report)]
    return whole_page(title, report.written, sentences, sections, series_css(COLOURS))


def _sentences(sweep: Sweep) -> Iterator[str]:
    yield f"{counts_text(sweep)}."
    best = sweep.best
    yield (
        f"A trial is one choice of settings, scored by cross-validation: each of {sweep.folds} "
        f"folds is predicted by a network that was trained on the others. The best trial has "
        f"{metric_text(sweep.metric)} {score_text(best.mean)} ± {best.std:.4f} over the folds. The "
        "best of many scores is too high by chance; the scores on the test rows below, which no "
        "trial has seen, are the ones to expect."
    )


def _of_sweep(sweep: Sweep) -> Iterator[Section]:
    best = {name: value_text(value) for name, value in sweep.best.params.items()}
    note = element("p", escape(f"Trial {sweep.best.number}; the model below was trained with it."))
    yield Section("best", "The best settings", note + fact_list(best))
    yield Section("trials", "The best trials", best_table(sweep, BEST_ROWS))
    drawn = element("div", "".join(sweep_figures(sweep)), class_="figures")
    yield Section("scores-of-trials", "Which settings matter", drawn)


def _values(sweep: Sweep, report: ModelReport) -> dict[str, Any]:
    """Return the report for JSON: that of the model, the sweep and its best trials."""
    trials = [trial_values(trial) for trial in sweep.ranked[:MOST_TRIALS]]
    return report.values() | {"sweep": sweep_values(sweep), "trials": trials}
