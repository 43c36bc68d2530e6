"""The run of `gpubp sweep`: search, train the best trial on all training rows, save it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.sweep_journal import SweepLog, about_table, journal_path, open_journal
from gpubp.cli.sweep_options import estimator_of, space_errors, splitter_of
from gpubp.cli.sweep_workers import workers
from gpubp.cli.table_input import column_choices
from gpubp.cli.train_model import Prepared, fit_model, prepare

if TYPE_CHECKING:
    from gpubp.cli.train_model import Trained
    from gpubp.estimators.callbacks import Note
    from gpubp.estimators.checkpoint import Checkpoint
    from gpubp.reports.sweep.live import SweepView
    from gpubp.reports.terminal import Report
    from gpubp.selection.search import MLPSearchCV
    from gpubp.selection.space import Space
    from gpubp.selection.trials import Sweep
    from gpubp.storage.journal import Journal
    from gpubp.tables.table import Table

# Trials that are trained together. Larger rounds keep more networks busy at once; after smaller
# ones, finished trials are sooner in the journal, and 'tpe' learns more often.
ROUND, TPE_ROUND = 20, 10
# Options that may differ in a resumed sweep: the trials that are finished stay the same.
_FREE = {
    *("data", "trials", "time_limit", "resume", "out", "csv", "html", "as_json", "quiet", "space"),
    *("threads", "target_file", "jobs", "backend", "scheduler", "report"),
}


@dataclass(frozen=True, eq=False)
class Setup:
    """What is searched: the rows, the estimator, the space, and the settings for the journal."""

    prepared: Prepared
    estimator: Any
    space: Space
    splitter: Any
    settings: dict[str, Any]

    @property
    def metric(self) -> str:
        """The name of the score that ranks the trials."""
        default = "accuracy" if self.prepared.rows.task == "classification" else "r2"
        return str(self.settings["options"]["scoring"] or default)


def setup_of(
    table: Table, values: Mapping[str, Any], options: dict[str, Any], report: Report
) -> Setup:
    """Return what to search; raise UsageError if options do not suit the table.

    values : the space as in its file. The rows of ``table`` are reordered in place.
    """
    from gpubp.selection.space import description, ranges, space_of

    about = about_table(table)
    prepared = prepare(table, options, report)
    rows = prepared.rows
    estimator = estimator_of(options, rows.task, column_choices(options, table, rows.targets))
    splitter = splitter_of(rows, options)
    with space_errors(options["space"]):
        space = space_of(values, estimator, rows.truth())
    if options["sampler"] == "grid" and (names := list(ranges(space))):
        raise click.UsageError(
            f"{options['space']}: --sampler grid needs lists of values, but {names[0]} is a "
            "range; give a list, or use another sampler"
        )
    kept = {name: value for name, value in options.items() if name not in _FREE}
    settings = {"data": about, "options": kept, "space": description(space)}
    return Setup(prepared, estimator, space, splitter, settings)


def search(setup: Setup, options: dict[str, Any], view: SweepView, note: Note) -> Sweep:
    """Search until the trials or the time are used up, or Ctrl-C; return the finished trials.

    Raises UsageError or ClickException if no trial has a score.
    """
    from gpubp.storage.atomic_file import is_stream

    out: Path = options["out"]
    journal: Journal | None = None
    known: dict[str, list[dict[str, Any]]] = {}
    if not is_stream(out):
        journal, known = open_journal(journal_path(out), setup.settings, options["resume"])
    elif options["resume"]:
        raise click.UsageError(f"--resume needs a journal, but --out {out} is not a file")
    log = SweepLog(journal, known, view, options["scoring"])
    began = perf_counter()
    try:
        found, stopped_by = _searched(setup, options, log, note)
    except click.ClickException:  # all trials failed: there is nothing to continue
        log.end()
        raise
    finally:
        view.close()
        if journal is not None:
            journal.close()
    return _sweep(setup, options, found, log, stopped_by, perf_counter() - began)


def _searched(
    setup: Setup, options: dict[str, Any], log: SweepLog, note: Note
) -> tuple[MLPSearchCV, Any]:
    """Return the finished search, and why it ended early."""
    from gpubp.selection.search import MLPSearchCV

    sampler, rows = options["sampler"], setup.prepared.rows
    found = MLPSearchCV(
        *(setup.estimator, setup.space),
        sampler=sampler,
        n_iter=options["trials"],
        scoring=options["scoring"],
        refit=False,
        cv=setup.splitter,
        random_state=options["seed"],
        time_limit=options["time_limit"],
        round_size=TPE_ROUND if sampler == "tpe" else ROUND,
    )
    found._trial_log = log
    with _clear_errors(options), noted_warnings(note), workers(options):
        found.fit(rows.table, target=list(rows.targets))
    return found, found.stopped_by_


@contextmanager
def _clear_errors(options: Mapping[str, Any]) -> Iterator[None]:
    """Turn the errors of a search into errors of one line, in terms of the options."""
    try:
        yield
    except TimeoutError:
        raise click.ClickException(
            f"no trial was finished in --time-limit {options['time_limit']:g} s; give more time, "
            "a smaller --cv, or smaller networks in --space"
        ) from None
    except ValueError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        if not lines or "fits failed" not in str(error):
            raise
        raise click.ClickException(f"all trials failed: {lines[-1].strip()}") from None


@contextmanager
def noted_warnings(note: Note) -> Iterator[None]:
    """Note the warnings of a search in one line each; those of trainings that end are left out."""
    from sklearn.exceptions import ConvergenceWarning, FitFailedWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told: dict[str, str] = {}  # by the first line
    for each in caught:
        text = str(each.message)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        is_told = text.startswith(("The search ", "One or more of the test scores"))
        if not lines or is_told or issubclass(each.category, ConvergenceWarning):
            continue
        if issubclass(each.category, FitFailedWarning):
            lines[0] += " Last error:"
        told.setdefault(lines[0], " ".join(dict.fromkeys([lines[0], lines[-1]])))
    for line in told.values():
        note(line)


def _sweep(
    setup: Setup,
    options: dict[str, Any],
    found: MLPSearchCV,
    log: SweepLog,
    stopped_by: Any,
    seconds: float,
) -> Sweep:
    from gpubp.selection.trials import Sweep, trials_of

    trials = trials_of(found)
    best = min(trials, key=lambda trial: trial.rank)
    if not math.isfinite(best.mean):
        raise click.ClickException(
            f"no trial has a score by {setup.metric}; give another --scoring, or more rows"
        )
    return Sweep(
        trials=trials,
        best=best,
        total=log.total,
        space=setup.space,
        metric=setup.metric,
        sampler=options["sampler"],
        folds=found.n_splits_,
        seed=options["seed"],
        resumed=log.resumed,
        stopped_by=stopped_by,
        seconds=seconds,
        source=setup.prepared.data["source"],
        target=", ".join(setup.prepared.rows.targets),
    )


def train_best(
    setup: Setup,
    sweep: Sweep,
    options: dict[str, Any],
    report: Report,
    checkpoint: Checkpoint | None,
) -> Trained:
    """Train the best trial on all rows but those of the test."""
    from sklearn.base import clone

    model = clone(setup.estimator).set_params(**sweep.best.params)
    # --scoring ranks the trials; the training of the best one has its own `scoring`.
    own = options | {"scoring": None}
    return fit_model(model, setup.prepared, own, report, checkpoint)
