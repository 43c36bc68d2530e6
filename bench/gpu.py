"""`python -m gpubp.bench.gpu [PART]`: the CUDA path, proven and timed.

Runs from a bare checkout without a network. Prints a line as each row is measured and keeps all of
them in one file of the folder `--out`.
"""

from __future__ import annotations

import re
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

from gpubp.backend import BackendUnavailableError, get_backend
from gpubp.bench.isolation import isolated_rows, logged_rows
from gpubp.bench.machine import machine
from gpubp.bench.results import Part, Results, Row, find, load, merge, row_name, save
from gpubp.bench.throughput import compared, with_floor


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
    "speed": Measurement("gpubp.bench.speed"),
    "peers": Measurement("gpubp.bench.throughput"),
}


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

    On the device cpu it is a rehearsal. Exit code 1 says that a row failed.
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
        click.echo(table(run.results["peers"].rows))
    failed = [row for name in run.measured for row in run.results[name].rows if _failed(row)]
    click.echo(f"\n{len(failed)} rows failed" + "".join(f"\n{line(row)}" for row in failed))
    return int(bool(failed))


def merge_file(source: Path, target: Path) -> int:
    """Copy the parts of one results file into another, where they replace those of their names."""
    parts = load(source)
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
        ceilings = self.results["ceilings"].rows if "ceilings" in self.results else ()
        logs = self.path.with_name(f"{self.path.stem}-{name}.log")
        logs.unlink(missing_ok=True)
        self.measured.append(name)
        self.show(f"\n{name}: {len(names)} rows, {max(0.0, until - begun):.0f} s at most")
        done: list[Row] = []
        limits = {"row_seconds": row_seconds, "until": until}
        with closing(isolated(module, self.device, names, **limits)) as rows:
            for row in rows:
                timed = compared(with_floor(row, ceilings), find(done, row.case))
                done.append(with_short_log(timed, logs))
                self.show(line(done[-1]))
                part = Part(self.facts, started, monotonic() - begun, tuple(done))
                self.results = merge(self.results, {name: part})
                save(self.results, self.path)
        self.show(f"{name}: {monotonic() - begun:.0f} s")


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
    return f"  {row_name(row):<50} {row.status:<8}{'; '.join(filter(None, _told(row)))}"


def _told(row: Row) -> Iterable[str]:
    figures = row.figures
    if "us_per_step" in figures and row.timing is not None:
        yield f"{figures['us_per_step']:.2f} us/step, spread {row.timing.spread:.1%}"
        yield f"{figures['rows_per_second']:,.0f} rows/s, loss {row.losses[0]:.5g}"
        yield f"{figures['of_floor']:.0%} of the floor" if "of_floor" in figures else ""
        speedup = figures.get("gpubp_speedup")
        yield f"gpubp is {speedup:.2f} times as fast" if speedup else ""
    else:
        yield ", ".join(f"{key.replace('_', ' ')} {value:.6g}" for key, value in figures.items())
    yield ", ".join(f"{name} {text}" for name, text in row.notes.items())
    yield row.reason


def table(rows: Iterable[Row]) -> str:
    """Return us/step by workload and peer as text, each peer's with gpubp's speed over it."""
    rows = [row for row in rows if "us_per_step" in row.figures]
    peers = list(dict.fromkeys(row.peer for row in rows))
    lines = ["", f"{'us/step (gpubp times as fast)':<38}" + "".join(f"{p:>18}" for p in peers)]
    for case in dict.fromkeys(row.case for row in rows):
        found = (find(rows, case, peer) for peer in peers)
        lines.append(f"{case:<38}" + "".join(f"{_cell(row):>18}" for row in found))
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    speedup = row.figures.get("gpubp_speedup")
    return f"{row.figures['us_per_step']:.2f}" + (f" ({speedup:.2f}x)" if speedup else "")


def slug(name: str) -> str:
    """Return ``name`` as a part of a file name: "NVIDIA H100 80GB" is "nvidia-h100-80gb"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


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
