"""The run of a suite by `gpubp bench`: its files, its progress, and results that are there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.options import refuse_input
from gpubp.cli.output_files import check_output, is_same, refuse_stdout
from gpubp.cli.signals import interrupt_code, signals_as_interrupts

if TYPE_CHECKING:
    from gpubp.bench.results import Part, Results
    from gpubp.bench.runner import Plan, Progress, Run
    from gpubp.bench.suite import Suite

FOLDER = Path("bench-results")


def plan_of(suite: Suite, threads: int | None, keep_env: bool) -> Plan:
    """Return the plan of ``suite``; threads : of the command line, None for all cores."""
    from gpubp.backends.blas_threads import usable_cores
    from gpubp.bench.runner import Plan

    cores = usable_cores()
    if threads and threads > cores:
        raise click.UsageError(f"--threads {threads}: there are {cores} cores; give at most that")
    return Plan(suite, threads or cores, keep_env)


def split_listed(flag: str, text: str, there: Sequence[str]) -> list[str]:
    """Return the names between commas in ``text``; each must be one of ``there``."""
    chosen = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in chosen:
        if name not in there:
            raise click.UsageError(
                f"{flag}: {name!r} is not in the suite; it has {', '.join(there)}"
            )
    return chosen


def default_path(plan: Plan) -> Path:
    """Return the path of the results file in `FOLDER`, named after the suite and processor."""
    from gpubp.bench.machine import machine, slug

    return FOLDER / f"{plan.suite.name}-{slug(machine('cpu')['cpu']) or 'cpu'}.json"


def check_files(path: Path, given: str, suite: Suite, options: dict[str, Any]) -> None:
    """Raise an error, before hours of measuring, if an output file cannot be used.

    path : the results file. given : path of the suite, which must not be replaced, or the name of
    a built-in one. options : with the paths "html" and, if there is one, "csv_path".

    Raises OSError for a file that cannot be written, UsageError for other problems.
    """
    from gpubp.bench.saved_runs import is_run
    from gpubp.storage.atomic_file import clear_errors, is_stream

    refuse_stdout("-o", path, why := "--resume has to read the results again")
    if is_stream(path):
        raise click.UsageError(f"-o {path} is a device or pipe, but {why}; give a file")
    files = {"-o": path, "--html": options["html"], "--csv": options.get("csv_path")}
    files = {flag: file for flag, file in files.items() if file is not None}
    for flag, file in files.items():
        refuse_input(flag, file, given)
    for flag, other in combinations(files, 2):
        if is_same(files[flag], files[other]):
            raise click.UsageError(f"{flag} and {other} are both {files[other]}; give two files")
    if path.parent == FOLDER:
        with clear_errors(path):
            FOLDER.mkdir(exist_ok=True)
    for flag, file in files.items():
        check_output(flag, file, options["as_json"])
    # Replacing results of another suite, or a file of another kind, would be a mistake.
    there = results_in(path)
    ours = {name for name in there if name == suite.name and is_run(there[name], suite.kind)}
    if others := set(there) - ours:
        raise click.UsageError(
            f"{str(path)!r} has the results of {', '.join(sorted(others))}; give another file"
        )


def begin(run: Run, plan: Plan, path: Path, resume: bool) -> int:
    """Return the number of measurements of ``run`` that the file at ``path`` already has."""
    from gpubp.bench.runner import ResumeError
    from gpubp.bench.saved_runs import keep_measured

    if not resume:
        if run.is_begun():
            raise click.UsageError(
                f"{str(path)!r} has a part of this run; continue with --resume, give another file "
                "with -o, or remove the file"
            )
        if kept := keep_measured(path, plan.suite.name):
            click.echo(f"earlier results of this suite are kept in {kept}", err=True)
        return 0
    try:
        return int(run.resume())
    except ResumeError as error:
        raise click.UsageError(str(error)) from None


def measure(run: Run, plan: Plan) -> bool:
    """Measure and show the progress; return whether all cases were measured."""
    from gpubp.bench.report import progress_line

    try:
        with signals_as_interrupts(), _told() as tell:
            for progress in run.measure():
                tell(progress, progress_line(progress, plan.suite.rounds))
    except KeyboardInterrupt:
        return False
    return True


@contextmanager
def _told() -> Iterator[Any]:
    """Yield a function that shows progress on stderr: as a bar on a terminal, else as lines."""
    if not sys.stderr.isatty():

        def line(progress: Progress, text: str) -> None:
            click.echo(text, err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    text_column = TextColumn("{task.description}", markup=False)
    with Bar(BarColumn(20), text_column, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("the first case", total=None)

        def update(progress: Progress, text: str) -> None:
            bar.update(task, completed=progress.done, total=progress.total, description=text)

        yield update


def exit_code(part: Part, finished: bool, problems: Sequence[str] = ()) -> int:
    """Return the exit code of a run; print on stderr why it is not 0.

    problems : further reasons than rows that failed.
    """
    if not finished:
        click.secho("Interrupted; continue with --resume.", fg="red", err=True)
        return interrupt_code()
    failed = [row for row in part.rows if row.status == "failed"]
    found = [f"{row.case}, {row.peer}: {row.reason}" for row in failed]
    if part.rows and all(row.status == "skipped" for row in part.rows):
        found.append(f"nothing was measured: {part.rows[0].reason}")
    found += problems
    for problem in found:
        click.secho(problem, fg="red", err=True)
    return int(bool(found))


def results_in(path: Path) -> Results:
    """Return the contents of the results file at ``path``."""
    from gpubp.bench.saved_runs import load_runs

    try:
        return load_runs(path)
    except OSError as error:
        problem = f"{str(path)!r} cannot be read: {error.strerror}; give a file of gpubp bench"
        raise click.UsageError(problem) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
