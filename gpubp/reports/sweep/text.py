"""Trials of a sweep as text: values of parameters, scores, and the table of the best trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from rich.cells import cell_len

from gpubp.models.score_text import METRICS
from gpubp.selection.trials import Sweep, Trial, importances

BEST = 5  # trials in a table


def value_text(value: Any) -> str:
    """Return the value of a parameter: 128-64 for layers, 0.0125, none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "-".join(map(value_text, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def params_text(params: Mapping[str, Any]) -> str:
    """Return parameters as "alpha 0.01, hidden_layer_sizes 128-64"."""
    return ", ".join(f"{name} {value_text(params[name])}" for name in sorted(params))


def score_text(score: float) -> str:
    """Return a score with 4 decimals, or more digits if it is large or small."""
    if not math.isfinite(score):
        return "failed"
    return f"{score:.4f}" if 1e-3 <= abs(score) < 1e4 or score == 0 else f"{score:.4g}"


def metric_text(metric: str) -> str:
    """Return the name of a score in words."""
    return METRICS.get(metric, metric.replace("_", " "))


def time_text(seconds: float) -> str:
    """Return seconds as "0.82 s", or as 0:02:10 from a minute on."""
    return f"{seconds:.3g} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def table_lines(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Return rows as lines, all columns to the right.

    width : columns that do not fit into so many cells are left out, the last ones first, and a
    last line names them; None for no limit.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    fitting = len(widths)
    while width and fitting > 1 and sum(widths[:fitting]) + 2 * (fitting - 1) > width:
        fitting -= 1
    lines = []
    for row in rows:
        cells = [
            " " * (size - cell_len(cell)) + cell
            for cell, size in zip(row[:fitting], widths[:fitting], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    if left_out := rows[0][fitting:]:
        lines.append(f"not shown: {', '.join(left_out)}")
    return lines


def best_rows(trials: Sequence[Trial], names: Sequence[str], metric: str) -> list[list[str]]:
    """Return the heading and the rows of a table of trials."""
    halving = any(trial.iteration for trial in trials)
    heads = ["rank", "trial", *(["rows"] * halving), metric_text(metric), "± std", "time"]
    rows = [[*heads, *names]]
    for trial in trials:
        rows.append(
            [
                f"{trial.rank}",
                f"{trial.number}",
                *([f"{trial.rows or 0:,}"] if halving else []),
                score_text(trial.mean),
                "" if trial.failed else f"{trial.std:.4f}",
                time_text(trial.seconds),
                *(value_text(trial.params[name]) for name in names),
            ]
        )
    return rows


def sweep_lines(sweep: Sweep, width: int | None = None) -> Iterator[str]:
    """Yield the lines on a finished sweep: counts, the best trials, which parameters matter.

    width : of the terminal; None for no limit.
    """
    yield counts_text(sweep)
    yield ""
    yield from table_lines(best_rows(sweep.ranked[:BEST], list(sweep.space), sweep.metric), width)
    yield ""
    yield f"best: {params_text(sweep.best.params)}"
    if shares := importances(sweep):
        yield matters_text(shares)


def counts_text(sweep: Sweep) -> str:
    """Return "60 of 60 trials (random, seed 0), 5 folds each, in 34 s; 2 failed"."""
    text = (
        f"{len(sweep.trials):,} of {sweep.total:,} trials ({sweep.sampler}, seed {sweep.seed}), "
        f"{sweep.folds} folds each, in {time_text(sweep.seconds)}"
    )
    if sweep.resumed:
        text += f"; {sweep.resumed:,} from the journal"
    if failed := sum(trial.failed for trial in sweep.trials):
        text += f"; {failed:,} failed"
    if sweep.stopped_by:
        reason = {"interrupt": "interrupted", "time_limit": "time limit reached"}
        text += f"; {reason[sweep.stopped_by]}"
    return text


def matters_text(shares: Mapping[str, float]) -> str:
    """Return the sentence on the importance of the parameters."""
    parts = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    return f"share of the differences between trials that each explains: {parts}"
