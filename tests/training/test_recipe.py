"""Recipe: what training heeds, checked, written as JSON and read back."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from gpubp.backprop.optimizers import AdamW
from gpubp.backprop.parameter_groups import GroupFactors
from gpubp.backprop.solvers import SOLVERS
from gpubp.training.recipe import Recipe
from gpubp.training.schedules import SCHEDULES
from gpubp.training.stopping import Decision, decide

FULL = Recipe(
    epochs=7,
    batch_size=33,
    solver="adamw",
    solver_numbers={"beta_2": 0.99, "weight_decay": 0.1},
    learning_rate=0.02,
    schedule="one_cycle",
    power_t=0.3,
    warmup_epochs=1.5,
    alpha=1e-3,
    dropout=(0.0, 0.5),
    clip_norm=2.0,
    tol=0.0,
    patience=inf,
    shuffle=False,
    row_order="hash",
    seed=7,
    precision="bfloat16",
    dropout_schedule="late_cosine",
    weight_decay_schedule="late_cosine",
    drop_last=True,
    weights_init="he_normal",
    rate_factors={"weights": "fan_in", "biases": 0.1},
    decay_factors={"weights": (1.0, 0.5, 0.0), "biases": 1.0},
)


@pytest.mark.parametrize("recipe", [Recipe(), FULL, *(Recipe(solver=s) for s in SOLVERS)])
def test_it_is_written_and_read(recipe: Recipe) -> None:
    text = recipe.to_json()
    assert Recipe.from_json(text) == recipe
    assert json.loads(text)["epochs"] == recipe.epochs
    assert "Infinity" not in text


def test_numbers_of_numpy_become_pythons() -> None:
    recipe = Recipe(
        seed=np.int64(3), learning_rate=np.float32(0.5), shuffle=np.bool_(True), dropout=[0.5, 0.5]
    )
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert (type(recipe.seed), type(recipe.learning_rate)) == (int, float)


def test_factors_are_those_of_groups() -> None:
    assert Recipe().factors is None
    assert Recipe(rate_factors={"biases": 1}).factors == GroupFactors({"biases": 1.0}, {})
    assert FULL.factors == GroupFactors(FULL.rate_factors, FULL.decay_factors)
    text = '{"rate_factors": {"weights": [1, 2]}}'
    assert Recipe.from_json(text) == Recipe(rate_factors={"weights": np.array([1, 2])})


def test_what_is_left_out_takes_its_default() -> None:
    assert Recipe.from_json('{"solver": "sgd"}') == Recipe(solver="sgd")
    assert FULL.optimizer == AdamW(beta_2=0.99, weight_decay=0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "a recipe is a JSON object, got list"),
        ("{", "Expecting"),
        ('{"epoch": 3}', "'epoch' is not a field of a recipe; use .*'epochs'"),
        ('{"epochs": "3"}', "epochs of a recipe cannot be '3'"),
        ('{"epochs": true}', "epochs must be a whole number of 0 or more, got True"),
        ('{"epochs": 1.5}', "epochs must be a whole number"),
        ('{"epochs": -3}', "epochs must be a whole number of 0 or more, got -3"),
        ('{"epochs": 1e400}', "epochs must be a whole number"),
        ('{"epochs": 1, "epochs": 2}', "'epochs' is in the recipe twice"),
        ('{"batch_size": 0}', "batch_size must be a whole number of 1 or more"),
        ('{"seed": -1}', "seed must be"),
        ('{"learning_rate": 0}', "learning_rate must be a finite number above 0, got 0"),
        ('{"learning_rate": NaN}', "learning_rate must be"),
        ('{"alpha": -1}', "alpha must be"),
        ('{"clip_norm": -1}', "clip_norm must be"),
        ('{"patience": NaN}', "patience must be"),
        ('{"patience": -Infinity}', "patience must be"),
        ('{"warmup_epochs": -1}', "warmup_epochs must be"),
        ('{"shuffle": 1}', "shuffle must be True or False, got 1"),
        ('{"dropout": 0.5}', "dropout of a recipe cannot be 0.5"),
        ('{"dropout": [1.5]}', "dropout must be"),
        ('{"dropout": [0.5], "solver": "lbfgs"}', "must be 0 for solver 'lbfgs'"),
        ('{"solver_numbers": {"beta_1": "0.9"}}', "solver_numbers of a recipe cannot be"),
        ('{"rate_factors": [1]}', r"rate_factors of a recipe cannot be \[1\]"),
        ('{"rate_factors": {"weights": "fan"}}', r"rate_factors\['weights'\] must be"),
        ('{"rate_factors": {"bias": 1}}', "did you mean 'biases'"),
        ('{"rate_factors": {"biases": 1}, "solver": "lbfgs"}', "must be empty for solver 'lbfgs'"),
        ('{"decay_factors": {"biases": 1}}', r"empty for solver 'adam', .*\['adamw', 'lion'\]"),
        ("[" * 100_000, "nested too deeply"),
        ('{"solver": "lamb"}', r"solver must be one of \['adam'"),
        ('{"schedule": "none"}', "schedule must be one of"),
        ('{"row_order": "mine"}', r"row_order must be one of \['hash', 'scikit-learn'\]"),
        ('{"precision": "float16"}', "precision must be one of"),
        ('{"dropout_schedule": "cosine"}', r"dropout_schedule must be one of \['constant', 'late"),
        ('{"weight_decay_schedule": 3}', "weight_decay_schedule of a recipe cannot be 3"),
        ('{"weight_decay_schedule": "late"}', "weight_decay_schedule must be one of"),
        ('{"drop_last": 1}', "drop_last must be True or False, got 1"),
        ('{"weights_init": "he"}', "weights_init must be one of .*'he_normal'"),
        ('{"solver": "sgd", "solver_numbers": {"beta_1": 0.9}}', "no parameter 'beta_1'"),
        ('{"solver_numbers": {"beta_1": 1.5}}', "beta_1 must be"),
        ('{"solver": "lbfgs", "solver_numbers": {"momentum": 0.9}}', "no parameter 'momentum'"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(text)


KNOWN: dict[str, Any] = {"best": -0.5, "stale": 0, "rate": 0.1, "samples": 100}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("value", "known", "expected"),
    [
        (-0.4, {}, (-0.4, True, 0)),  # better by more than tol
        (-0.49, {}, (-0.49, True, 1)),  # better by less
        (-0.6, {"stale": 2}, (-0.5, False, 3)),
        (nan, {"stale": 2}, (-0.5, False, 0)),  # as scikit-learn counts it
    ],
)
def test_an_epoch_is_judged(
    schedule: str, value: float, known: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    recipe = Recipe(schedule=schedule, learning_rate=0.1, power_t=1.0, tol=0.05, patience=3)
    decision = decide(recipe, value, **KNOWN | known)
    rate = 0.1 / 101 if schedule == "invscaling" else 0.1
    assert decision == Decision(*expected, rate, stop=False)


@pytest.mark.parametrize(
    ("schedule", "rate", "expected"),
    [
        ("constant", 0.1, (4, 0.1, True)),
        ("adaptive", 0.1, (0, 0.02, False)),
        ("plateau", 0.1, (0, 0.02, False)),
        ("plateau", 1e-6, (4, 1e-6, True)),
    ],
)
def test_patience_ends(schedule: str, rate: float, expected: tuple[int, float, bool]) -> None:
    recipe = Recipe(schedule=schedule, patience=3)
    decision = decide(recipe, -0.6, **KNOWN | {"stale": 3, "rate": rate})
    assert decision[2:] == expected
    endless = decide(replace(recipe, patience=inf), -0.6, **KNOWN | {"stale": 3})
    assert (endless.stale, endless.stop) == (4, False)
