"""The table of ways to draw initial weights.

To add a way, add its entry to `WEIGHTS_INITS`; estimators, documentation and tests read the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Drawn = tuple[list[np.ndarray], list[np.ndarray]]  # weights and biases by layer, float64


@dataclass(frozen=True)
class WeightsInit:
    """An entry of WEIGHTS_INITS.

    doc : its description in the documentation. draw : called with the units by layer, the
    activations of the hidden layers, whether there are biases, and a generator.
    """

    name: str
    doc: str
    draw: Callable[[Sequence[int], Sequence[str], bool, np.random.RandomState], Drawn]


def _glorot_uniform(
    sizes: Sequence[int], activations: Sequence[str], bias: bool, rng: np.random.RandomState
) -> Drawn:
    """Draw in scikit-learn's order: W, b, layer by layer.

    The bound is sqrt(f / (d_in + d_out)), f = 2 for logistic layers, else 6; biases are drawn from
    the same interval. Glorot and Bengio, AISTATS 2010.
    """
    Ws, bs = [], []
    # The output layer has the factor of the last hidden layer, as in scikit-learn.
    of_layers = [*activations, *activations[-1:]] or ["identity"]
    for (d, h), activation in zip(pairwise(sizes), of_layers, strict=True):
        bound = np.sqrt((2 if activation == "logistic" else 6) / (d + h))
        Ws.append(rng.uniform(-bound, bound, (d, h)))
        bs.append(rng.uniform(-bound, bound, h) if bias else np.empty(0))
    return Ws, bs


def _he_normal(
    sizes: Sequence[int], activations: Sequence[str], bias: bool, rng: np.random.RandomState
) -> Drawn:
    """Draw W ~ N(0, 2 / d_in), and the last W ~ N(0, 1 / d_in); b = 0.

    He, Zhang, Ren and Sun, Delving Deep into Rectifiers (2015).
    """
    shapes = list(pairwise(sizes))
    gains = [2] * (len(shapes) - 1) + [1]  # no rectifier halves the variance after the last layer
    Ws = [
        rng.normal(0, np.sqrt(gain / d), (d, h)) for gain, (d, h) in zip(gains, shapes, strict=True)
    ]
    return Ws, [np.zeros(h) for h in sizes[1:]]


WEIGHTS_INITS: dict[str, WeightsInit] = {
    init.name: init
    for init in (
        WeightsInit(
            "glorot_uniform",
            "scikit-learn's numbers: uniform in +-sqrt(f / (d_in + d_out)), f = 2 for logistic "
            "layers, else 6; biases from the same interval.",
            _glorot_uniform,
        ),
        WeightsInit(
            "he_normal",
            "Normal with variance 2 / d_in, and 1 / d_in in the last layer; biases are 0. For relu "
            "and similar activations.",
            _he_normal,
        ),
    )
}
