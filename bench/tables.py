"""Seconds and memory for reading a CSV file of 1,000,000 x 21 cells, compared with pandas.

With --train: from the file to one epoch of training, compared with pandas and scikit-learn.

python -m gpubp.bench.tables [--train] [--rows 1000000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gpubp.bench.machine import installed, machine

COLUMNS = 20
# The program of each process. Memory is the peak of the process, including imports.
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

# All programs train the same network, 20-256-1, in batches of 256 rows.
_SCIKIT_LEARN = """
import warnings
import pandas
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

def train(path):
    warnings.simplefilter("ignore")  # one epoch does not converge
    {read}
    y = frame.pop("y").to_numpy()
    X = frame.to_numpy("{dtype}")
    del frame
    X = StandardScaler(copy=False).fit_transform(X)
    MLPClassifier((256,), max_iter=1, batch_size=256, random_state=0).fit(X, y)
    return len(X)
"""
_READ = "frame = pandas.read_csv(path)"
_READ_AS_FLOAT32 = """
    names = pandas.read_csv(path, nrows=0).columns
    frame = pandas.read_csv(path, dtype=dict.fromkeys(names[:-1], "float32"))
"""
_ESTIMATOR = """
from gpubp.models.table_estimators import TableClassifier
from gpubp.tables.read import read_table

def train(path):
    model = TableClassifier(
        hidden_layer_sizes=(256,), batch_size=256, max_iter=1, early_stopping=False,
        n_iter_no_change=1, random_state=0, device="cpu",
    )
    table = read_table(path)
    model.fit_table(table, ["y"])
    return len(table)
"""
_COMMAND = """
import contextlib, io, os, tempfile
from gpubp.__main__ import main

def train(path):
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [
            "gpubp", "train", path, "--hidden", "256", "--batch-size", "256", "--epochs", "1",
            "--device", "cpu", "--quiet", "-o", os.path.join(folder, "model.safetensors"), *{more},
        ]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                main()
            except SystemExit as end:
                assert not end.code, end.code
    return 0
"""
_TRAIN = "train(path)"
TRAINING = {
    "scikit-learn, float64": (_SCIKIT_LEARN.format(read=_READ, dtype="float64"), _TRAIN),
    "scikit-learn, float32": (_SCIKIT_LEARN.format(read=_READ, dtype="float32"), _TRAIN),
    "read as float32": (_SCIKIT_LEARN.format(read=_READ_AS_FLOAT32, dtype="float32"), _TRAIN),
    "TableClassifier": (_ESTIMATOR, _TRAIN),
    "gpubp train, no test": (
        _COMMAND.format(more=["--test-size", "0", "--validation-size", "0"]),
        _TRAIN,
    ),
    "gpubp train": (_COMMAND.format(more=[]), _TRAIN),
}


def write_table(path: Path, rows: int) -> None:
    """Write a CSV file with numbers of six digits and a target with two classes."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join([*(f"f{j}" for j in range(COLUMNS)), "y"]) + "\n")
        for start in range(0, rows, 50_000):
            X = rng.normal(size=(min(50_000, rows - start), COLUMNS))
            cells = np.char.mod("%.6g", X)
            labels = np.where(X[:, :1] > 0, "yes", "no")
            lines = np.concatenate([cells, labels], axis=1).tolist()
            file.write("\n".join(map(",".join, lines)) + "\n")


def measure(programs: Mapping[str, tuple[str, str]], name: str, path: Path) -> dict[str, float]:
    """Run one program in a separate process; return its measurements."""
    setup, read = programs[name]
    program = _PROGRAM.format(setup=setup, read=read)
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all programs in turn, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    programs = TRAINING if options.train else PROGRAMS
    names = [name for name in programs if installed("pandas") or "pandas" not in programs[name][0]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_table(path, options.rows)
        size = path.stat().st_size / 2**20
        rounds = [
            {name: measure(programs, name, path) for name in names} for _ in range(options.rounds)
        ]
    _print(rounds, options.rows, size)


def _print(rounds: Sequence[dict[str, dict[str, float]]], rows: int, size: float) -> None:
    known = machine("cpu")
    packages = [
        f"{name} {installed(name)}" for name in ("duckdb", "numpy", "pandas", "scikit-learn")
    ]
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
