"""The output of a training in the terminal: a line per epoch, then a summary."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gpubp.reports.columns import PIPE_WIDTH, Summary, columns_table, columns_text
from gpubp.reports.sparkline import Sparklines
from gpubp.reports.summary import (
    INDENT,
    fact_lines,
    score_sections,
    training_facts,
    verdict_lines,
)

if TYPE_CHECKING:
    from gpubp.training.history import Epoch

EPOCH_LINES = 10  # at most, between the first and the last one, if stdout is not a terminal


class Report(Protocol):
    """A listener that shows the progress and the result of a training.

    epochs : the largest number of epochs, set before the first one ends.
    """

    epochs: int

    def begin(self, about: Mapping[str, Any]) -> None:
        """Take what is about to be trained, see `gpubp.models.about_training`."""

    def columns(self, summary: Summary, inputs: int) -> None:
        """Show the encodings of the columns and the number of the network's inputs."""

    def note(self, text: str) -> None:
        """Show a line of text."""

    def epoch(self, epoch: Epoch) -> None:
        """Show a finished epoch."""

    def result(self, result: dict[str, Any]) -> None:
        """Show the result of the training."""

    def close(self) -> None:
        """Leave the terminal in order."""


class JsonReport:
    """JSON objects on stdout, one per line; notes go to stderr."""

    epochs = 0

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def begin(self, about: Mapping[str, Any]) -> None:
        pass

    def columns(self, summary: Summary, inputs: int) -> None:
        if not self._quiet:
            print_line(json_line("columns", {"columns": list(summary), "inputs": inputs}))

    def note(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr)

    def epoch(self, epoch: Epoch) -> None:
        if self._quiet:
            return
        member = {} if epoch.member is None else {"member": epoch.member}
        if epoch.rate is None:  # L-BFGS
            values = {"iteration": epoch.number, "loss": epoch.loss, "seconds": epoch.seconds}
            values |= member
            print(json_line("iteration", values), flush=True)
            return
        line: dict[str, Any] = {"epoch": epoch.number, "loss": epoch.loss}
        if epoch.score is not None:
            line["validation"] = epoch.score
        line |= {"best": epoch.best, "learning_rate": epoch.rate, "seconds": epoch.seconds}
        line |= member
        print_line(json_line("epoch", line))

    def result(self, result: dict[str, Any]) -> None:
        print_line(json_line("result", result))

    def close(self) -> None:
        pass


class TextReport:
    """Text: one live line on a terminal, lines for some of the epochs in a pipe."""

    epochs = 0

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._waiting = ""  # the last epoch's line until it is shown
        self._latest = 0  # epoch of an ensemble, whose members are at different epochs
        self._columns = ""
        self._curves = Sparklines()

    def begin(self, about: Mapping[str, Any]) -> None:
        pass

    def columns(self, summary: Summary, inputs: int) -> None:
        self._columns = columns_text(summary, inputs)
        if self._quiet:
            return
        errors = Console(stderr=True)
        width = errors.width if errors.is_terminal else PIPE_WIDTH
        print("\n".join(columns_table(summary, inputs, width)), file=sys.stderr)

    def note(self, text: str) -> None:
        if not self._quiet:
            self._show(Text(text, style="dim"))

    def epoch(self, epoch: Epoch) -> None:
        if self._quiet:
            return
        self._curves.add(epoch)
        if epoch.member is not None and epoch.number <= self._latest:
            return
        self._latest = epoch.number
        line = epoch_line(epoch, self.epochs)
        if not self._console.is_terminal:
            self._waiting = line
            step = -(-self.epochs // (EPOCH_LINES + 1))
            if epoch.number == 1 or epoch.number % step == 0:
                self._tell_waiting()
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=8)
            self._live.start()
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))

    def result(self, result: dict[str, Any]) -> None:
        self.close()
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        facts = training_facts(result) | self._curves.lines(encoding)
        order = ["data", "columns", *(name for name in facts if name != "data")]
        facts["columns"] = self._columns
        for name in order:
            self._fact(fact_lines(name, facts[name]))
        for title, lines in score_sections(result):
            self._show(Text.assemble("\n", (title, "bold")))
            for line in lines:
                self._show(Text(f"  {line}"))
        self._show(Text(""))
        self._fact(verdict_lines(result))
        if result["model"]:
            self._show(Text.assemble((f"{'model':<{INDENT}}", "bold"), result["model"]))

    def _fact(self, lines: list[str]) -> None:
        for line in lines:
            self._show(Text.assemble((line[:INDENT], "bold"), line[INDENT:]))

    def _show(self, text: Text) -> None:
        if self._console.is_terminal:
            self._console.print(text)
        else:
            print_line(text.plain)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        if self._waiting:
            print_line(self._waiting)
            self._waiting = ""


def print_line(line: str) -> None:
    """Print a line; if the reader of the pipe has ended (`| head`), print nothing any more."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def json_line(event: str, values: dict[str, Any]) -> str:
    """Return an event as a line of JSON, as `to_json` does."""
    return to_json({"event": event} | values)


def to_json(values: dict[str, Any]) -> str:
    """Return values as one line of JSON, with null for NaN and infinity, which JSON lacks."""
    return json.dumps(without_nan(values), allow_nan=False)


def without_nan(values: Any) -> Any:
    """Return values for JSON with None for NaN and infinity."""
    if isinstance(values, dict):
        return {key: without_nan(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Return an epoch as a line: loss, validation score, rows per second, time left, mark."""
    unit = "iteration" if epoch.rate is None else "epoch"
    rate = epoch.number * epoch.rows / max(epoch.seconds, 1e-9)
    left = (epochs - epoch.number) * epoch.seconds / epoch.number
    score = ""
    if epoch.score is not None:
        is_loss = epoch.validation_loss is not None and epoch.score == -epoch.validation_loss
        value = f"loss {epoch.validation_loss:.4f}" if is_loss else f"{epoch.score:.4f}"
        score = f"  validation {value}"
    member = "" if epoch.member is None else f"member {epoch.member}  "
    return (
        f"{member}{unit} {epoch.number:{len(str(epochs))}}/{epochs}  loss {epoch.loss:.6f}{score}"
        f"  {rate:,.0f} rows/s{f'  {left:.0f} s left' if left >= 0.5 else ''}"
        f"{'  best' if score and epoch.best else ''}"
    )
