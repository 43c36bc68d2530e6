"""The gradient of backpropagation against central differences, parameter by parameter."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gpubp.explain.example import Example
from gpubp.explain.input_stage import differences_of
from gpubp.explain.loss_landscape import losses_of
from gpubp.explain.parameters import Parameter, parameters_of, stage_parameters
from gpubp.explain.trace import trace_step

_POPULATION = 256  # shifted networks that are evaluated at once


class GradientCheck(NamedTuple):
    """The gradient of one parameter by backpropagation and by a central difference."""

    parameter: Parameter
    backprop: float
    difference: float
    kink: bool  # the slope jumps between w - h and w + h, so the two may differ

    @property
    def agrees(self) -> bool:
        """Whether the two differ by at most 1e-7: absolute up to 1, relative above."""
        return abs(self.backprop - self.difference) <= 1e-7 * max(1.0, abs(self.backprop))


def check_gradients(example: Example, row: int = 0, h: float = 1e-5) -> list[GradientCheck]:
    """Return the gradient of every parameter by backpropagation and by a central difference.

    The difference is (C(w + h) - C(w - h)) / 2h, where C is the loss of ``row`` without the
    penalty. h : the distance, see `differences_of`. The shifted networks are evaluated as one
    population.
    """
    gradient = trace_step(example, row).gradient
    one = replace(example, X=example.X[row : row + 1], Y=example.Y[row : row + 1])
    parameters = [*parameters_of(example.network), *stage_parameters(example.network)]
    distances = differences_of(example.network, one.X[0], h)
    checks = []
    for start in range(0, len(parameters), _POPULATION):
        part = parameters[start : start + _POPULATION]
        index = [parameter.place for parameter in part]
        shifted = np.repeat(example.theta[None], 2 * len(part) + 1, axis=0)
        h_of_each = distances[index]
        shifted[np.arange(len(part)), index] += h_of_each
        shifted[np.arange(len(part), 2 * len(part)), index] -= h_of_each
        losses = losses_of(one, shifted)
        up, down, here = losses[: len(part)], losses[len(part) : -1], losses[-1]
        # Where the slope is smooth, its two sides differ by h times the curvature only.
        jump = np.abs(up - 2 * here + down) / h_of_each
        kinks = jump > 1e-3 * np.maximum(np.abs(up - down) / h_of_each, 1e-3)
        rows = zip(part, gradient[index], (up - down) / (2 * h_of_each), kinks, strict=True)
        checks += [GradientCheck(p, float(g), float(d), bool(k)) for p, g, d, k in rows]
    return checks
