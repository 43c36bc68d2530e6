"""Learning rates and weight decay by layer, through the estimators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from gpubp import MLPClassifier, load, save
from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError
from gpubp.backprop.solvers import SOLVER_NUMBERS, STEPWISE
from gpubp.explain.trace import trace_step
from gpubp.explain.trained_model import of_model
from gpubp.kernels.optimizers import ADAM
from gpubp.tables.column import NumberColumn
from gpubp.tables.table import Table
from tests.estimators.cases import BASE, OURS, PROBLEMS, X, fit

Y = PROBLEMS["multi-class"][1]
KINDS = ["classifier", "regressor"]
DECAYING = tuple(SOLVER_NUMBERS["weight_decay"])
TARGET: dict[str, Any] = {"classifier": Y, "regressor": X[:, 0] - X[:, 1]}
RATES = {"weights": "fan_in", "biases": [0.1, 0, 2]}


def made(kind: str = "classifier", **options: Any) -> Any:
    return fit(OURS[kind](**{**BASE, "max_iter": 5, **options}), X, TARGET[kind])


def arrays(model: Any) -> list[np.ndarray]:
    return [*model.coefs_, *model.intercepts_]


def test_without_factors_the_kernel_and_the_bits_are_those_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = made()

    def refuse(*_: Any) -> Any:
        raise AssertionError("the kernel with factors ran")

    assert ADAM.with_factors is not None
    monkeypatch.setattr("gpubp.backprop.optimizers.with_factors", refuse)
    for none in (None, {}):
        again = made(rate_factors=none, decay_factors=none)
        for a, b in zip(arrays(again), arrays(plain), strict=True):
            assert_array_equal(a, b)
    with pytest.raises(AssertionError, match="the kernel with factors ran"):
        made(rate_factors={"biases": 0.5})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", STEPWISE)
def test_a_factor_of_0_freezes_parameters_and_1_changes_nothing(
    backend: Backend, kind: str, solver: str
) -> None:
    options: dict[str, Any] = {"solver": solver, "alpha": 0.1, "device": backend.name}
    options |= {"weight_decay": 0.0} if solver in DECAYING else {}
    start = made(kind, **options, learning_rate_init=1e-300, max_iter=1)
    plain = made(kind, **options, rate_factors={"weights": 1})
    assert_allclose(plain.coefs_[0], made(kind, **options).coefs_[0], rtol=1e-12)
    model = made(kind, **options, rate_factors={"weights": [1, 0, 1], "biases": [0, 1, 0]})
    moved = [not np.array_equal(a, b) for a, b in zip(arrays(model), arrays(start), strict=True)]
    assert moved == [True, False, True, False, True, False]


def test_a_factor_for_all_is_another_learning_rate() -> None:
    halved = made(rate_factors={"weights": 0.5, "biases": 0.5}, learning_rate_init=0.02)
    for a, b in zip(arrays(halved), arrays(made(learning_rate_init=0.01)), strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_only_biases_with_a_decay_factor_decay() -> None:
    """A learning rate of 0 for all leaves the decay alone: theta (1 - rate decay)^steps."""
    options: dict[str, Any] = {"solver": "adamw", "weight_decay": 0.5, "learning_rate_init": 0.1}
    options |= {"alpha": 0.0, "batch_size": len(X), "max_iter": 3, "tol": 0.0}
    start = made(learning_rate_init=1e-300, max_iter=1)
    frozen = {"weights": 0, "biases": 0}
    decays = {"weights": [1, 2, 0], "biases": [0, 1, 0]}
    model = made(**options, rate_factors=frozen, decay_factors=decays)
    for a, b, factor in zip(arrays(model), arrays(start), [1, 2, 0, 0, 1, 0], strict=True):
        assert_allclose(a, b * (1 - 0.1 * 0.5 * factor) ** 3, rtol=1e-12)
    default = made(**options, rate_factors=frozen)
    for a, b, factor in zip(arrays(default), arrays(start), [1, 1, 1, 0, 0, 0], strict=True):
        assert_allclose(a, b * (1 - 0.1 * 0.5 * factor) ** 3, rtol=1e-12)


@pytest.mark.parametrize("solver", STEPWISE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_training_is_that_of_numpy(solver: str, dtype: str) -> None:
    options: dict[str, Any] = {"solver": solver, "dtype": dtype, "rate_factors": RATES}
    options |= {"alpha": 0.1, "device": "cpu"}
    if solver in DECAYING:
        options["decay_factors"] = {"biases": 3}
    try:
        compiled = made(**options, compiled=True)
    except BackendUnavailableError as why:
        pytest.skip(str(why))
    assert compiled.engine_ == "compiled"
    # Lion moves by the sign of a momentum, which rounding may turn where it is about 0.
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    for a, b in zip(arrays(compiled), arrays(made(**options, compiled=False)), strict=True):
        assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_members_of_an_ensemble_are_trained_with_them() -> None:
    model = made(n_members=3, rate_factors=RATES)
    for member in model.members_:
        assert member.rate_factors == RATES
        alone = fit(clone(member), X, Y)
        for a, b in zip(arrays(alone), arrays(member), strict=True):
            assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_they_are_saved_and_loaded(tmp_path: Path) -> None:
    model = made(solver="adamw", rate_factors=RATES, decay_factors={"biases": 1.0})
    save(model, tmp_path / "model")
    loaded: Any = load(tmp_path / "model")
    assert loaded.decay_factors == {"biases": 1.0}
    assert loaded.rate_factors["weights"] == "fan_in"
    assert list(loaded.rate_factors["biases"]) == RATES["biases"]
    for a, b in zip(arrays(fit(clone(loaded), X, Y)), arrays(model), strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate_factors": [1]}, "'rate_factors' parameter of MLPClassifier must be .*'dict'"),
        ({"rate_factors": {"weigths": 1}}, "got 'weigths'; did you mean 'weights'"),
        ({"rate_factors": {"weights": [1, 2]}}, "must have one number per layer, 3 .* got 2"),
        ({"rate_factors": {"weights": -1}}, "must be a finite number of 0 or more.* got -1"),
        ({"rate_factors": {"biases": np.nan}}, "must be a finite number of 0 or more"),
        ({"rate_factors": {"biases": "fan_in"}}, "got 'fan_in'"),
        ({"rate_factors": RATES, "solver": "lbfgs"}, "must be empty for solver 'lbfgs'"),
        ({"decay_factors": {"biases": 1}}, "use a solver among .'adamw', 'lion'."),
    ],
)
@pytest.mark.parametrize("members", [None, 2])
def test_wrong_factors_are_refused(
    options: dict[str, Any], message: str, members: int | None
) -> None:
    model = MLPClassifier(**{**BASE, **options, "n_members": members})
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


def test_the_step_of_a_model_with_factors_is_explained() -> None:
    columns: dict[str, Any] = {f"x{k}": NumberColumn(x) for k, x in enumerate(X.T)}
    columns["y"] = NumberColumn(Y)
    table = Table(columns, len(X), "rows", ("y",))
    explained = of_model(made(rate_factors=RATES), table, 0)
    trace, plain = trace_step(explained), trace_step(replace(explained, factors=None))
    for factor, own, other in zip(RATES["biases"], trace.layers, plain.layers, strict=True):
        moved = (other.new_W - other.W) / np.sqrt(len(own.W))
        assert_allclose(own.new_W - own.W, moved, rtol=1e-9, atol=1e-15)
        assert_allclose(own.new_b - own.b, factor * (other.new_b - other.b), rtol=1e-9, atol=1e-15)
