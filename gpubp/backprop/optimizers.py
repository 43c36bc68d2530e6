"""The solvers: a table of them, and what each step of an epoch is planned to do.

To add one, add its kernel to ``kernels.optimizers``, and here its class and its entry in
``SOLVERS``; estimators, command line, documentation, `explain` and tests read the table.

The planned numbers are computed on the host in float64 and uploaded once an epoch; the update
itself is one kernel over the flat parameter vector (``kernels.optimizers``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol, cast

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, checked, entry_of, numbers_of
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.optimizers import ADAM, ADAMW, LION, MOMENTUM, NESTEROV


class Optimizer(Protocol):
    """What training needs of an optimizer."""

    @property
    def step(self) -> Elementwise:
        """The kernel of one update."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names of the vectors that the optimizer keeps beside theta."""

    @property
    def decays(self) -> bool:
        """Whether it shrinks the weights by itself, whatever the penalty is."""

    def plan(self, rate: float | np.ndarray, done: int, l2: np.ndarray) -> np.ndarray:
        """Return the numbers of the next ``len(l2)`` updates, (n_steps, columns) float64.

        rate : the learning rate, or that of each update; done : updates made before; l2 : each
        update's weight decay.
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
    """Adam as scikit-learn has it: epsilon stands beside sqrt(v), not beside its estimate.

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
    """Adam with decoupled weight decay, in the published form, which PyTorch and optax have.

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
    """Steps of equal size in every entry, by the sign of a mixture of gradient and momentum.

    theta -= rate (sign(beta_1 m + (1 - beta_1) g) + weight_decay theta), and only then
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


@dataclass(frozen=True)
class Solver:
    """An entry of SOLVERS.

    doc : one sentence for a person.
    optimizer : makes the optimizer from the values of ``parameters``, in their order; None where
        there is no update by steps.
    parameters : what an estimator may set, under the estimator's names; each default is the
        solver's own.
    formula : the published update as lines of Python over theta, its gradient g (with the L2
        penalty), the learning rate, the count t of updates from 1 on, the parameters and the
        vectors of ``state_names``, which start at 0. For biases weight_decay is 0. `explain`
        shows these lines, and the tests run them against the kernel.
    """

    name: str
    doc: str
    optimizer: Callable[..., Optimizer] | None
    parameters: tuple[HyperparameterSpec, ...]
    formula: tuple[str, ...] = ()

    def make(self, **numbers: Any) -> Optimizer:
        """Return the optimizer; numbers that are left out are the solver's own defaults.

        Raises ValueError for a number that it does not take or that is out of range, and for a
        solver without an optimizer.
        """
        values = checked(f"solver {self.name!r}", self.parameters, numbers)
        if self.optimizer is None:
            raise ValueError(
                f"solver {self.name!r} makes no update by steps, so it has no optimizer; take one "
                f"of {sorted(STEPWISE)}"
            )
        return self.optimizer(*values.values())


_MOMENTUM = HyperparameterSpec("momentum", 0.9, "Momentum.", high=1, closed="both")
_NESTEROV = HyperparameterSpec("nesterovs_momentum", True, "Whether the momentum is Nesterov's.")
_BETA_1 = HyperparameterSpec(
    "beta_1", 0.9, "Decay rate of the first moment of the gradient.", high=1
)
_BETA_2 = HyperparameterSpec(
    "beta_2", 0.999, "Decay rate of the second moment of the gradient.", high=1
)
_EPSILON = HyperparameterSpec("epsilon", 1e-8, "Added to sqrt(v).", closed="neither")
_CORRECTED = HyperparameterSpec(
    "epsilon", 1e-8, "Added to the square root of the corrected second moment.", closed="neither"
)
_WEIGHT_DECAY = HyperparameterSpec(
    "weight_decay",
    0.01,
    "Each step subtracts rate x weight_decay x weights from the weights, not from the biases; "
    "the penalty of `alpha` comes on top.",
)

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Solver(
            "adam",
            "Adam as scikit-learn has it.",
            Adam,
            (_BETA_1, _BETA_2, _EPSILON),
            (
                "m = beta_1 * m + (1 - beta_1) * g",
                "v = beta_2 * v + (1 - beta_2) * g**2",
                "theta = theta - rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) "
                "* m / (sqrt(v) + epsilon)",
            ),
        ),
        Solver(
            "adamw",
            "Adam with decoupled weight decay, in the published form.",
            AdamW,
            (_BETA_1, _BETA_2, _CORRECTED, _WEIGHT_DECAY),
            (
                "m = beta_1 * m + (1 - beta_1) * g",
                "v = beta_2 * v + (1 - beta_2) * g**2",
                "step = m / (1 - beta_1**t) / (sqrt(v / (1 - beta_2**t)) + epsilon)",
                "theta = theta - rate * (step + weight_decay * theta)",
            ),
        ),
        Solver(
            "lion",
            "Steps by the sign of momentum, with decoupled weight decay; wants a rate 3 to 10 "
            "times smaller than 'adamw'.",
            Lion,
            (
                replace(_BETA_1, doc="Part of m under the sign, beside 1 - beta_1 of g."),
                replace(_BETA_2, default=0.99, doc="Decay rate of m, the mean of gradients."),
                _WEIGHT_DECAY,
            ),
            (
                "u = sign(beta_1 * m + (1 - beta_1) * g)",
                "theta = theta - rate * (u + weight_decay * theta)",
                "m = beta_2 * m + (1 - beta_2) * g",
            ),
        ),
        Solver(
            "sgd",
            "Stochastic gradient descent with momentum.",
            SGD,
            (_MOMENTUM, _NESTEROV),
            (
                "velocity = momentum * velocity - rate * g",
                "theta = theta + "
                "(momentum * velocity - rate * g if nesterovs_momentum else velocity)",
            ),
        ),
        Solver(
            "lbfgs",
            "Takes all rows in every step, and has no epochs, early stopping or partial_fit; "
            "SciPy runs it on the host, in float64.",
            None,
            (
                HyperparameterSpec(
                    "max_fun", 15000, "Stops after so many evaluations of the loss.", low=1
                ),
                HyperparameterSpec(
                    "tol", 1e-4, "Converged where no entry of the gradient is larger."
                ),
            ),
        ),
    )
}
# Those that update by steps, and so train by epochs.
STEPWISE = tuple(name for name, solver in SOLVERS.items() if solver.optimizer is not None)
# Each number of a solver: its name -> {solver: parameter}. The first of the solvers has the
# default of the estimators.
SOLVER_NUMBERS = numbers_of(SOLVERS)


def make_optimizer(name: str, **numbers: Any) -> Optimizer:
    """Return the optimizer of the solver ``name``; see `Solver.make`.

    Raises ValueError for an unknown solver, and what `Solver.make` raises.
    """
    return entry_of(SOLVERS, name, "solver").make(**numbers)


def own_numbers(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of the solver ``name`` among those ``given`` to an estimator.

    A number that equals the estimator's default is left out, so that the solver's own default
    holds. Raises ValueError for an unknown solver.
    """
    found = {}
    for parameter in entry_of(SOLVERS, name, "solver").parameters:
        first, *_ = SOLVER_NUMBERS[parameter.name].values()
        if given[parameter.name] != first.default:
            found[parameter.name] = given[parameter.name]
    return found


def formula_of(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the formula of the solver that ``optimizer`` comes from; () if it is in no table."""
    found = (s.formula for s in SOLVERS.values() if s.optimizer is type(optimizer))
    return next(found, ())


def named_optimizer(optimizer: Optimizer) -> tuple[str, dict[str, Any]]:
    """Return the solver that ``optimizer`` comes from, and its numbers.

    Raises ValueError for one that is in no table.
    """
    kind, values = cast(Any, type(optimizer)), asdict(cast(Any, optimizer)).values()
    for solver in SOLVERS.values():
        if solver.optimizer is kind:
            names = (parameter.name for parameter in solver.parameters)
            return solver.name, dict(zip(names, values, strict=True))
    raise ValueError(f"{optimizer!r} is of no solver; take one of {sorted(STEPWISE)}")


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
) -> None:
    """Update ``theta`` and ``state`` by row ``step[0]`` of ``plan``; ``grad`` is used up.

    theta, grad, state : (…, size). plan : (n_steps, …, columns). step : (1,) int64.
    n_weights : the first entries of theta, which decay if ``decays``, or by the optimizer itself.
    """
    size = theta.shape[-1]
    n_networks = theta.size // size
    inputs = (grad, plan, step, n_networks, size, n_weights, decays or optimizer.decays)
    backend.run(optimizer.step, *inputs, out=(theta, *state))
