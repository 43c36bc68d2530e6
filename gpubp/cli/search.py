"""`gpubp search`: compare simple weight searches with backpropagation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.completion import EXAMPLE
from gpubp.cli.options import WholeRange, device_option, refuse_input
from gpubp.cli.output_files import (
    OutputPath,
    check_output,
    is_stdout,
    lines_apart,
    whole_or_beside,
    write_output,
)

if TYPE_CHECKING:
    from gpubp.explain.search.comparison import Comparison, Settings


@click.command()
@click.option(
    "--example",
    type=EXAMPLE,
    default="two-weights",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="two-weights, step-by-step, company, xor, iris, or a network in a TOML file.",
)
@click.option(
    "--budget",
    default="2s",
    show_default=True,
    metavar="N|Ns",
    help="Limit of each method: evaluations, such as 1e6, or seconds, such as 5s.",
)
@click.option(
    "--range",
    "span",
    type=(float, float),
    default=(-5.0, 5.0),
    show_default=True,
    metavar="LOW HIGH",
    help="Range in which each weight is searched.",
)
@click.option(
    "--values",
    type=WholeRange(2, 1_000_000),
    default=1000,
    show_default=True,
    help="Values per weight: exactly this many when one weight is varied at a time, at most this "
    "many on the grid.",
)
@click.option(
    "--seed",
    type=WholeRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the random numbers.",
)
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Floating-point type of the networks.",
)
@click.option("--html", type=OutputPath(), help="Write an HTML page with curves; - for stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one per line.")
def search(example: str, html: Path | None, as_json: bool, **options: Any) -> int:
    """Search the weights of a network by four methods, each with the same budget.

    The methods are: one weight at a time, all combinations on a grid, random search, and
    backpropagation. Ctrl-C stops and shows the results so far.
    """
    from gpubp.explain.examples import example_by_name
    from gpubp.explain.search.comparison import compare
    from gpubp.explain.search.report import JsonSearchReport, TextSearchReport

    settings = _settings(**options)
    network = example_by_name(example)
    if html is not None:
        refuse_input("--html", html, example)
        check_output("--html", html, as_json)
    report = JsonSearchReport() if as_json else TextSearchReport()
    try:
        comparison = compare(network, settings, report)
    finally:
        report.close()
    if html is not None:
        html = whole_or_beside(html, whole=not comparison.interrupted)
        _write_page(comparison, html)
    with lines_apart(html):
        report.result(comparison)
        if html is not None and not as_json and not is_stdout(html):
            click.echo(f"\nThe page is {html}.")
    return 130 if comparison.interrupted else 0


def _settings(budget: str, span: tuple[float, float], **options: Any) -> Settings:
    from gpubp.explain.search.comparison import Settings
    from gpubp.explain.search.methods import Budget

    try:
        return Settings(Budget.parse(budget), *span, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _write_page(comparison: Comparison, path: Path) -> None:
    from gpubp.explain.search.page import search_page

    write_output(path, search_page(comparison))
