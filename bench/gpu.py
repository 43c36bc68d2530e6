"""`python -m gpubp.bench.gpu [PART]`: checks and times the CUDA path.

Runs from a checkout that need not be installed, without network. Prints a line for each measured
row, and writes all rows to one file in the folder `--out`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import click

from gpubp.backends.blas_threads import usable_cores
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.bench import runner
from gpubp.bench.cases import Case
from gpubp.bench.isolation import isolated_rows, logged_rows
from gpubp.bench.machine import machine, slug
from gpubp.bench.peers import PEERS
from gpubp.bench.report import table
from gpubp.bench.results import Part, Results, Row, load, make_folder_of, merge, row_name, save
from gpubp.bench.suite import Suite, read_suite
from gpubp.storage.atomic_file import check_writable


class Measurement(NamedTuple):
    """The module of the rows, the function that runs them, and the time limit of a row."""

    module: str
    isolated: Callable[..., Generator[Row, None, None]] = isolated_rows
    row_seconds: float = 150.0


MEASUREMENTS = {
    "first": Measurement("gpubp.bench.first_device", logged_rows, 40.0),
    "ceilings": Measurement("gpubp.bench.ceilings"),
    "kernels": Measurement("gpubp.bench.kernel_twins"),
    "train": Measurement("gpubp.bench.trainings"),
}
STEPS = "gpu-steps"  # the suite of the other parts
PEERS_OF = {"speed": (Row.peer,), "peers": tuple(PEERS)}


class Asked(NamedTuple):
    """A part of the benchmark: its time limit, and the names of its measurements.

    Ceilings come before speeds, because floors are computed from them.
    """

    minutes: float
    names: tuple[str, ...]


# The first three together take less than 6 minutes; the last, less than 10 minutes.
PARTS = {
    "first": Asked(2.0, ("first", "ceilings")),
    "kernels": Asked(2.0, ("kernels",)),
    "train": Asked(1.75, ("train",)),
    "speed": Asked(4.0, ("ceilings", "speed")),
    "peers": Asked(9.0, ("ceilings", "peers")),
}
MINUTES = ", ".join(f"{name} {part.minutes:g}" for name, part in PARTS.items())
REHEARSAL_ROWS = 100_000  # largest number of rows of a rehearsal on the CPU
LOG_CHARACTERS = 2000  # number of last characters of a log that its row keeps
Show = Callable[[str], None]


@click.command()
@click.argument("choice", type=click.Choice([*PARTS, "all"]), default="all", metavar="[PART]")
@click.option("--device", default="cuda", show_default=True, help="cuda, cuda:N, or cpu.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    show_default=MINUTES,
    help="Time limit of PART; with all, shared among the parts.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench/results"),
    show_default=True,
    help="Folder of the JSON file.",
)
@click.option(
    "--merge",
    "other",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing; copy the parts of this file into the file of the same name in --out.",
)
def gpu(choice: str, device: str, minutes: float | None, folder: Path, other: Path | None) -> int:
    """Check and time the CUDA path; PART is first, kernels, train, speed, peers or all.

    With --device cpu, it is a rehearsal of the rows that a CPU can compute. The exit code is 1 if a
    row failed.
    """
    begun = monotonic()
    if other is not None:
        return merge_file(other, folder / other.name)
    get_backend(device)  # raises BackendUnavailableError
    facts = machine(device)
    name = facts["device"]["name"]
    path = folder / ("rehearsal-cpu.json" if device == "cpu" else f"gpu-{slug(name)}.json")
    make_folder_of(path)
    check_writable(path)  # before minutes of measuring
    run = Run(device, facts, path, load(path))
    click.echo(f"{name}, {facts['packages']}, results in {path}")
    if device == "cpu":
        click.echo("This is a rehearsal on the CPU; no figure is from a GPU.")
    for part, until in deadlines(choice, minutes, begun).items():
        run.measure(part, until)
    if "peers" in run.measured:
        click.echo(table(run.results["peers"]))
    failed = [row for name in run.measured for row in run.results[name].rows if _failed(row)]
    click.echo(f"\n{len(failed)} rows failed" + "".join(f"\n{line(row)}" for row in failed))
    return int(bool(failed))


def merge_file(source: Path, target: Path) -> int:
    """Copy the parts of ``source`` into ``target``; they replace parts with the same names."""
    parts = load(source)
    if unknown := sorted(set(parts) - set(MEASUREMENTS)):
        raise ValueError(
            f"{str(source)!r} has {unknown[0]!r}, which is not a part of this command; give a file "
            "that this command has written"
        )
    save(merge(load(target), parts), target)
    click.echo(f"{', '.join(parts)} of {source} copied into {target}")
    return 0


def _failed(row: Row) -> bool:
    return row.status == "failed"


def deadlines(choice: str, minutes: float | None, begun: float) -> dict[str, float]:
    """Return the `time.monotonic` at which the time of each part of ``choice`` ends.

    minutes : of all parts together, shared in proportion to their defaults; None for the defaults.
        A part also has the time that earlier parts did not use.
    begun : the `time.monotonic` of the start.
    """
    names = list(PARTS) if choice == "all" else [choice]
    ends = list(accumulate(PARTS[name].minutes for name in names))
    scale = 60 * (1 if minutes is None else minutes / ends[-1])
    return {name: begun + scale * end for name, end in zip(names, ends, strict=True)}


@dataclass
class Run:
    """One run of the command.

    facts : properties of the machine. path : of the results file, which may have earlier runs, too.
    show : prints a line. measured : the names of the measurements of this run so far.
    """

    device: str
    facts: dict[str, Any]
    path: Path
    results: Results
    show: Show = click.echo
    measured: list[str] = field(default_factory=list)

    def measure(self, part: str, until: float) -> None:
        """Make the measurements of ``part``; ``until`` is the `time.monotonic` of their end."""
        for name in PARTS[part].names:
            if name == "ceilings" and part != "first" and self._has_ceilings():
                self.show(f"\nceilings: those of {self.results[name].started} in the file")
            elif name in PEERS_OF:
                self.cases(name, until)
            else:
                self.rows(name, MEASUREMENTS[name], until)

    def _has_ceilings(self) -> bool:
        """Return whether the ceilings of this device are known, or this run has tried them."""
        known = self.results.get("ceilings")
        if known is None or known.machine["device"] != self.facts["device"]:
            return False
        return "ceilings" in self.measured or not any(map(_failed, known.rows))

    def rows(self, name: str, measurement: Measurement, until: float) -> None:
        """Measure all rows of ``name``, and write the results file after each row."""
        module, isolated, row_seconds = measurement
        begun, started = monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        names = list(import_module(module).rows(self.device))
        logs = self.path.with_name(f"{self.path.stem}-{name}.log")
        logs.unlink(missing_ok=True)
        self._begin(name, len(names), until - begun)
        done: list[Row] = []
        limits = {"row_seconds": row_seconds, "until": until}
        with closing(isolated(module, self.device, names, **limits)) as rows:
            for row in rows:
                done.append(with_short_log(row, logs))
                self.show(line(done[-1]))
                part = Part(self.facts, started, monotonic() - begun, tuple(done))
                self.results = merge(self.results, {name: part})
                save(self.results, self.path)
        self.show(f"{name}: {monotonic() - begun:.0f} s")

    def cases(self, name: str, until: float) -> None:
        """Measure the cases of the suite of ``name``, as `gpubp bench` does."""
        begun, suite = monotonic(), steps_suite(name, self.device)
        ceilings = self.results["ceilings"].rows if "ceilings" in self.results else ()
        # One thread on the CPU, because other programs may run during a rehearsal.
        threads = 1 if self.device == "cpu" else usable_cores()
        plan = runner.Plan(suite, threads, device=self.device, ceilings=ceilings, until=until)
        self._begin(name, len(suite.cases), until - begun)
        with closing(runner.Run(plan, self.path).measure()) as measured:
            for progress in measured:
                self.show(line(progress.row))
        self.results = load(self.path)
        self.show(f"{name}: {monotonic() - begun:.0f} s")

    def _begin(self, name: str, rows: int, seconds: float) -> None:
        self.measured.append(name)
        self.show(f"\n{name}: {rows} rows, {max(0.0, seconds):.0f} s at most")


def steps_suite(name: str, device: str) -> Suite:
    """Return the suite of "speed" or "peers" on ``device``, ordered by peer.

    On the CPU it is a rehearsal: few epochs of the cases that a CPU can compute.
    """
    suite, order = read_suite(STEPS), list(PEERS)
    cases = [case for case in suite.cases if case.peer in PEERS_OF[name]]
    if device == "cpu":
        cases = [_rehearsed(c) for c in cases if c.precision == "float32"]
    cases = [case.on(device) for case in cases]
    return replace(suite, name=name, cases=tuple(sorted(cases, key=lambda c: order.index(c.peer))))


def _rehearsed(case: Case) -> Case:
    rows = min(case.rows, REHEARSAL_ROWS)
    return replace(case, rows=rows, batch=min(case.batch, rows), epochs=2, seconds=1e-9)


def with_short_log(row: Row, path: Path) -> Row:
    """Return ``row`` with the end of its log; append the full text of a longer log to ``path``."""
    if len(row.log) <= LOG_CHARACTERS:
        return row
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"==== {row_name(row)}\n{row.log}\n")
    return replace(row, log=f"[full log in {path.name}] {row.log[-LOG_CHARACTERS:]}")


def line(row: Row) -> str:
    """Return a row as a line of text."""
    return f"  {row_name(row):<66} {row.status:<8}{'; '.join(filter(None, _told(row)))}"


def _told(row: Row) -> Iterable[str]:
    figures = row.figures
    if "us_per_step" in figures and row.timing is not None:
        yield f"{figures['us_per_step']:.2f} us/step, spread {row.timing.spread:.1%}"
        yield f"{figures['rows_per_second']:,.0f} rows/s, loss {row.losses[0]:.5g}"
        yield f"{figures['of_floor']:.0%} of the floor" if "of_floor" in figures else ""
        yield f"gpubp is {1 / figures['ratio']:.2f} times as fast" if "ratio" in figures else ""
    else:
        yield ", ".join(f"{key.replace('_', ' ')} {value:.6g}" for key, value in figures.items())
    yield ", ".join(f"{name} {text}" for name, text in row.notes.items())
    yield row.reason
    yield row.not_compared


def main(args: list[str] | None = None) -> int:
    """Run the command; return 0, 1 for a failure, 2 for usage or no device, or 130."""
    try:
        code = gpu.main(args, prog_name="python -m gpubp.bench.gpu", standalone_mode=False)
    except click.Abort:
        return _tell("interrupted; what was measured is in the file", 130)
    except click.ClickException as error:
        return _tell(error.format_message(), error.exit_code)
    except BackendUnavailableError as error:
        return _tell(str(error), 2)
    except (OSError, ValueError) as error:
        return _tell(str(error), 1)
    return int(code or 0)


def _tell(message: str, code: int) -> int:
    click.secho(f"Error: {message}", fg="red", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
