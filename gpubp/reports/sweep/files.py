"""The trials of a sweep as CSV and as values for JSON."""

from __future__ import annotations

import csv
import math
from typing import Any, TextIO

from gpubp.reports.sweep.text import value_text
from gpubp.selection.trials import Sweep, Trial, importances


def write_trials(sweep: Sweep, file: TextIO) -> None:
    """Write the trials as CSV, in the order of the search.

    The columns are trial, rank, score, std, score_1 to score_k of the folds, seconds and the
    parameters; with 'halving' also iteration and rows. Layer sizes are written as 128-64, and the
    cells of missing scores are empty.
    """
    halving = any(trial.iteration for trial in sweep.trials)
    more = ["iteration", "rows"] if halving else []
    folds = [f"score_{k}" for k in range(1, sweep.folds + 1)]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "rank", *more, "score", "std", *folds, "seconds", *sweep.space])
    for trial in sweep.trials:
        writer.writerow(
            [
                *(trial.number, trial.rank, *([trial.iteration, trial.rows] if halving else [])),
                *map(_cell, (trial.mean, trial.std, *trial.scores, trial.seconds)),
                *(_parameter(trial.params[name]) for name in sweep.space),
            ]
        )


def _cell(number: float) -> str:
    return repr(number) if math.isfinite(number) else ""


def _parameter(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else value_text(value)


def trial_values(trial: Trial) -> dict[str, Any]:
    """Return a trial for JSON."""
    values: dict[str, Any] = {
        "trial": trial.number,
        "rank": trial.rank,
        "parameters": {name: plain(value) for name, value in trial.params.items()},
        "score": trial.mean,
        "std": trial.std,
        "scores": list(trial.scores),
        "seconds": trial.seconds,
    }
    if trial.iteration is not None:
        values |= {"iteration": trial.iteration, "rows": trial.rows}
    return values


def plain(value: Any) -> Any:
    """Return the value of a parameter for JSON."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value.item() if hasattr(value, "item") else value


def sweep_values(sweep: Sweep) -> dict[str, Any]:
    """Return the results of a sweep for JSON, without its trials."""
    return {
        "trials": sweep.total,
        "finished": len(sweep.trials),
        "failed": sum(trial.failed for trial in sweep.trials),
        "resumed": sweep.resumed,
        "sampler": sweep.sampler,
        "folds": sweep.folds,
        "metric": sweep.metric,
        "seed": sweep.seed,
        "seconds": sweep.seconds,
        "stopped_by": sweep.stopped_by,
        "best": trial_values(sweep.best),
        "importances": [
            {"parameter": name, "share": share} for name, share in importances(sweep).items()
        ],
    }
