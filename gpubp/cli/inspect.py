"""`gpubp inspect`: show the contents of a model file."""

from __future__ import annotations

from pathlib import Path

import click

from gpubp.cli.options import refuse_input
from gpubp.cli.output_files import OutputPath, check_output, is_stdout, write_output


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--card",
    type=OutputPath(),
    help="Write a model card to this file, as Markdown; - for stdout, instead of the report.",
)
def inspect(model: Path, as_json: bool, card: Path | None) -> None:
    """Show the contents of MODEL: columns, encoding, network, recipe, scores and versions."""
    from rich.console import Console

    from gpubp.models.description import describe
    from gpubp.reports.columns import PIPE_WIDTH
    from gpubp.reports.model import model_lines
    from gpubp.reports.model_card import model_card
    from gpubp.reports.terminal import to_json

    if card is not None:
        _check_card(card, model, as_json)
    description = describe(model)
    if card is not None:
        write_output(card, model_card(description))
        if is_stdout(card):
            return
    if as_json:
        click.echo(to_json(description))
        return
    console = Console()
    width = console.width if console.is_terminal else PIPE_WIDTH
    click.echo("\n".join(model_lines(description, width)))


def _check_card(card: Path, model: Path, as_json: bool) -> None:
    """Raise an error if ``card`` cannot be written, or is not called like a Markdown file."""
    refuse_input("--card", card, model)
    if not is_stdout(card) and card.suffix.lower() not in ("", ".md", ".markdown", ".txt"):
        raise click.UsageError(
            f"--card {card} has the suffix {card.suffix!r}, but Markdown is written; give a name "
            "that ends in .md"
        )
    check_output("--card", card, as_json)
