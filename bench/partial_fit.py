"""`python -m gpubp.bench.partial_fit`: times partial_fit on few rows, with scikit-learn's.

Both learn from the same rows in one process, in alternating calls. The table shows medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import pairwise, product
from time import perf_counter
from typing import Any

import click
import numpy as np
from sklearn.neural_network import MLPClassifier as Peer

from gpubp import MLPClassifier
from gpubp.backends.blas_threads import BLAS

NETWORKS = (784, 256, 128, 10), (64, 100, 10), (10, 20, 3)
ROWS = 1, 32
DTYPES = "float32", "float64"


@click.command(help=__doc__)
@click.option("--calls", default=2000, show_default=True, help="Number of calls of each.")
def main(calls: int) -> None:
    """Print a row per network, number of rows and dtype."""
    click.echo("| network | rows | dtype | gpubp, ms | scikit-learn, ms | ratio |")
    click.echo("|---|---|---|---|---|---|")
    with BLAS.limited_to(1):
        for sizes, dtype, n in product(NETWORKS, DTYPES, ROWS):
            ours, peer = medians(sizes, n, dtype, calls)
            network = "-".join(map(str, sizes))
            times = f"{1e3 * ours:.2f} | {1e3 * peer:.2f} | {ours / peer:.2f}"
            click.echo(f"| {network} | {n} | {dtype} | {times} |")


def medians(sizes: tuple[int, ...], n: int, dtype: str, calls: int) -> Iterator[float]:
    """Return the median seconds of partial_fit on ``n`` rows: gpubp's, then scikit-learn's."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], n)
    options: dict[str, Any] = {"hidden_layer_sizes": sizes[1:-1], "random_state": 0}
    models = MLPClassifier(**options, device="cpu"), Peer(**options)
    for model in models:
        model.partial_fit(X, y, classes=np.arange(sizes[-1]))
    marks: list[float] = []
    for _ in range(calls):
        marks.append(perf_counter())
        for model in models:
            model.partial_fit(X, y)
            marks.append(perf_counter())
    seconds = [after - before for before, after in pairwise(marks)]
    return (statistics.median(seconds[k::3]) for k in range(2))


if __name__ == "__main__":
    main()
