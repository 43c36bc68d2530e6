"""A comparison of backpropagation with the searches that it replaces, on the same network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backends.select import get_backend
from gpubp.explain.example import Example
from gpubp.explain.search.backpropagation import backpropagation
from gpubp.explain.search.methods import (
    Budget,
    Method,
    Population,
    Run,
    all_combinations,
    one_at_a_time,
    random_search,
    weights_of,
)

TEXT_RATE = 10**9  # evaluations per second: one per cycle of 1 GHz, as the text assumes
TEXT_VALUES = 1000  # of each weight, likewise
ESCAPE_STEPS = 1000  # of backpropagation from where one weight at a time has stalled
# Measured on a shared 2.5 GHz Xeon, a 1-1-1 network: 0.7 million evaluations a second in 256s,
# 1.1 in 512s, 2 to 3 from 1,024s on, and a larger population may leave the cache. A device has
# to be filled; its size is estimated.
_HOST_SIZE, _DEVICE_SIZE = 1024, 131_072
_MOST_BYTES = 2**28  # of one population
_CALIBRATION = 0.05  # part of a budget in seconds that goes into measuring the rate
_CAUTION = 0.9  # part of the combinations that the measured rate promises


@dataclass(frozen=True)
class Settings:
    """The settings of a comparison.

    budget : of each method. low, high : range of every weight. values : how many values of a
    weight, from low to high, are tried one at a time; also the largest number per weight in the
    grid of all combinations. seed : of the random search. device : "auto", "cpu" or "cuda".
    dtype : "float32" or "float64".
    """

    budget: Budget = Budget(seconds=2.0)  # noqa: RUF009 (immutable)
    low: float = -5.0
    high: float = 5.0
    values: int = TEXT_VALUES
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        # float32 ends at 3.4e38, and the steps of a range have to be found in it.
        if not -1e30 <= self.low < self.high <= 1e30:
            raise ValueError(
                f"the range of the weights must go from a number to a larger one, within -1e30 to "
                f"1e30; got {self.low!r} to {self.high!r}"
            )
        if self.values < 2:
            raise ValueError(f"a weight must have 2 values or more to try, got {self.values!r}")


class Extrapolation(NamedTuple):
    """The time for all combinations of 1000 values of each weight."""

    weights: int
    combinations: int
    text_seconds: float  # at the text's rate
    seconds: float  # at the measured rate; infinity without one


class Watch(Protocol):
    """A listener that is informed about the progress of a comparison."""

    def progress(self, run: Run) -> None:
        """Receive the state of a running method, several times per second."""

    def finished(self, run: Run) -> None:
        """Receive the final state of a method."""


@dataclass(eq=False)
class Comparison:
    """The results of all methods.

    runs : in order; those after an interrupt are missing. why : the reason for the device. size :
    of the population. finer : the smallest cost that a smaller change of one weight reaches from
    the point where one weight at a time has stalled. escape : backpropagation from that point.
    """

    example: Example
    settings: Settings
    device: str
    why: str
    size: int
    runs: list[Run] = field(default_factory=list)
    finer: float = math.inf
    escape: Run | None = None
    interrupted: bool = False

    def run(self, method: Method) -> Run | None:
        """Return the run of this method; None if it was not started."""
        return next((run for run in self.runs if run.method == method), None)

    @property
    def rate(self) -> float:
        """Evaluations per second of the search that made the most evaluations."""
        searches = [run for run in self.runs if run.method != "backprop"]
        return max(searches, key=lambda run: run.evaluations).rate if searches else 0.0


def compare(example: Example, settings: Settings, watch: Watch | None = None) -> Comparison:
    """Return the results of all methods, each within the same budget; an interrupt ends all.

    Raises BackendUnavailableError.
    """
    example = replace(example, alpha=0.0)  # so that all methods have the same cost
    dtype = np.dtype(settings.dtype)
    work = len(example.X) * example.network.n_parameters
    # Searches can fill any device; the steps of backpropagation are as small as the example.
    backend = get_backend(settings.device, work * _size(example, dtype, _DEVICE_SIZE))
    trains_on = get_backend(settings.device, work)
    size = _size(example, dtype, _HOST_SIZE if backend.name == "cpu" else _DEVICE_SIZE)
    comparison = Comparison(example, settings, backend.name, backend.reason, size)
    try:
        with backend.in_use(None, work):
            _search(comparison, backend, watch)
        with trains_on.in_use(None, work):
            _train(comparison, trains_on, watch)
    except KeyboardInterrupt:
        comparison.interrupted = True
    return comparison


def _size(example: Example, dtype: np.dtype, most: int) -> int:
    """Return how many candidates fit into memory at once, 1 to ``most``."""
    network, rows = example.network, len(example.X)
    numbers = network.theta_size(dtype) + 3 * rows * sum(network.sizes)
    return max(1, min(most, _MOST_BYTES // (numbers * dtype.itemsize + 8 * rows)))


def _search(comparison: Comparison, backend: Backend, watch: Watch | None) -> None:
    example, settings = comparison.example, comparison.settings
    dtype, low, high = np.dtype(settings.dtype), settings.low, settings.high
    line = np.linspace(low, high, settings.values)
    population = Population(backend, example, min(comparison.size, len(line)), dtype)
    population.costs()  # on a device, the first call compiles
    with _running(comparison, "one_at_a_time", backend, watch) as run:
        one_at_a_time(run, population, weights_of(example), line)
    if run.stopped_by == "stalled" and run.weights is not None:
        comparison.finer = _finer(population, run.weights, line)
    population = Population(backend, example, comparison.size, dtype)
    room = _affordable(settings.budget, population, line)
    grid = np.linspace(low, high, values_within(room, len(population.places), settings.values))
    with _running(comparison, "combinations", backend, watch) as run:
        all_combinations(run, population, grid)
    with _running(comparison, "random", backend, watch) as run:
        random_search(run, population, low, high, settings.seed)


def _finer(population: Population, weights: np.ndarray, line: np.ndarray) -> float:
    """Return the smallest cost if one weight moves by at most one step of ``line``."""
    steps = np.linspace(line[0] - line[1], line[1] - line[0], population.size)
    population.fill(weights)
    costs = []
    for weight, place in zip(weights, population.places, strict=True):
        near = np.clip(weight + steps, line[0], line[-1])
        population.theta[:, place] = population.backend.asarray(near, population.theta.dtype)
        costs.append(float(population.costs().min()))
        population.theta[:, place] = weight
    return min(costs)


def _train(comparison: Comparison, backend: Backend, watch: Watch | None) -> None:
    """Train from the example's weights, and again from those of a stall."""
    example, dtype = comparison.example, np.dtype(comparison.settings.dtype)
    costs = {run.method: run.cost for run in comparison.runs if math.isfinite(run.cost)}
    with _running(comparison, "backprop", backend, watch) as run:
        backpropagation(run, backend, example, weights_of(example), dtype, costs)
    search = comparison.run("one_at_a_time")
    if search is not None and search.stopped_by == "stalled" and search.weights is not None:
        # The cost after the last step takes one more evaluation.
        budget = Budget(ESCAPE_STEPS + 1, comparison.settings.budget.seconds)
        escape = Run("backprop", backend.name, budget)
        backpropagation(escape, backend, example, search.weights, dtype)
        comparison.escape = escape


@contextmanager
def _running(
    comparison: Comparison, method: Method, backend: Backend, watch: Watch | None
) -> Iterator[Run]:
    progress = None if watch is None else watch.progress
    run = Run(method, backend.name, comparison.settings.budget, progress)
    comparison.runs.append(run)
    try:
        yield run
    finally:
        if watch is not None:
            watch.finished(run)


def _affordable(budget: Budget, population: Population, line: np.ndarray) -> int:
    """Return how many combinations ``budget`` probably covers."""
    most, seconds = budget
    if most is not None or seconds is None:
        return most or 0
    trial = Run("combinations", population.backend.name, Budget(seconds=_CALIBRATION * seconds))
    all_combinations(trial, population, line)
    return int(_CAUTION * trial.rate * seconds)


def values_within(evaluations: int, n: int, most: int) -> int:
    """Return the largest number of values per weight, 2 to ``most``, for ``evaluations``."""
    root: float = evaluations ** (1 / n)
    values = max(2, min(most, round(root) + 1))
    while values > 2 and values**n > evaluations:
        values -= 1
    return values


def extrapolate(rate: float, upto: int = 7) -> list[Extrapolation]:
    """Return the time for all combinations of 1 to ``upto`` weights.

    rate : measured evaluations per second.
    """
    return [
        Extrapolation(n, count, count / TEXT_RATE, count / rate if rate else math.inf)
        for n in range(1, upto + 1)
        for count in [TEXT_VALUES**n]
    ]
