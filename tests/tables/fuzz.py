"""Mutated tables through train and predict, for as long as asked; CI does not run it.

    python -m tests.tables.fuzz --minutes 5 [--seed 0]

A case that ends in a traceback, takes over 30 s of CPU time or has predictions without a header is
kept in fuzz-<seed>-<number>.<suffix>, and its message is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from gpubp.__main__ import main

SECONDS = 30  # of CPU time, per case
MARKS = (",", ";", "\t", "|", " ")
CELLS = (
    *(
        "",
        "NA",
        "None",
        "?",
        "-",
        ".",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e308",
        "-0",
        "+1",
        ".5",
        "5.",
    ),
    *("0x10", "1_000", "01", "007", "1,5", "1.234,5", "2,288", "$5", "5 %", "True", "no", "YES"),
    *("9007199254740993", "99999999999999999999", "2020-02-30", "2020-01-01", "1/2/2020", "24:00"),
    *("#3", "a b", '"', "'", "\\", 'a"b', "\0", "\ufeff", "\u00e4", "\U0001f600", "x" * 3000, "\r"),
)
OPTIONS = (
    (),
    ("--no-header",),
    ("--na", ""),
    ("--na", "-999,no"),
    ("--decimal", ","),
    ("--delimiter", ";"),
    ("--encoding", "latin-1"),
    ("--encoding", "utf-16"),
    ("--task", "classification"),
    ("--task", "regression"),
    ("--class-weight", "balanced"),
    ("--query", "select * from data"),
    ("--test-size", "0"),
)
FAST = ("--epochs", "1", "--hidden", "4", "--threads", "1", "--quiet")


def columns(rng: random.Random, rows: int) -> list[list[str]]:
    """Columns of cells of one kind each, with odd cells among them."""
    kinds = (
        lambda i: f"{rng.gauss(0, 1):.3f}",
        lambda i: str(rng.randrange(4)),
        str,
        lambda i: rng.choice(("red", "blue", "green")),
        lambda i: (
            f"{rng.randrange(1990, 2030)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
        ),
        lambda i: f"{rng.randrange(1, 29)}.{rng.randrange(1, 13)}.2020",
        lambda i: rng.choice(CELLS),
        lambda i: f"{rng.randrange(10**6):,}",
    )
    found = []
    for _ in range(rng.randrange(1, 6)):
        kind, odd = rng.choice(kinds), rng.choice((0, 0, 0.02, 0.2))
        found.append([rng.choice(CELLS) if rng.random() < odd else kind(i) for i in range(rows)])
    return found


def content(rng: random.Random, suffix: str) -> bytes:
    """A table as a file, sometimes with bytes that were changed, cut or doubled."""
    cells = columns(rng, rng.choice((0, 1, 2, 5, 30, 60, 200)))
    names = [rng.choice(("a", "b", "A", "id", "", "date", "x y", "1", "y,z")) for _ in cells]
    if suffix == ".jsonl":
        rows = [json.dumps(dict(zip(names, row, strict=True))) for row in zip(*cells, strict=True)]
    else:
        mark, quote = rng.choice(MARKS), rng.choice(('"', '"', ""))
        table = [names, *map(list, zip(*cells, strict=True))][rng.random() < 0.1 :]
        rows = [mark.join(_quoted(cell, mark, quote) for cell in row) for row in table]
    text = rng.choice(("\n", "\n", "\r\n", "\r")).join(rows) + rng.choice(("\n", ""))
    data = bytearray(text.encode(rng.choice(("utf-8", "utf-8", "utf-16", "utf-8-sig"))))
    for _ in range(rng.choice((0, 0, 1, 5))):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randrange(4)] = rng.randbytes(rng.randrange(4)) * rng.choice((1, 50))
    return gzip.compress(bytes(data)) if suffix.endswith(".gz") else bytes(data)


def _quoted(cell: str, mark: str, quote: str) -> str:
    plain = not quote or not any(c in cell for c in (mark, quote, "\n", "\r"))
    return cell if plain else quote + cell.replace(quote, 2 * quote) + quote


def call(*args: str) -> tuple[int, str]:
    """The exit code of a command and what it says; 99 and the traceback where it raises."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            code = main(list(args))
        except BaseException:
            return 99, traceback.format_exc()
    return code, errors.getvalue()


def fault(path: Path, rng: random.Random) -> str | None:
    """What is wrong with how a file is taken; None for nothing."""
    model, out = str(path.with_name("model")), path.with_name("out.csv")
    options = rng.choice(OPTIONS)
    start = time.process_time()
    code, said = call("train", str(path), "-o", model, *FAST, *options)
    reading = options if options[:1] and options[0] in READING else ()
    if code == 0:
        code, said = call("predict", model, str(path), "-o", str(out), *reading)
        if code == 0 and not out.read_text(encoding="utf-8").startswith("prediction"):
            return f"{options}: predictions without a header"
    if code == 99:
        return f"{options}: {said}"
    seconds = time.process_time() - start
    return f"{options}: {seconds:.0f} s" if seconds > SECONDS else None


READING = ("--no-header", "--na", "--decimal", "--delimiter", "--encoding", "--query")


def run(minutes: float, seed: int) -> int:
    """Try cases until the time is up; the number of faults."""
    faults, counts, number = Counter[str](), 0, 0
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            rng = random.Random(f"{seed}-{number}")
            suffix = rng.choice((".csv", ".csv", ".csv", ".tsv", ".txt", ".csv.gz", ".jsonl"))
            path = Path(folder, f"case{suffix}")
            path.write_bytes(content(rng, suffix))
            found = fault(path, rng)
            number += 1
            if found is None:
                continue
            counts += 1
            last = found.strip().splitlines()[-1]
            faults[last] += 1
            if faults[last] == 1:
                kept = Path(f"fuzz-{seed}-{number - 1}{suffix}")
                kept.write_bytes(path.read_bytes())
                print(f"{kept}: {found}", flush=True)
    print(f"{number:,} cases, {counts} faults, {len(faults)} different")
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(bool(run(given.minutes, given.seed)))
