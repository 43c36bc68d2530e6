"""`python -m gpubp.bench.measurement CASE THREADS`: measures one case in one round.

CASE is a line of JSON. The command prints a row as a line of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from gpubp.backends.blas_threads import usable_cores
from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.isolation import measured, own_stdout
from gpubp.bench.peers import PEERS
from gpubp.bench.peers.protocol import Learner, Peer, PopulationLearner, Session
from gpubp.bench.results import Row, SkippedError, Timing, row_to_json
from gpubp.bench.timing import time_calls
from gpubp.bench.usage import OtherLoad, PeakMemory
from gpubp.bench.workloads import LOSS_TOLERANCE, SAMPLE, Workload

Losses = TypeVar("Losses")


def measure(case: Case) -> Row:
    """Return the row of ``case``, whose ``rounds`` are the seconds of one fit, epoch or pass.

    Raises
    ------
    SkippedError
        If the peer cannot run the case here.
    """
    if case.peer == FLOOR:
        from gpubp.bench.floor import measure_floor

        return measure_floor(case)
    peer = PEERS[case.peer]
    if why := peer.available(case.device):
        raise SkippedError(why)
    started = perf_counter()
    with _prepare(case, peer)(case.workload, case.device) as subject:
        figures = {"prepare_seconds": perf_counter() - started}
        measure_mode = _population if case.population > 1 else _MODES[case.mode]
        row = measure_mode(case, subject)
        return replace(row, reason=subject.remark, figures=row.figures | figures)


def _prepare(case: Case, peer: Peer) -> Callable[[Workload, str], AbstractContextManager[Any]]:
    """Return the method of ``peer`` that prepares what ``case`` measures."""
    if case.population > 1:
        return peer.population
    return peer.session if case.mode in ("epochs", "forward") else peer.learner


def _training(case: Case, learner: Learner) -> Row:
    """Time fits; the losses are those of the first and the last epoch."""
    memory = PeakMemory()
    warm_up = learner.fit(1)  # compiles and fills caches
    load = OtherLoad()
    losses, seconds = _timed_fits(case, learner.fit)
    return _row(case, (warm_up[0], losses[-1]), _used(memory, load), seconds)


def _timed_fits(case: Case, fit: Callable[[int], Losses]) -> tuple[Losses, float]:
    """Return the losses of the last fit, and the median seconds."""
    seconds = list[float]()
    while sum(seconds) < case.seconds:
        started = perf_counter()
        losses = fit(case.epochs)
        seconds.append(perf_counter() - started)
    return losses, statistics.median(seconds)


def _population(case: Case, learner: PopulationLearner) -> Row:
    """Time fits of all networks; the losses are means over the first SAMPLE networks.

    If the learner trains only a part of the networks, the time is scaled to all.
    """
    memory = PeakMemory()
    warm_up = learner.fit(1)
    load = OtherLoad()
    losses, seconds = _timed_fits(case, learner.fit)
    first, last = (float(of_epoch[:SAMPLE].mean()) for of_epoch in (warm_up[0], losses[-1]))
    scale = case.population / learner.networks
    return _row(case, (first, last), _used(memory, load), scale * seconds)


def _inference(case: Case, learner: Learner) -> Row:
    """Time passes over all rows.

    The losses are that of the one epoch of training, and that of the first predicted batch.
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
        # The last batch may be larger than needed, so scale the time to the requested rows.
        part = case.rows / (case.steps * case.batch)
        seconds.append((perf_counter() - started) * part)
    losses = fitted, _loss(case, first, y[: case.batch])
    return _row(case, losses, _used(memory, load), statistics.median(seconds))


def _epochs(case: Case, session: Session) -> Row:
    """Time epochs by the device's clock; the losses are those of two epochs before the timing."""
    memory, started = PeakMemory(), perf_counter()
    first = _loss_of_epoch(session)
    seconds = perf_counter() - started
    losses, load = (first, _loss_of_epoch(session)), OtherLoad()
    timing, wall = _timed(session.epoch, case, session)
    # The time of the host's clock includes its work between epochs, if the device waits for it.
    own = {"first_epoch_seconds": seconds, "wall_us_per_step": 1e6 * wall / case.steps}
    return _row(case, losses, _used(memory, load) | own, timing.median, timing)


def _timed(call: Callable[[], None], case: Case, session: Session) -> tuple[Timing, float]:
    return time_calls(
        call, session.clock, session.synchronize, samples=case.epochs, seconds=case.seconds
    )


def _loss_of_epoch(session: Session) -> float:
    session.epoch()
    return session.loss()


def _forward(case: Case, session: Session) -> Row:
    """Time passes over rows on the device by its clock, and check all outputs.

    Both losses are that of the first batch.

    Raises
    ------
    ArithmeticError
        If the outputs differ from those in float64 by more than the precision allows.
    """
    X, y = case.workload.data()
    memory = PeakMemory()
    placed = session.place(np.resize(X, (case.rows, case.sizes[0])))
    starts = range(0, case.rows, case.batch)
    outputs = [session.to_host(session.forward(placed[k : k + case.batch])) for k in starts]

    def forward() -> None:
        for start in starts:
            session.forward(placed[start : start + case.batch])

    load = OtherLoad()
    timing, _ = _timed(forward, case, session)
    error = _error(np.concatenate(outputs), case.workload.initial_outputs(X))
    if not error <= LOSS_TOLERANCE[case.precision]:
        raise ArithmeticError(f"the outputs differ from float64's by {error:.3g} of their norm")
    loss = _loss(case, outputs[0][: len(X)], y)
    figures = _used(memory, load) | {"relative_error": error}
    return _row(case, (loss, loss), figures, timing.median, timing)


_MODES: dict[str, Callable[[Case, Any], Row]] = {
    "training": _training,
    "inference": _inference,
    "epochs": _epochs,
    "forward": _forward,
}


def _row(
    case: Case,
    losses: tuple[float, float],
    figures: dict[str, float],
    seconds: float,
    timing: Timing | None = None,
) -> Row:
    """Return the row of one round of ``seconds``; timing is by the device's clock."""
    return Row(
        case.name,
        case.peer,
        timing=timing,
        losses=losses,
        figures=figures,
        rounds=(seconds,),
    )


def _error(outputs: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest relative error (by norms) of the blocks of ``outputs`` (n, d_L).

    expected : the outputs of one block; all blocks have the same rows. NaN if an output is not
    finite.
    """
    n, norm, errors = len(expected), np.linalg.norm(expected), [0.0]
    for start in range(0, len(outputs), n):
        got = outputs[start : start + n]
        errors.append(float(np.linalg.norm(got - expected[: len(got)]) / norm))
    return max(errors) if np.isfinite(errors).all() else np.nan


def _used(memory: PeakMemory, load: OtherLoad) -> dict[str, float]:
    return {"peak_bytes": float(memory.above()), "other_cores": load.cores()}


def _loss(case: Case, outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the mean loss of ``outputs`` for the targets ``y``."""
    outputs = outputs.astype(np.float64)
    if case.loss == "squared_error":
        return float(0.5 * np.mean((outputs.reshape(y.shape) - y) ** 2))
    if outputs.shape[1] == 1:
        outputs = np.hstack([1 - outputs, outputs])
    return float(-np.log(outputs[np.arange(len(y)), y]).mean())


def pin(case: Case, threads: int) -> None:
    """Limit this process to ``threads`` cores if no variable limits the library's threads."""
    if (
        case.peer in ("jax_scan", "jax_vmap")
        and threads < usable_cores()
        and hasattr(os, "sched_setaffinity")
    ):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main(case_json: str, threads: str) -> None:
    """Measure a case, and print its row as a line of JSON."""
    out = own_stdout()
    case = Case.from_values(json.loads(case_json))
    pin(case, int(threads))
    row = measured(f"{case.peer}/{case.name}", partial(measure, case))
    print(row_to_json(row), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
