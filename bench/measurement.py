"""`python -m gpubp.bench.measurement CASE THREADS`: one case in one round, in this process.

CASE is a line of JSON, and so is what it prints: a row.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from functools import partial
from time import perf_counter

import numpy as np

from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.isolation import measured, own_stdout
from gpubp.bench.machine import cores
from gpubp.bench.peers import PEERS
from gpubp.bench.peers.protocol import Learner
from gpubp.bench.results import Row, SkippedError, row_to_json
from gpubp.bench.usage import OtherLoad, PeakMemory


def measure(case: Case) -> Row:
    """Return the row of ``case``: the seconds of one fit in ``rounds``.

    Raises
    ------
    SkippedError
        If its peer cannot do it here.
    """
    if case.peer == FLOOR:
        from gpubp.bench.floor import measure_floor

        return measure_floor(case)
    peer = PEERS[case.peer]
    if why := peer.available(case.device):
        raise SkippedError(why)
    with peer.learner(case.workload, case.device) as learner:
        timed = _inference if case.mode == "inference" else _training
        seconds, losses, figures = timed(case, learner)
        remark = learner.remark
    return Row(
        case.name,
        case.peer,
        reason=remark,
        losses=losses,
        figures=figures,
        rounds=(statistics.median(seconds),),
    )


_Timed = tuple[list[float], tuple[float, float], dict[str, float]]


def _training(case: Case, learner: Learner) -> _Timed:
    """Return the seconds of each fit, the first and the last loss, and what it used."""
    memory = PeakMemory()
    warm_up = learner.fit(1)  # compiles, and fills caches
    load, seconds = OtherLoad(), list[float]()
    while sum(seconds) < case.seconds:
        started = perf_counter()
        losses = learner.fit(case.epochs)
        seconds.append(perf_counter() - started)
    figures = {"peak_bytes": float(memory.above()), "other_cores": load.cores()}
    return seconds, (warm_up[0], losses[-1]), figures


def _inference(case: Case, learner: Learner) -> _Timed:
    """Return the seconds of each pass over all rows, two losses, and what it used.

    The losses are that of the epoch that trained the weights, and that of the first batch.
    """
    fitted, (X, y) = learner.fit(1)[0], case.workload.data()
    memory = PeakMemory()
    first = learner.predict(X[: case.batch])
    starts = range(0, len(X), case.batch)
    load, seconds = OtherLoad(), list[float]()
    while sum(seconds) < case.seconds:
        started = perf_counter()
        for step in range(case.steps):
            start = starts[step % len(starts)]
            learner.predict(X[start : start + case.batch])
        # In whole batches, of which the last may reach beyond the rows asked for.
        part = case.rows / (case.steps * case.batch)
        seconds.append((perf_counter() - started) * part)
    figures = {"peak_bytes": float(memory.above()), "other_cores": load.cores()}
    return seconds, (fitted, _loss(case, first, y[: case.batch])), figures


def _loss(case: Case, outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the mean loss of the predicted ``outputs``."""
    outputs = outputs.astype(np.float64)
    if case.loss == "squared_error":
        return float(0.5 * np.mean((outputs.reshape(y.shape) - y) ** 2))
    return float(-np.log(outputs[np.arange(len(y)), y]).mean())


def pin(case: Case, threads: int) -> None:
    """Keep this process to ``threads`` cores if no variable limits the threads of its library."""
    if case.peer == "jax_scan" and threads < cores() and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main(case_json: str, threads: str) -> None:
    """Measure the case; print its row as a line of JSON."""
    out = own_stdout()
    case = Case.from_values(json.loads(case_json))
    pin(case, int(threads))
    row = measured(f"{case.peer}/{case.name}", partial(measure, case))
    print(row_to_json(row), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
