"""`python -m gpubp.bench.gpu [PART]`: the CUDA path, proven and timed.

Runs from a bare checkout without a network. Prints a line as each row is measured and keeps all of
them in one file of the folder `--out`.
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

from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.bench import runner
from gpubp.bench.cases import Case
from gpubp.bench.isolation import isolated_rows, logged_rows
from gpubp.bench.machine import cores, machine, slug
from gpubp.bench.peers import PEERS
from gpubp.bench.report import table
from gpubp.bench.results import Part, Results, Row, load, merge, row_name, save
from gpubp.bench.suite import Suite, read_suite


class Measurement(NamedTuple):
    """The module of the rows, the function that runs them, and the longest time of a row."""

    module: str
    isolated: Callable[..., Generator[Row, None, None]] = isolated_rows
    row_seconds: float = 150.0


MEASUREMENTS = {
    "first": Measurement("gpubp.bench.first_device", logged_rows, 40.0),
    "ceilings": Measurement("gpubp.bench.ceilings"),
    "kernels": Measurement("gpubp.bench.kernel_twins"),
    "train": Measurement("gpubp.bench.trainings"),
}
STEPS = "gpu-steps"  # the suite of the others
PEERS_OF = {"speed": (Row.peer,), "peers": tuple(PEERS)}


class Asked(NamedTuple):
    """What PART stands for: its longest time, and the names of its measurements.

    Floors need the ceilings, so these come before speeds.
    """

    minutes: float
    names: tuple[str, ...]


# The first three take under 6 minutes, the last fits into a command of 10.
PARTS = {
    "first": Asked(2.0, ("first", "ceilings")),
    "kernels": Asked(2.0, ("kernels",)),
    "train": Asked(1.75, ("train",)),
    "speed": Asked(4.0, ("ceilings", "speed")),
    "peers": Asked(9.0, ("ceilings", "peers")),
}
MINUTES = ", ".join(f"{name} {part.minutes:g}" for name, part in PARTS.items())
REHEARSAL_ROWS = 100_000  # at most, on the CPU
LOG_CHARACTERS = 2000  # of a log that stay in its row
Show = Callable[[str], None]


@click.command()
@click.argument("choice", type=click.Choice([*PARTS, "all"]), default="all", metavar="[PART]")
@click.option("--device", default="cuda", show_default=True, help="cuda, cuda:N, or cpu.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    show_default=MINUTES,
    help="Longest time of PART; all shares it among its parts.",
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
    help="Measure nothing: copy the parts of this file into that of the same name in --out.",
)
def gpu(choice: str, device: str, minutes: float | None, folder: Path, other: Path | None) -> int:
    """Prove and time the CUDA path; PART is first, kernels, train, speed, peers or all.

    On the device cpu it is a rehearsal of what a CPU can compute. Exit code 1 says that a row
    failed.
    """
    begun = monotonic()
    if other is not None:
        return merge_file(other, folder / other.name)
    get_backend(device)  # raises where there is none
    facts = machine(device)
    name = facts["device"]["name"]
    path = folder / ("rehearsal-cpu.json" if device == "cpu" else f"gpu-{slug(name)}.json")
    run = Run(device, facts, path, load(path))
    click.echo(f"{name}, {facts['packages']}, results in {path}")
    if device == "cpu":
        click.echo("A rehearsal on the CPU: none of its figures is a GPU's.")
    for part, until in deadlines(choice, minutes, begun).items():
        run.measure(part, until)
    if "peers" in run.measured:
        click.echo(table(run.results["peers"]))
    failed = [row for name in run.measured for row in run.results[name].rows if _failed(row)]
    click.echo(f"\n{len(failed)} rows failed" + "".join(f"\n{line(row)}" for row in failed))
    return int(bool(failed))


def merge_file(source: Path, target: Path) -> int:
    """Copy the parts of one results file into another, where they replace those of their names."""
    parts = load(source)
    if unknown := sorted(set(parts) - set(MEASUREMENTS)):
        raise ValueError(
            f"{str(source)!r} has {unknown[0]!r}, which is no part of this command; give a file "
            "that it has written"
        )
    save(merge(load(target), parts), target)
    click.echo(f"{', '.join(parts)} of {source} copied into {target}")
    return 0


def _failed(row: Row) -> bool:
    return row.status == "failed"


def deadlines(choice: str, minutes: float | None, begun: float) -> dict[str, float]:
    """Return the `time.monotonic` at which the time of each part of ``choice`` is up.

    minutes : of all of them together, shared in proportion to their defaults; None takes these.
        The next part also has the time that one leaves over.
    """
    names = list(PARTS) if choice == "all" else [choice]
    ends = list(accumulate(PARTS[name].minutes for name in names))
    scale = 60 * (1 if minutes is None else minutes / ends[-1])
    return {name: begun + scale * end for name, end in zip(names, ends, strict=True)}


@dataclass
class Run:
    """One run of the command.

    facts : of the machine. path : of the results, which hold those of earlier runs too.
    measured : the names of the measurements of this run so far.
    """

    device: str
    facts: dict[str, Any]
    path: Path
    results: Results
    show: Show = click.echo
    measured: list[str] = field(default_factory=list)

    def measure(self, part: str, until: float) -> None:
        """Make the measurements of ``part``, which end at the `time.monotonic` ``until``."""
        for name in PARTS[part].names:
            if name == "ceilings" and part != "first" and self._has_ceilings():
                self.show(f"\nceilings: those of {self.results[name].started} in the file")
            elif name in PEERS_OF:
                self.cases(name, until)
            else:
                self.rows(name, MEASUREMENTS[name], until)

    def _has_ceilings(self) -> bool:
        """Whether ceilings of this device are known, or were not to be had in this run."""
        known = self.results.get("ceilings")
        if known is None or known.machine["device"] != self.facts["device"]:
            return False
        return "ceilings" in self.measured or not any(map(_failed, known.rows))

    def rows(self, name: str, measurement: Measurement, until: float) -> None:
        """Measure all rows of ``name``. The file has what was measured so far after each row."""
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
        """Measure the cases of the suite that ``name`` stands for, as `gpubp bench` does."""
        begun, suite = monotonic(), steps_suite(name, self.device)
        ceilings = self.results["ceilings"].rows if "ceilings" in self.results else ()
        # One thread on the CPU: a rehearsal shares the machine.
        threads = 1 if self.device == "cpu" else cores()
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
    """Return the suite of "speed" or "peers" on ``device``, peer by peer.

    On the CPU it is a rehearsal: a few epochs of what a CPU can compute.
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
    """Return ``row`` with the end of its log; the whole of a longer one is added to ``path``."""
    if len(row.log) <= LOG_CHARACTERS:
        return row
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"==== {row_name(row)}\n{row.log}\n")
    return replace(row, log=f"[the whole is in {path.name}] {row.log[-LOG_CHARACTERS:]}")


def line(row: Row) -> str:
    """Return a row as a line for a person."""
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
