"""The numbers of the drawings of a sweep, as tables of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gpubp.reports.figures import Table
from gpubp.reports.html import number
from gpubp.reports.sweep.figure import best_by_time, best_trials
from gpubp.reports.sweep.text import best_rows, metric_text, score_text, time_text, value_text
from gpubp.selection.space import Range
from gpubp.selection.trials import Sweep, groups_of

MOST_ROWS = 100  # of a table


def score_tables(sweep: Sweep, name: str) -> Iterator[Table]:
    """Yield the scores by the value of a parameter, and the value and the score of each trial."""
    metric, trials = metric_text(sweep.metric), sweep.first_iteration
    groups, rows = groups_of(sweep, name, trials), []
    for k in np.unique(groups):
        own = [trial for trial, group in zip(trials, groups, strict=True) if group == k]
        values = [trial.params[name] for trial in own]
        text = value_text(values[0])
        if isinstance(sweep.space[name], Range):
            text = f"{value_text(min(values))} to {value_text(max(values))}"
        scores = [trial.mean for trial in own]
        three = (float(np.mean(scores)), max(scores), min(scores))
        rows.append([text, f"{len(own):,}", *map(score_text, three)])
    heads = [name, "trials", f"mean {metric}", "best", "worst"]
    yield Table(f"{metric} by {name}", heads, rows)
    ranked = sorted(trials, key=lambda trial: trial.rank)[:MOST_ROWS]
    caption = f"The {len(ranked)} best trials" if len(trials) > MOST_ROWS else "All trials"
    cells = [
        [f"trial {trial.number}", value_text(trial.params[name]), score_text(trial.mean)]
        for trial in ranked
    ]
    yield Table(caption, ["trial", name, metric], cells)


def parallel_table(sweep: Sweep) -> Table:
    """Return the values of the best trials."""
    heads, *rows = best_rows(best_trials(sweep), sweep.varied, sweep.metric)
    return Table("The best trials", heads, rows)


def importance_table(shares: Mapping[str, float]) -> Table:
    """Return the share of each parameter."""
    rows = [[name, f"{100 * share:.1f} %"] for name, share in shares.items()]
    return Table("Share of the variance of the ranks", ["parameter", "share"], rows)


def time_table(sweep: Sweep) -> Table:
    """Return when the best score so far was found."""
    rows = [
        [number(seconds, 4), f"{trial.number}", score_text(trial.mean), time_text(trial.seconds)]
        for seconds, trial in best_by_time(sweep)
    ]
    heads = ["seconds", "trial", f"best {metric_text(sweep.metric)}", "time of the trial"]
    return Table("Best score so far", heads, rows)
