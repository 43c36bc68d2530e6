"""Train on a table of 2 GB twice, with 500 MB of memory and in memory: loss, peak, seconds.

Run it by hand: python -m gpubp.bench.larger_than_memory [FOLDER] [ROWS] [MEMORY]. It draws the
table into FOLDER, or takes the one that is there, and trains in two processes, one after the other.
bench/NOTES.md has the results.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS, CATEGORIES, VALUES = 30, 4, 6
ROWS = 8_000_000  # 30 numbers of 8 bytes and 4 codes of 4: 2.05 GB
BLOCK = 100_000
OPTIONS = ("--target", "y", "--preset", "plain", "--epochs", "2", "--json")
# A process of its own has a peak of its own.
CHILD = """
import sys
from gpubp.__main__ import main
from gpubp.training.host_memory import peak_memory
code = main(sys.argv[1:])
print(peak_memory())
sys.exit(code)
"""


def blocks(rows: int, seed: int = 0) -> Iterator[tuple[dict[str, np.ndarray], float]]:
    """Yield columns of a binary problem with noise, and the sum of the least possible log loss."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(size=(CATEGORIES, VALUES))
    names = np.array([f"value {k}" for k in range(VALUES)], object)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        X, codes = rng.normal(size=(n, NUMBERS)), rng.integers(VALUES, size=(n, CATEGORIES))
        logits = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(3 * X[:, 3]) + np.abs(X[:, 4]) - 0.8
        logits += sum(shift[j][codes[:, j]] for j in range(CATEGORIES))
        p = 1 / (1 + np.exp(-logits))
        y = (rng.uniform(size=n) < p).astype(np.int64)
        columns: dict[str, np.ndarray] = {f"x{j}": X[:, j] for j in range(NUMBERS)}
        columns |= {f"c{j}": names[codes[:, j]] for j in range(CATEGORIES)}
        entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p)).sum()
        yield columns | {"y": y}, float(entropy)


def written(path: Path, rows: int) -> float:
    """Write the table to ``path`` unless it is there; return the least possible log loss."""
    from gpubp.tables.write import write_parquet

    beside = path.with_suffix(".json")
    if not beside.exists():
        losses = []

        def columns() -> Iterator[dict[str, np.ndarray]]:
            for block, loss in blocks(rows):
                losses.append(loss)
                yield block

        write_parquet(path, columns())
        beside.write_text(json.dumps(sum(losses) / rows), encoding="utf-8")
    return float(json.loads(beside.read_text(encoding="utf-8")))


def trained(path: Path, *options: str) -> dict[str, Any]:
    """Return the result of a training in a process of its own, with its peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "model.safetensors"))
        command = [sys.executable, "-c", CHILD, "train", str(path), *OPTIONS, *options, "-o", out]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    *lines, peak = run.stdout.splitlines()
    result: dict[str, Any] = json.loads(lines[-1])
    return result | {"peak": int(peak)}


def main(folder: str = ".", rows: str = str(ROWS), memory: str = "500MB") -> None:
    """Draw the table, train both ways, and print a line for each."""
    path = Path(folder, f"larger-{rows}.parquet")
    least = written(path, int(rows))
    print(f"{path}: {path.stat().st_size / 1e9:.2f} GB, least possible log loss {least:.4f}")
    for name, options in ((f"--memory {memory}", ("--memory", memory)), ("in memory", ())):
        found = trained(path, *options)
        scores = found["test"]
        print(
            f"{name}: test log loss {scores['log_loss']:.4f}, accuracy {scores['accuracy']:.4f}, "
            f"training loss {found['train']['loss']:.4f}, peak {found['peak'] / 1e6:,.0f} MB, "
            f"{found['seconds']:.0f} s of training at {found['rows_per_second']:,.0f} rows/s",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
