"""The tables of solvers, schedules, losses and activations, and what is derived from them."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp import MLPClassifier, MLPRegressor, TableRegressor
from gpubp.backprop.hyperparameter_spec import HyperparameterSpec
from gpubp.backprop.losses import LOSS_NUMBERS, LOSSES, REGRESSION_LOSSES
from gpubp.backprop.optimizers import SGD, AdamW
from gpubp.backprop.solvers import SOLVERS, STEPWISE, make_optimizer, own_numbers
from gpubp.estimators.hyperparameters import NUMBERS
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.tables.column import NumberColumn
from gpubp.tables.table import Table
from gpubp.training.recipe import Recipe
from gpubp.training.schedules import SCHEDULES, STRENGTH_SCHEDULES
from tests.estimators.cases import BASE, OURS, PROBLEMS, X, fit

TABLES: dict[str, dict[str, Any]] = {
    "solver": SOLVERS,
    "learning_rate": SCHEDULES,
    "loss": LOSSES,
    "activation": ACTIVATIONS,
    "dropout_schedule": STRENGTH_SCHEDULES,
}
ENTRIES = [(table, name) for table, entries in TABLES.items() for name in entries]
# Each number of an estimator, with the parameters that entries of the tables have for it.
OF_ESTIMATORS = {name: list(of.values()) for name, of in NUMBERS.items()} | {
    name: [parameter] for name, (_, parameter) in LOSS_NUMBERS.items()
}


@pytest.mark.parametrize(("table", "name"), ENTRIES)
def test_an_entry_is_documented_in_one_line(table: str, name: str) -> None:
    entry = TABLES[table][name]
    assert getattr(entry, "name", name) == name
    assert entry.doc
    assert "\n" not in entry.doc
    estimators = (MLPRegressor, MLPClassifier) if table != "loss" else (MLPRegressor,)
    if table == "loss" and name not in REGRESSION_LOSSES:
        return
    for estimator in estimators:
        text = " ".join((estimator.__doc__ or "").split())
        assert f"- '{name}': {entry.doc}" in text
        assert f"{table} : {{'" in text


@pytest.mark.parametrize("name", OF_ESTIMATORS)
def test_a_number_is_a_parameter_of_the_estimators(name: str) -> None:
    first = OF_ESTIMATORS[name][0]
    for estimator in (MLPRegressor, MLPClassifier)[: 1 if name in LOSS_NUMBERS else 2]:
        assert inspect.signature(estimator).parameters[name].default == first.default
        text = " ".join((estimator.__doc__ or "").split())
        assert f"{name} : {first.kind.__name__}" in text
        for parameter in OF_ESTIMATORS[name]:
            assert parameter.doc[1:] in text
    for parameter in OF_ESTIMATORS[name]:
        assert parameter.checked(parameter.default) == parameter.default
        # An estimator checks the range of the first entry, and the entry then its own.
        ranges = [(p.kind, p.low, p.high, p.closed) for p in (first, parameter)]
        assert ranges[0] == ranges[1]


SHARE = HyperparameterSpec("share", 0.5, "A share.", high=1)
PARAMETERS = {
    "from 0": HyperparameterSpec("size", 0.5, "A size."),
    "above 0": HyperparameterSpec("size", 0.5, "A size.", closed="neither"),
    "below 1": SHARE,
    "up to 1": replace(SHARE, closed="both"),
    "between": replace(SHARE, closed="neither"),
    "several": replace(SHARE, several=True),
    "whole": HyperparameterSpec("count", 3, "A count.", low=1),
    "choice": HyperparameterSpec("choice", True, "A choice."),
}


@pytest.mark.parametrize(
    ("kind", "value", "number"),
    [
        ("from 0", 0, 0.0),
        ("from 0", np.float32(2), 2.0),
        ("above 0", 5e-324, 5e-324),
        ("below 1", 0, 0.0),
        ("up to 1", 1, 1.0),
        ("between", 0.3, 0.3),
        ("several", [0.1, 0.2], (0.1, 0.2)),
        ("several", np.array([0.1]), (0.1,)),
        ("several", 0.1, 0.1),
        ("whole", np.int64(1), 1),
        ("choice", np.bool_(False), False),
    ],
)
def test_a_number_in_range_becomes_one_of_python(kind: str, value: Any, number: Any) -> None:
    got = PARAMETERS[kind].checked(value)
    assert got == number
    assert type(got) is type(number)


@pytest.mark.parametrize(
    ("kind", "values", "allowed"),
    [
        (
            "from 0",
            [-1e-300, math.nan, math.inf, 10**400, "1", None],
            "a finite number of 0 or more",
        ),
        ("above 0", [0, -1, True], "a finite number above 0"),
        ("below 1", [-0.1, 1, math.nan], "a number from 0 up to, but not including, 1"),
        ("up to 1", [-0.1, 1.1, [0.5]], "a number from 0 to 1"),
        ("between", [0, 1], "a number between 0 and 1"),
        ("several", [[], [0.5, 1], [[0.5]], {}], "a number .*, 1, or a list of such numbers"),
        ("whole", [0, 1.0, True, "2"], "a whole number of 1 or more"),
        ("choice", [1, 0.0, None, "yes"], "True or False"),
    ],
)
def test_a_number_out_of_range_is_refused(kind: str, values: list[Any], allowed: str) -> None:
    parameter = PARAMETERS[kind]
    for value in values:
        with pytest.raises(ValueError, match=f"^{parameter.name} must be {allowed}, got "):
            parameter.checked(value)


def test_an_optimizer_has_the_numbers_given_and_the_solver_s_own() -> None:
    assert make_optimizer("adamw", beta_1=0.5) == AdamW(0.5, 0.999, 1e-8, 0.01)
    assert make_optimizer("sgd", nesterovs_momentum=False) == SGD(0.9, nesterov=False)


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("Adam", {}, r"solver must be one of \['adam', .*\], got 'Adam'"),
        (None, {}, "solver must be one of .*, got None"),
        (["adam"], {}, r"solver must be one of .*, got \['adam'\]"),
        ("sgd", {"beta_1": 0.5}, "'sgd' has no parameter 'beta_1'; it takes only 'momentum', 'n"),
        ("adam", {"beta_1": 1}, "beta_1 must be a number from 0 up to, but not including, 1, got"),
        ("lbfgs", {}, "'lbfgs' does not train on mini-batches, .* use one of .*'adam'"),
        ("lbfgs", {"max_fun": 0}, "max_fun must be a whole number of 1 or more, got 0"),
    ],
)
def test_an_optimizer_that_cannot_be_is_refused(
    name: Any, numbers: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_optimizer(name, **numbers)


def test_a_schedule_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match=r"schedule must be one of \['adaptive'.*, got 'co'"):
        Recipe(3, schedule="co")


# ---- the estimators --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"solver": "no_such_solver"}, "The 'solver' parameter .* Got 'no_such_solver'"),
        ({"learning_rate": "no_such_rate"}, "The 'learning_rate' parameter .* Got 'no_such_rate'"),
        ({"loss": "no_such_loss"}, "The 'loss' parameter .* Got 'no_such_loss'"),
        ({"activation": "no_such_one"}, "The 'activation' parameter .* Got 'no_such_one'"),
        ({"beta_2": 1.0}, "The 'beta_2' parameter .* Got 1.0"),
        ({"loss": "huber", "huber_delta": 0}, "The 'huber_delta' parameter .* Got 0"),
    ],
)
def test_the_fit_of_a_table_model_refuses_them(parameters: dict[str, Any], message: str) -> None:
    columns = {name: NumberColumn(X[:, j]) for j, name in enumerate(("a", "b", "y"))}
    with pytest.raises(ValueError, match=message):
        TableRegressor(**BASE | parameters).fit_table(Table(columns, len(X), "rows"), ["y"])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("solver", STEPWISE)
def test_a_schedule_for_other_solvers_leaves_the_rate_constant(solver: str, schedule: str) -> None:
    parameters = {**BASE, "solver": solver, "max_iter": 4, "device": "cpu"}
    given, constant = (
        fit(MLPClassifier(**parameters, learning_rate=name, power_t=0.3), X, PROBLEMS["binary"][1])
        for name in (schedule, "constant")
    )
    limited = not SCHEDULES[schedule].is_for(solver)
    # Those that wait for a lack of improvement have not begun.
    same = limited or schedule in ("constant", "adaptive", "plateau")
    assert np.array_equal(given.coefs_[0], constant.coefs_[0]) == same
    assert limited == (solver != "sgd" and schedule in ("invscaling", "adaptive"))


def test_a_number_left_at_the_estimators_default_is_the_solver_s_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beta_2 = replace(SOLVERS["adam"].parameters[1], default=0.5)
    own = (SOLVERS["adam"].parameters[0], beta_2, SOLVERS["adam"].parameters[2])
    monkeypatch.setitem(SOLVERS, "quick", replace(SOLVERS["adam"], name="quick", parameters=own))
    given = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "momentum": 0.1}
    assert own_numbers("quick", given) == {"epsilon": 1e-7}
    made = MLPRegressor(solver="quick")._optimizer()
    assert (made.beta_1, made.beta_2) == (0.9, 0.5)  # type: ignore[attr-defined]
    changed = MLPRegressor(solver="quick", beta_2=0.7)._optimizer()
    assert changed.beta_2 == 0.7  # type: ignore[attr-defined]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", OURS)
def test_an_estimator_names_what_it_was_given(kind: str, solver: str) -> None:
    y = PROBLEMS["regression" if kind == "regressor" else "binary"][1]
    for parameter in SOLVERS[solver].parameters:
        model = OURS[kind](**BASE | {"solver": solver, parameter.name: -1})
        with pytest.raises(ValueError, match=f"'{parameter.name}' parameter of MLP.* Got -1"):
            model.fit(X, y)
    with pytest.raises(ValueError, match=f"'solver' parameter .*{solver}.* Got 'none'"):
        OURS[kind](solver="none").fit(X, y)


@pytest.mark.filterwarnings("ignore:weight_decay")
@pytest.mark.parametrize("solver", STEPWISE)
def test_the_numbers_that_are_given_reach_the_training(solver: str) -> None:
    """Each of a solver's numbers changes what is learned, and no other number does."""
    y = PROBLEMS["multi-class"][1]
    options = {**BASE, "solver": solver, "max_iter": 3, "device": "cpu", "batch_size": 30}
    plain, own = fit(MLPClassifier(**options), X, y), {p.name for p in SOLVERS[solver].parameters}
    numbers = {name: of for name, of in OF_ESTIMATORS.items() if name in NUMBERS}
    for name, (first, *_) in numbers.items():
        other = not first.default if first.kind is bool else first.kind(first.default * 1.001 + 0.5)
        if first.high == 1:
            other = 0.3
        changed = fit(MLPClassifier(**options | {name: other}), X, y)
        reached = not np.array_equal(changed.coefs_[0], plain.coefs_[0])
        assert reached == (name in own and name != "tol"), name
    assert_array_equal(plain.coefs_[0], fit(MLPClassifier(**options), X, y).coefs_[0])
