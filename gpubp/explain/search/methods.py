"""Four methods to find weights: one at a time, all combinations, at random, backpropagation.

Each method minimises the cost of an `Example`: the mean loss over all its rows, without the
penalty. The searches evaluate candidates as a population, with the forward pass and the loss of
training; backpropagation is ordinary training on all rows at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, NamedTuple

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.network import Network, Workspace, forward
from gpubp.explain.example import Example
from gpubp.explain.parameters import parameters_of

Method = Literal["one_at_a_time", "combinations", "random", "backprop"]
Stop = Literal["stalled", "all_seen", "budget", "no_improvement", "diverged", "interrupt"]

_WATCH_EVERY = 0.1  # seconds


class Budget(NamedTuple):
    """The limit of one method: evaluations, seconds, or both, whichever is reached first."""

    evaluations: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Return the budget of a text such as "1e6" (evaluations) or "5s" (seconds).

        Raises ValueError.
        """
        number, seconds = text.strip().removesuffix("s"), text.strip().endswith("s")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not (0 < value < 1e15) or not (seconds or value.is_integer()):
            raise ValueError(
                f"a budget is a number of evaluations, such as 1e6, or of seconds, such as 5s, "
                f"above 0 and below 1e15; got {text!r}"
            )
        return cls(seconds=value) if seconds else cls(evaluations=int(value))


class Point(NamedTuple):
    """A point at which a run found its smallest cost so far."""

    evaluations: int
    seconds: float
    cost: float
    weights: np.ndarray | None  # (N,) if they were copied from the device


@dataclass(eq=False)
class Run:
    """The state of one method: its spent budget and its results.

    evaluations, seconds : spent so far. cost, weights : the best ones so far.
    curve : the smallest costs so far, thinned to one point per 2 % of the evaluations.
    sweeps : passes over all weights, one weight at a time. values, combinations : of the grid.
    reached : backpropagation's steps and seconds to the cost of each other method.
    """

    method: Method
    device: str
    budget: Budget
    watch: Callable[[Run], None] | None = None
    evaluations: int = 0
    seconds: float = 0.0
    cost: float = math.inf
    weights: np.ndarray | None = None
    curve: list[Point] = field(default_factory=list)
    stopped_by: Stop = "interrupt"
    sweeps: int = 0
    values: int = 0
    combinations: int = 0
    reached: dict[Method, tuple[int, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start the clock; call this when all arrays are allocated."""
        self._started, self._watched = perf_counter(), 0.0

    @property
    def rate(self) -> float:
        """Evaluations per second."""
        return self.evaluations / self.seconds if self.seconds else 0.0

    def allowance(self, wanted: int) -> int:
        """Return how many of ``wanted`` evaluations the budget allows; 0 when it is spent."""
        most, seconds = self.budget
        if most is not None:
            wanted = min(wanted, most - self.evaluations)
        if seconds is not None and self.evaluations and perf_counter() - self._started >= seconds:
            return 0
        return wanted

    def evaluate(self, population: Population, count: int) -> None:
        """Evaluate the first ``count`` candidates, and record each smallest cost so far."""
        costs = population.costs()[:count]
        best = int(costs.argmin())
        if float(costs[best]) < self.cost:
            on_host = population.backend.to_numpy(costs)
            self.weights = population.weights(best)
            self.seconds = perf_counter() - self._started
            before = np.minimum.accumulate(np.append(self.cost, on_host))[:-1]
            for i in np.flatnonzero(on_host < before):
                weights = self.weights if i == best else None
                self._note(self.evaluations + int(i) + 1, float(on_host[i]), weights)
        self._spend(count)

    def evaluate_one(self, cost: float, weights: np.ndarray) -> None:
        """Record an evaluation that the caller has made."""
        if cost < self.cost:
            self.seconds, self.weights = perf_counter() - self._started, weights
            self._note(self.evaluations + 1, cost, weights)
        self._spend(1)

    def _note(self, evaluations: int, cost: float, weights: np.ndarray | None) -> None:
        self.cost = cost
        if len(self.curve) > 1 and evaluations < 1.02 * self.curve[-2].evaluations:
            self.curve.pop()
        self.curve.append(Point(evaluations, self.seconds, cost, weights))

    def _spend(self, count: int) -> None:
        self.evaluations += count
        self.seconds = perf_counter() - self._started
        if self.watch is not None and self.seconds - self._watched > _WATCH_EVERY:
            self._watched = self.seconds
            self.watch(self)


class Population:
    """Candidates for the weights of an example: arrays for ``size`` networks, and their costs.

    theta : (size, theta_size), the candidates. places : the index of each parameter in theta, in
    the order of `parameters_of`.
    """

    def __init__(self, backend: Backend, example: Example, size: int, dtype: np.dtype) -> None:
        network, rows, loss = example.network, len(example.X), example.cost
        self.backend, self.size = backend, size
        self.places = places_of(network, dtype).tolist()
        self._columns = backend.asarray(np.array(self.places))
        self.theta = backend.zeros((size, network.theta_size(dtype)), dtype)
        self.numbers = backend.asarray(np.arange(size))
        work = Workspace(backend, network, rows, dtype, lead=(size,), deltas=False)
        work.X = backend.asarray(example.X, dtype)  # one X for all
        rows_Y = backend.asarray(targets_of(example, dtype))
        # One Y per candidate, since the loss kernels index rows through the whole population.
        Y = backend.empty((size, *rows_Y.shape), rows_Y.dtype)
        Y[...] = rows_Y
        self._losses = backend.zeros((size, rows), np.float64)
        delta, parameters = backend.empty(work.logits.shape, dtype), network.views(self.theta)

        def step() -> None:
            forward(backend, network, parameters, work)
            loss.evaluate(backend, work.logits, Y, 1 / rows, self._losses, delta)

        self._step = backend.record(step)

    def costs(self) -> Array:
        """Return the cost of each candidate (size,) float64; NaN becomes infinity."""
        self._losses[...] = 0
        with np.errstate(all="ignore"):
            self._step()
            costs = self._losses.sum(axis=-1)
        costs[costs != costs] = math.inf
        return costs

    def fill(self, weights: Array) -> None:
        """Set all candidates to ``weights`` (N,), or each to its own (size, N)."""
        self.theta[:, self._columns] = self.backend.asarray(weights, self.theta.dtype)

    def weights(self, candidate: int) -> np.ndarray:
        """Return the parameters (N,) float64 of one candidate on the host."""
        theta = self.backend.to_numpy(self.theta[candidate])
        weights: np.ndarray = theta[self.places].astype(np.float64)
        return weights


def places_of(network: Network, dtype: np.dtype) -> np.ndarray:
    """Return the index in theta of each parameter, in the order of `parameters_of`."""
    # The padding depends on the item size, so the indices have the item size of ``dtype``.
    index = np.arange(network.theta_size(dtype), dtype=f"i{np.dtype(dtype).itemsize}")
    Ws, bs, *_ = network.views(index)
    # A parameter without a source is a bias, so bs[p.layer] is not None.
    return np.array(
        [
            bs[p.layer][p.unit] if p.source is None else Ws[p.layer][p.source, p.unit]  # type: ignore[index]
            for p in parameters_of(network)
        ]
    )


def weights_of(example: Example) -> np.ndarray:
    """Return the initial parameters (N,) of ``example``, in the order of `parameters_of`."""
    return example.theta[[p.place for p in parameters_of(example.network)]]


def targets_of(example: Example, dtype: np.dtype) -> np.ndarray:
    """Return the targets as the loss takes them: classes, or numbers in ``dtype``."""
    return example.Y if example.Y.ndim == 1 else example.Y.astype(dtype)


def one_at_a_time(run: Run, population: Population, start: np.ndarray, values: np.ndarray) -> None:
    """Set each weight in turn to the best of ``values``, all others fixed.

    start : (N,) weights to begin with. Stops when a sweep over all weights changes none.
    """
    run.start()
    population.fill(start)
    run.evaluate(population, run.allowance(1))
    values = values.astype(population.theta.dtype)
    candidates = population.backend.asarray(values)
    best = math.nan
    while best != run.cost:
        best = run.cost
        for j, place in enumerate(population.places):
            for first in range(0, len(values), population.size):
                part = candidates[first : first + population.size]
                if not (count := run.allowance(len(part))):
                    run.stopped_by = "budget"
                    return
                population.theta[:count, place] = part[:count]
                run.evaluate(population, count)
            population.theta[:, place] = start[j] if run.weights is None else run.weights[j]
        run.sweeps += 1
    run.stopped_by = "stalled"


def all_combinations(run: Run, population: Population, values: np.ndarray) -> None:
    """Try each combination of ``values``, in the order (1, 1), (1, 2), ..., (2, 1), (2, 2)."""
    n, grid = len(population.places), population.backend.asarray(values, population.theta.dtype)
    run.values, run.combinations = len(values), len(values) ** n
    run.start()
    while (left := run.combinations - run.evaluations) > 0:
        if not (count := run.allowance(min(population.size, left))):
            run.stopped_by = "budget"
            return
        digits = digits_of(population.numbers + run.evaluations, len(values), n)
        for place, digit in zip(population.places, digits, strict=True):
            population.theta[:, place] = grid[digit]
        run.evaluate(population, count)
    run.stopped_by = "all_seen"


def digits_of(numbers: Array, base: int, n: int) -> list[Array]:
    """Return the last ``n`` digits of ``numbers`` (P,) in ``base``, the highest first."""
    digits = []
    for _ in range(n):
        numbers, digit = divmod(numbers, base)
        digits.append(digit)
    return digits[::-1]


def random_search(run: Run, population: Population, low: float, high: float, seed: int) -> None:
    """Draw every weight uniformly between ``low`` and ``high``, until the budget is spent."""
    n = len(population.places)
    each = population.backend.asarray(np.arange(population.size * n, dtype=np.uint64))
    run.start()
    while count := run.allowance(population.size):
        draws = uniform(each + _uint64(_stream(seed) + run.evaluations * n)).reshape(-1, n)
        population.fill(low + (high - low) * draws)
        run.evaluate(population, count)
    run.stopped_by = "budget"


def uniform(counters: Array) -> Array:
    """Return a number in [0, 1) for each uint64 counter, the same on every device.

    The mixing steps of splitmix64; Steele, Lea and Flood, OOPSLA 2014.
    """
    bits = counters * _uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> _uint64(30))) * _uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> _uint64(27))) * _uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> _uint64(31))) >> _uint64(11)) * 2.0**-53


def _stream(seed: int) -> int:
    return (seed + 1) * 0xD1342543DE82EF95


def _uint64(value: int) -> np.uint64:
    return np.uint64(value % 2**64)
