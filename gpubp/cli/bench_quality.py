"""`gpubp bench quality`: how well gpubp and other libraries learn tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.bench_run import (
    begin,
    check_files,
    default_path,
    exit_code,
    measure,
    plan_of,
    split_listed,
)
from gpubp.cli.options import THREADS, FiniteRange, WholeRange
from gpubp.cli.output_files import OutputPath, lines_apart, whole_or_beside, write_output

if TYPE_CHECKING:
    from gpubp.bench.results import Part
    from gpubp.bench.runner import Plan


@click.command()
@click.option("-o", "--out", type=OutputPath(), help="Results file, instead of the default one.")
@click.option("--resume", is_flag=True, help="Continue the run in the results file.")
@click.option("--dry-run", is_flag=True, help="List the tables and peers without measuring.")
@click.option("--tables", metavar="A,B", help="Only these tables.")
@click.option("--peers", metavar="A,B", help="Only these libraries; the first is compared with.")
@click.option(
    "--seeds",
    "--rounds",
    type=WholeRange(1, 1000),
    default=3,
    show_default=True,
    help="Seeds, each with its own split of the rows and its own model.",
)
@click.option("--threads", type=THREADS, help="Cores to use, at most all.  [default: all]")
@click.option(
    "--timeout",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    default=600.0,
    show_default=True,
    help="Time limit of one training.",
)
@click.option("--keep-env", is_flag=True, help="Do not unset variables that select BLAS kernels.")
@click.option("--html", type=OutputPath(), help="Write an HTML page with a plot; - for stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one per row.")
def quality(out: Path | None, resume: bool, dry_run: bool, **options: Any) -> int:
    """Score gpubp and other libraries on tables that need no download.

    All peers have their default settings. Each seed splits the rows into 80 % for training and
    20 % for the test; no test row is used to choose anything. Each training runs in a fresh
    process. Peers and tables whose package is not installed are skipped. Results are saved in
    bench-results/ after every training. Ctrl-C stops and shows the results so far; --resume
    continues, also with more --seeds. The exit code is 1 if a training failed.
    """
    plan = _plan(options)
    if dry_run:
        _list(plan)
        return 0
    from gpubp.bench.quality import QualityRun
    from gpubp.bench.quality_report import quality_heading

    path = out or default_path(plan)
    check_files(path, plan.suite.name, plan.suite, options)
    run = QualityRun(plan, path)
    resumed = begin(run, plan, path, resume)
    if not options["as_json"]:
        with lines_apart(options["html"]):
            for line in [*quality_heading(run.part()), f"results in {path}"]:
                click.echo(line)
    if resume:
        click.echo(f"{resumed} measurements are already in the results file", err=True)
    finished = measure(run, plan)
    _write(run.part(), options, finished)
    return exit_code(run.part(), finished)


def _plan(options: dict[str, Any]) -> Plan:
    from gpubp.bench.quality import quality_suite
    from gpubp.bench.quality_peers import PEERS
    from gpubp.bench.quality_tables import TABLES

    tables, peers = (
        split_listed(flag, text, list(there)) if text is not None else list(there)
        for flag, text, there in (
            ("--tables", options["tables"], TABLES),
            ("--peers", options["peers"], PEERS),
        )
    )
    suite = quality_suite(tables, peers, options["seeds"], options["timeout"])
    return plan_of(suite, options["threads"], options["keep_env"])


def _list(plan: Plan) -> None:
    from gpubp.bench.quality_tables import TABLES

    cases = plan.suite.cases
    for table in dict.fromkeys(case.table for case in cases):
        click.echo(f"{table}: {TABLES[table].about}")
    for peer in dict.fromkeys(case.peer for case in cases):
        why = next((case.missing for case in cases if case.peer == peer and case.missing), "")
        click.echo(f"  {peer}" + (f" (skipped: {why})" if why else ""))
    click.echo(
        f"{len(cases)} cases with {plan.suite.rounds} seeds: {len(cases) * plan.suite.rounds} "
        f"processes of {plan.threads} threads"
    )


def _write(part: Part, options: dict[str, Any], finished: bool) -> None:
    """Print the results, and write the page of --html."""
    from gpubp.bench.quality_page import quality_page
    from gpubp.bench.quality_report import quality_table
    from gpubp.bench.results import row_to_json

    html = options["html"]
    with lines_apart(html):
        if options["as_json"]:
            for row in part.rows:
                click.echo(row_to_json(row))
        else:
            click.echo(quality_table(part))
    if html is not None:
        write_output(whole_or_beside(html, finished), quality_page(part))
