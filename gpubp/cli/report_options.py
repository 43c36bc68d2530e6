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
            _refuse_own_file(f"--{name}", path, options)
            if name == "history":
                _refuse_other_file(path)
    names = [name for name in ("out", "csv", "html", "report", "history") if options.get(name)]
    for name, other in combinations(names, 2):
        if is_same(options[name], options[other]):
            raise click.UsageError(
                f"--{name} {options[name]} and --{other} {options[other]} are the same; give two "
                "files"
            )


def _refuse_own_file(flag: str, path: Path, options: dict[str, Any]) -> None:
    """Raise UsageError if ``path`` is a file that the command writes next to --out."""
    from gpubp.cli.checkpoint_options import checkpoint_path
    from gpubp.cli.sweep_journal import journal_path

    out = options.get("out")
    own = {} if out is None else {"checkpoint": checkpoint_path(out)}
    if "trials" in options:
        own["journal"] = journal_path(options["out"])
    for word, of in own.items():
        if is_same(path, of):
            raise click.UsageError(f"{flag} {path} is the {word} of --out {out}; give another path")


def _refuse_other_file(path: Path) -> None:
    """Raise UsageError if --history would replace a file that is not a history."""
    from gpubp.reports.history_file import is_history

    if path.is_file() and not is_history(path):
        raise click.UsageError(
            f"--history {path} would replace a file that is not a history of a training; move it, "
            "or give another path"
        )


def recorded(report: Report, options: dict[str, Any]) -> RecordedReport:
    """Return ``report`` behind a listener that keeps the epochs and writes the history."""
    from gpubp.reports.history_file import HistoryFile
    from gpubp.reports.recorded import RecordedReport
    from gpubp.storage.atomic_file import is_stream

    path, keep = options.get("history"), options["report"] is not None
    if path is None:
        return RecordedReport(report, keep=keep)
    return RecordedReport(report, partial(HistoryFile, path), keep, at_once=is_stream(path))


def command_line() -> str:
    """Return the command that runs, as it is to be typed in a shell."""
    arguments = click.get_current_context().find_root().meta.get("arguments", ())
    return shlex.join(["gpubp", *arguments])
