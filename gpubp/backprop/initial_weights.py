"""Initial weights: the table of ways to draw them, and the draw of "he_normal"."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

# Name -> documentation. `Network.initial_theta` draws them.
WEIGHTS_INITS: dict[str, str] = {
    "glorot_uniform": "scikit-learn's numbers: uniform in +-sqrt(f / (d_in + d_out)), f = 2 for "
    "logistic layers, else 6; biases from the same interval.",
    "he_normal": "Normal with variance 2 / d_in, and 1 / d_in in the last layer; biases are 0. For "
    "relu and similar activations.",
}


def he_normal(
    sizes: Sequence[int], rng: np.random.RandomState
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases by layer: W ~ N(0, 2 / d_in), the last W ~ N(0, 1 / d_in), b = 0.

    sizes : units by layer, from inputs to outputs. The weights are drawn in float64, layer by
    layer. He, Zhang, Ren and Sun, Delving Deep into Rectifiers (2015).
    """
    shapes = list(pairwise(sizes))
    gains = [2] * (len(shapes) - 1) + [1]  # no rectifier halves the variance after the last layer
    Ws = [
        rng.normal(0, np.sqrt(gain / d), (d, h)) for gain, (d, h) in zip(gains, shapes, strict=True)
    ]
    return Ws, [np.zeros(h) for h in sizes[1:]]
