"""The optimizers of the table SOLVERS, for tests that a new solver passes without being named."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpubp.backprop.optimizers import Optimizer, with_factors
from gpubp.backprop.solvers import SOLVERS, STEPWISE
from gpubp.kernels.elementwise import Elementwise


def _optimizers() -> Iterator[tuple[str, Optimizer]]:
    """Yield each solver by its own defaults, with either value of what is True or False."""
    for name in STEPWISE:
        choices = [p.name for p in SOLVERS[name].parameters if p.kind is bool]
        for values in itertools.product((True, False), repeat=len(choices)):
            given = dict(zip(choices, values, strict=True))
            yield name + "".join(f"-{k}={v}" for k, v in given.items()), SOLVERS[name].make(**given)


OPTIMIZERS: dict[str, Optimizer] = dict(_optimizers())
STEPS: dict[str, Elementwise] = {
    step.name: step for o in OPTIMIZERS.values() for step in (o.step, with_factors(o))
}
# Numbers in one row of the plan, by the name of the kernel.
PLAN_COLUMNS = {
    step.name: o.plan(0.1, 0, np.zeros(1)).shape[1]
    for o in OPTIMIZERS.values()
    for step in (o.step, with_factors(o))
}


def estimator_parameters(optimizer: Optimizer) -> dict[str, Any]:
    """Return the parameters of an estimator that trains by ``optimizer``."""
    solver = next(s for s in SOLVERS.values() if s.optimizer is type(optimizer))
    numbers = zip(solver.parameters, vars(optimizer).values(), strict=True)
    return {"solver": solver.name} | {parameter.name: value for parameter, value in numbers}


def with_other_numbers(optimizer: Optimizer) -> Optimizer:
    """Return ``optimizer`` with each of its numbers changed, all to different ones."""
    numbers = {name: value for name, value in vars(optimizer).items() if type(value) is float}
    others = np.linspace(0.2, 0.7, len(numbers)).tolist()
    made: Any = optimizer
    changed: Optimizer = dataclasses.replace(made, **dict(zip(numbers, others, strict=True)))
    return changed


def published(
    optimizer: Optimizer,
    theta: np.ndarray,
    gradients: np.ndarray,
    rate: float,
    l2: float,
    n_weights: int,
) -> np.ndarray:
    """Return ``theta`` (size,) after a step for each of ``gradients``, by the solver's formula.

    l2 : the penalty on the first n_weights entries of theta, which alone decay.
    """
    given = estimator_parameters(optimizer)
    code = compile("\n".join(SOLVERS[given.pop("solver")].formula), "formula", "exec")
    parts = []
    for part, penalty in ((slice(n_weights), l2), (slice(n_weights, None), 0.0)):
        numbers = given if part.start is None else given | {"weight_decay": 0.0}
        names: dict[str, Any] = {"sqrt": np.sqrt, "sign": np.sign, "rate": rate, **numbers}
        names |= dict.fromkeys(optimizer.state_names, 0.0)
        names["theta"] = theta[part]
        for t, gradient in enumerate(gradients, start=1):
            exec(code, names | {"t": t, "g": gradient[part] + penalty * names["theta"]}, names)
        parts.append(names["theta"])
    return np.concatenate(parts)
