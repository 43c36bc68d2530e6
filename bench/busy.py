"""`python -m gpubp.bench.busy`: times training steps alone and next to busy processes.

Each way of computing a step runs in a process of its own; the ways take turns, round by round. The
table shows the median time of a step in microseconds. With --together it also times two trainings
at once.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gpubp.training.history import Epoch

NETWORKS = {
    "S": ((64, 100, 10), 200, 1800),
    "M": ((784, 256, 128, 10), 128, 2560),
    "T": ((32, 256, 256, 256, 1), 256, 5120),
    "L": ((784, 1024, 1024, 10), 512, 2048),
}
# How a step is computed: compiled or by NumPy calls, and with how many threads.
WAYS = {
    "NumPy, 1 thread": (False, 1),
    "NumPy, 2 threads": (False, 2),
    "compiled, 1 thread": (True, 1),
    "compiled, 2 threads": (True, 2),
}
BUSY = "while True: pass"


@click.command(help=__doc__)
@click.option("--networks", default="S,M,T", show_default=True, help="Networks, of S, M, T and L.")
@click.option("--rounds", default=3, show_default=True, help="Number of rounds.")
@click.option("--seconds", default=1.5, show_default=True, help="Length of one training.")
@click.option("--together", is_flag=True, help="Also time two trainings at once.")
def main(networks: str, rounds: int, seconds: float, together: bool) -> None:
    """Print a row per network and number of busy processes."""
    click.echo(f"| network | next to | {' | '.join(WAYS)} |")
    click.echo("|---" * (2 + len(WAYS)) + "|")
    for name in networks.split(","):
        for others in (0, 1, 2):
            with busy(others):
                _print(name, f"{others} busy", _medians(name, rounds, seconds, 1))
        if together:
            _print(name, "itself", _medians(name, rounds, seconds, 2))


def _print(name: str, others: str, medians: dict[str, float]) -> None:
    click.echo(f"| {name} | {others} | {' | '.join(f'{each:,.0f}' for each in medians.values())} |")


def _medians(name: str, rounds: int, seconds: float, copies: int) -> dict[str, float]:
    """Return the median step of each way in microseconds, over ``copies`` trainings at once."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            running = [_started(name, way, seconds) for _ in range(copies)]
            found[way] += [float(each.communicate()[0]) for each in running]
    return {way: statistics.median(times) for way, times in found.items()}


def _started(name: str, way: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gpubp.bench.busy", "step", name, way, str(seconds)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Return a context in which so many other processes are busy."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def step_microseconds(name: str, way: str, seconds: float) -> float:
    """Return the median time of a step over the epochs of a training of so many ``seconds``."""
    import numpy as np

    from gpubp import MLPClassifier, MLPRegressor
    from gpubp.estimators.fit_estimators import fit_estimator

    (inputs, *hidden, outputs), batch, rows = NETWORKS[name]
    compiled, threads = WAYS[way]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, inputs)).astype(np.float32)
    y = rng.integers(0, outputs, rows) if outputs > 1 else X[:, 0]
    kind: Any = MLPClassifier if outputs > 1 else MLPRegressor
    model = kind(hidden_layer_sizes=tuple(hidden), batch_size=batch, max_iter=10**6, tol=0)
    model.set_params(n_iter_no_change=10**6, random_state=0, dtype="float32", device="cpu")
    model.set_params(compiled=compiled, threads=threads)
    ends: list[float] = []

    def note(epoch: Epoch) -> bool:
        ends.append(epoch.seconds)
        return epoch.seconds > seconds and len(ends) > 3

    fit_estimator(model, X, y, on_epoch=note)
    steps = -(-rows // batch)
    return statistics.median(np.diff(ends)) / steps * 1e6


if __name__ == "__main__":
    if sys.argv[1:2] == ["step"]:
        click.echo(step_microseconds(sys.argv[2], sys.argv[3], float(sys.argv[4])))
    else:
        main()
