"""Backpropagation as a search: ordinary training on all rows at once."""

from __future__ import annotations

import math
import sys

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.backprop.solvers import named_optimizer
from gpubp.explain.example import Example
from gpubp.explain.search.methods import Method, Run, places_of, targets_of
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, Listeners, Snapshot, Start, fit
from gpubp.training.history import Epoch
from gpubp.training.recipe import Recipe

PATIENCE = 1000  # steps without a smaller cost


def backpropagation(
    run: Run,
    backend: Backend,
    example: Example,
    start: np.ndarray,
    dtype: np.dtype,
    targets: dict[Method, float] | None = None,
) -> None:
    """Train from the weights ``start`` (N,) with the example's own optimizer, on all rows at once.

    One evaluation is one forward and one backward pass. targets : the costs of other methods; the
    first step that reaches each of them is recorded in ``run``.
    """
    network, places = example.network, places_of(example.network, dtype)
    theta = np.zeros(network.theta_size(dtype), dtype)
    theta[places] = start
    X, Y = example.X.astype(dtype), targets_of(example, dtype)
    solver, numbers = named_optimizer(example.optimizer)
    recipe = Recipe(
        epochs=sys.maxsize,
        batch_size=len(X),
        solver=solver,
        solver_numbers=numbers,
        learning_rate=example.rate,
        patience=math.inf,
        shuffle=False,
        precision="float64" if dtype == np.float64 else "float32",
    )
    watch = _Watch(run, places, dict(targets or {}))
    fitted = fit(
        backend,
        network,
        example.cost,
        TrainingData(X, Y, Y, None),
        recipe,
        start=Start(theta, np.random.RandomState(0)),
        listeners=Listeners(watch.begin, watch.end_epoch),
    )
    watch.end(fitted)


class _Watch:
    """Records a training in its ``run``. The loss of an epoch is the loss before its step.

    targets : the costs of other methods.
    """

    def __init__(self, run: Run, places: np.ndarray, targets: dict[Method, float]) -> None:
        self._run, self._places, self._targets, self._stale = run, places, targets, 0

    def begin(self, snapshot: Snapshot) -> None:
        self._snapshot, self._before = snapshot, snapshot().theta
        self._run.start()

    def end_epoch(self, epoch: Epoch) -> bool:
        """Record an epoch; return whether to stop after it."""
        run = self._run
        self._stale = 0 if epoch.loss < run.cost else self._stale + 1
        self._evaluate(epoch.loss)
        for method in [m for m, target in self._targets.items() if epoch.loss <= target]:
            run.reached[method] = (run.evaluations - 1, run.seconds)
            del self._targets[method]
        self._before = self._snapshot().theta
        run.stopped_by = "no_improvement" if self._stale > PATIENCE else "budget"
        return self._stale > PATIENCE or not run.allowance(1)

    def end(self, fitted: Fitted) -> None:
        """Record the reason if training ended for another one than `end_epoch`."""
        if fitted.stopped_by == "interrupt":
            self._run.stopped_by = "interrupt"
            raise KeyboardInterrupt
        if fitted.stopped_by == "non_finite":
            self._evaluate(math.nan)
            self._run.stopped_by = "diverged"

    def _evaluate(self, cost: float) -> None:
        self._run.evaluate_one(cost, self._before[self._places].astype(np.float64))
