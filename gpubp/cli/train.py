"""`gpubp train`: from a table to a trained, saved and tested model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpubp.cli.completion import DATA
from gpubp.cli.options import (
    FiniteRange,
    Names,
    Repeatable,
    Sizes,
    computing,
    read_config,
    refuse_input,
)
from gpubp.cli.output_files import OutputPath, refuse_stdout
from gpubp.cli.signals import signals_as_interrupts
from gpubp.cli.table_input import choosing_columns, read_data, read_options, reading
from gpubp.cli.train_help import TrainCommand
from gpubp.cli.train_model import fit
from gpubp.cli.train_parameters import check_parameters
from gpubp.cli.train_result import saved_result
from gpubp.kernels.activations import ACTIVATIONS


@click.command(cls=TrainCommand)
@click.argument("data", type=DATA, default="digits")
@click.option(
    "--target", cls=Repeatable, type=Names(), help="Target columns.  [default: the last; npz: y]"
)
@click.option("--target-file", type=click.Path(path_type=Path), help="y.npy for an X.npy.")
@click.option(
    "--task",
    type=click.Choice(["auto", "classification", "regression"]),
    default="auto",
    show_default=True,
)
@reading
@choosing_columns
@click.option("--hidden", type=Sizes(), help="Hidden units by layer, such as 128,64, or none.")
@click.option(
    "--activation", type=click.Choice(sorted(ACTIVATIONS)), default="relu", show_default=True
)
@click.option("--lr", type=FiniteRange(min=0, min_open=True), help="Learning rate.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most so many.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows of a step.")
@click.option("--alpha", type=FiniteRange(min=0), help="L2 penalty.")
@click.option(
    "--dropout",
    type=FiniteRange(0, 1, max_open=True),
    help="Part of the hidden units that each training step drops.",
)
@click.option(
    "--test-size",
    type=FiniteRange(0, 1, max_open=True),
    default=0.2,
    show_default=True,
    help="Part of the rows kept for the test, of each class if possible; 0 for none.",
)
@click.option(
    "--validation-size",
    type=FiniteRange(0, 1, max_open=True),
    help="Part of the training rows that decides when to stop and which epoch to keep; 0 for none.",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Epochs without improvement until training stops.",
)
@click.option(
    "--scoring",
    metavar="METRIC",
    help="What the validation compares: 'loss', or a metric of scikit-learn's, such as "
    "balanced_accuracy.",
)
@click.option(
    "--class-weight",
    metavar="balanced|LABEL=WEIGHT[,...]",
    help="How much each class counts in the loss; balanced helps rare ones.  [default: all alike]",
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
    "--compiled/--no-compiled",
    default=None,
    help="Compile elementwise steps for this CPU with the C++ compiler, once; they are cached.  "
    "[default: GPUBP_COMPILED; else no]",
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

    \b
    gpubp train churn.csv --target churn -o churn.safetensors

    Dates, categories and gaps need no preparation; ids and free text are left out. What is not
    given of network and training is chosen by the size of the table; gpubp inspect shows what was
    chosen.

    DATA is a table: .csv, .tsv or .txt of any dialect, .parquet, .jsonl, each of them .gz or .zst
    too, several by a pattern such as 'data/*.csv', or - for CSV on standard input; a DuckDB file
    with --query; an .npz with X and y, an .npy with --target-file; or one of digits (the default),
    breast_cancer, wine, iris, diabetes.
    """
    from gpubp.reports.terminal import JsonReport, TextReport
    from gpubp.storage.atomic_file import check_writable

    check_parameters(options)
    quiet = options["quiet"]
    report = JsonReport(quiet) if options["as_json"] else TextReport(quiet)
    out: Path = options["out"]
    config = click.get_current_context().meta.get("config")
    refuse_stdout("-o", out, "a model is no text")
    refuse_input("-o", out, options["data"], options["target_file"], config)
    check_writable(out)
    with signals_as_interrupts():  # for the temporary copies of what is read
        table = read_data(
            options["data"],
            read_options(options),
            target_file=options["target_file"],
            targets=options["target"],
        )
    try:
        with signals_as_interrupts():
            trained = fit(table, options, report)
    finally:
        report.close()
    if trained.network.device_ == "cpu":
        _tell_unheeded(options)
    if trained.history.stopped_by == "interrupt" and not trained.history.epochs:
        raise click.Abort
    report.result(saved_result(trained, options))
    return 130 if trained.history.stopped_by == "interrupt" else 0


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
