"""The optimizers of the table of solvers, and the coefficients of their updates.

The coefficients of all updates of an epoch are computed on the host in float64 and uploaded once
per epoch. An update is one kernel over the flat parameter vector (``kernels.optimizers``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.optimizers import ADAM, ADAMW, LION, MOMENTUM, NESTEROV


class Optimizer(Protocol):
    """The interface that training uses of an optimizer."""

    @property
    def step(self) -> Elementwise:
        """The kernel of one update."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the optimizer's state vectors, each of the size of theta."""

    @property
    def decays(self) -> bool:
        """Whether the update itself shrinks the weights, in addition to the L2 penalty."""

    def plan(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        """Return the coefficients of the next ``len(l2)`` updates, (n_steps, columns) float64.

        rate : the learning rate, a number or one per update (n_steps,). done : the number of
        updates made before. l2 : (n_steps,), the coefficient of the L2 penalty in each update.
        """


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum: u = momentum u - rate g, theta += u."""

    momentum: float = 0.9
    nesterov: bool = True
    state_names: ClassVar[tuple[str, ...]] = ("velocity",)
    decays: ClassVar[bool] = False

    @property
    def step(self) -> Elementwise:
        return NESTEROV if self.nesterov else MOMENTUM

    def plan(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        columns = np.empty((len(l2), 3))
        columns[:, 0], columns[:, 1], columns[:, 2] = rate, l2, self.momentum
        return columns


@dataclass(frozen=True)
class Adam:
    """Adam as in scikit-learn: epsilon is added to sqrt(v) before bias correction.

    theta -= rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon); Kingma and Ba
    (2014), end of section 2. The kernel keeps m / (1 - beta_1) and v / (1 - beta_2).
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    step: ClassVar[Elementwise] = ADAM
    state_names: ClassVar[tuple[str, ...]] = ("m", "v")
    decays: ClassVar[bool] = False

    def plan(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        t = np.arange(done + 1, done + 1 + len(l2), dtype=np.float64)
        scale = math.sqrt(1 - self.beta_2)
        corrected = np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        columns = np.empty((len(l2), 5))
        columns[:, 0] = rate * corrected * (1 - self.beta_1) / scale
        columns[:, 1] = l2
        columns[:, 2:] = self.beta_1, self.beta_2, self.epsilon / scale
        return columns


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay, as published and as in PyTorch and optax.

    theta -= rate (m' / (sqrt(v') + epsilon) + weight_decay theta), with m' = m / (1 - beta_1^t)
    and v' = v / (1 - beta_2^t); biases do not decay. Loshchilov and Hutter, Decoupled Weight
    Decay Regularization (2019). The kernel keeps m / (1 - beta_1) and v / (1 - beta_2).
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    step: ClassVar[Elementwise] = ADAMW
    state_names: ClassVar[tuple[str, ...]] = ("m", "v")

    @property
    def decays(self) -> bool:
        return self.weight_decay > 0

    def plan(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        t = np.arange(done + 1, done + 1 + len(l2), dtype=np.float64)
        scale = np.sqrt((1 - self.beta_2) / (1 - self.beta_2**t))
        columns = np.empty((len(l2), 6))
        columns[:, 0] = rate * (1 - self.beta_1) / (1 - self.beta_1**t) / scale
        columns[:, 1] = l2
        columns[:, 2:4] = self.beta_1, self.beta_2
        columns[:, 4] = self.epsilon / scale
        columns[:, 5] = np.multiply(rate, self.weight_decay)
        return columns


@dataclass(frozen=True)
class Lion:
    """Lion: updates by the sign of a weighted mean of gradient and momentum.

    theta -= rate (sign(beta_1 m + (1 - beta_1) g) + weight_decay theta), then
    m = beta_2 m + (1 - beta_2) g; biases do not decay. Chen et al., Symbolic Discovery of
    Optimization Algorithms (2023). The kernel keeps m / (1 - beta_2).
    """

    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.01
    step: ClassVar[Elementwise] = LION
    state_names: ClassVar[tuple[str, ...]] = ("m",)

    @property
    def decays(self) -> bool:
        return self.weight_decay > 0

    def plan(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        mix = self.beta_1 * (1 - self.beta_2) / (1 - self.beta_1)
        columns = np.empty((len(l2), 5))
        columns[:, 0], columns[:, 1], columns[:, 2:4] = rate, l2, (mix, self.beta_2)
        columns[:, 4] = np.multiply(rate, self.weight_decay)
        return columns


def update(
    backend: Backend,
    optimizer: Optimizer,
    plan: Array,
    step: Array,
    n_weights: int,
    decays: bool,
    theta: Array,
    grad: Array,
    state: tuple[Array, ...],
    factors: Array | None = None,
) -> None:
    """Update ``theta`` and ``state`` in place by row ``step[0]`` of ``plan``; overwrite ``grad``.

    theta, grad, state : (…, size). plan : (n_steps, …, columns). step : (1,) int64.
    n_weights : the number of entries at the start of theta that are weights.
    decays : whether the L2 penalty applies to the weights.
    factors : (…, size / RUN, 2) multiplies the rate and the decoupled weight decay of each run of
        theta; None for none.
    """
    size = theta.shape[-1]
    n_networks = theta.size // size
    inputs = (plan, step, n_networks, size, n_weights, decays or optimizer.decays)
    if factors is None:
        backend.run(optimizer.step, grad, *inputs, out=(theta, *state))
    else:
        backend.run(with_factors(optimizer), grad, factors, *inputs, out=(theta, *state))


def with_factors(optimizer: Optimizer) -> Elementwise:
    """Return the kernel of one update with factors.

    Raises ValueError for an optimizer whose kernel is not made by `kernels.updates`.
    """
    step = getattr(optimizer.step, "with_factors", None)
    if not isinstance(step, Elementwise):
        raise ValueError(
            f"the kernel {optimizer.step.name!r} takes no factors of groups of parameters; make it "
            "with kernels.updates.update_step, or leave rate_factors and decay_factors out"
        )
    return step
