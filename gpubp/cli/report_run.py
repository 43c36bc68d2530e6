"""The work of --report: collect what the page shows, and write it after everything else is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpubp.cli.output_files import is_stdout, lines_apart, write_output
from gpubp.cli.report_options import command_line

if TYPE_CHECKING:
    from gpubp.cli.train_model import Trained
    from gpubp.models.table_estimators import TableClassifier, TableRegressor
    from gpubp.reports.model_report.report import ModelReport
    from gpubp.reports.recorded import RecordedReport
    from gpubp.selection.trials import Sweep
    from gpubp.tables.table import Table
    from gpubp.training.history import Epoch

# Keys of the result of `gpubp evaluate` that are no scores.
NO_METRICS = ("rows", "left_out", "classes", "positive_class")


def write_train_report(
    trained: Trained, result: dict[str, Any], recorded: RecordedReport, options: dict[str, Any]
) -> None:
    """Write the page of --report, if it was asked for.

    Raises ClickException, in one sentence, if it or the history could not be written; the model is
    saved before.
    """
    path: Path | None = options["report"]
    if path is not None:
        _write(path, options["out"], lambda: _train_page(trained, result, recorded.record))
        _tell(path, options)
    if recorded.problem:
        raise click.ClickException(f"the model is saved, but {recorded.problem}")


def write_evaluate_report(
    model: TableClassifier | TableRegressor,
    table: Table,
    targets: Sequence[str],
    result: Mapping[str, Any],
    options: dict[str, Any],
    source: str,
) -> None:
    """Write the page of `gpubp evaluate --report`, if it was asked for.

    result : as --json prints it. source : name of the table.
    """
    path: Path | None = options["report"]
    if path is not None:
        _write(path, None, lambda: _evaluate_page(model, table, targets, result, source))
        _tell(path, options)


def write_sweep_report(
    found: Sweep,
    trained: Trained,
    result: dict[str, Any],
    recorded: RecordedReport,
    options: dict[str, Any],
) -> None:
    """Write the page of `gpubp sweep --report`, if it was asked for."""
    path: Path | None = options["report"]
    if path is not None:
        _write(path, options["out"], lambda: _sweep_page(found, trained, result, recorded.record))
        _tell(path, options)


def _write(path: Path, model: Path | None, page: Callable[[], str]) -> None:
    """Write a page; raise ClickException, in one sentence, for any failure.

    model : path of the saved model, for the message.
    """
    saved = "" if model is None else f"the model is saved in {model}, but "
    try:
        with lines_apart(path):  # a library may print
            text = page()
        write_output(path, text)
    except (KeyboardInterrupt, click.ClickException):
        raise
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, OSError):
            message = f"there is no report: {type(error).__name__}: {message}"
        raise click.ClickException(f"{saved}{message}") from error


def _tell(path: Path, options: Mapping[str, Any]) -> None:
    from gpubp.reports.terminal import print_line

    if not options["as_json"] and not is_stdout(path):
        print_line(f"{'report':<12}{path}")


def _train_page(trained: Trained, result: dict[str, Any], record: Sequence[Epoch]) -> str:
    from gpubp.reports.model_report.page import model_page

    return model_page(_of_training(trained, result, record))


def _of_training(trained: Trained, result: dict[str, Any], record: Sequence[Epoch]) -> ModelReport:
    from gpubp.reports.model_report.report import Evaluated

    train = {name: score for name, score in result["train"].items() if name != "loss"}
    tested = trained.test_rows
    rows = trained.rows if tested is None else tested
    evaluated = Evaluated(
        kind="training" if tested is None else "test",
        rows=len(rows),
        source=result["data"]["source"],
        scores=train if tested is None else result["test"],
        classes=result["classes"],
        baselines=result["baselines"],
        training=None if tested is None else train,
    )
    return _report(trained.model, rows.table, None, result, evaluated, record)


def _evaluate_page(
    model: TableClassifier | TableRegressor,
    table: Table,
    targets: Sequence[str],
    result: Mapping[str, Any],
    source: str,
) -> str:
    from gpubp.reports.model_report.page import model_page
    from gpubp.reports.model_report.report import Evaluated

    scores = {name: score for name, score in result.items() if name not in NO_METRICS}
    evaluated = Evaluated("table", len(table), source, scores, result.get("classes", ()))
    return model_page(_report(model, table, targets, result, evaluated))


def _sweep_page(
    found: Sweep, trained: Trained, result: dict[str, Any], record: Sequence[Epoch]
) -> str:
    from gpubp.reports.model_report.sweep_page import sweep_report_page

    return sweep_report_page(found, _of_training(trained, result, record))


def _report(
    model: TableClassifier | TableRegressor,
    table: Table,
    targets: Sequence[str] | None,
    result: Mapping[str, Any],
    evaluated: Any,
    record: Sequence[Epoch] = (),
) -> ModelReport:
    from gpubp.models.description import description_of
    from gpubp.models.diagnostics import diagnostics
    from gpubp.models.learning_curves import learning_curves
    from gpubp.reports.model_report.report import ModelReport

    seed = model.random_state if isinstance(model.random_state, int) else 0
    return ModelReport(
        command=command_line(),
        written=datetime.now().isoformat(" ", "minutes"),
        model=description_of(model),
        versions=model.about_["versions"],
        result=result,
        evaluated=evaluated,
        diagnostics=diagnostics(model, table, targets, seed),
        curves=learning_curves(model.network_, record),
    )
