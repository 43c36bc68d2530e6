"""The output of a comparison of searches in the terminal: text, or lines of JSON."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gpubp.explain.search.comparison import Comparison, extrapolate
from gpubp.explain.search.methods import Run
from gpubp.explain.search.text import TITLES, cost_text, human_count, sentences, text_lines
from gpubp.reports.terminal import json_line


class TextSearchReport:
    """A live line on a terminal while a method works; the report at the end."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), transient=True, auto_refresh=False)

    def progress(self, run: Run) -> None:
        """Show the state of a running method."""
        if not self._live.console.is_terminal:
            return
        self._live.start()
        line = (
            f"{TITLES[run.method]}  {run.evaluations:,} evaluations  "
            f"{human_count(run.rate)}/s  {run.seconds:.1f} s  best cost {cost_text(run.cost)}"
        )
        self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def finished(self, run: Run) -> None:
        """Show the end state of a method."""
        self.progress(run)

    def result(self, comparison: Comparison) -> None:
        """Print the report."""
        self.close()
        console = Console(highlight=False, soft_wrap=True)
        for style, line in text_lines(comparison):
            console.print(Text(line, style=style))

    def close(self) -> None:
        """Leave the terminal in order."""
        self._live.stop()


class JsonSearchReport:
    """JSON objects on stdout, one per line: "progress", "method" at its end, "result"."""

    def progress(self, run: Run) -> None:
        """Print the state of a running method."""
        print(json_line("progress", _progress(run)), flush=True)

    def finished(self, run: Run) -> None:
        """Print the results of a method."""
        print(json_line("method", method_values(run)), flush=True)

    def result(self, comparison: Comparison) -> None:
        """Print the result of the comparison."""
        print(json_line("result", result_values(comparison)), flush=True)

    def close(self) -> None:
        """Do nothing: every line is whole."""


def _progress(run: Run) -> dict[str, Any]:
    return {
        "method": run.method,
        "evaluations": run.evaluations,
        "seconds": run.seconds,
        "cost": run.cost,
    }


def method_values(run: Run) -> dict[str, Any]:
    """Return a run for JSON; each point of its curve is [evaluations, seconds, cost]."""
    values = _progress(run) | {
        "evaluations_per_second": run.rate,
        "stopped_by": run.stopped_by,
        "device": run.device,
        "weights": None if run.weights is None else run.weights.tolist(),
        "curve": [[p.evaluations, p.seconds, p.cost] for p in run.curve],
    }
    if run.method == "one_at_a_time":
        values["sweeps"] = run.sweeps
    if run.method == "combinations":
        values |= {"values": run.values, "combinations": run.combinations}
    if run.method == "backprop":
        values["steps_to_cost_of"] = {m: steps for m, (steps, _) in run.reached.items()}
    return values


def result_values(comparison: Comparison) -> dict[str, Any]:
    """Return the settings and the findings of a comparison for JSON."""
    example, settings = comparison.example, comparison.settings
    one, escape = comparison.run("one_at_a_time"), comparison.escape
    stalled = one is not None and one.stopped_by == "stalled"
    rate = comparison.rate
    return {
        "example": example.name,
        "weights": example.network.n_parameters,
        "rows": len(example.X),
        "range": [settings.low, settings.high],
        "values": settings.values,
        "seed": settings.seed,
        "device": comparison.device,
        "dtype": settings.dtype,
        "population": comparison.size,
        "budget": settings.budget._asdict(),
        "interrupted": comparison.interrupted,
        "costs": {run.method: run.cost for run in comparison.runs},
        "stall": {
            "cost": one.cost,
            "sweeps": one.sweeps,
            "evaluations": one.evaluations,
            "backprop_from_there": escape and escape.cost,
        }
        if one is not None and stalled
        else None,
        "evaluations_per_second": rate,
        "extrapolation": [e._asdict() for e in extrapolate(rate) if rate],
        "sentences": list(sentences(comparison)),
    }
