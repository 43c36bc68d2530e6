"""`gpubp evaluate`: the score of a trained model on a table with known targets."""

from __future__ import annotations

from pathlib import Path

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import Names, device_option, read_data
from gpubp.cli.predict import load_table_model


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=DATA)
@click.option("--target", type=Names(), help="Columns with the truth.  [default: as in training]")
@click.option("--target-file", type=click.Path(path_type=Path), help="y.npy for an X.npy.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    model: Path,
    data: str,
    target: tuple[str, ...] | None,
    target_file: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Score MODEL on DATA, whose target columns are known."""
    from gpubp.reports.terminal import json_line, metrics_text
    from gpubp.tables.table import listed

    table_model = load_table_model(model, device)
    table = read_data(data, target_file)
    metrics = table_model.evaluate(table, target)
    if "accuracy" in metrics and "log_loss" not in metrics:
        column = (target or table_model.schema.targets)[0]
        labels = [str(label) for label in table_model.unknown_labels(table, column)]
        click.echo(
            f"no log loss: column {column!r} has labels that training had not, "
            f"{listed(labels, 5)}; leave their rows out, or train with some",
            err=True,
        )
    if as_json:
        click.echo(json_line("result", {"rows": len(table)} | metrics))
    else:
        click.echo(f"{len(table):,} rows: {metrics_text(metrics)}")
