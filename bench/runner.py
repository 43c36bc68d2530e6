"""Runs the cases of a suite in rounds (A B C, A B C), each time in a fresh process."""

from __future__ import annotations

import math
import os
import statistics
import sys
import sysconfig
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import gpubp
from gpubp.bench.isolation import NO_TIME, isolated_row
from gpubp.bench.machine import KERNEL_VARIABLES, THREAD_VARIABLES, machine
from gpubp.bench.ratios import with_figures
from gpubp.bench.results import Part, Row, load, merge, named_row, save
from gpubp.bench.suite import Suite
from gpubp.bench.usage import BUSY_CORES

# Without -P, modules in the current folder would hide installed ones.
CHILD = (sys.executable, "-P", "-m", "gpubp.bench.measurement")
Key = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """A suite and the settings of its run.

    threads : cores of each process. keep_env : whether to keep variables that change kernels.
    device : the device that the results describe. ceilings : rows of this device's ceilings.
    until : the `time.monotonic` at which the time for all cases ends.
    """

    suite: Suite
    threads: int
    keep_env: bool = False
    device: str = "cpu"
    ceilings: tuple[Row, ...] = ()
    until: float = math.inf

    @property
    def settings(self) -> dict[str, Any]:
        """The part of the plan that the results file keeps."""
        suite = asdict(self.suite) | {"cases": [case.values() for case in self.suite.cases]}
        return {"suite": suite, "threads": self.threads, "keep_env": self.keep_env}


@dataclass(frozen=True)
class Progress:
    """The progress of a run after a measurement.

    done, total : number of measurements. round : number of the round, from 1.
    row : the row of all rounds so far. left : estimated seconds left.
    """

    done: int
    total: int
    round: int
    row: Row
    left: float


class ResumeError(ValueError):
    """A run cannot be resumed from a results file."""


class Run:
    """A run of a plan; its results file ``path`` is complete after every measurement."""

    def __init__(self, plan: Plan, path: Path) -> None:
        self._plan, self._path = plan, path
        self._rows: dict[Key, Row] = {}
        self._unavailable: dict[tuple[str, ...], str] = {}
        self._spent: dict[Key, list[float]] = {}
        self._begun, self._before = monotonic(), 0.0
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._machine = machine(plan.device) | {"unset": unset_variables(plan.keep_env)}

    def resume(self) -> int:
        """Load the measurements in the file; return their number.

        Raises
        ------
        ResumeError
            If the results in the file are of another plan or machine.
        """
        part = load(self._path).get(self._plan.suite.name)
        if part is None:
            return 0
        if why := _difference(self._plan.settings | self._machine, part.settings | part.machine):
            raise ResumeError(
                f"{str(self._path)!r} has results of {why}; make it the same, or give another "
                "file with -o, or start again without --resume"
            )
        # A peer that was skipped may be installed now.
        kept = [row for row in part.rows if row.status != "skipped"]
        self._rows = {(row.case, row.peer): row for row in kept}
        self._started, self._before = part.started, part.seconds
        return self._total() - len(list(self._open()))

    def is_begun(self) -> bool:
        """Return whether the file has an unfinished run of this plan."""
        try:
            return 0 < type(self)(self._plan, self._path).resume() < self._total()
        except ResumeError:
            return False

    def measure(self) -> Generator[Progress, None, None]:
        """Make all missing measurements; yield after each, when the file contains it."""
        total = self._total()
        for number, case in self._open():
            begun = monotonic()
            row = self._measured(case, number)
            self._spent.setdefault(case.key, []).append(monotonic() - begun)
            self._rows[case.key] = _merged(self._rows.get(case.key), row, number)
            part = self.part()
            save(merge(load(self._path), {self._plan.suite.name: part}), self._path)
            left = list(self._open())
            row = next(row for row in part.rows if (row.case, row.peer) == case.key)
            yield Progress(total - len(left), total, number, row, self._estimate(left))

    def part(self) -> Part:
        """Return the results so far."""
        seconds, rows = self._before + monotonic() - self._begun, tuple(self._with_figures())
        return Part(self._machine, self._started, seconds, rows, self._plan.settings)

    def _with_figures(self) -> list[Row]:
        """Return the rows so far in the order of the cases, with figures that follow from them."""
        suite = self._plan.suite
        return with_figures(suite.cases, self._rows, suite.baseline, self._plan.ceilings)

    def _command(self, case: Any, number: int) -> list[str]:
        """Return the command whose process measures ``case`` in round ``number``."""
        return [*CHILD, case.to_json(), str(self._plan.threads)]

    def _measured(self, case: Any, number: int) -> Row:
        where = case.needs
        if where in self._unavailable:
            return Row(case.name, case.peer, "skipped", self._unavailable[where])
        name, left = f"{case.peer}/{case.name}", self._plan.until - monotonic()
        if left <= 0:
            return named_row(name, "failed", NO_TIME)
        row = isolated_row(
            self._command(case, number),
            name,
            seconds=min(self._plan.suite.timeout, left),
            environment=environment(self._plan.threads, self._plan.keep_env),
        )
        if row.status == "skipped":
            self._unavailable[where] = row.reason
        return row

    def _open(self) -> Iterator[tuple[int, Any]]:
        """Yield the round and the case of each missing measurement."""
        for number in range(1, self._plan.suite.rounds + 1):
            for case in self._plan.suite.cases:
                row = self._rows.get(case.key)
                if row is None or (row.status == "ok" and len(row.rounds) < number):
                    yield number, case

    def _total(self) -> int:
        return len(self._plan.suite.cases) * self._plan.suite.rounds

    def _estimate(self, left: list[tuple[int, Any]]) -> float:
        """Estimate the seconds of ``left`` from earlier rounds of the same or of all cases."""
        mean = statistics.fmean(statistics.fmean(times) for times in self._spent.values())
        return sum(statistics.fmean(self._spent.get(case.key, [mean])) for _, case in left)


def _merged(old: Row | None, new: Row, number: int) -> Row:
    """Return the row of all rounds so far; ``new`` is the row of round ``number``."""
    if new.status != "ok":
        return new if number == 1 else replace(new, reason=f"round {number}: {new.reason}")
    disturbed = float(new.figures.get("other_cores", 0.0) > BUSY_CORES)
    if old is None:
        return replace(new, figures=new.figures | {"disturbed_rounds": disturbed})
    figures = dict(new.figures)
    largest = ("peak_bytes", "predict_peak_bytes", "other_cores")
    for name, better in (*((name, max) for name in largest), ("bytes_us", min)):
        if name in figures:
            figures[name] = better(old.figures[name], figures[name])
    figures["disturbed_rounds"] = old.figures["disturbed_rounds"] + disturbed
    by_round = {name: old.by_round.get(name, ()) + of for name, of in new.by_round.items()}
    return replace(new, figures=figures, rounds=old.rounds + new.rounds, by_round=by_round)


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return the difference in settings or machine that prevents resuming; "" if there is none.

    Rounds, timeout and baseline may differ.
    """
    if ours["suite"]["cases"] != theirs["suite"]["cases"]:
        return "another plan: its cases differ, so its suite or --peers did"
    if ours["keep_env"] != theirs["keep_env"]:
        return f"another plan: {'with' if theirs['keep_env'] else 'without'} --keep-env"
    for what, name in (
        *(("plan", "threads"), ("machine", "cpu"), ("machine", "cores")),
        *(("version", "gpubp"), ("version", "python")),
    ):
        if ours[name] != theirs[name]:
            return f"another {what}: {name} {theirs[name]}, and now {ours[name]}"
    before, now = theirs["packages"], ours["packages"]
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) != now.get(name):
            was, is_now = (found.get(name, "not installed") for found in (before, now))
            return f"another version: {name} {was}, and now {is_now}"
    return ""


def unset_variables(keep_env: bool) -> dict[str, str]:
    """Return the variables that change the kernels of BLAS and are unset for every peer."""
    if keep_env:
        return {}
    return {name: os.environ[name] for name in KERNEL_VARIABLES if name in os.environ}


def environment(threads: int, keep_env: bool) -> dict[str, str]:
    """Return the environment variables of a measuring process."""
    variables = {k: v for k, v in os.environ.items() if keep_env or k not in KERNEL_VARIABLES}
    variables |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    # A checkout that is not installed has to be importable from any folder.
    root = str(Path(gpubp.__file__).parents[1])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        path = [root, *filter(None, [variables.get("PYTHONPATH")])]
        variables["PYTHONPATH"] = os.pathsep.join(path)
    return variables
