"""Reading a CSV file of 1,000,000 x 21 cells: seconds and memory, beside pandas.

python -m gpubp.bench.tables [--rows 1000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpubp.bench.machine import installed, machine

COLUMNS = 20
# What a process of its own does; memory is the peak of the process, imports included.
_PROGRAM = """
import json, resource, sys, time
{setup}
path = sys.argv[1]
start = time.perf_counter()
rows = {read}
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_SELF)
megabytes = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
cpu = used.ru_utime + used.ru_stime
print(json.dumps(dict(rows=rows, seconds=seconds, cpu=cpu, megabytes=megabytes)))
"""
_GPUBP = """
import gpubp.tables.files.session, gpubp.tables.read, duckdb
gpubp.tables.files.session.thread_count = lambda: {threads}
"""
_WHOLE = "len(gpubp.tables.read.read_table(path))"
_CHUNKS = "sum(map(len, gpubp.tables.read.read_chunks(path, 65_536)))"
PROGRAMS = {
    "pandas.read_csv": ("import pandas", "len(pandas.read_csv(path))"),
    "read_table, 1 thread": (_GPUBP.format(threads=1), _WHOLE),
    "read_table, 2 threads": (_GPUBP.format(threads=2), _WHOLE),
    "read_chunks, 2 threads": (_GPUBP.format(threads=2), _CHUNKS),
}


def write_table(path: Path, rows: int) -> None:
    """Write numbers of six digits and a target of two classes."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join([*(f"f{j}" for j in range(COLUMNS)), "y"]) + "\n")
        for start in range(0, rows, 50_000):
            X = rng.normal(size=(min(50_000, rows - start), COLUMNS))
            cells = np.char.mod("%.6g", X)
            labels = np.where(X[:, :1] > 0, "yes", "no")
            lines = np.concatenate([cells, labels], axis=1).tolist()
            file.write("\n".join(map(",".join, lines)) + "\n")


def measure(name: str, path: Path) -> dict[str, float]:
    """Run one of PROGRAMS in a process of its own."""
    setup, read = PROGRAMS[name]
    program = _PROGRAM.format(setup=setup, read=read)
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all programs in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    names = [name for name in PROGRAMS if name != "pandas.read_csv" or installed("pandas")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_table(path, options.rows)
        size = path.stat().st_size / 2**20
        rounds = [{name: measure(name, path) for name in names} for _ in range(options.rounds)]
    _print(rounds, options.rows, size)


def _print(rounds: Sequence[dict[str, dict[str, float]]], rows: int, size: float) -> None:
    known = machine("cpu")
    packages = [f"{name} {installed(name)}" for name in ("duckdb", "numpy", "pandas")]
    print(
        f"{rows:,} x {COLUMNS + 1}, {size:.0f} MB; {known['cpu']}, {known['cores']} cores; ", end=""
    )
    print(f"Python {known['python']}, {', '.join(packages)}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':24}{'s':>8}{'CPU s':>8}{'peak MB':>9}{'time':>8}{'memory':>8}")
    for name in rounds[0]:
        median = {
            key: statistics.median(each[name][key] for each in rounds)
            for key in ("seconds", "cpu", "megabytes")
        }
        ratios = [
            statistics.median(each[name][key] / each[next(iter(each))][key] for each in rounds)
            for key in ("seconds", "megabytes")
        ]
        print(
            f"{name:24}{median['seconds']:8.2f}{median['cpu']:8.2f}{median['megabytes']:9.0f}",
            end="",
        )
        print(f"{ratios[0]:8.2f}{ratios[1]:8.2f}")


if __name__ == "__main__":
    main()
