"""`gpubp explain`: show one step of backpropagation, number by number."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.completion import DATA, EXAMPLE
from gpubp.cli.options import WholeRange, refuse_input
from gpubp.cli.output_files import OutputPath, check_output, is_stdout, lines_apart, write_output
from gpubp.cli.table_input import read_data, read_options, reading, strays_told

if TYPE_CHECKING:
    from gpubp.explain.example import Example
    from gpubp.explain.trace import StepTrace

WIDTH = 80


@click.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@click.argument("data", type=DATA, required=False)
@click.option(
    "--row",
    default=0,
    show_default=True,
    type=WholeRange(min=0),
    help="Row of DATA or of the example, from 0.",
)
@click.option(
    "--member",
    type=WholeRange(min=0),
    help="Member of an ensemble MODEL, from 0.  [default: 0]",
)
@reading
@click.option(
    "--example",
    type=EXAMPLE,
    default="step-by-step",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="step-by-step, two-weights, company, xor, iris, or a network in a TOML file.",
)
@click.option(
    "--steps",
    default=1,
    show_default=True,
    type=WholeRange(1, 100_000),
    help="Number of training steps.",
)
@click.option("--vary", metavar="WEIGHT", help="Plot the cost C as one weight, such as w1, varies.")
@click.option(
    "--check",
    is_flag=True,
    help="Compare each gradient with its central difference; exit code 1 if they differ.",
)
@click.option("--html", type=OutputPath(), help="Write an HTML page; - for stdout.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, with all digits of each number."
)
def explain(model: Path | None, data: str | None, **options: Any) -> int:
    """Show every number of one step of backpropagation.

    Without arguments, show a step of a 2-2-1 network, small enough to check by hand. With MODEL
    and DATA, show the step that the model would take on one row.
    """
    from gpubp.explain.trace import trace_steps

    html: Path | None = options["html"]
    if html is not None:
        refuse_input("--html", html, model, data, options["example"])
        check_output("--html", html, options["as_json"])
    example, row = _example(model, data, options)
    traces = list(trace_steps(example, options["steps"], row))
    variation, checks = _variation(example, options["vary"], row), None
    if options["check"]:
        from gpubp.explain.gradient_check import check_gradients

        checks = check_gradients(example, row)
    if html is not None:
        _write_page(example, traces, html)
    if options["as_json"]:
        from gpubp.explain import values as explain_values
        from gpubp.reports.terminal import to_json

        values = explain_values.example_values(example)
        values["steps"] = [explain_values.step_values(example, trace) for trace in traces]
        if checks is not None:
            values["check"] = explain_values.check_values(checks)
        if variation is not None:
            values["vary"] = explain_values.variation_values(variation)
        click.echo(to_json(values))
    else:
        with lines_apart(html):
            _print(example, traces, variation, checks)
            if html is not None and not is_stdout(html):
                click.echo(f"\nThe page is {html}.")
    return 0 if checks is None or all(c.agrees or c.kink for c in checks) else 1


def _example(model: Path | None, data: str | None, options: dict[str, Any]) -> tuple[Example, int]:
    """Return the network and data to explain, and the row of the first step."""
    from gpubp.explain.examples import example_by_name

    row = options["row"]
    if model is None:
        if options["member"] is not None:
            raise click.UsageError("--member is for the MODEL of an ensemble; give MODEL and DATA")
        example = example_by_name(options["example"])
        if row >= len(example.X):
            raise click.UsageError(f"--row {row}: give a row from 0 to {len(example.X) - 1}")
        return example, row
    _refuse_network(str(model))
    if data is None:
        raise click.UsageError("explaining a model needs data; give gpubp explain MODEL DATA")
    return _of_model(model, data, row, options), 0


def _refuse_network(model: str) -> None:
    """Raise UsageError if MODEL is a network in TOML, or the name of a built-in one."""
    from gpubp.explain.examples import EXAMPLES

    if model in EXAMPLES or model.lower().endswith(".toml"):
        raise click.UsageError(
            f"{model} is the network of an example, not the file of a trained model; did you mean "
            f"gpubp explain --example {model}?"
        )


def _of_model(path: Path, data: str, row: int, options: dict[str, Any]) -> Example:
    from gpubp.explain.trained_model import members_of, of_model
    from gpubp.models.save_load import load
    from gpubp.models.table_estimators import TableEstimator

    model = load(path, device="cpu")
    _check_member(options["member"], members_of(model), path)
    columns: dict[str, Any] = {}
    is_table = isinstance(model, TableEstimator)
    if not is_table:
        click.echo(
            f"{path.name} is a model of arrays, which takes the columns of {data} as they are; "
            "scale them as in its training",
            err=True,
        )
    else:
        targets = model.target_names_
        known = (*model.encoder_.column_names_, *targets)
        columns = {"targets": targets, "known": known, "as_text": model.encoder_.text_columns_}
    table = read_data(data, read_options(options, model if is_table else None, data), **columns)
    with strays_told():
        return of_model(model, table, row, member=options["member"], model_name=path.name)


def _check_member(member: int | None, count: int | None, path: Path) -> None:
    """Raise UsageError for a member that the model does not have; count : of its members."""
    if member is None:
        return
    if count is None:
        raise click.UsageError(f"--member {member}: {path.name} is one network; leave it out")
    if member >= count:
        raise click.UsageError(f"--member {member}: give a member from 0 to {count - 1}")


def _variation(example: Example, name: str | None, row: int) -> Any:
    from gpubp.explain.loss_landscape import vary

    if name is None:
        return None
    try:
        return vary(example, name, row)
    except ValueError as error:
        raise click.UsageError(f"--vary: {error}") from None


def _write_page(example: Example, traces: Sequence[StepTrace], path: Path) -> None:
    from gpubp.explain.page import explain_page

    write_output(path, explain_page(example, traces))


def _print(example: Example, traces: Sequence[StepTrace], variation: Any, checks: Any) -> None:
    from gpubp.explain import text as explain_text

    for section in explain_text.sections(example, traces[0]):
        _print_section(section.title, section.lines)
    if len(traces) > 1:
        _print_section(f"{len(traces)} steps", explain_text.steps_table(example, traces))
    if variation is not None:
        title = f"What {variation.parameter.name} alone does"
        _print_section(title, explain_text.variation_plot(variation))
    if checks is not None:
        _print_section("Backpropagation checked", explain_text.checks_table(checks))


def _print_section(title: str, lines: Iterable[str]) -> None:
    """Print a title and lines, wrapped to 80 columns; styled on a terminal, plain in a pipe."""
    click.echo()
    click.secho(title, bold=True, fg="cyan" if sys.stdout.isatty() else None)
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        click.echo(
            textwrap.fill(
                line,
                WIDTH,
                subsequent_indent=indent,
                initial_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            )
            if len(line) + 2 > WIDTH
            else f"  {line}"
        )
