"""What a person, or a program, sees of a training: a line an epoch, then a summary."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

if TYPE_CHECKING:
    from gpubp.training.history import Epoch

_METRICS = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "r2": "R2",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "loss": "loss",
}


class Report(Protocol):
    """Where a training tells what it does."""

    def note(self, text: str) -> None:
        """Say something in a line."""

    def epoch(self, epoch: Epoch) -> None:
        """Show a finished epoch."""

    def result(self, result: dict[str, Any]) -> None:
        """Show how training ended."""

    def close(self) -> None:
        """Leave the terminal in order."""


class JsonReport:
    """JSON objects on stdout, one a line; notes go to stderr."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def note(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr)

    def epoch(self, epoch: Epoch) -> None:
        if self._quiet:
            return
        if epoch.rate is None:  # L-BFGS
            told = {"iteration": epoch.number, "loss": epoch.loss, "seconds": epoch.seconds}
            print(json_line("iteration", told), flush=True)
            return
        line: dict[str, Any] = {"epoch": epoch.number, "loss": epoch.loss}
        if epoch.score is not None:
            line["validation"] = epoch.score
        line |= {"best": epoch.best, "learning_rate": epoch.rate, "seconds": epoch.seconds}
        _tell(json_line("epoch", line))

    def result(self, result: dict[str, Any]) -> None:
        _tell(json_line("result", result))

    def close(self) -> None:
        pass


class TextReport:
    """Lines for a person: one live line on a terminal, one line an epoch in a pipe."""

    def __init__(self, epochs: int, quiet: bool) -> None:
        self._epochs, self._quiet = epochs, quiet
        self._console = Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None

    def note(self, text: str) -> None:
        if not self._quiet:
            self._show(Text(text, style="dim"))

    def epoch(self, epoch: Epoch) -> None:
        if self._quiet:
            return
        line = epoch_line(epoch, self._epochs)
        if not self._console.is_terminal:
            _tell(line)
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=8)
            self._live.start()
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"))

    def result(self, result: dict[str, Any]) -> None:
        self.close()
        for name, text in _summary(result).items():
            self._show(Text.assemble((f"{name:<12}", "bold"), text))

    def _show(self, text: Text) -> None:
        if self._console.is_terminal:
            self._console.print(text)
        else:
            _tell(text.plain)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _tell(line: str) -> None:
    """Print a line; where its reader has gone (`| head`), training goes on and tells no more."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def json_line(event: str, values: dict[str, Any]) -> str:
    """Return an event as a line of JSON, as `to_json` does."""
    return to_json({"event": event} | values)


def to_json(values: dict[str, Any]) -> str:
    """Return values as one line of JSON, with null for NaN and infinity, which JSON has not."""
    return json.dumps(_without_nan(values), allow_nan=False)


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Return an epoch as a line: loss, validation score, rows a second, time left, best mark."""
    unit = "iteration" if epoch.rate is None else "epoch"
    rate = epoch.number * epoch.rows / max(epoch.seconds, 1e-9)
    left = (epochs - epoch.number) * epoch.seconds / epoch.number
    score = "" if epoch.score is None else f"  validation {epoch.score:.4f}"
    return (
        f"{unit} {epoch.number:{len(str(epochs))}}/{epochs}  loss {epoch.loss:.6f}{score}"
        f"  {rate:,.0f} rows/s  {left:.0f} s left{'  best' if score and epoch.best else ''}"
    )


def metrics_text(metrics: dict[str, float]) -> str:
    """Return metrics as "accuracy 0.9750, log loss 0.0901"."""
    return ", ".join(f"{_METRICS[name]} {value:.4f}" for name, value in metrics.items())


def _summary(result: dict[str, Any]) -> dict[str, str]:
    layers = "-".join(str(size) for size in result["layers"])
    dtype, precision = result["dtype"], result["precision"]
    numbers = dtype if precision == dtype else f"{dtype} with {precision} products"
    unit = "iterations" if result["solver"] == "lbfgs" else "epochs"
    rows = {
        "task": result["task"],
        "network": f"{layers}, {result['parameters']:,} parameters, {numbers}",
        "training": (
            f"{result['rows']:,} rows, {result['epochs']} {unit} in {result['seconds']:.2f} s, "
            f"{result['rows_per_second']:,.0f} rows/s on {result['device']}"
        ),
        "stopped by": result["stopped_by"].replace("_", " "),
        "train": metrics_text(result["train"]),
    }
    if result["test"]:
        rows["test"] = metrics_text(result["test"])
    if result["model"]:
        rows["model"] = result["model"]
    return rows
