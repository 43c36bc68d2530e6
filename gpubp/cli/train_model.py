"""The training of `gpubp train`: from a table to a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.table_input import column_choices
from gpubp.cli.train_parameters import check_folds, class_weight, parameters
from gpubp.cli.train_test_split import check_validation, split, unseen_classes

if TYPE_CHECKING:
    import numpy as np

    from gpubp.estimators.checkpoint import Checkpoint
    from gpubp.estimators.classifier import MLPClassifier
    from gpubp.estimators.regressor import MLPRegressor
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.reports.terminal import Report
    from gpubp.tables.encoder import TableEncoder
    from gpubp.tables.table import Table
    from gpubp.tables.target import Task
    from gpubp.training.history import History


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows with their targets and the task to learn.

    table : the rows. targets : names of the target columns.
    labels : (n,) of a classification; None for a regression.
    """

    table: Table
    targets: tuple[str, ...]
    task: Task
    labels: np.ndarray | None

    def reorder(self, places: np.ndarray) -> Problem:
        """Return all rows in another order, in the same memory; see `Table.reorder`."""
        labels = None if self.labels is None else self.labels[places]
        return Problem(self.table.reorder(places), self.targets, self.task, labels)

    def part(self, start: int, stop: int) -> Problem:
        """Return the rows [start, stop) as views."""
        labels = None if self.labels is None else self.labels[start:stop]
        return Problem(self.table.rows(start, stop), self.targets, self.task, labels)

    def truth(self) -> np.ndarray:
        """Return the true labels (n,), or the true numbers (n, k)."""
        from gpubp.tables.target import numbers_of

        return numbers_of(self.table, self.targets) if self.labels is None else self.labels

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, the history of its training, and its rows.

    rows, test_rows : the rows trained on, and those kept for the test, if any.
    data : source of the rows, and how many were used for each purpose.
    columns : the summary of the columns, as `columns_of` returns it.
    n_rows : number of rows trained on and held out; None for those of ``rows``, which otherwise are
    a sample of them. memory_limit : of a table that was read block by block; None for others.
    """

    model: TableClassifier | TableRegressor
    history: History
    rows: Problem
    test_rows: Problem | None
    data: dict[str, Any]
    columns: Sequence[dict[str, Any]] = field(default_factory=list)
    n_rows: int | None = None
    memory_limit: int | None = None

    @property
    def count(self) -> int:
        """The number of rows trained on and held out."""
        return len(self.rows) if self.n_rows is None else self.n_rows

    @property
    def network(self) -> MLPClassifier | MLPRegressor:
        """The estimator that was trained on the encoded rows."""
        network: MLPClassifier | MLPRegressor = self.model.network_
        return network


@dataclass(frozen=True, eq=False)
class Prepared:
    """The rows of a table, split into rows to train on and rows for the test.

    rows, test_rows : see `Trained`. whole : both, by which the kinds of the columns are found.
    data : see `Trained`.
    """

    rows: Problem
    test_rows: Problem | None
    whole: Table
    data: dict[str, Any]


def fit(
    table: Table, options: dict[str, Any], report: Report, checkpoint: Checkpoint | None = None
) -> Trained:
    """Train on ``table``, without the rows kept for the test.

    The rows of ``table`` are reordered in place, so it must not be used afterwards.
    """
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.training.ranks import current_ranks

    prepared = prepare(table, options, report)
    rows = prepared.rows
    if options["members"] is None and options["member_rows"] is None and current_ranks():
        options["members"] = 1
        report.note("all ranks train one network together; --members 4 trains four in rank 0")
    check_validation(len(rows), rows.labels, options)
    check_folds(len(rows), options)
    model: TableClassifier | TableRegressor
    if (start := options.get("start")) is not None:
        model = start.model_for(rows, table, options, report.note)
        with refused_targets(options):
            trained = fit_model(model, prepared, options, report, checkpoint)
        start.end()
        return trained
    given = parameters(rows.task, options) | column_choices(options, table, rows.targets)
    if rows.labels is not None:
        weights = class_weight(options["class_weight"], rows.labels)
        model = TableClassifier(**given, class_weight=weights)
    else:
        model = TableRegressor(**given)
    with refused_targets(options):
        return fit_model(model, prepared, options, report, checkpoint)


def prepare(table: Table, options: dict[str, Any], report: Report) -> Prepared:
    """Find the task, leave out rows without a target, and split off the rows of the test.

    The rows of ``table`` are reordered in place, so only its names may be used afterwards.
    """
    import numpy as np

    for note in table.notes:
        report.note(note)
    problem = _problem(table, options, report)
    kept, tested = split(problem.table, problem.labels, options)
    rows, test_rows, whole = problem, None, table
    if tested is not None:
        every = problem.reorder(np.concatenate([kept, tested]))
        rows, test_rows = every.part(0, len(kept)), every.part(len(kept), len(every))
        # ``table`` now has the new order too, unless leaving out rows without a target made
        # ``problem`` a copy.
        whole = every.table if len(every) == len(table) else table
    if rows.labels is not None and test_rows is not None and test_rows.labels is not None:
        note = "" if options.get("start") else unseen_classes(rows.labels, test_rows.labels)
        if note and not np.isin(test_rows.labels, rows.labels).any():
            raise click.UsageError(note)  # no test row could be scored
        if note:
            report.note(note)
    data = _about_rows(table, problem, test_rows) | {"seed": options["seed"]}
    return Prepared(rows, test_rows, whole, data)


def fit_model(
    model: TableClassifier | TableRegressor,
    prepared: Prepared,
    options: dict[str, Any],
    report: Report,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train ``model`` on the training rows.

    options : those of the command line, of which "out" and "scoring" are read.
    """
    rows = prepared.rows
    start = Start(report, options, rows, prepared.test_rows, prepared.data)
    history = model.fit_table(
        rows.table,
        rows.targets,
        whole=prepared.whole,
        on_start=start,
        on_epoch=report.epoch,
        note=report.note,
        checkpoint=checkpoint,
    )
    return Trained(model, history, rows, prepared.test_rows, prepared.data, start.columns)


def _about_rows(table: Table, problem: Problem, test_rows: Problem | None) -> dict[str, Any]:
    """Return the source of the rows, and how many were used for each purpose."""
    return {
        "source": Path(table.source).name or table.source,
        "rows": len(table),
        "columns": len(table.columns),
        "without_target": len(table) - len(problem),
        "test": 0 if test_rows is None else len(test_rows),
    }


@contextmanager
def refused_targets(options: dict[str, Any]) -> Iterator[None]:
    """Turn a ValueError of the estimator into a UsageError that names the options at fault.

    Some options, such as --scoring, suit only certain targets. DataError passes unchanged.
    """
    from gpubp.tables.table import DataError

    asked = {
        name: options[name] for name in ("class_weight", "scoring", "member_rows") if options[name]
    }
    if options["loss"] != "squared_error":
        asked["loss"] = options["loss"]
    try:
        yield
    except DataError:
        raise
    except ValueError as error:
        if not asked:
            raise
        flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asked.items())
        hint = ""
        if options["scoring"]:
            hint = (
                "; for any classes give accuracy, balanced_accuracy, f1_macro, neg_log_loss or "
                "roc_auc_ovr, for numbers r2 or neg_root_mean_squared_error"
            )
        raise click.UsageError(f"{flags} does not fit the target: {error}{hint}") from None


def _problem(table: Table, options: dict[str, Any], report: Report) -> Problem:
    """Return the rows of ``table`` that have a target, with the task; report both."""
    from gpubp.tables.column import told_markers
    from gpubp.tables.table import DataError, listed
    from gpubp.tables.target import (
        check_targets,
        infer_task,
        labels_of,
        resolve_targets,
        rows_with_target,
    )

    targets, start = resolve_targets(table, options["target"]), options.get("start")
    by_default = options["target"] is None and not table.only_targets
    total = len(table)
    try:
        table, left_out = rows_with_target(table, targets)
        task: Task
        if options["task"] == "auto":
            task, reason = infer_task(table, targets, by_default=by_default)
        else:
            how = f"as in {start.path}" if start else "as asked for"
            task, reason = options["task"], f"{how}, target {listed(targets)}"
        check_targets(table, targets, task)
    except DataError as error:
        if not by_default:
            raise
        hint = f"{listed(targets)} was taken as the target, since it is the last column"
        raise DataError(f"{error} ({hint}; --target names another)") from None
    report.note(f"{task}: {reason}")
    if left_out:
        verb, pronoun = ("is", "it has") if left_out == 1 else ("are", "they have")
        text = f"{left_out:,} of {total:,} rows {verb} left out, as {pronoun} no target"
        report.note(text + told_markers(map(table.column, targets)))
    labels = None
    if task == "classification":
        name = targets[0]
        labels = start.labels(table) if start else labels_of(table.column(name))
    return Problem(table, targets, task, labels)


@dataclass(eq=False)
class Start:
    """The ``on_start`` callback of the model: reports the columns and checks test rows and disk.

    It is called when the columns are encoded, before the network trains.
    """

    report: Report
    options: dict[str, Any]
    rows: Problem
    test_rows: Problem | None
    data: dict[str, Any]
    columns: Sequence[dict[str, Any]] = field(default_factory=list)

    def __call__(self, encoder: TableEncoder, network: MLPClassifier | MLPRegressor) -> None:
        """Report the columns; raise an error for what cannot be trained, tested or saved."""
        from gpubp.models.about_training import about_training
        from gpubp.models.description import columns_of

        self.columns = columns_of(encoder)
        self.report.columns(self.columns, encoder.n_features_out_)
        self.report.epochs = int(network.max_iter)
        if self.test_rows is not None:  # finds a bad cell of the test rows before the training
            encoder.transform(self.test_rows.table)
        self._check_members(network)
        self._check_room(encoder.n_features_out_, network)
        self._note_unheeded(network)
        if network.batch_size != "auto":  # clipped here, since the network would warn of it
            held = ceil(len(self.rows) * network.validation_fraction)
            most = len(self.rows) - held * bool(network.early_stopping)
            network.set_params(batch_size=min(network.batch_size, max(1, most)))
        of_rows = self.data, self.rows.task, self.rows.targets
        self.report.begin(about_training(network, *of_rows, encoder.n_features_out_))

    def _check_members(self, network: MLPClassifier | MLPRegressor) -> None:
        """Raise UsageError if --member-rows was given, but the recipe trains one network."""
        if (rows := self.options.get("member_rows")) and network.n_members is None:
            raise click.UsageError(
                f"--member-rows {rows} is for an ensemble, but a table of this size gets one "
                "network; give a number of networks, such as --members 5"
            )

    def _note_unheeded(self, network: MLPClassifier | MLPRegressor) -> None:
        if self.options["scoring"] is not None and not network.early_stopping:
            self.report.note(
                "--scoring has no effect, as no rows are held out for validation; give, for "
                "example, --validation-size 0.1 to hold some out"
            )

    def _check_room(self, inputs: int, network: MLPClassifier | MLPRegressor) -> None:
        """Raise OSError if the disk has no room for the model, MemoryError if memory has none."""
        import numpy as np

        from gpubp.backprop.network import Network
        from gpubp.estimators.fitted_stage import stage_of
        from gpubp.storage.atomic_file import check_room

        outputs = len(self.rows.targets)
        if self.rows.labels is not None:
            classes = len(np.unique(self.rows.labels))
            outputs = 1 if classes == 2 else classes
        hidden = network._hidden_sizes()
        if (stage := stage_of(network.input_stage, inputs)) is not None:
            inputs = stage.n_features
        shape = Network((inputs, *hidden, outputs), network._activations(len(hidden)))
        # np.empty raises MemoryError if the weights do not fit in memory.
        weights = np.empty((network.n_members or 1, shape.n_parameters), network.dtype)
        check_room(self.options["out"], weights.nbytes)
