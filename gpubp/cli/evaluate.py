"""`gpubp evaluate`: score a trained model on a table with known targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import Names, Repeatable, device_option
from gpubp.cli.predict import load_table_model
from gpubp.cli.signals import signals_as_interrupts
from gpubp.cli.table_input import read_data, read_options, reading, strays_told

if TYPE_CHECKING:
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.tables.table import Table


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=DATA)
@click.option(
    "--target",
    cls=Repeatable,
    type=Names(),
    help="Columns with the true values.  [default: as in training]",
)
@click.option(
    "--target-file",
    type=click.Path(path_type=Path),
    help=".npy file with the targets, if DATA is an .npy.",
)
@reading
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(model: Path, data: str, **options: Any) -> None:
    """Score MODEL on DATA, a table with known targets.

    Rows without a target are left out.
    """
    from gpubp.models.table_estimators import TableClassifier
    from gpubp.reports.scores import classes_table, scores_table
    from gpubp.reports.terminal import json_line

    estimator = load_table_model(model, options["device"])
    targets: Sequence[str] = options["target"] or estimator.target_names_
    with signals_as_interrupts():  # removes temporary copies of the input
        table, left_out = _rows(estimator, data, targets, options)
    classes, positive = None, None
    with strays_told():
        metrics = estimator.evaluate(table, targets)
        if isinstance(estimator, TableClassifier):
            positive = estimator.positive_class_
            classes = estimator.per_class(table, targets)
            _tell_unknown(estimator, table, targets[0])
    if options["as_json"]:
        found = {"rows": len(table), "left_out": left_out} | metrics
        if classes is not None:
            found |= {"classes": classes, "positive_class": positive}
        click.echo(json_line("result", found))
        return
    if left_out:
        click.echo(f"{left_out:,} more rows are left out, as they have no target", err=True)
    n_classes = len(estimator.classes_) if isinstance(estimator, TableClassifier) else 0
    lines = scores_table({"": metrics}, positive=positive, classes=n_classes)[1:]
    if classes is not None:
        lines += ["", *classes_table(classes)]
    head = f"{len(table):,} row{'s'[: len(table) != 1]} of {data}"
    click.echo("\n".join([head, "", *lines]))


def _rows(
    estimator: TableClassifier | TableRegressor,
    data: str,
    targets: Sequence[str],
    options: dict[str, Any],
) -> tuple[Table, int]:
    """Return the rows that have a target, and the number of other rows."""
    from gpubp.tables.target import rows_with_target

    known = (*estimator.encoder_.column_names_, *estimator.target_names_)
    table = read_data(
        data,
        read_options(options, estimator, data),
        target_file=options["target_file"],
        targets=targets,
        known=known,
        as_text=estimator.encoder_.text_columns_,
    )
    table.require(targets)
    return rows_with_target(table, targets)


def _tell_unknown(estimator: TableClassifier, table: Table, target: str) -> None:
    from gpubp.tables.table import listed

    if labels := estimator.unknown_labels(table, target):
        click.echo(
            f"no log loss: column {target!r} has labels that were not in the training rows, "
            f"{listed(labels, 5)}; leave their rows out, or train on rows with these labels",
            err=True,
        )
