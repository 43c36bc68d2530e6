"""The options --report and --history, and the checks of their paths before any work."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpubp.cli.options import refuse_input
from gpubp.cli.output_files import OutputPath, check_output, is_same, refuse_stdout

if TYPE_CHECKING:
    from gpubp.reports.recorded import RecordedReport
    from gpubp.reports.terminal import Report

F = TypeVar("F", bound=Callable[..., Any])

report_option = click.option(
    "--report",
    metavar="HTML",
    type=OutputPath(),
    help="Write an HTML page about the model: scores, errors, columns, training; - for stdout.",
)
history_option = click.option(
    "--history",
    metavar="JSONL",
    type=OutputPath(),
    help="Write a line of JSON after each epoch, while training runs.",
)


def recording(command: F) -> F:
    """Add the options --report and --history."""
    return report_option(history_option(command))


def check_files(options: dict[str, Any], *inputs: str | Path | None) -> None:
    """Raise an error, before any work, if a file that the command writes cannot be written.

    options : those of the command line, of which "csv", "html", "report", "history" and "as_json"
    are read, and "out" is compared. inputs : paths or patterns of the files that are read.
    """
    for name in ("csv", "html", "report", "history"):
        if (path := options.get(name)) is not None:
            refuse_input(f"--{name}", path, *inputs)
            if name == "history":
                refuse_stdout("--history", path, "the summary is printed there")
            check_output(f"--{name}", path, options["as_json"])
    names = [name for name in ("out", "csv", "html", "report", "history") if options.get(name)]
    for name, other in combinations(names, 2):
        if is_same(options[name], options[other]):
            raise click.UsageError(
                f"--{name} {options[name]} and --{other} {options[other]} are the same; give two "
                "files"
            )


def recorded(report: Report, options: dict[str, Any]) -> RecordedReport:
    """Return ``report`` behind a listener that keeps the epochs and writes the history."""
    from gpubp.reports.history_file import HistoryFile
    from gpubp.reports.recorded import RecordedReport

    path = options.get("history")
    opened = None if path is None else partial(HistoryFile, path)
    return RecordedReport(report, opened, keep=options["report"] is not None)


def command_line() -> str:
    """Return the command that runs, as it is to be typed in a shell."""
    arguments = click.get_current_context().find_root().meta.get("arguments", ())
    return shlex.join(["gpubp", *arguments])
