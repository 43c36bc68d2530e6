"""Sweeps with made-up scores, for the tests of their reports."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from gpubp.selection.space import Range, Space, WholeNumbers
from gpubp.selection.trials import Sweep, Trial

SPACE: Space = {
    "hidden_layer_sizes": [(64,), (128,), (256, 128, 64)],
    "learning_rate_init": Range(1e-4, 1e-1, log=True),
    "dropout": Range(0.0, 0.5),
    "batch_size": WholeNumbers(16, 256, log=True),
    "solver": ["adam"],
}


def score_of(params: dict[str, Any], noise: float) -> float:
    """A score that depends on the learning rate most, on the layers a little."""
    rate = math.log10(params["learning_rate_init"]) + 2
    return 0.9 - 0.1 * rate**2 - 0.02 * len(params["hidden_layer_sizes"]) + 0.01 * noise


def made(n: int = 60, seed: int = 0, **changes: Any) -> Sweep:
    """Return a sweep of n trials, of which the third failed and the fourth diverged."""
    rng = np.random.RandomState(seed)
    trials = []
    for number in range(1, n + 1):
        params = {
            name: of.rvs(rng) if isinstance(of, Range) else of[rng.randint(len(of))]
            for name, of in SPACE.items()
        }
        mean = {3: math.nan, 4: -50.0}.get(number, score_of(params, rng.normal()))
        scores = (mean - 0.01, mean, mean + 0.01)
        trials.append(Trial(number, params, scores, mean, 0.00816, rng.uniform(0.1, 2), 0))
    return ranked(Sweep(trials, trials[0], n, SPACE, "accuracy", "random", 3, 0, **_REST), changes)


_REST: dict[str, Any] = {
    "resumed": 0,
    "stopped_by": None,
    "seconds": 61.0,
    "source": "<churn & co>.csv",
    "target": "left",
}


def ranked(sweep: Sweep, changes: dict[str, Any]) -> Sweep:
    """Return the sweep with ranks and the best trial."""
    sweep = replace(sweep, **changes)
    means = [-math.inf if trial.failed else trial.mean for trial in sweep.trials]
    order = sorted(range(len(means)), key=lambda k: (-means[k], k))
    trials = [replace(trial, rank=order.index(k) + 1) for k, trial in enumerate(sweep.trials)]
    return replace(sweep, trials=trials, best=trials[order[0]])
