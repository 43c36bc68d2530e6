"""`gpubp bench`: compare the speed of gpubp with that of other libraries ("peers").

Its subcommands are in `bench_compare` and `bench_quality`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from gpubp.cli.bench_compare import compare
from gpubp.cli.bench_quality import quality
from gpubp.cli.bench_run import (
    begin,
    check_files,
    default_path,
    exit_code,
    measure,
    plan_of,
    split_listed,
)
from gpubp.cli.completion import SUITE
from gpubp.cli.options import THREADS, FiniteRange, WholeRange
from gpubp.cli.output_files import OutputPath, lines_apart, whole_or_beside, write_output

if TYPE_CHECKING:
    from gpubp.bench.results import Part
    from gpubp.bench.runner import Plan
    from gpubp.bench.suite import Suite


class _Bench(click.Command):
    """A command whose first argument may be the name of a subcommand."""

    commands: ClassVar[dict[str, click.Command]] = {"compare": compare, "quality": quality}

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """Return the context of the subcommand that ``args`` begin with, else that of bench."""
        if args and (command := self.commands.get(args[0])):
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    cls=_Bench,
    epilog="gpubp bench compare OLD.json NEW.json shows which cases changed in speed; gpubp bench "
    "quality scores gpubp and other libraries on tables.",
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
    from gpubp.bench.report import below, heading
    from gpubp.bench.runner import Run

    check_devices(plan.suite)
    path = out or default_path(plan)
    check_files(path, suite, plan.suite, options)
    run = Run(plan, path)
    resumed = begin(run, plan, path, resume)
    with lines_apart(options["html"], options["csv_path"]):
        for line in [*heading(run.part()), f"results in {path}"] if not options["as_json"] else []:
            click.echo(line)
    if resume:
        click.echo(f"{resumed} measurements are already in the results file", err=True)
    finished = measure(run, plan)
    part = run.part()
    _write(part, options, finished)
    least = options["fail_below"]
    return exit_code(part, finished, below(part, least) if finished and least is not None else [])


def _plan(name: str, options: dict[str, Any]) -> Plan:
    from gpubp.bench.suite import SuiteError, read_suite

    try:
        suite = _narrowed(read_suite(name), options)
    except SuiteError as error:
        raise click.UsageError(str(error)) from None
    return plan_of(suite, options["threads"], options["keep_env"])


def _narrowed(suite: Suite, options: dict[str, Any]) -> Suite:
    """Return the suite with the peers, baseline, rounds and timeout of the command line."""
    from gpubp.bench.peers import PEERS

    there = list(dict.fromkeys(case.peer for case in suite.cases))
    if options["peers"] is not None:
        chosen = split_listed("--peers", options["peers"], there)
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
