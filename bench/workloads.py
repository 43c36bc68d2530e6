"""The timed networks: their data, initial weights, row orders and floor.

All of these follow from a seed, so that every peer trains the same network from the same weights on
the same rows in the same order. The networks have ReLU and no weight decay; the defaults are
softmax cross-entropy and Adam.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, softmax

from gpubp.backprop.network import Network
from gpubp.bench.datasets import load_dataset

Precision = Literal["float32", "tf32", "bfloat16", "float64"]
Loss = Literal["cross_entropy", "squared_error"]
Solver = Literal["adam", "sgd"]

# Largest relative difference of the mean loss of the first epoch between two peers that do the same
# work. Adam's first steps depend only on the signs of gradients, so rounding errors grow: with
# float32 sums in another order, losses of 784-512-512-10 differ by up to 1e-4 (measured on a CPU).
# TF32 and bfloat16 round every factor of a product, to 11 and to 8 bits.
LOSS_TOLERANCE: dict[str, float] = {
    "float64": 1e-6,
    "float32": 1e-3,
    "tf32": 5e-3,
    "bfloat16": 3e-2,
}
MOMENTUM = 0.9  # Nesterov momentum of SGD, as in scikit-learn's default

ORDERS = 4  # number of row orders, which the epochs use in turn
# Largest number of distinct values of X: more than a cache has. Drawing 4096 x 204,800 is slow.
DISTINCT_VALUES = 1 << 25
# Networks of a population whose losses are compared. Peers that train one network after the other
# train only these, since the time of all is proportional.
SAMPLE = 8


class Phase(NamedTuple):
    """A part of a step that depends on the part before it, with its least operations and bytes."""

    name: str
    flop: int
    bytes: int


@dataclass(frozen=True)
class Workload:
    """A training of one network on ``rows`` rows of data.

    precision : of the factors of matrix products. Sums, master weights and Adam are float32; with
        "float64", they are float64.
    rate : learning rate.
    epsilon : of Adam; so small that its place in a peer's formula does not matter.
    loss : "cross_entropy" is that of a logistic unit for one output, of softmax for several.
    dataset : name of a data set; "" draws the data from the seed.
    population : number of networks, which have the same data, but their own seeds.
    """

    sizes: tuple[int, ...]
    batch: int
    rows: int
    precision: Precision = "float32"
    rate: float = 1e-3
    epsilon: float = 1e-12
    seed: int = 0
    solver: Solver = "adam"
    loss: Loss = "cross_entropy"
    dataset: str = ""
    population: int = 1

    @property
    def full_steps(self) -> int:
        """Number of full batches of an epoch."""
        return self.rows // self.batch

    @property
    def rest(self) -> int:
        """Number of rows of a last batch that is not full; 0 if all are full."""
        return self.rows % self.batch

    @property
    def dtype(self) -> np.dtype:
        """The dtype of data and parameters."""
        return np.dtype(np.float64 if self.precision == "float64" else np.float32)

    @property
    def network(self) -> Network:
        """The network as gpubp's `Network`."""
        return Network(self.sizes, ("relu",) * (len(self.sizes) - 2))

    def members(self) -> list[Workload]:
        """Return the networks of the population, with consecutive seeds.

        A seed is that of initial weights and row orders; the data of all are those of ``self``.
        """
        seeds = range(self.seed, self.seed + self.population)
        return [replace(self, population=1, seed=seed) for seed in seeds]

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return X (rows, d_0) and the targets.

        With cross-entropy, targets are classes, (rows,) int32. Else they are values in the dtype of
        X, (rows,), or (rows, d_L) with several outputs.
        """
        if self.dataset:
            X, y = load_dataset(self.dataset, self.rows)
        else:
            rng = np.random.default_rng(self.seed)
            X = repeated_normals(rng, self.rows, self.sizes[0])
            y = self._targets(X, rng)
        X = X.astype(self.dtype, copy=False)
        is_class = self.loss == "cross_entropy"
        return X, y.astype(np.int32 if is_class else self.dtype, copy=False)

    def _targets(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return targets for N(0, 1) features that a network can learn.

        The class is the index of the largest of the first features, one feature per class. With two
        classes, it is whether the first two features have the same sign. A value is the magnitude
        of a feature, plus noise.
        """
        n_outputs = self.sizes[-1]
        if self.loss == "squared_error":
            y = np.abs(X[:, :n_outputs])
            y += 0.5 * rng.standard_normal(y.shape, dtype=np.float32)
            return np.asarray(y[:, 0] if n_outputs == 1 else y)
        if n_outputs == 1:
            return np.asarray(X[:, 0] * X[:, 1] > 0)
        return np.asarray(X[:, :n_outputs].argmax(axis=1))

    def initial_theta(self) -> np.ndarray:
        """Return the flat initial parameters."""
        return self.network.initial_theta(self._rng(), self.dtype)

    def initial_parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the initial weights (d, h) and biases (h,), as one list of each by layer."""
        return self.network.unpack(self.initial_theta())

    def initial_outputs(self, X: np.ndarray) -> np.ndarray:
        """Return the outputs of the initial network for X (n, d_0), computed in float64."""
        A = X.astype(np.float64)
        *hidden, (W, b) = zip(*self.initial_parameters(), strict=True)
        for V, c in hidden:
            A = np.maximum(A @ V + c, 0)
        Z: np.ndarray = A @ W + b
        if self.loss == "squared_error":
            return Z
        outputs: np.ndarray = expit(Z) if self.sizes[-1] == 1 else softmax(Z, axis=1)
        return outputs

    def orders(self) -> np.ndarray:
        """Return the row orders that the epochs use in turn, (ORDERS, rows) int64.

        They are drawn after the weights from the same stream, as in scikit-learn.
        """
        rng = self._rng()
        self.network.initial_theta(rng, self.dtype)
        orders = np.empty((ORDERS, self.rows), np.int64)
        for order in orders:
            order[:] = np.arange(self.rows)
            rng.shuffle(order)
        return orders

    def _rng(self) -> np.random.RandomState:
        return np.random.RandomState(self.seed)


def repeated_normals(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Return N(0, 1) as (rows, width) float32; rows repeat after DISTINCT_VALUES values."""
    distinct = min(rows, max(1, DISTINCT_VALUES // width))
    block = rng.standard_normal((distinct, width), dtype=np.float32)
    return block if distinct == rows else np.resize(block, (rows, width))


def phases(workload: Workload) -> list[Phase]:
    """Return the phases of one step, with the least number of operations and bytes of each.

    Each phase reads its inputs once and writes its outputs once. Bias, activation and bias gradient
    belong to the product before them. With bfloat16, activations, deltas and the weights that
    products read have half the bytes; gradients and Adam stay float32. Operations outside products
    count as 0. float64 counts as float32.
    """
    b, item = workload.batch, 2 if workload.precision == "bfloat16" else 4
    d_0, n_outputs = workload.sizes[0], workload.sizes[-1]
    layers = list(enumerate(pairwise(workload.sizes)))
    found = [Phase("gather", 0, b * (d_0 * (4 + item) + 4 + 4 + 8))]  # rows, classes, order
    for number, (d, h) in layers:
        moved = (b * d + d * h + b * h) * item + h * 4
        found.append(Phase(f"forward {number}", 2 * b * d * h, moved))
    found.append(Phase("loss", 0, 2 * b * n_outputs * item + b * 4))
    for number, (d, h) in reversed(layers):
        moved = (b * d + b * h) * item + (d * h + h) * 4
        found.append(Phase(f"gradient {number}", 2 * b * d * h, moved))
        if number:
            moved = (b * h + d * h + 2 * b * d) * item
            found.append(Phase(f"delta {number}", 2 * b * d * h, moved))
    # theta, m and v are read and written, the gradient is read; products read their own copy.
    each = 7 * 4 + (2 if workload.precision == "bfloat16" else 0)
    return [*found, Phase("Adam", 0, each * workload.network.n_parameters)]


def floor_us(found: Iterable[Phase], product_rate: float, copy_rate: float) -> float:
    """Return the least time of one step in us: per phase, the longer of computing and copying.

    product_rate : FLOP/s of a large matrix product in the workload's precision.
    copy_rate : bytes/s (read plus written) of a large copy on the device.
    """
    return 1e6 * sum(max(p.flop / product_rate, p.bytes / copy_rate) for p in found)
