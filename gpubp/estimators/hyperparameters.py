"""The parameters of both estimators: their validation, and their conversion to a Recipe."""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, ClassVar, cast, get_args

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils._param_validation import (
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
)

from gpubp.backends.protocol import Backend
from gpubp.backends.select import Compiled, get_backend
from gpubp.backprop.dropout import rates_by_layer
from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, entry_of, meant
from gpubp.backprop.initial_weights import WEIGHTS_INITS
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Optimizer
from gpubp.backprop.parameter_groups import checked_factors
from gpubp.backprop.solvers import SOLVER_NUMBERS, SOLVERS, STEPWISE, make_optimizer, own_numbers
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.cublas.gemm import Precision
from gpubp.training.data import Matrix, TrainingData
from gpubp.training.recipe import Recipe
from gpubp.training.schedules import SCHEDULE_NUMBERS, SCHEDULES, STRENGTH_SCHEDULES
from gpubp.training.tiled_inference import RECORDED_CROSSOVER

# From this number of rows on, a CUDA device computes the order of the rows itself: to draw
# scikit-learn's order takes the host 58-114 ns per row, longer than a step on the device may take.
HASHED_ROWS = 100_000
NUMBERS = SOLVER_NUMBERS | SCHEDULE_NUMBERS


def set_parameters(estimator: BaseEstimator, given: dict[str, Any]) -> None:
    """Set the attributes of a new estimator to ``given``, the ``locals()`` of its __init__."""
    vars(estimator).update({name: value for name, value in given.items() if name != "self"})


def constraint(parameter: HyperparameterSpec) -> list[Any]:
    """Return the constraint of ``parameter`` for scikit-learn's validation."""
    if parameter.kind is bool:
        return ["boolean"]
    kind = Integral if parameter.kind is int else Real
    interval = Interval(kind, parameter.low, parameter.high, closed=parameter.closed)
    return [interval, "array-like"] if parameter.several else [interval]


class SortedOptions(StrOptions):
    """Allowed names, sorted in error messages."""

    def __str__(self) -> str:
        """Return the allowed names in scikit-learn's words."""
        return f"a str among {{{', '.join(map(repr, sorted(self.options)))}}}"


SCORINGS = SortedOptions({*get_scorer_names(), "loss"})


class Hyperparameters(BaseEstimator):
    """The parameters of both estimators, documented in `parameter_docs`."""

    # Parameters that predictions depend on, as they were in fit.
    _OF_FIT: tuple[str, ...] = ("activation", "fit_intercept", "input_stage")
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
        "solver": [StrOptions(set(SOLVERS))],
        **{name: constraint(next(iter(of.values()))) for name, of in NUMBERS.items()},
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(set(SCHEDULES))],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "device": [str],
        "dtype": [StrOptions({"auto", "float32", "float64"})],
        "row_order": [StrOptions({"auto", "scikit-learn", "hash"})],
        "threads": [Interval(Integral, 1, None, closed="left"), None],
        "precision": [StrOptions(set(get_args(Precision)))],
        "record": ["boolean"],
        "warmup_epochs": [Interval(Real, 0, None, closed="left")],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "compiled": ["boolean", StrOptions({"auto"})],
        "fit_intercept": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "keep_optimizer_state": ["boolean"],
        "input_stage": [dict, None],
        "scoring": [SCORINGS, callable, None],
        "n_members": [Interval(Integral, 1, None, closed="left"), None],
        "member_rows": [StrOptions({"all", "bootstrap", "folds"})],
        "dropout_schedule": [StrOptions(set(STRENGTH_SCHEDULES))],
        "weight_decay_schedule": [StrOptions(set(STRENGTH_SCHEDULES))],
        "drop_last": ["boolean"],
        "weights_init": [StrOptions(set(WEIGHTS_INITS))],
        "rate_factors": [dict, None],
        "decay_factors": [dict, None],
    }

    def _validate_params(self) -> None:
        """Validate as scikit-learn does; add a suggestion to its InvalidParameterError."""
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            name = str(error).split("'")[1]  # The 'name' parameter of ...
            meant = self._meant_by(name)
            hint = f" Did you mean {meant}?" if meant else ""
            raise InvalidParameterError(f"{error}{hint}") from None

    def _meant_by(self, name: str) -> str:
        """Return a suggestion for the wrong value of parameter ``name``; "" for none."""
        if name == "activation":
            name = meant(self.activation, ACTIVATIONS)
            return repr(name) if name else ""
        if name != "scoring" or not isinstance(self.scoring, str):
            return ""
        # difflib alone suggests 'jaccard' for 'acc', not 'accuracy'.
        longer = [known for known in SCORINGS.options if known.startswith(self.scoring)]
        near = get_close_matches(self.scoring, sorted(SCORINGS.options), n=1)
        found = longer if len(longer) == 1 else near
        return repr(found[0]) if found else ""

    def _note_parameters(self) -> None:
        """Store the parameters that predictions depend on, so that later changes have no effect."""
        self._fitted_with = {name: getattr(self, name) for name in self._OF_FIT}

    def _of_fit(self, name: str) -> Any:
        """Return a parameter as it was in fit; its current value before any fit."""
        return vars(self).get("_fitted_with", {}).get(name, getattr(self, name))

    def _hidden_sizes(self) -> tuple[int, ...]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if any(not isinstance(size, Integral) or isinstance(size, bool) for size in sizes):
            raise ValueError(
                "hidden_layer_sizes must be whole numbers, the units of each hidden layer, such as "
                f"100 or (100, 50), got {self.hidden_layer_sizes!r}"
            )
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return tuple(int(size) for size in sizes)

    def _activations(self, n_hidden: int) -> tuple[str, ...]:
        """Return the activation of each hidden layer, or raise."""
        given = self._of_fit("activation")
        names = (given,) * n_hidden if isinstance(given, str) else tuple(given)
        known = all(isinstance(name, str) and name in ACTIVATIONS for name in names)
        if len(names) != n_hidden or not known:
            unknown = next((str(name) for name in names if str(name) not in ACTIVATIONS), "")
            near = meant(unknown, ACTIVATIONS)
            hint = f"; did you mean {near!r}?" if near else ""
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}, or a sequence with one per "
                f"hidden layer, {n_hidden} here, got {given!r}{hint}"
            )
        return tuple(str(name) for name in names)

    def _dropout_rates(self) -> tuple[float, ...]:
        """Return the dropout rates of the inputs and of each hidden layer, or raise."""
        n_hidden = len(self._hidden_sizes())
        rates = rates_by_layer(self.dropout, self.input_dropout, n_hidden)
        if any(rates) and self.solver == "lbfgs":
            raise ValueError(
                f"dropout must be 0 for solver='lbfgs', which needs the same loss in every step, "
                f"got rates {rates}; use a solver among {sorted(STEPWISE)}"
            )
        return rates

    def _batch_rows(self, n: int) -> int:
        if self.solver == "lbfgs":
            return n
        return min(200 if self.batch_size == "auto" else int(self.batch_size), n)

    def _backend(
        self, rows: int, network: Network, *, compiled: Compiled = False, steps: int = 1
    ) -> Backend:
        return get_backend(
            self.device,
            work=rows * network.n_parameters,
            precision=self.precision,
            record=bool(self.record),
            compiled=compiled,
            steps=steps,
        )

    def _training_backend(self, n_rows: int, network: Network, together: int = 1) -> Backend:
        """Return the backend that trains on ``n_rows`` rows.

        together : the number of similar networks to be trained at once.
        """
        batch = self._batch_rows(n_rows)
        steps = -(-n_rows // batch)
        return self._backend(together * batch, network, compiled=self.compiled, steps=steps)

    def _compiles_inference(self, work: int) -> Compiled:
        """Return whether predictions of so many multiply-adds are compiled, if they can be."""
        return "auto" if self.compiled and work >= RECORDED_CROSSOVER else False

    def _train_dtype(self, X: Matrix, backend: Backend) -> np.dtype:
        if self.dtype != "auto":
            return np.dtype(self.dtype)
        if backend.name != "cpu":
            return np.dtype(np.float32)
        # scikit-learn's L-BFGS has float64 weights for any dtype of X.
        return np.dtype(np.float64) if self.solver == "lbfgs" else X.dtype

    def _solver_numbers(self) -> dict[str, float]:
        """Return the parameters of `solver` that differ from the defaults, or raise ValueError."""
        return own_numbers(self.solver, {name: getattr(self, name) for name in SOLVER_NUMBERS})

    def _warn_of_weight_decay(self) -> None:
        """Warn if `weight_decay` is set, but `solver` does not use it.

        Without it, a network that was meant to be regularised is not. scikit-learn has no such
        parameter; like it, gpubp ignores its other parameters without a warning.
        """
        of = SOLVER_NUMBERS["weight_decay"]
        if self.solver not in of and self.weight_decay != next(iter(of.values())).default:
            warnings.warn(
                f"weight_decay={self.weight_decay!r} has no effect with solver={self.solver!r}; "
                f"use a solver among {sorted(of)}, or alpha for an L2 penalty",
                stacklevel=7,
            )

    def _optimizer(self) -> Optimizer:
        return make_optimizer(self.solver, **self._solver_numbers())

    def _recipe(self, rows: TrainingData, backend: Backend, epochs: int) -> Recipe:
        """Return the recipe for training on ``rows``."""
        row_order, n = self.row_order, rows.n_rows
        if row_order == "auto":
            many = n >= HASHED_ROWS and backend.name != "cpu"
            row_order = "hash" if many else "scikit-learn"
        float64 = self._train_dtype(rows.X, backend) == np.float64
        rates = self._dropout_rates()
        return Recipe(
            epochs=epochs,
            batch_size=self._batch_rows(n),
            solver=self.solver,
            solver_numbers={k: v for k, v in self._solver_numbers().items() if k != "tol"},
            learning_rate=float(self.learning_rate_init),
            schedule=self._learning_rate(),
            power_t=float(self.power_t),
            warmup_epochs=float(self.warmup_epochs),
            alpha=float(self.alpha),
            dropout=rates if any(rates) else (),
            clip_norm=None if self.clip_norm is None else float(self.clip_norm),
            tol=float(self.tol),
            patience=self.n_iter_no_change,
            shuffle=bool(self.shuffle),
            row_order=row_order,
            seed=int(self.random_state) if isinstance(self.random_state, Integral) else 0,
            precision="float64" if float64 else cast(Precision, backend.precision),
            dropout_schedule=self.dropout_schedule,
            weight_decay_schedule=self.weight_decay_schedule,
            drop_last=bool(self.drop_last),
            weights_init=self.weights_init,
            rate_factors=checked_factors("rate_factors", self.rate_factors),
            decay_factors=checked_factors("decay_factors", self.decay_factors),
        )

    def _learning_rate(self) -> str:
        """Return the schedule; "constant" if `learning_rate` is not for the solver."""
        entry = entry_of(SCHEDULES, self.learning_rate, "learning_rate")
        return entry.name if entry.is_for(self.solver) else "constant"

    def _check_solver(self) -> bool:
        """Return True if there is a partial_fit; raise AttributeError, as scikit-learn, if not."""
        if self.n_members is not None:
            raise AttributeError(
                f"partial_fit is only available for one network, got n_members={self.n_members}; "
                "set n_members=None, or call fit with all rows"
            )
        if self.solver == "lbfgs":
            raise AttributeError(
                "partial_fit is only available for stochastic optimizers. "
                f"{self.solver} is not stochastic."
            )
        return True
