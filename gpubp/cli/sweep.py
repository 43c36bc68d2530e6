"""`gpubp sweep`: search the hyperparameters of a model for a table, and save the best model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.checkpoint_options import (
    check_place,
    checkpoint_of_best,
    remove,
    tell_interrupted,
)
from gpubp.cli.completion import DATA
from gpubp.cli.options import (
    Duration,
    NearChoice,
    WholeRange,
    computing,
    read_config,
    refuse_input,
)
from gpubp.cli.output_files import (
    OutputPath,
    is_stdout,
    lines_apart,
    open_output,
    refuse_stdout,
    whole_or_beside,
    write_output,
)
from gpubp.cli.report_options import check_files, recorded, report_option
from gpubp.cli.signals import interrupt_code, signals_as_interrupts
from gpubp.cli.sweep_help import SweepCommand
from gpubp.cli.sweep_options import SAMPLERS, check_options, read_space
from gpubp.cli.sweep_workers import BACKENDS, check_workers
from gpubp.cli.table_input import choosing_columns, read_data, read_options, reading
from gpubp.cli.target_options import choosing_target, test_size_option

if TYPE_CHECKING:
    from gpubp.cli.sweep_run import Setup
    from gpubp.cli.train_model import Trained
    from gpubp.estimators.checkpoint import Checkpoint
    from gpubp.reports.recorded import RecordedReport
    from gpubp.selection.trials import Sweep


def _print_space(context: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from gpubp.selection.default_space import DEFAULT_SPACE

        click.echo(DEFAULT_SPACE, nl=False)
        context.exit()


@click.command(cls=SweepCommand)
@click.argument("data", type=DATA)
@choosing_target
@reading
@choosing_columns
@click.option(
    "--trials",
    type=WholeRange(min=1),
    default=60,
    show_default=True,
    help="Number of trials. With 60 random ones, one of the best 5 % of the space is among them "
    "with a probability of 95 %.",
)
@click.option(
    "--cv",
    type=WholeRange(min=2),
    default=5,
    show_default=True,
    help="Folds of the cross-validation that scores each trial.",
)
@click.option(
    "--space",
    type=click.Path(path_type=Path),
    help="TOML file with the parameters to search; see --print-space.  [default: built-in]",
)
@click.option(
    "--print-space",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_space,
    help="Print the built-in space as TOML, to be edited, and exit.",
)
@click.option(
    "--sampler",
    type=NearChoice(SAMPLERS),
    default="random",
    show_default=True,
    help="random: random trials. grid: all combinations of lists. halving: random trials on few "
    "rows, the best of them on more. tpe: rounds of trials that learn from the scores before.",
)
@click.option(
    "--scoring",
    metavar="METRIC",
    help="Scorer of scikit-learn that ranks the trials, such as neg_log_loss.  [default: accuracy "
    "or R²]",
)
@click.option(
    "--time-limit",
    type=Duration(),
    help="Time for the search, such as 60s, 5m or 2h; the best trial is trained after it.",
)
@click.option("--resume", is_flag=True, help="Continue the sweep in the journal of --out.")
@test_size_option
@click.option(
    "--seed",
    type=WholeRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the trials, the splits, the initial weights and the order of the rows.",
)
@click.option(
    "--jobs",
    type=WholeRange(min=1),
    help="Number of processes that train the trials.  [default: 1; with --backend, one per core]",
)
@click.option(
    "--backend",
    type=NearChoice(BACKENDS),
    help="loky: processes of this machine. dask: workers of Dask, on this machine or, with "
    "--scheduler, on others.  [default: loky]",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Address of a running Dask cluster whose workers train the trials, such as "
    "tcp://host:8786.",
)
@computing
@click.option(
    "-o",
    "--out",
    type=OutputPath(),
    default="model.safetensors",
    show_default=True,
    help="Where to save the best model, trained on all rows but those of the test.",
)
@click.option("--csv", type=OutputPath(), help="Write the trials as CSV; - for stdout.")
@click.option(
    "--html", type=OutputPath(), help="Write an HTML page with charts of the trials; - for stdout."
)
@report_option
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
def sweep(**options: Any) -> int:
    """Search the hyperparameters of a model for DATA, test the best model and save it.

    \b
    gpubp sweep churn.csv --target churn -o churn.safetensors

    Each trial is scored by cross-validation; the test rows are used only for the best model. DATA
    is any table that gpubp train reads. Ctrl-C stops the search and saves the best model so far;
    --resume continues it.
    """
    from gpubp.cli.report_run import write_sweep_report
    from gpubp.cli.sweep_run import search, setup_of
    from gpubp.reports.sweep.live import JsonSweepView, TextSweepView
    from gpubp.reports.terminal import JsonReport, TextReport

    check_options(options)
    check_workers(options)
    _check_outputs(options)
    values = read_space(options["space"])
    quiet, as_json = options["quiet"], options["as_json"]
    shown = JsonReport if as_json else TextReport
    table = read_data(
        options["data"],
        read_options(options),
        target_file=options["target_file"],
        targets=options["target"],
    )
    files = [options[name] for name in ("csv", "html", "report")]
    with lines_apart(*files):
        setup = setup_of(table, values, options, report := shown(quiet))
        view = (JsonSweepView if as_json else TextSweepView)(setup.metric, quiet)
        found = search(setup, options, view, report.note)
    _write_files(found, options)
    with lines_apart(*files):
        _tell_trials(found, as_json)
        silent = recorded(shown(quiet=True), options)
        trained, result = _trained(setup, found, options, silent)
    write_sweep_report(found, trained, result, silent, options)
    interrupted = "interrupt" in (found.stopped_by, trained.history.stopped_by)
    return interrupt_code() if interrupted else 0


def _trained(
    setup: Setup, found: Sweep, options: dict[str, Any], report: RecordedReport
) -> tuple[Trained, dict[str, Any]]:
    """Train the best trial, save the model and show the result; return both."""
    from gpubp.cli.sweep_run import train_best

    checkpoint = checkpoint_of_best(setup.estimator, found.best.params, options["out"])
    trained = train_best(setup, found, options, report, checkpoint)
    if trained.history.stopped_by == "interrupt" and not trained.history.epochs:
        raise click.Abort
    result = _saved(trained, found, options, checkpoint)
    _tell_result(result, found, options, report)
    return trained, result


def _saved(
    trained: Trained, found: Sweep, options: dict[str, Any], checkpoint: Checkpoint | None
) -> dict[str, Any]:
    """Save the best model; return the result. A sweep that was killed before can be resumed."""
    from gpubp.cli.sweep_journal import end_journal
    from gpubp.cli.train_result import saved_result

    whole = "interrupt" not in (found.stopped_by, trained.history.stopped_by)
    try:
        result = saved_result(trained, options)
    except click.ClickException:  # the training diverged, as it would again
        if whole:
            end_journal(options["out"])
        raise
    if trained.history.stopped_by != "interrupt":
        remove(checkpoint)
    elif found.stopped_by != "interrupt":
        tell_interrupted(checkpoint, "" if options["resume"] else "--resume")
    if whole:
        end_journal(options["out"])
    return result


def _check_outputs(options: dict[str, Any]) -> None:
    """Raise an error, before any work, for outputs that cannot be written."""
    from gpubp.storage.atomic_file import check_writable

    out: Path = options["out"]
    config = click.get_current_context().meta.get("config")
    inputs = (options["data"], options["target_file"], options["space"], config)
    refuse_stdout("-o", out, "a model file is binary")
    refuse_input("-o", out, *inputs)
    check_writable(out)
    check_files(options, *inputs)
    check_place(out)


def _write_files(found: Sweep, options: dict[str, Any]) -> None:
    """Write the CSV file and the page; replace them in ``options`` by the paths written to."""
    from gpubp.reports.sweep.files import write_trials
    from gpubp.reports.sweep.page import sweep_page

    whole = found.stopped_by != "interrupt"
    for name in ("csv", "html", "report"):
        if options[name] is not None:
            options[name] = whole_or_beside(options[name], whole)
    if options["csv"] is not None:
        with open_output(options["csv"]) as file:
            write_trials(found, file)
    if options["html"] is not None:
        write_output(options["html"], sweep_page(found))


def _tell_trials(found: Sweep, as_json: bool) -> None:
    from rich.console import Console

    from gpubp.reports.sweep.files import trial_values
    from gpubp.reports.sweep.text import sweep_lines
    from gpubp.reports.terminal import json_line, print_line

    if as_json:
        for trial in found.trials:
            print_line(json_line("trial", trial_values(trial)))
        return
    console = Console()
    for line in sweep_lines(found, console.width if console.is_terminal else None):
        print_line(line)
    print_line("")


def _tell_result(
    result: dict[str, Any], found: Sweep, options: dict[str, Any], report: Any
) -> None:
    from gpubp.reports.sweep.files import sweep_values
    from gpubp.reports.terminal import print_line

    written = {name: options[name] for name in ("csv", "html")}
    files = {name: None if path is None else str(path) for name, path in written.items()}
    if options["as_json"]:
        report.result(result | {"sweep": sweep_values(found) | files})
        return
    report.result(result)
    for name, path in written.items():
        if path is not None and not is_stdout(path):
            print_line(f"{'trials' if name == 'csv' else 'page':<12}{path}")
