"""`gpubp evaluate`: score a trained model on a table with known targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import Names, Repeatable, device_option
from gpubp.cli.output_files import lines_apart
from gpubp.cli.predict import load_table_model
from gpubp.cli.report_options import check_files, report_option
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
@report_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@signals_as_interrupts()  # temporary copies of the input and unfinished files are removed
def evaluate(model: Path, data: str, **options: Any) -> None:
    """Score MODEL on DATA, a table with known targets.

    Rows without a target are left out.
    """
    from gpubp.cli.report_run import write_evaluate_report
    from gpubp.models.table_estimators import TableClassifier

    check_files(options, model, data, options["target_file"])
    estimator = load_table_model(model, options["device"])
    targets: Sequence[str] = options["target"] or estimator.target_names_
    table, left_out = _rows(estimator, data, targets, options)
    found: dict[str, Any] = {"rows": len(table), "left_out": left_out}
    with strays_told():
        found |= estimator.evaluate(table, targets)
        if isinstance(estimator, TableClassifier):
            found |= {"classes": estimator.per_class(table, targets)}
            found |= {"positive_class": estimator.positive_class_}
            _tell_unknown(estimator, table, targets[0])
    with lines_apart(options["report"]):
        _tell(found, estimator, data, options["as_json"])
    source = Path(table.source).name or table.source
    write_evaluate_report(estimator, table, targets, found, options, source)


def _tell(
    found: dict[str, Any], estimator: TableClassifier | TableRegressor, data: str, as_json: bool
) -> None:
    """Print the scores."""
    from gpubp.cli.report_run import NO_METRICS
    from gpubp.reports.scores import classes_table, scores_table
    from gpubp.reports.terminal import json_line

    if as_json:
        click.echo(json_line("result", found))
        return
    if left_out := found["left_out"]:
        click.echo(f"{left_out:,} more rows are left out, as they have no target", err=True)
    classes = getattr(estimator, "classes_", ())
    metrics = {name: score for name, score in found.items() if name not in NO_METRICS}
    positive = found.get("positive_class")
    lines = scores_table({"": metrics}, positive=positive, classes=len(classes))[1:]
    if "classes" in found:
        lines += ["", *classes_table(found["classes"])]
    rows = found["rows"]
    head = f"{rows:,} row{'s'[: rows != 1]} of {data}"
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
