"""`gpubp train`: from a table to a trained, saved and tested model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gpubp.cli.completion import DATA
from gpubp.cli.options import (
    FiniteRange,
    Names,
    Sizes,
    computing,
    read_config,
    read_data,
    refuse_input,
)
from gpubp.cli.output_files import OutputPath, refuse_stdout
from gpubp.cli.signals import signals_as_interrupts
from gpubp.cli.table_options import TableCommand, table_parameters
from gpubp.cli.train_result import saved_result
from gpubp.cli.train_test_split import count_held_out, note_unseen, split
from gpubp.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    from gpubp.models.table_model import Estimator, TableModel
    from gpubp.reports.terminal import Report
    from gpubp.tables.table import Table
    from gpubp.training.history import History

# Options that only training by epochs heeds.
EPOCH_OPTIONS = {"lr", "schedule", "batch_size", "validation_size", "patience", "dropout"}


@click.command(cls=TableCommand)
@click.argument("data", type=DATA, default="digits")
@click.option("--target", type=Names(), help="Target columns.  [default: the last; npz: y]")
@click.option("--target-file", type=click.Path(path_type=Path), help="y.npy for an X.npy.")
@click.option(
    "--task",
    type=click.Choice(["auto", "classification", "regression"]),
    default="auto",
    show_default=True,
)
@click.option("--hidden", type=Sizes(), default="128,64", show_default=True, help="Hidden units.")
@click.option(
    "--activation", type=click.Choice(sorted(ACTIVATIONS)), default="relu", show_default=True
)
@click.option(
    "--lr",
    type=FiniteRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Learning rate.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Rows of a step.  [default: a 16th of the rows, from 32 to 1024]",
)
@click.option(
    "--alpha", type=FiniteRange(min=0), default=1e-4, show_default=True, help="L2 penalty."
)
@click.option(
    "--dropout",
    type=FiniteRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Part of the hidden units that each training step drops.",
)
@click.option(
    "--test-size",
    type=FiniteRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Part of the rows kept for the test; 0 for none.",
)
@click.option(
    "--validation-size",
    type=FiniteRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Part of the training rows that decides when to stop and which epoch to keep; 0 for none.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Epochs without improvement until training stops.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@computing
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Rounding of the factors of matrix products on CUDA; sums and weights stay float32.",
)
@click.option(
    "--no-record",
    is_flag=True,
    help="Run each step on CUDA launch by launch, for debugging; the numbers stay the same.",
)
@click.option(
    "--compiled",
    is_flag=True,
    help="Compile elementwise steps for this CPU with the C++ compiler, once; they are cached.",
)
@click.option(
    "-o",
    "--out",
    type=OutputPath(),
    default="model.safetensors",
    show_default=True,
    help="Where to save the model.",
)
@click.option("--quiet", is_flag=True, help="Print the summary only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one a line.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="TOML file with options by their long names; flags win.",
)
def train(**options: Any) -> int:
    """Train a network on DATA, test it and save it.

    DATA is a .csv with a header line, an .npz with X and y, an .npy with --target-file, or one
    of digits (the default), breast_cancer, wine, iris, diabetes.
    """
    from gpubp.reports.terminal import JsonReport, TextReport
    from gpubp.storage.atomic_file import check_writable

    if options["solver"] == "lbfgs":
        _refuse_options_of_epochs()
    table_parameters(options)  # raises for what does not go with the solver
    quiet, epochs = options["quiet"], options["epochs"]
    report = JsonReport(quiet) if options["as_json"] else TextReport(epochs, quiet)
    out: Path = options["out"]
    config = click.get_current_context().meta.get("config")
    refuse_stdout("-o", out, "a model is no text")
    refuse_input("-o", out, options["data"], options["target_file"], config)
    check_writable(out)
    table = read_data(options["data"], options["target_file"])
    try:
        with signals_as_interrupts():
            model, history, rows, test_rows = _fit(table, options, report)
    finally:
        report.close()
    if model.estimator.device_ == "cpu":
        _tell_unheeded(options)
    if history.stopped_by == "interrupt" and not history.epochs:
        raise click.Abort
    report.result(saved_result(model, history, rows, test_rows, options))
    return 130 if history.stopped_by == "interrupt" else 0


def _refuse_options_of_epochs() -> None:
    """Raise a UsageError for an option that was given and that L-BFGS would not heed."""
    from gpubp.backprop.optimizers import STEPWISE

    context = click.get_current_context()
    for name in sorted(EPOCH_OPTIONS.intersection(context.params)):
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is for --solver {', '.join(STEPWISE)}: lbfgs takes "
                "all rows in every step and finds the length of its steps; leave it out"
            )


def _tell_unheeded(options: dict[str, Any]) -> None:
    """Say in a line on stderr which of the options given are for CUDA alone."""
    given = {
        "--precision": options["precision"] != "float32",
        "--no-record": options["no_record"],
    }
    if names := [name for name, is_given in given.items() if is_given]:
        verb = "has" if len(names) == 1 else "have"
        click.echo(
            f"{' and '.join(names)} {verb} no effect on the CPU, where the network was trained; "
            "for a GPU take --device cuda",
            err=True,
        )


def _fit(
    table: Table, options: dict[str, Any], report: Report
) -> tuple[TableModel, History, Table, Table | None]:
    """Return the trained model, how it went, and the rows trained on and kept for the test."""
    from gpubp.models.table_model import TableModel
    from gpubp.tables.schema import check_targets, feature_names, infer_task, resolve_targets

    targets = resolve_targets(table, options["target"])
    if options["task"] == "auto":
        task, reason = infer_task(table, targets)
    else:
        task, reason = options["task"], "as asked for"
    check_targets(table, targets, task)
    table.matrix(feature_names(table, targets), None)  # a bad cell of the test is found now
    report.note(f"{task}: {reason}")
    class_column = targets[0] if task == "classification" else None
    rows, test_rows = split(table, class_column, options)
    if class_column is not None and test_rows is not None:
        note_unseen(rows, test_rows, class_column, report)
    held_out = count_held_out(rows, class_column, options)
    estimator = _estimator(task, options, len(rows) - held_out)
    _check_room(rows, targets, class_column, options)
    model, history = TableModel.fit(
        estimator, rows, targets, on_epoch=report.epoch, note=report.note
    )
    return model, history, rows, test_rows


def _check_room(
    rows: Table, targets: Sequence[str], class_column: str | None, options: dict[str, Any]
) -> None:
    """Raise OSError, before anything is learned, where the disk has no room for the model."""
    import numpy as np

    from gpubp.backprop.network import Network
    from gpubp.storage.atomic_file import check_room
    from gpubp.tables.schema import feature_names

    outputs = len(targets)
    if class_column is not None:
        classes = len(np.unique(rows.labels(class_column)))
        outputs = 1 if classes == 2 else classes
    sizes = len(feature_names(rows, targets)), *options["hidden"], outputs
    network = Network(sizes, (options["activation"],) * len(options["hidden"]))
    # What fits in no memory is told of as such: this raises a MemoryError.
    check_room(options["out"], np.empty(network.n_parameters, options["dtype"]).nbytes)


def _estimator(task: str, options: dict[str, Any], rows: int) -> Estimator:
    from gpubp import MLPClassifier, MLPRegressor

    kind: type[Estimator] = MLPClassifier if task == "classification" else MLPRegressor
    # A power of two near a 16th of the rows: enough steps an epoch on small tables, and batches
    # that fill a device on large ones.
    automatic = min(1024, max(32, 1 << (rows // 16).bit_length() - 1)) if rows >= 16 else 32
    return kind(
        hidden_layer_sizes=options["hidden"],
        activation=options["activation"],
        **table_parameters(options),
        alpha=options["alpha"],
        batch_size=min(rows, options["batch_size"] or automatic),
        learning_rate_init=options["lr"],
        max_iter=options["epochs"],
        random_state=options["seed"],
        early_stopping=options["validation_size"] > 0,
        validation_fraction=options["validation_size"],
        n_iter_no_change=options["patience"],
        device=options["device"],
        dtype=options["dtype"],
        threads=options["threads"],
        precision=options["precision"],
        record=not options["no_record"],
        compiled=options["compiled"],
        dropout=options["dropout"],
    )
