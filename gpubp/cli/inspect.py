"""`gpubp inspect`: show the contents of a model file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def inspect(model: Path, as_json: bool) -> None:
    """Show the contents of MODEL: columns, encoding, network, recipe, scores and versions."""
    from rich.console import Console

    from gpubp.models.description import describe
    from gpubp.reports.columns import PIPE_WIDTH
    from gpubp.reports.model import model_lines
    from gpubp.reports.terminal import to_json

    description = describe(model)
    if as_json:
        click.echo(to_json(description))
        return
    console = Console()
    width = console.width if console.is_terminal else PIPE_WIDTH
    click.echo("\n".join(model_lines(description, width)))
