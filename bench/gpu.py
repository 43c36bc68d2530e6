"""`python -m gpubp.bench.gpu [kernels|train|peers|all]`: the CUDA path, proven and timed.

Runs from a bare checkout without a network. Prints a line as each row is measured and keeps all of
them in one file of bench/results/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

import click

from gpubp.backend import BackendUnavailableError, get_backend
from gpubp.bench.isolation import isolated_rows
from gpubp.bench.machine import machine
from gpubp.bench.results import Part, Results, Row, find, load, merge, row_name, save
from gpubp.bench.throughput import compared, with_floor

MODULES = {
    "ceilings": "gpubp.bench.ceilings",
    "kernels": "gpubp.bench.kernel_twins",
    "train": "gpubp.bench.trainings",
    "inference": "gpubp.bench.inference",
    "peers": "gpubp.bench.throughput",
}
# Floors need the ceilings of the same run, so these come first.
CHOICES = {
    "kernels": ("ceilings", "kernels"),
    "train": ("ceilings", "train", "inference"),
    "peers": ("ceilings", "peers"),
    "all": tuple(MODULES),
}
ROW_SECONDS = 150.0
Show = Callable[[str], None]


@click.command()
@click.argument("choice", type=click.Choice(list(CHOICES)), default="all", metavar="[PART]")
@click.option("--device", default="cuda", show_default=True, help="cuda or cuda:N.")
@click.option("--minutes", default=7.5, show_default=True, help="Longest time of each part.")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench/results"),
    show_default=True,
    help="Folder of the JSON file.",
)
def gpu(choice: str, device: str, minutes: float, folder: Path) -> int:
    """Prove and time the CUDA path; PART is kernels, train, peers or all.

    Exit code 1 says that a row failed.
    """
    if device == "cpu":
        raise click.BadParameter("measures CUDA devices; use cuda or cuda:N", param_hint="--device")
    get_backend(device)  # raises where there is none
    facts = machine(device)
    path = folder / f"gpu-{slug(facts['device']['name'])}.json"
    results = load(path)
    click.echo(f"{facts['device']['name']}, {facts['packages']}, results in {path}")
    for name in CHOICES[choice]:
        results = run_part(name, MODULES[name], device, facts, results, path, minutes)
    if "peers" in CHOICES[choice]:
        click.echo(table(results["peers"].rows))
    failed = [row for name in CHOICES[choice] for row in results[name].rows if _failed(row)]
    click.echo(f"\n{len(failed)} rows failed" + "".join(f"\n{line(row)}" for row in failed))
    return int(bool(failed))


def _failed(row: Row) -> bool:
    return row.status == "failed"


def run_part(
    name: str,
    module: str,
    device: str,
    facts: dict[str, Any],
    results: Results,
    path: Path,
    minutes: float,
    show: Show = click.echo,
) -> Results:
    """Measure the part ``name`` by ``module``; return ``results`` with it, also saved in ``path``.

    What was measured so far is in the file after each row, whatever happens then.
    """
    begun, started = monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    names = list(import_module(module).rows(device))
    ceilings = results["ceilings"].rows if "ceilings" in results else ()
    done: list[Row] = []
    until = begun + 60 * minutes
    show(f"\n{name}: {len(names)} rows, {minutes:g} minutes at most")
    with closing(
        isolated_rows(module, device, names, row_seconds=ROW_SECONDS, until=until)
    ) as rows:
        for row in rows:
            done.append(compared(with_floor(row, ceilings), find(done, row.case)))
            show(line(done[-1]))
            part = Part(facts, started, monotonic() - begun, tuple(done))
            results = merge(results, {name: part})
            save(results, path)
    show(f"{name}: {monotonic() - begun:.0f} s")
    return results


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
