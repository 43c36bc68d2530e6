"""`gpubp bench`: compare the speed of gpubp with that of other libraries ("peers")."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.completion import SUITE
from gpubp.cli.options import THREADS, FiniteRange, WholeRange, refuse_input
from gpubp.cli.output_files import (
    OutputPath,
    check_output,
    is_same,
    lines_apart,
    refuse_stdout,
    whole_or_beside,
    write_output,
)
from gpubp.cli.signals import signals_as_interrupts

if TYPE_CHECKING:
    from gpubp.bench.results import Part, Results
    from gpubp.bench.runner import Plan, Progress, Run
    from gpubp.bench.suite import Suite

FOLDER = Path("bench-results")


class _Bench(click.Command):
    """A command whose first argument may be the name of a subcommand: compare."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """Return the context of ``compare`` if it is the first argument, else that of bench."""
        if args[:1] == ["compare"]:
            return compare.make_context(f"{info_name} compare", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    cls=_Bench, epilog="gpubp bench compare OLD.json NEW.json shows which cases changed in speed."
)
@click.argument("suite", type=SUITE, default="quick", metavar="[SUITE.toml|NAME]")
@click.option("-o", "--out", type=OutputPath(), help="Results file, instead of the default one.")
@click.option("--resume", is_flag=True, help="Continue the run in the results file.")
@click.option("--dry-run", is_flag=True, help="List the cases without measuring.")
@click.option("--rounds", type=WholeRange(1, 1000), help="Rounds, instead of the suite's.")
@click.option("--peers", metavar="A,B", help="Measure only these libraries of the suite.")
@click.option("--baseline", metavar="PEER", help="Library to compare with, not the suite's.")
@click.option("--threads", type=THREADS, help="Cores to use, at most all.  [default: all]")
@click.option(
    "--timeout",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    help="Time limit of each case in a round, instead of the suite's.",
)
@click.option("--keep-env", is_flag=True, help="Do not unset variables that select BLAS kernels.")
@click.option("--html", type=OutputPath(), help="Write an HTML page with plots; - for stdout.")
@click.option("--csv", "csv_path", type=OutputPath(), help="Write a CSV table; - for stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one per row.")
@click.option(
    "--fail-below",
    type=FiniteRange(0, min_open=True),
    metavar="RATIO",
    help="Exit with code 1 if gpubp is less than RATIO times as fast as the baseline in a case.",
)
def bench(suite: str, out: Path | None, resume: bool, dry_run: bool, **options: Any) -> int:
    """Measure how fast gpubp and other libraries train and predict on this machine.

    A suite is a TOML file, or built in: quick (the default, under a minute), cpu, gpu, gpu-steps,
    batch, inference, scaling, population, population-quick. Each round runs every case once, in a
    fresh process. Results are saved in bench-results/ after every case. Ctrl-C stops and shows the
    results so far; --resume continues. The exit code is 1 if a case failed, 2 if none can run on
    its device.
    """
    plan = _plan(suite, options)
    if dry_run:
        _list(plan)
        return 0
    from gpubp.bench.available import check_devices
    from gpubp.bench.report import heading

    check_devices(plan.suite)
    path = out or _default_path(plan)
    _check_files(path, suite, plan.suite.name, options)
    run, resumed = _run(plan, path, resume)
    with lines_apart(options["html"], options["csv_path"]):
        for line in [*heading(run.part()), f"results in {path}"] if not options["as_json"] else []:
            click.echo(line)
    if resume:
        click.echo(f"{resumed} measurements are already in the results file", err=True)
    finished = _measure(run, plan)
    part = run.part()
    _write(part, options, finished)
    return _verdict(part, options["fail_below"], finished)


def _plan(name: str, options: dict[str, Any]) -> Plan:
    from gpubp.backends.blas_threads import usable_cores
    from gpubp.bench.runner import Plan
    from gpubp.bench.suite import SuiteError, read_suite

    try:
        suite = _narrowed(read_suite(name), options)
    except SuiteError as error:
        raise click.UsageError(str(error)) from None
    cores, threads = usable_cores(), options["threads"]
    if threads and threads > cores:
        raise click.UsageError(f"--threads {threads}: there are {cores} cores; give at most that")
    return Plan(suite, threads or cores, options["keep_env"])


def _narrowed(suite: Suite, options: dict[str, Any]) -> Suite:
    """Return the suite with the peers, baseline, rounds and timeout of the command line."""
    from gpubp.bench.peers import PEERS

    there = list(dict.fromkeys(case.peer for case in suite.cases))
    if options["peers"] is not None:
        chosen = [name.strip() for name in options["peers"].split(",")]
        for name in chosen:
            if name not in there:
                raise click.UsageError(
                    f"--peers: {name!r} is not in the suite; it has {', '.join(there)}"
                )
        cases = tuple(case for case in suite.cases if case.peer in chosen)
        suite = replace(suite, cases=cases)
    baseline = options["baseline"] or suite.baseline
    if options["baseline"] and baseline not in (
        may_be := [name for name in there if name in PEERS]
    ):
        raise click.UsageError(
            f"--baseline: {baseline!r} is not in the suite; give one of {', '.join(may_be)}"
        )
    return replace(
        suite,
        baseline=baseline,
        rounds=options["rounds"] or suite.rounds,
        timeout=options["timeout"] or suite.timeout,
    )


def _list(plan: Plan) -> None:
    from gpubp.bench.report import describe

    suite = plan.suite
    for name in dict.fromkeys(case.name for case in suite.cases):
        own = [case for case in suite.cases if case.name == name]
        click.echo(f"{name}: {describe(own[0])}")
        click.echo(f"  {', '.join(case.peer for case in own)}")
    click.echo(
        f"{len(suite.cases)} cases in {suite.rounds} rounds: "
        f"{len(suite.cases) * suite.rounds} processes of {plan.threads} threads"
    )


def _default_path(plan: Plan) -> Path:
    from gpubp.bench.machine import machine, slug

    return FOLDER / f"{plan.suite.name}-{slug(machine('cpu')['cpu']) or 'cpu'}.json"


def _check_files(path: Path, suite: str, suite_name: str, options: dict[str, Any]) -> None:
    """Raise an error, before hours of measuring, if an output file cannot be used.

    path : the results file. suite : path of the suite, which must not be replaced, or the name of
    a built-in one. suite_name : the name of the suite in the results file.

    Raises OSError for a file that cannot be written, UsageError for other problems.
    """
    from gpubp.bench.saved_runs import is_run
    from gpubp.storage.atomic_file import clear_errors, is_stream

    refuse_stdout("-o", path, why := "--resume has to read the results again")
    if is_stream(path):
        raise click.UsageError(f"-o {path} is a device or pipe, but {why}; give a file")
    files = {"-o": path, "--html": options["html"], "--csv": options["csv_path"]}
    files = {flag: file for flag, file in files.items() if file is not None}
    for flag, file in files.items():
        refuse_input(flag, file, suite)
    for flag, other in combinations(files, 2):
        if is_same(files[flag], files[other]):
            raise click.UsageError(f"{flag} and {other} are both {files[other]}; give two files")
    if path.parent == FOLDER:
        with clear_errors(path):
            FOLDER.mkdir(exist_ok=True)
    for flag, file in files.items():
        check_output(flag, file, options["as_json"])
    # Replacing results of another suite, or a file of another kind, would be a mistake.
    there = _results(path)
    if others := [name for name in there if name != suite_name or not is_run(there[name])]:
        raise click.UsageError(
            f"{str(path)!r} has the results of {', '.join(sorted(others))}; give another file"
        )


def _run(plan: Plan, path: Path, resume: bool) -> tuple[Run, int]:
    """Return the run, and the number of its measurements that the file already has."""
    from gpubp.bench.runner import ResumeError, Run
    from gpubp.bench.saved_runs import keep_measured

    run = Run(plan, path)
    if not resume:
        if run.is_begun():
            raise click.UsageError(
                f"{str(path)!r} has a part of this run; continue with --resume, give another file "
                "with -o, or remove the file"
            )
        if kept := keep_measured(path, plan.suite.name):
            click.echo(f"earlier results of this suite are kept in {kept}", err=True)
        return run, 0
    try:
        return run, run.resume()
    except ResumeError as error:
        raise click.UsageError(str(error)) from None


def _measure(run: Run, plan: Plan) -> bool:
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


def _write(part: Part, options: dict[str, Any], finished: bool) -> None:
    """Print the results, and write the files of --csv and --html."""
    from gpubp.bench.report import table, to_csv
    from gpubp.bench.results import row_to_json

    html, csv_path = options["html"], options["csv_path"]
    with lines_apart(html, csv_path):
        if options["as_json"]:
            for row in part.rows:
                click.echo(row_to_json(row))
        else:
            click.echo(table(part))
    if csv_path is not None:
        write_output(whole_or_beside(csv_path, finished), to_csv(part))
    if html is not None:
        from gpubp.bench.page import bench_page

        write_output(whole_or_beside(html, finished), bench_page(part))


def _verdict(part: Part, fail_below: float | None, finished: bool) -> int:
    """Return the exit code; print the reason on stderr if it is not 0."""
    from gpubp.bench.report import below

    if not finished:
        click.secho("Interrupted; continue with --resume.", fg="red", err=True)
        return 130
    problems = [f"{row.case}, {row.peer}: {row.reason}" for row in part.rows if _failed(row)]
    if part.rows and all(row.status == "skipped" for row in part.rows):
        problems.append(f"nothing was measured: {part.rows[0].reason}")
    if fail_below is not None:
        problems += below(part, fail_below)
    for problem in problems:
        click.secho(problem, fg="red", err=True)
    return int(bool(problems))


def _failed(row: Any) -> bool:
    return bool(row.status == "failed")


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--threshold",
    type=FiniteRange(0, 10),
    default=0.05,
    show_default=True,
    help="Smallest relative change that counts, even if there is less noise.",
)
def compare(old: Path, new: Path, threshold: float) -> int:
    """Show which cases are faster or slower in NEW than in OLD, two results files of one suite.

    A change counts if it is larger than the noise of the two files. The exit code is 1 if gpubp is
    slower in a case, or if NEW lacks a case of gpubp.
    """
    from gpubp.bench.comparison import compared, comparison_table, has_become_worse

    before, after = _part(old), _part(new)
    changes = compared(before, after, threshold=math.log1p(threshold))
    click.echo(comparison_table(before, after, changes))
    return int(has_become_worse(changes))


def _part(path: Path) -> Part:
    """Return the results in the file at ``path``."""
    from gpubp.bench.saved_runs import is_run

    if not path.exists():
        raise click.UsageError(f"{str(path)!r} does not exist; give a file of gpubp bench")
    found = [part for part in _results(path).values() if is_run(part)]
    if len(found) != 1:
        raise click.UsageError(f"{str(path)!r} is not a results file of gpubp bench; give one")
    return found[0]


def _results(path: Path) -> Results:
    """Return the contents of the results file at ``path``."""
    from gpubp.bench.saved_runs import load_runs

    try:
        return load_runs(path)
    except OSError as error:
        problem = f"{str(path)!r} cannot be read: {error.strerror}; give a file of gpubp bench"
        raise click.UsageError(problem) from None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
