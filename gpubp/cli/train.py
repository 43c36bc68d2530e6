"""`gpubp train`: train a model on a table, test it and save it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.checkpoint_options import (
    checkpoint_for,
    checkpointing,
    remove,
    shape_of_table,
    tell_interrupted,
)
from gpubp.cli.completion import DATA
from gpubp.cli.memory_options import memory_option
from gpubp.cli.options import (
    Duration,
    FiniteRange,
    NearChoice,
    Sizes,
    WholeRange,
    computing,
    ranks_options,
    read_config,
    refuse_input,
)
from gpubp.cli.output_files import OutputPath, lines_apart, refuse_stdout
from gpubp.cli.report_options import check_files, recorded, recording
from gpubp.cli.signals import interrupt_code, signals_as_interrupts
from gpubp.cli.table_input import choosing_columns, read_data, read_options, reading
from gpubp.cli.target_options import choosing_target, test_size_option
from gpubp.cli.train_from import keep_start, start_option, started
from gpubp.cli.train_help import TrainCommand
from gpubp.cli.train_large import Large, fit_large, large_table
from gpubp.cli.train_model import fit
from gpubp.cli.train_parameters import check_parameters
from gpubp.cli.train_result import saved_result
from gpubp.kernels.activations import ACTIVATIONS

if TYPE_CHECKING:
    from gpubp.cli.train_model import Trained
    from gpubp.estimators.checkpoint import Checkpoint
    from gpubp.reports.recorded import RecordedReport
    from gpubp.tables.table import Table


@click.command(cls=TrainCommand)
@click.argument("data", type=DATA, default="digits")
@choosing_target
@reading
@choosing_columns
@click.option(
    "--hidden",
    type=Sizes(),
    help="Units of each hidden layer, such as 128,64; none for no hidden layer.  [default: "
    "256,256,256; 256 for small tables and preset plain]",
)
@click.option(
    "--activation",
    type=NearChoice(sorted(ACTIVATIONS)),
    default="relu",
    show_default=True,
    help="Activation of the hidden layers.",
)
@click.option(
    "--lr",
    type=FiniteRange(min=0, min_open=True),
    help="Initial learning rate.  [default: 0.04 or 0.2 with preset tuned; "
    "else 0.004 for adamw, 0.001 for others]",
)
@click.option(
    "--epochs",
    type=WholeRange(min=1),
    help="Largest number of epochs, or of iterations of lbfgs.",
)
@click.option("--batch-size", type=WholeRange(min=1), help="Rows per training step.")
@click.option(
    "--alpha",
    type=FiniteRange(min=0),
    help="L2 penalty on the weights.  [default: 0 for adamw, else 0.0001]",
)
@click.option(
    "--dropout",
    type=FiniteRange(0, 1, max_open=True),
    help="Fraction of the hidden units that each training step drops.",
)
@test_size_option
@click.option(
    "--validation-size",
    type=FiniteRange(0, 1, max_open=True),
    help="Fraction of the training rows held out for early stopping; 0 for none.",
)
@click.option(
    "--patience",
    type=WholeRange(min=1),
    help="Epochs without improvement after which training stops.",
)
@click.option(
    "--scoring",
    metavar="METRIC",
    help="Metric of the held-out rows: 'loss', or a scorer of scikit-learn, such as "
    "balanced_accuracy.",
)
@click.option(
    "--class-weight",
    metavar="balanced|LABEL=WEIGHT[,...]",
    help="Weight of each class in the loss; balanced gives rare classes more.  "
    "[default: 1 for each class]",
)
@click.option(
    "--preset",
    type=click.Choice(["auto", "tuned", "plain"]),
    help="Recipe that chooses the options that are not given. tuned: four networks with periodic "
    "features of the numbers, averaged. plain: one hidden layer, 4 to 40 times as fast. auto: "
    "tuned, but plain with --lr, --schedule, --solver, --weight-decay or --loss.  [default: auto]",
)
@click.option(
    "--time-limit",
    type=Duration(),
    help="Time for the training, such as 60s, 5m or 2h: fewer networks or epochs are trained where "
    "all would take longer. The model then depends on the speed of the machine.",
)
@memory_option(
    "Memory to use, such as 500MB or 2GB. A table that would take more than half of it is read "
    "block by block, from Parquet or by way of a temporary Parquet file.  [default: the free "
    "memory]"
)
@click.option(
    "--members",
    type=WholeRange(min=1),
    help="Number of networks to train as an ensemble, whose predictions are averaged.  "
    "[default: 4 with preset tuned, for tables that are not large; else one network]",
)
@click.option(
    "--member-rows",
    type=click.Choice(["all", "bootstrap", "folds"]),
    help="Rows that each member trains on: all, as many drawn with replacement, or all but one of "
    "as many folds as members. The rows that a member leaves out give an out-of-bag score.  "
    "[default: all]",
)
@start_option
@click.option(
    "--seed",
    type=WholeRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the initial weights, the splits and the order of the rows.",
)
@computing
@ranks_options
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Floating-point type of the training.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="On CUDA, the type to which the inputs of matrix products are rounded; sums and weights "
    "stay float32.",
)
@click.option(
    "--no-record",
    is_flag=True,
    help="On CUDA, launch each kernel separately instead of as one recorded graph, for debugging; "
    "the results stay the same.",
)
@click.option(
    "--compiled/--no-compiled",
    default=None,
    help="Compile the steps of training for this CPU with a C++ compiler; the compiled code is "
    "cached.  [default: if there is a compiler and the training is large enough]",
)
@click.option(
    "-o",
    "--out",
    type=OutputPath(),
    default="model.safetensors",
    show_default=True,
    help="Where to save the model.",
)
@checkpointing
@recording
@click.option("--quiet", is_flag=True, help="Print only the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON objects, one per line.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="TOML file of options by their long names; the command line takes precedence.",
)
@signals_as_interrupts()  # until the model is saved, and temporary copies of the input are removed
def train(**options: Any) -> int:
    """Train a network on DATA, test it and save it.

    \b
    gpubp train churn.csv --target churn -o churn.safetensors

    Dates, categories and missing values need no preparation; ids and free text are left out.
    Options of the network and of training that are not given are chosen by the preset and the size
    of the table; gpubp inspect shows the choice.

    DATA is one of:

    \b
    - a .csv, .tsv or .txt file in any dialect, or .jsonl; also as .gz or .zst
    - a .parquet file
    - several such files, by a pattern such as 'data/*.csv'
    - '-' for CSV on standard input
    - a DuckDB file, with --query
    - an .npz with arrays X and y, or an .npy with --target-file
    - a built-in data set: digits (the default), breast_cancer, wine, iris or
      diabetes
    """
    from gpubp.cli.report_run import write_train_report
    from gpubp.reports.terminal import JsonReport, TextReport
    from gpubp.storage.atomic_file import check_writable

    start = options["start"] = started(options)
    check_parameters(options)
    quiet = options["quiet"]
    shown = JsonReport(quiet) if options["as_json"] else TextReport(quiet)
    report = recorded(shown, options)
    out: Path = options["out"]
    inputs = options["data"], options["target_file"], click.get_current_context().meta.get("config")
    refuse_stdout("-o", out, "a model file is binary")
    refuse_input("-o", out, *inputs)
    check_writable(out)
    check_files(options, *inputs)
    table = large_table(options) or read_data(
        options["data"],
        read_options(options, start.model if start else None, options["data"]),
        target_file=options["target_file"],
        targets=options["target"],
        **(start.reading() if start else {}),
    )
    about = table.about if isinstance(table, Large) else shape_of_table(table)
    checkpoint = checkpoint_for(options, about)
    with lines_apart(options["report"]):
        trained, result = _trained(table, options, report, checkpoint)
    write_train_report(trained, result, report, options)
    return interrupt_code() if trained.history.stopped_by == "interrupt" else 0


def _trained(
    table: Table | Large,
    options: dict[str, Any],
    report: RecordedReport,
    checkpoint: Checkpoint | None,
) -> tuple[Trained, dict[str, Any]]:
    """Train, save the model and show the result; return both."""
    try:
        if isinstance(table, Large):
            trained = fit_large(table, options, report, checkpoint)
        else:
            trained = fit(table, options, report, checkpoint)
        report.end(trained.history)
    finally:
        report.close()
    if trained.network.device_ == "cpu":
        _tell_unheeded(options)
    if trained.history.stopped_by == "interrupt":
        tell_interrupted(checkpoint)
        if not trained.history.epochs:
            raise click.Abort
        keep_start(options)
    if trained.history.stopped_by == "non_finite":
        remove(checkpoint)
    result = saved_result(trained, options)
    if trained.history.stopped_by != "interrupt":
        remove(checkpoint)
    report.result(result)
    return trained, result


def _tell_unheeded(options: dict[str, Any]) -> None:
    """Print on stderr which of the given options have an effect on CUDA only."""
    given = {
        "--precision": options["precision"] != "float32",
        "--no-record": options["no_record"],
    }
    if names := [name for name, is_given in given.items() if is_given]:
        verb = "has" if len(names) == 1 else "have"
        click.echo(
            f"{' and '.join(names)} {verb} no effect on the CPU, where the network was trained; "
            "use --device cuda for a GPU",
            err=True,
        )
