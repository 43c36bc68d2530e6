"""`Recipe`: all hyperparameters of a training, in one record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import inf
from typing import Any, Literal, get_args

import numpy as np

from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, checked, entry_of
from gpubp.backprop.initial_weights import WEIGHTS_INITS
from gpubp.backprop.optimizers import Optimizer
from gpubp.backprop.parameter_groups import Factors, GroupFactors, checked_factors
from gpubp.backprop.solvers import SOLVER_NUMBERS, SOLVERS, STEPWISE, make_optimizer
from gpubp.training.batches import rows_of_epoch
from gpubp.training.schedules import CONSTANT, SCHEDULES, STRENGTH_SCHEDULES, Strengths

RowOrder = Literal["scikit-learn", "hash"]
# "float64" means arrays of float64; the others are the precision of products of float32 arrays.
RecipePrecision = Literal["float32", "float64", "tf32", "bfloat16"]


NUMBERS = (
    HyperparameterSpec("epochs", 200, "Maximum number of epochs or iterations."),
    HyperparameterSpec("batch_size", 200, "Rows of a batch.", low=1),
    HyperparameterSpec("learning_rate", 1e-3, "Initial learning rate.", closed="neither"),
    HyperparameterSpec("power_t", 0.5, "Exponent of 'invscaling'."),
    HyperparameterSpec("warmup_epochs", 0.0, "Epochs in which the rate rises from 0."),
    HyperparameterSpec("alpha", 0.0, "L2 penalty."),
    HyperparameterSpec("clip_norm", 1.0, "Maximum norm of a gradient.", closed="neither"),
    HyperparameterSpec("tol", 1e-4, "Smallest improvement that counts."),
    HyperparameterSpec("patience", 10.0, "Epochs without improvement before training stops."),
    HyperparameterSpec("shuffle", True, "Whether to shuffle the rows."),
    HyperparameterSpec("drop_last", False, "Whether to leave out a last batch of fewer rows."),
    HyperparameterSpec("seed", 0, "Seed of initial parameters, dropout and row orders."),
)
_RATE = HyperparameterSpec("dropout", 0.0, "Dropout rate of a layer.", high=1)
# Names of entries of a table, which are fields of a recipe.
TABLES: dict[str, Mapping[str, Any]] = {
    "schedule": SCHEDULES,
    "dropout_schedule": STRENGTH_SCHEDULES,
    "weight_decay_schedule": STRENGTH_SCHEDULES,
    "weights_init": WEIGHTS_INITS,
}


@dataclass(frozen=True)
class Recipe:
    """All hyperparameters of a training, except the network and its loss.

    epochs : maximum number of epochs, or of iterations of L-BFGS.
    batch_size : rows of a batch; L-BFGS uses all rows.
    solver, solver_numbers : a name in `SOLVERS`, and its parameters; others have their defaults.
    learning_rate : the initial learning rate. schedule : a name in `SCHEDULES`.
    power_t : exponent of "invscaling".
    warmup_epochs : number of epochs in which the learning rate rises from 0, step by step.
    alpha : L2 penalty of the weights; a batch of n rows adds ``alpha / (2 n) |W|^2`` to the loss.
    dropout : rates of the inputs and of each hidden layer; () for none.
    clip_norm : maximum norm of the gradient without the penalty; None does not clip.
    tol, patience : training stops after more than ``patience`` consecutive epochs in which the
        loss, or the validation score, did not improve by ``tol``.
    shuffle, row_order : whether to shuffle the rows before each epoch, and how: "scikit-learn"
        draws its permutations on the host; "hash" computes the same order on every device.
    seed : seed of initial parameters, dropout and row orders; ignored if `fit` gets a start.
    rate_factors : factors of the learning rate by kind of parameter; see `checked_factors`. {} for
        none.
    decay_factors : factors of the decoupled weight decay; a kind that is left out has that of
        `parameter_groups.KINDS`. They do not depend on ``rate_factors``; see `GroupFactors`.
    precision : "float64", or float32 arrays with products in "float32", "tf32" or "bfloat16".
    dropout_schedule, weight_decay_schedule : names in `STRENGTH_SCHEDULES`. The latter is for the
        solvers with decoupled weight decay.
    drop_last : whether each epoch leaves out the rows of a last batch that is not full. L-BFGS,
        and a training on fewer rows than a batch, use all rows.
    weights_init : a name in `WEIGHTS_INITS`; ignored if `fit` gets a start.

    Raises
    ------
    ValueError
        For an unknown solver, schedule, row order, weights_init or precision, for a value out of
        range, for dropout or factors with L-BFGS, and for decay factors with a solver without
        weight decay.
    """

    epochs: int = 200
    batch_size: int = 200
    solver: str = "adam"
    solver_numbers: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = 1e-3
    schedule: str = "constant"
    power_t: float = 0.5
    warmup_epochs: float = 0.0
    alpha: float = 0.0
    dropout: tuple[float, ...] = ()
    clip_norm: float | None = None
    tol: float = 1e-4
    patience: float = 10
    shuffle: bool = True
    row_order: RowOrder = "scikit-learn"
    seed: int = 0
    precision: RecipePrecision = "float32"
    dropout_schedule: str = "constant"
    weight_decay_schedule: str = "constant"
    drop_last: bool = False
    weights_init: str = "glorot_uniform"
    rate_factors: Factors = field(default_factory=dict)
    decay_factors: Factors = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value and convert it to a Python number."""
        solver = entry_of(SOLVERS, self.solver, "solver")
        every = checked(f"solver {self.solver!r}", solver.parameters, self.solver_numbers)
        numbers = {name: every[name] for name in self.solver_numbers}
        object.__setattr__(self, "solver_numbers", numbers)
        for name, table in TABLES.items():
            entry_of(table, getattr(self, name), name)
        for name, names in (("row_order", RowOrder), ("precision", RecipePrecision)):
            if (got := getattr(self, name)) not in get_args(names):
                raise ValueError(f"{name} must be one of {sorted(get_args(names))}, got {got!r}")
        for spec in NUMBERS:
            value = getattr(self, spec.name)
            if not ((spec.name == "clip_norm" and value is None) or _is_endless(spec.name, value)):
                object.__setattr__(self, spec.name, spec.checked(value))
        self._check_factors()
        rates = tuple(map(_RATE.checked, self.dropout))
        object.__setattr__(self, "dropout", rates)
        if any(rates) and self.solver == "lbfgs":
            raise ValueError(
                f"dropout must be 0 for solver 'lbfgs', which needs the same loss in every step, "
                f"got {rates}; use a solver among {sorted(STEPWISE)}"
            )

    def _check_factors(self) -> None:
        decaying = SOLVER_NUMBERS["weight_decay"]
        for name, solvers in (("rate_factors", STEPWISE), ("decay_factors", decaying)):
            factors = checked_factors(name, getattr(self, name))
            object.__setattr__(self, name, factors)
            if factors and self.solver not in solvers:
                raise ValueError(
                    f"{name} must be empty for solver {self.solver!r}, got {factors!r}; use a "
                    f"solver among {sorted(solvers)}"
                )

    @property
    def factors(self) -> GroupFactors | None:
        """The factors of groups of parameters; None for none."""
        if not self.rate_factors and not self.decay_factors:
            return None
        return GroupFactors(self.rate_factors, self.decay_factors)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the arrays."""
        return np.dtype(np.float64 if self.precision == "float64" else np.float32)

    @property
    def solver_options(self) -> dict[str, Any]:
        """All parameters of the solver, including those with defaults."""
        solver = SOLVERS[self.solver]
        return checked(f"solver {self.solver!r}", solver.parameters, self.solver_numbers)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the solver; ValueError for L-BFGS, which has none."""
        return make_optimizer(self.solver, **self.solver_numbers)

    def rows_of_epoch(self, n_rows: int) -> int:
        """Return the number of rows that an epoch trains on, of ``n_rows``."""
        return rows_of_epoch(n_rows, self.batch_size, self.drop_last)

    def rates(self, epoch: int, steps: int, rate: float) -> float | np.ndarray:
        """Return the learning rate of each step of an epoch, (steps,); a number if all are equal.

        epoch : counted from 0. rate : the learning rate before the curve of the schedule and the
        warm-up are applied.
        """
        curve = SCHEDULES[self.schedule].curve
        if curve is None and epoch >= self.warmup_epochs:
            return rate
        done = epoch * steps + np.arange(steps)
        rates = np.full(steps, rate)
        if curve is not None:
            rates *= curve(done / (self.epochs * steps))
        if epoch < self.warmup_epochs:
            rates *= np.minimum(1, (done + 1) / (self.warmup_epochs * steps))
        return rates

    def strengths(self, epoch: int, steps: int) -> Strengths:
        """Return the strengths of dropout and weight decay in an epoch, counted from 0."""
        names = self.dropout_schedule, self.weight_decay_schedule
        if names == ("constant", "constant"):
            return CONSTANT
        done = (epoch * steps + np.arange(steps)) / (self.epochs * steps)
        return Strengths(*(STRENGTH_SCHEDULES[name].at(done) for name in names))

    def to_json(self) -> str:
        """Return the recipe as a JSON object, which `from_json` reads."""
        values = asdict(self) | {"patience": "inf" if self.patience == inf else self.patience}
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Return the recipe of a JSON object; missing names have their defaults.

        Raises
        ------
        ValueError
            For a text that is not a JSON object, an unknown name, or a value of another type.
        """
        try:
            values = json.loads(text, object_pairs_hook=_without_doubles)
        except RecursionError:
            raise ValueError("a recipe is a JSON object, got one nested too deeply") from None
        if not isinstance(values, dict):
            raise ValueError(f"a recipe is a JSON object, got {type(values).__name__}")
        known = {f.name: f.default for f in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"{unknown[0]!r} is not a field of a recipe; use {sorted(known)}")
        return cls(**{name: _read(name, value, known[name]) for name, value in values.items()})


def _read(name: str, value: Any, default: Any) -> Any:
    """Return the JSON value of the field ``name``; raise ValueError for a wrong type."""
    if name == "solver_numbers":
        right = isinstance(value, dict) and all(map(_is_number_or_bool, value.values()))
    elif name == "dropout":
        right = isinstance(value, list)
    elif name in ("rate_factors", "decay_factors"):
        right = isinstance(value, dict)
    elif isinstance(default, str):
        right = isinstance(value, str)
    else:  # a number, which the recipe itself checks
        value = inf if name == "patience" and value == "inf" else value
        right = _is_number_or_bool(value) or value is None
    if not right:
        raise ValueError(f"{name} of a recipe cannot be {value!r}; write it as `to_json` does")
    return value


def _is_number_or_bool(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_endless(name: str, value: Any) -> bool:
    return name == "patience" and isinstance(value, float) and value == inf


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return ``pairs`` as a dict; raise ValueError for a duplicate name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is in the recipe twice; remove one")
    return found
