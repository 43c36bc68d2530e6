"""`gpubp train` on a table larger than memory: its rows are read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.checkpoint_options import MEMORY, memory_before
from gpubp.cli.memory_options import size_text
from gpubp.cli.table_input import column_choices, read_options
from gpubp.cli.train_model import Problem, Start, Trained, refused_targets
from gpubp.cli.train_parameters import class_weight, parameters

if TYPE_CHECKING:
    from gpubp.estimators.checkpoint import Checkpoint
    from gpubp.models.large_table_fit import LargeFit
    from gpubp.models.large_table_rows import LargeTable
    from gpubp.models.memory_shares import MemoryShares
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.reports.terminal import Report
    from gpubp.tables.files.parquet_blocks import ParquetTable
    from gpubp.tables.table import Table

    Model = TableClassifier | TableRegressor

PART = 0.5  # of the memory that a table may take to be read whole
PACKED = 6  # bytes of text in a byte of .gz or .zst, about
EXPANDED = 30  # bytes of a table in a byte of Parquet, at most


@dataclass(frozen=True)
class Large:
    """A table that takes more than half of the memory.

    data : its path or pattern. nbytes : about the memory that it would take.
    limit : the memory to use. is_given : whether --memory gave the limit.
    """

    data: str
    nbytes: int
    limit: int
    is_given: bool

    @property
    def about(self) -> dict[str, Any]:
        """What a checkpoint tells of the table."""
        return {MEMORY: self.limit}

    @property
    def reason(self) -> str:
        """A clause that compares the sizes."""
        of = "--memory" if self.is_given else "the free memory"
        return (
            f"{self.data} would take {size_text(self.nbytes)} in memory, more than half of "
            f"{size_text(self.limit)} ({of})"
        )


def large_table(options: dict[str, Any]) -> Large | None:
    """Return DATA if it would take more than half of the memory; None for all other data.

    Arrays, standard input and the results of queries are always read whole.
    """
    from gpubp.tables.files.input_files import ARRAY_SUFFIXES, find_paths, suffix_of
    from gpubp.tables.read import DATASETS
    from gpubp.training.host_memory import free_memory

    data, given = options["data"], options["memory"]
    whole = data in DATASETS or data == "-" or options["query"] is not None
    if whole or suffix_of(data) in ARRAY_SUFFIXES or options["target_file"] is not None:
        return None
    # The order of the rows depends on the memory.
    limit = given or memory_before(options) or free_memory()
    paths = find_paths(data)
    size = sum(path.stat().st_size * _factor(path) for path in paths)
    if size <= PART * limit:
        return None
    if _is_parquet(data):
        with _opened(data, options, limit) as parquet:
            size = parquet.nbytes
    return Large(data, size, limit, given is not None) if size > PART * limit else None


def _factor(path: Path) -> int:
    """Return about how many bytes a table takes for each byte of its file, at most for Parquet."""
    if _is_parquet(str(path)):
        return EXPANDED
    return PACKED if path.suffix.lower() in (".gz", ".zst") else 1


def _is_parquet(data: str) -> bool:
    from gpubp.tables.files.input_files import PARQUET_SUFFIXES, suffix_of

    return suffix_of(data) in PARQUET_SUFFIXES


@contextmanager
def _opened(data: str, options: dict[str, Any], room: int) -> Iterator[ParquetTable]:
    from gpubp.tables.files.parquet_blocks import open_parquet

    with open_parquet(data, read_options(options), room) as parquet:
        yield parquet


def fit_large(
    large: Large, options: dict[str, Any], report: Report, checkpoint: Checkpoint | None
) -> Trained:
    """Train on a table larger than memory, without the rows kept for the test.

    Raises UsageError for options that need all rows in memory, and for too little memory.
    """
    from gpubp.models.memory_shares import MemoryShares

    _refuse_options(large, options)
    shares = MemoryShares.of(large.limit)
    with ExitStack() as stack:
        reader = stack.enter_context(ExitStack())
        parquet, decimal = _parquet_of(large, options, shares, reader, report)
        _check_least(large, parquet)
        rows = _large_rows(parquet, options, shares, decimal, report)
        model = _model(rows, options)
        trained = _trained(model, rows, options, report, reader, checkpoint)
    return replace(trained, memory_limit=large.limit)


def _refuse_options(large: Large, options: dict[str, Any]) -> None:
    from gpubp.training.ranks import current_ranks

    advice = "or give more memory with --memory"
    if options["solver"] == "lbfgs":
        raise click.UsageError(
            f"{large.reason}, but --solver lbfgs uses all rows in every step; give another solver, "
            f"{advice}"
        )
    for name in ("members", "member_rows"):
        if options[name] not in (None, 1):
            raise click.UsageError(
                f"{large.reason}, so it trains one network, but --{name.replace('_', '-')} "
                f"{options[name]} is for an ensemble; leave it out, {advice}"
            )
    if options["start"] is not None:
        raise click.UsageError(
            f"{large.reason}, but --from needs the table in memory; leave it out, {advice}"
        )
    if current_ranks() is not None:
        raise click.UsageError(
            f"{large.reason}, but several processes need the table in memory; start one, {advice}"
        )


def _check_least(large: Large, parquet: ParquetTable) -> None:
    from gpubp.models.memory_shares import least_memory

    least = least_memory(parquet.n_rows)
    if large.limit < least:
        raise click.UsageError(
            f"{large.reason}, and block by block a training on its {parquet.n_rows:,} rows needs "
            f"at least {size_text(least)}; give more memory with --memory, or fewer rows"
        )


def _parquet_of(
    large: Large,
    options: dict[str, Any],
    shares: MemoryShares,
    reader: ExitStack,
    report: Report,
) -> tuple[ParquetTable, str | None]:
    """Return the rows as Parquet, and their decimal sign if it is known.

    Other files are first converted to a temporary Parquet file. reader : closes and removes it.
    """
    from gpubp.storage.scratch_file import scratch_folder, temporary_folder
    from gpubp.tables.files.to_parquet import to_parquet

    how = "its rows are read block by block"
    if _is_parquet(large.data):
        click.echo(f"{large.reason}: {how}", err=True)
        return reader.enter_context(_opened(large.data, options, shares.database)), None
    folder = scratch_folder(options["out"])
    click.echo(
        f"{large.reason}: it is converted to a temporary Parquet file in {folder}, and {how}; "
        "gpubp convert makes such a file once for all trainings",
        err=True,
    )
    path = reader.enter_context(temporary_folder(folder)) / "rows.parquet"
    written = to_parquet(large.data, path, read_options(options), shares.database)
    for note in written.notes:
        report.note(note)
    parquet = reader.enter_context(_opened(str(path), options, shares.database))
    relation = replace(parquet.relation, source=large.data)
    return replace(parquet, relation=relation), written.decimal


def _large_rows(
    parquet: ParquetTable,
    options: dict[str, Any],
    shares: MemoryShares,
    decimal: str | None,
    report: Report,
) -> LargeTable:
    """Return the rows with their task, their classes and a sample; report the task."""
    from gpubp.models.large_table_rows import LargeTable, classes_of, drawn_sample
    from gpubp.tables.target import (
        MOST_TEXTS,
        check_targets,
        infer_task,
        resolve_targets,
        rows_with_target,
    )

    first = parquet.read(parquet.blocks(1, 0, 1)[0])
    targets = resolve_targets(first, options["target"])
    sample = drawn_sample(parquet, shares.sample, options["seed"], targets)
    if decimal is not None:
        sample = replace(sample, decimal=decimal, sign=decimal)
    for note in sample.notes:
        report.note(note)
    sample, _ = rows_with_target(sample, targets)
    task = options["task"]
    if task == "auto":
        by_default = options["target"] is None
        task, reason = infer_task(sample, targets, by_default=by_default)
        report.note(f"{task}, by a sample: {reason}")
    classes, class_rows, distinct = None, None, sample
    if task == "classification" and len(targets) == 1:
        classes, class_rows, distinct = classes_of(parquet, targets[0])
    # The sample may lack a rare class, but not many of many.
    few = classes is not None and len(classes) <= MOST_TEXTS
    check_targets(distinct if few else sample, targets, task)
    return LargeTable(parquet, targets, task, sample, classes, class_rows, shares)


def _model(rows: LargeTable, options: dict[str, Any]) -> Model:
    from gpubp.models.table_estimators import TableClassifier, TableRegressor

    given = parameters(rows.task, options) | column_choices(options, rows.sample, rows.targets)
    model: Model
    if rows.classes is None:
        model = TableRegressor(**given)
    else:
        weights = class_weight(options["class_weight"], rows.classes)
        model = TableClassifier(**given, class_weight=weights)
    return model


def _trained(
    model: Model,
    rows: LargeTable,
    options: dict[str, Any],
    report: Report,
    reader: ExitStack,
    checkpoint: Checkpoint | None,
) -> Trained:
    """Fit the model; return it with the rows of the sample and of the test."""
    from gpubp.models.large_table_fit import LargeTableTraining, fit_large_table
    from gpubp.storage.scratch_file import scratch_folder

    folder, seed = scratch_folder(options["out"]), options["seed"]
    parquet = rows.parquet
    data = {
        "source": Path(parquet.source).name,
        "rows": parquet.n_rows,
        "columns": len(parquet.names),
        "seed": seed,
    }
    with refused_targets(options):
        training = LargeTableTraining(model, rows, options["test_size"], folder, seed)
        learned = Problem(training.sample, rows.targets, rows.task, rows.labels_of(training.sample))
        start = Start(report, options, learned, None, data)
        report.note(
            f"{size_text(training.n_bytes)} of encoded rows are written to a temporary file in "
            f"{folder}; the encoding was learned from a sample of {len(learned):,} rows"
        )
        fit = fit_large_table(
            training,
            reader.close,
            on_start=start,
            on_epoch=report.epoch,
            note=report.note,
            checkpoint=checkpoint,
        )
    data |= {"without_target": fit.left_out, "test": len(fit.test)}
    test = _test_rows(rows, fit)
    return Trained(model, fit.history, learned, test, data, start.columns, fit.n_rows)


def _test_rows(rows: LargeTable, fit: LargeFit) -> Problem | None:
    test: Table = fit.test
    if not len(test):
        return None
    return Problem(test, rows.targets, rows.task, rows.labels_of(test))
