"""The table of solvers.

To add a solver, add its kernel to ``kernels.optimizers``, its class to ``backprop.optimizers``, and
its entry in ``SOLVERS`` to this file; estimators, command line, documentation, `explain` and tests
read the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, checked, entry_of, numbers_of
from gpubp.backprop.optimizers import SGD, Adam, AdamW, Lion, Optimizer


@dataclass(frozen=True)
class Solver:
    """An entry of SOLVERS.

    doc : its description in the documentation and the command line.
    optimizer : makes the optimizer from the values of ``parameters``, in their order; None for a
        solver that does not train on mini-batches.
    parameters : the solver's parameters under the estimators' names, with its own defaults.
    formula : the published update as lines of Python. Their variables are theta, its gradient g
        (with the L2 penalty), the learning rate ``rate``, the number t of the update (from 1), the
        parameters, and the vectors of ``state_names``, which start at 0. For biases weight_decay
        is 0. `explain` shows these lines, and the tests compare them with the kernel.
    """

    name: str
    doc: str
    optimizer: Callable[..., Optimizer] | None
    parameters: tuple[HyperparameterSpec, ...]
    formula: tuple[str, ...] = ()

    def make(self, **numbers: Any) -> Optimizer:
        """Return the optimizer with the given parameters; others take the solver's defaults.

        Raises ValueError for a parameter that the solver does not have or that is out of range,
        and for a solver without an optimizer.
        """
        values = checked(f"solver {self.name!r}", self.parameters, numbers)
        if self.optimizer is None:
            raise ValueError(
                f"solver {self.name!r} does not train on mini-batches, so it has no optimizer; use "
                f"one of {sorted(STEPWISE)}"
            )
        return self.optimizer(*values.values())


_MOMENTUM = HyperparameterSpec("momentum", 0.9, "Momentum coefficient.", high=1, closed="both")
_NESTEROV = HyperparameterSpec("nesterovs_momentum", True, "Whether to use Nesterov's momentum.")
_BETA_1 = HyperparameterSpec(
    "beta_1", 0.9, "Decay rate of the first moment of the gradient.", high=1
)
_BETA_2 = HyperparameterSpec(
    "beta_2", 0.999, "Decay rate of the second moment of the gradient.", high=1
)
_EPSILON = HyperparameterSpec(
    "epsilon", 1e-8, "Added to the square root of the second moment.", closed="neither"
)
_CORRECTED = HyperparameterSpec(
    "epsilon", 1e-8, "Added to the square root of the corrected second moment.", closed="neither"
)
_WEIGHT_DECAY = HyperparameterSpec(
    "weight_decay",
    0.01,
    "Decoupled weight decay: each update also subtracts rate x weight_decay x weights from the "
    "weights, not from the biases. The penalty `alpha` applies in addition.",
)

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Solver(
            "adam",
            "Adam as in scikit-learn: epsilon is added before bias correction.",
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
            "Adam with decoupled weight decay, as in PyTorch: epsilon is added after bias "
            "correction.",
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
            "Updates by the sign of the momentum, with decoupled weight decay; needs a learning "
            "rate 3 to 10 times smaller than that of 'adamw'.",
            Lion,
            (
                replace(_BETA_1, doc="Weight of the momentum; the gradient has weight 1 - beta_1."),
                replace(_BETA_2, default=0.99, doc="Decay rate of the momentum."),
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
            "L-BFGS of SciPy, on the host in float64. Every iteration uses all rows; there are no "
            "epochs, early stopping or partial_fit.",
            None,
            (
                HyperparameterSpec(
                    "max_fun", 15000, "Maximum number of evaluations of the loss.", low=1
                ),
                HyperparameterSpec(
                    "tol", 1e-4, "Largest absolute entry of the gradient at convergence."
                ),
            ),
        ),
    )
}
# The solvers that train on mini-batches, in epochs.
STEPWISE = tuple(name for name, solver in SOLVERS.items() if solver.optimizer is not None)
# Parameters of the solvers: name -> {solver: parameter}. The estimators use the default of the
# first solver.
SOLVER_NUMBERS = numbers_of(SOLVERS)


def make_optimizer(name: str, **numbers: Any) -> Optimizer:
    """Return the optimizer of the solver ``name`` with the given parameters.

    Raises ValueError for an unknown solver, and in the cases of `Solver.make`.
    """
    return entry_of(SOLVERS, name, "solver").make(**numbers)


def own_numbers(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of the solver ``name`` among those ``given`` to an estimator.

    A parameter equal to the estimator's default is left out, so that the solver's own default
    applies. Raises ValueError for an unknown solver.
    """
    found = {}
    for parameter in entry_of(SOLVERS, name, "solver").parameters:
        first, *_ = SOLVER_NUMBERS[parameter.name].values()
        if given[parameter.name] != first.default:
            found[parameter.name] = given[parameter.name]
    return found


def formula_of(optimizer: Optimizer) -> tuple[str, ...]:
    """Return the formula of the solver of ``optimizer``; () if it is not in SOLVERS."""
    found = (s.formula for s in SOLVERS.values() if s.optimizer is type(optimizer))
    return next(found, ())


def named_optimizer(optimizer: Optimizer) -> tuple[str, dict[str, Any]]:
    """Return the name of the solver of ``optimizer``, and the values of its parameters.

    Raises ValueError for an optimizer that is not in SOLVERS.
    """
    kind, values = cast(Any, type(optimizer)), asdict(cast(Any, optimizer)).values()
    for solver in SOLVERS.values():
        if solver.optimizer is kind:
            names = (parameter.name for parameter in solver.parameters)
            return solver.name, dict(zip(names, values, strict=True))
    raise ValueError(f"{optimizer!r} belongs to no solver; use one of {sorted(STEPWISE)}")
