"""The tuned recipe: the rule by the size of a table, and which parameters it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpubp.models.table_parameters import defaults
from gpubp.models.table_presets import is_tuned, number_columns, preset_values, scaling_of
from gpubp.models.table_recipe import Task
from gpubp.models.table_recipe import recipe as plain_recipe
from gpubp.models.tuned_recipe import tuned_recipe
from gpubp.tables.encoder import TableEncoder
from tests.models.table_cases import table


def chosen(rows: int, classes: int | None = 3, columns: int = 20, numbers: int = 2) -> Any:
    """Return the recipe for a table; classes : None for a regression."""
    task: Task = "regression" if classes is None else "classification"
    return tuned_recipe(task, rows, columns, classes or 1, list(range(numbers)))


@pytest.mark.parametrize(
    ("rows", "layers", "dropout", "weight_decay"),
    [(5, 1, 0.3, 0.3), (999, 1, 0.3, 0.3), (1000, 3, 0.15, 0.1), (500_000, 3, 0.15, 0.1)],
)
def test_small_tables_get_one_layer_and_more_regularisation(
    rows: int, layers: int, dropout: float, weight_decay: float
) -> None:
    found = chosen(rows, None)
    assert found["hidden_layer_sizes"] == (256,) * layers
    assert (found["dropout"], found["weight_decay"]) == (dropout, weight_decay)
    assert chosen(rows)["dropout"] == 0.3


@pytest.mark.parametrize(
    ("rows", "classes", "epochs"),
    [
        (999, 3, 24),
        (1000, 3, 48),
        (1499, 3, 48),
        (1500, 3, 32),
        (999, None, 36),
        (1499, None, 36),
        (1500, None, 24),
        (8000, 9, 32),
        (999, 10, 72),
        (1499, 10, 72),
        (8000, 10, 48),
        (8000, None, 24),
        (49_999, 3, 32),
        (49_999, None, 24),
        (50_000, 3, 32),
        (50_000, None, 32),
        (50_000, 10, 48),
        (200_000, 3, 32),
        (450_000, 3, 21),
        (450_000, 10, 32),
        (4_000_000, 3, 8),  # 7.2, but 8 at least
    ],
)
def test_epochs(rows: int, classes: int | None, epochs: int) -> None:
    found = chosen(rows, classes)
    assert found["max_iter"] == found["n_iter_no_change"] == epochs


@pytest.mark.parametrize(
    ("rows", "classes", "fraction"),
    [
        (12, None, None),
        (13, None, 0.25),  # 4 rows
        (20, 2, None),
        (21, 2, 0.25),  # 6 rows: 4, and one per class
        (999, 2, 0.25),
        (999, None, 0.25),
        (999, 245, 0.25),
        (999, 247, None),
        (1000, 2, 0.1),
        (1000, 500, 0.1),
        (4000, 2, 0.1),
        (1000, None, 0.1),
        (500_000, None, 0.1),
    ],
)
def test_rows_held_out(rows: int, classes: int | None, fraction: float | None) -> None:
    found = chosen(rows, classes)
    assert found["early_stopping"] == (fraction is not None)
    assert fraction in (None, found["validation_fraction"])


@pytest.mark.parametrize(
    ("rows", "batch_size"), [(5, 5), (40, 32), (300, 32), (1000, 128), (4000, 256), (10**6, 256)]
)
def test_batches_are_an_eighth_of_the_rows_within_bounds(rows: int, batch_size: int) -> None:
    assert chosen(rows)["batch_size"] == batch_size


def test_an_ensemble_up_to_so_many_cells() -> None:
    assert chosen(200_000, columns=100)["n_members"] == 4
    assert chosen(200_000, columns=100)["member_rows"] == "all"
    assert "n_members" not in chosen(200_001, columns=100)


def test_periodic_features_of_up_to_so_many_columns() -> None:
    assert chosen(3000, columns=200, numbers=128)["input_stage"] == {"periodic": tuple(range(128))}
    assert chosen(3000, columns=200, numbers=129)["input_stage"] == {"periodic": ()}


def test_the_task_decides_rate_smoothing_and_clipping() -> None:
    classes, numbers = chosen(3000), chosen(3000, None)
    assert (classes["learning_rate_init"], numbers["learning_rate_init"]) == (0.04, 0.2)
    assert (classes["label_smoothing"], classes["scoring"]) == (0.1, "loss")
    assert "label_smoothing" not in numbers
    assert numbers["clip_predictions"]
    assert "clip_predictions" not in classes


# The preset.

GIVEN: list[dict[str, Any]] = [
    {"solver": "adam"},
    {"learning_rate": "constant"},
    {"learning_rate_init": 0.01},
    {"rate_factors": None},
    {"rate_factors": {"biases": 0.1}},
    {"weight_decay": 0.1},
    {"weight_decay": np.array([0.1, 0.2])},
    {"loss": "huber"},
]
LEFT: list[dict[str, Any]] = [
    {},
    {"hidden_layer_sizes": (8,)},
    {"max_iter": 3},
    {"dropout": 0.0},
    {"n_members": None},
    {"early_stopping": False},
    {"loss": "squared_error"},
    {"batch_size": 10},
    {"label_smoothing": 0.0},
    {"scaling": "standard"},
    {"time_limit": 3},
    {"warm_start": True},
]


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    from gpubp import TableRegressor

    return defaults(TableRegressor) | {"label_smoothing": "auto"} | parameters


@pytest.mark.parametrize("parameters", GIVEN, ids=str)
def test_given_parameters_that_make_auto_plain(parameters: dict[str, Any]) -> None:
    given = _given(parameters)
    assert not is_tuned(given)
    assert scaling_of(given) == "standard"
    assert is_tuned(given | {"preset": "tuned"})


@pytest.mark.parametrize("parameters", LEFT, ids=str)
def test_given_parameters_that_leave_auto_tuned(parameters: dict[str, Any]) -> None:
    given = _given(parameters)
    assert is_tuned(given)
    assert scaling_of(given) == parameters.get("scaling", "robust")
    assert not is_tuned(given | {"preset": "plain"})


def test_wide_tables_get_the_plain_recipe() -> None:
    given = _given({})
    assert is_tuned(given, 1000)
    assert not is_tuned(given, 1001)
    assert is_tuned(given | {"preset": "tuned"}, 1001)
    found = preset_values(given, "regression", (300, 1001), 1, [])
    assert found == plain_recipe("regression", 300, 1001, 1)
    found = preset_values(given, "regression", (300, 1000), 1, [0])
    assert found == tuned_recipe("regression", 300, 1000, 1, [0])


def test_number_columns_are_neither_tails_nor_flags_nor_categories() -> None:
    rng = np.random.default_rng(0)
    tails = rng.standard_cauchy(120)
    zeros_and_ones = np.arange(120) % 2
    rows = replace(table(t=tails, flag=zeros_and_ones, u=rng.normal(size=120)), targets=())
    encoder = TableEncoder(scaling="robust").fit(rows)
    names = encoder.get_feature_names_out()
    assert "t tails" in names
    assert names[number_columns(encoder)].tolist() == ["a", "b", "t", "u"]
