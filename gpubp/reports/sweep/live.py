"""The progress of a sweep: a live table on a terminal, lines in a pipe, or lines of JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gpubp.reports.sweep.text import (
    BEST,
    metric_text,
    params_text,
    score_text,
    time_text,
    value_text,
)
from gpubp.reports.terminal import json_line, print_line

_INTERVAL = 2.0  # seconds between two lines in a pipe, unless a trial is the best so far


class SweepView(Protocol):
    """Shows the progress of a sweep."""

    def begin(self, n_trials: int, n_folds: int) -> None:
        """Note the number of trials and of folds."""

    def trial(self, params: Mapping[str, Any], score: float, *, resumed: bool = False) -> None:
        """Show a finished trial. resumed : whether it is of an earlier run."""

    def close(self) -> None:
        """Leave the terminal in order."""


@dataclass
class _Counts:
    """How many trials are finished, the best of them, and the time."""

    metric: str
    total: int = 0
    folds: int = 0
    finished: int = 0
    resumed: int = 0
    began: float = 0.0

    def begin(self, total: int, folds: int) -> None:
        self.total, self.folds, self.began = total, folds, monotonic()

    def count(self, resumed: bool) -> None:
        self.finished += 1
        self.resumed += resumed

    @property
    def seconds(self) -> float:
        return monotonic() - self.began

    @property
    def left(self) -> float | None:
        """About how many seconds the other trials will take; None if unknown."""
        own = self.finished - self.resumed
        return self.seconds / own * (self.total - self.finished) if own else None

    @property
    def text(self) -> str:
        text = f"{self.finished}/{self.total} trials, {time_text(self.seconds)} elapsed"
        return text if self.left is None else f"{text}, about {time_text(self.left)} left"


class TextSweepView:
    """A live table of the best trials on a terminal; lines on stderr in a pipe.

    quiet : whether to show nothing.
    """

    def __init__(self, metric: str, quiet: bool) -> None:
        self._quiet, self._counts = quiet, _Counts(metric)
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._best: list[tuple[float, int, Mapping[str, Any]]] = []
        self._printed = -math.inf

    def begin(self, n_trials: int, n_folds: int) -> None:
        self._counts.begin(n_trials, n_folds)
        if self._quiet:
            return
        if not self._console.is_terminal:
            self._console.print(f"{n_trials} trials, {n_folds} folds each")
            return
        self._live = Live(
            console=self._console,
            get_renderable=self._rendered,
            refresh_per_second=4,
            transient=True,
        )
        self._live.start()

    def trial(self, params: Mapping[str, Any], score: float, *, resumed: bool = False) -> None:
        counts = self._counts
        counts.count(resumed)
        if math.isfinite(score):
            self._best.append((score, counts.finished, params))
            self._best.sort(key=lambda each: (-each[0], each[1]))
            del self._best[BEST:]
        is_best = bool(self._best) and self._best[0][1] == counts.finished
        if not self._quiet and self._live is None and not resumed:
            self._print(params, score, is_best)

    def _print(self, params: Mapping[str, Any], score: float, is_best: bool) -> None:
        now, counts = monotonic(), self._counts
        due = now - self._printed >= _INTERVAL or counts.finished == counts.total
        if not is_best and not due:
            return
        self._printed = now
        mark = "  best" * is_best
        line = f"{counts.text}  {metric_text(counts.metric)} {score_text(score)}{mark}: "
        self._console.print(Text(line + params_text(params)), soft_wrap=True)

    def _rendered(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        names = sorted(self._best[0][2]) if self._best else []
        for head in ("", metric_text(self._counts.metric), *names):
            table.add_column(head, justify="right", no_wrap=True, overflow="ellipsis")
        for place, (score, _, params) in enumerate(self._best, start=1):
            values = (value_text(params[name]) for name in names)
            table.add_row(str(place), score_text(score), *values)
        return Group(Text(self._counts.text, style="bold"), table)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class JsonSweepView:
    """A JSON object "progress" on stdout for each finished trial. quiet : print none."""

    def __init__(self, metric: str, quiet: bool) -> None:
        self._quiet, self._counts = quiet, _Counts(metric)
        self._best = -math.inf

    def begin(self, n_trials: int, n_folds: int) -> None:
        self._counts.begin(n_trials, n_folds)

    def trial(self, params: Mapping[str, Any], score: float, *, resumed: bool = False) -> None:
        counts = self._counts
        counts.count(resumed)
        self._best = max(self._best, score) if math.isfinite(score) else self._best
        if self._quiet:
            return
        values = {
            "finished": counts.finished,
            "trials": counts.total,
            "parameters": dict(params),
            "score": score,
            "best": self._best,
            "seconds": counts.seconds,
        }
        print_line(json_line("progress", values))

    def close(self) -> None:
        pass
