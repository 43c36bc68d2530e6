"""`python -m gpubp.bench.scaling`: checks the model of several devices with measured steps.

Starts mpiexec with one rank and with two, in turns, each with one thread. The table has the
measured time of a step of a training, and the time by the model of `gpubp doctor --scaling`, from
steps that one rank measured alone (first) or that both ranks measured at the same time (second),
and from the allreduces of two ranks. All are medians over the quiet rounds, in which other
processes used at most 0.25 cores; if there are none, the quietest round. "other cores" is the
largest number of such cores in the rounds used.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np

from gpubp.backends.select import get_backend
from gpubp.backprop.network import Network
from gpubp.bench.usage import BUSY_CORES, OtherLoad
from gpubp.distributed.communicator import Single
from gpubp.distributed.mpi import Mpi
from gpubp.training.fit import Listeners, fit
from gpubp.training.history import Epoch
from gpubp.training.ranks import current_ranks, measured_by_all, run_on_ranks
from gpubp.training.recipe import Recipe
from gpubp.training.scaling import Compute, Link, Scaling
from gpubp.training.step_timing import (
    Times,
    batch_sizes,
    measure_allreduce,
    measure_steps,
    random_rows,
)

CASES = {
    "S": ("64-100-10", 256),
    "M": ("784-256-128-10", 512),
    "L": ("784-512-512-10", 1024),
    "XL": ("784-1024-1024-10", 512),
}
EPOCHS = 5  # measured, of the training with an allreduce per step
COLUMNS = (
    *("network", "batch", "gradient", "allreduce"),
    "1 rank",
    "2 ranks",
    "model, alone",
    "model, at once",
    "other cores",
)
Turn = tuple[dict[str, Any], dict[str, Any]]  # figures of one rank, and of two


def rank_figures(name: str) -> dict[str, Any]:
    """Return the measurements of all ranks; only rank 0 calls it.

    steps : (rows, seconds) of steps, which all ranks measure at once. allreduces : of the gradient.
    training : the seconds of a step of a training on all ranks.
    """
    steps, allreduces = measured_by_all(partial(_steps_and_allreduces, name))
    return {"steps": steps, "allreduces": allreduces, "training": _training_seconds(name)}


def _steps_and_allreduces(name: str, communicator: Single) -> tuple[Times, Times]:
    network, batch = network_of(name), CASES[name][1]
    backend = get_backend("cpu", compiled="auto", steps=1000)
    with backend.in_use(1, 0):
        communicator.barrier()
        steps = measure_steps(backend, network, batch_sizes(network, batch))
    if not isinstance(communicator, Mpi):
        return steps, []
    return steps, measure_allreduce(communicator.comm, gradient_bytes(name))


def _training_seconds(name: str) -> float:
    """Return the seconds of a step of a training on all ranks, by one thread each."""
    network, batch = network_of(name), CASES[name][1]
    backend = get_backend("cpu", compiled="auto", steps=1000)
    loss, data = random_rows(network, batch)
    recipe = Recipe(batch_size=batch, precision="float32", epochs=EPOCHS + 1, tol=0.0)
    ends: list[float] = []

    def on_epoch(epoch: Epoch) -> bool:
        ends.append(perf_counter())
        return False

    listeners, ranks = Listeners(on_epoch=on_epoch), current_ranks()
    fit(backend, network, loss, data, recipe, listeners=listeners, threads=1, ranks=ranks)
    return float(np.median(np.diff(ends))) * batch / data.n_rows


def measure(name: str, ranks: int) -> dict[str, Any]:
    """Return `rank_figures` of rank 0 of a case, from a new process."""
    beside = str(Path(sys.executable).parent)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if mpiexec is None:
        raise click.UsageError("mpiexec is not installed; pip install 'gpubp[mpi]'")
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "gpubp.bench.scaling", "rank", name]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    load = OtherLoad()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    return {**json.loads(done.stdout), "other_cores": load.cores()}


def modelled(name: str, steps: list[Any], allreduces: list[Any]) -> float:
    """Return the seconds of a step of two ranks by the model."""
    batch, n_bytes = CASES[name][1], gradient_bytes(name)
    link = Link.fitted([(size, seconds) for size, seconds in allreduces], n_bytes, 2)
    compute = Compute.fitted([(rows, seconds) for rows, seconds in steps])
    _, data = random_rows(network_of(name), batch)
    return Scaling(batch, n_bytes, compute, link, table_rows=data.n_rows).step(2).seconds


def network_of(name: str) -> Network:
    """Return the network of a case."""
    sizes = tuple(map(int, CASES[name][0].split("-")))
    return Network(sizes, ("relu",) * (len(sizes) - 2))


def gradient_bytes(name: str) -> int:
    """Return the bytes of a gradient of a case."""
    return 4 * network_of(name).n_parameters


@click.command(help=__doc__)
@click.option("--cases", default=",".join(CASES), show_default=True, help="Cases, by name.")
@click.option("--rounds", default=3, show_default=True, help="Number of rounds.")
def main(cases: str, rounds: int) -> None:
    """Print a row per case; times in ms."""
    click.echo(f"| {' | '.join(COLUMNS)} |")
    click.echo("|---" * len(COLUMNS) + "|")
    for name in cases.split(","):
        turns = _quiet([(measure(name, 1), measure(name, 2)) for _ in range(rounds)])
        click.echo(f"| {' | '.join(_row(name, turns))} |")


def _quiet(turns: list[Turn]) -> list[Turn]:
    """Return the turns without other load; else the one with the least."""
    quiet = [turn for turn in turns if _load(turn) <= BUSY_CORES]
    return quiet or [min(turns, key=_load)]


def _load(turn: Turn) -> float:
    return max(float(figures["other_cores"]) for figures in turn)


def _row(name: str, turns: list[Turn]) -> list[str]:
    n_bytes = gradient_bytes(name)
    columns = [
        [dict(map(tuple, two["allreduces"]))[n_bytes] for _, two in turns],
        [one["training"] for one, _ in turns],
        [two["training"] for _, two in turns],
        [modelled(name, one["steps"], two["allreduces"]) for one, two in turns],
        [modelled(name, two["steps"], two["allreduces"]) for _, two in turns],
    ]
    return [
        *(CASES[name][0], str(CASES[name][1]), f"{n_bytes / 1e6:.2f} MB"),
        *(f"{1e3 * statistics.median(column):.2f}" for column in columns),
        f"{max(map(_load, turns)):.2f}",
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        run_on_ranks(lambda: click.echo(json.dumps(rank_figures(sys.argv[2]))))
    else:
        main()
