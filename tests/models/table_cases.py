"""Small tables that the tests of table estimators share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gpubp import TableClassifier, TableRegressor
from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.table import Table

N = 120
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=N), 1e4 + 100 * RNG.normal(size=N)
KIND = np.array(["u", "v", "w"])[RNG.integers(3, size=N)]
B[5] = np.nan
FLAG = np.where(RNG.random(N) < 0.5, "yes", "no")
DAY = np.datetime64("2024-01-30") + RNG.integers(500, size=N)
COLUMNS = {"a": A, "b": B, "kind": KIND}
LABELS = np.where(A > 0.4, "high", np.where(A < -0.4, "low", "mid"))
Y = np.stack([3e6 + 1e4 * A, (KIND == "u") - A], axis=1)
SMALL: dict[str, Any] = {
    "hidden_layer_sizes": (5,),
    "max_iter": 4,
    "early_stopping": False,
    "random_state": 0,
}
PLAIN = SMALL | {"preset": "plain"}  # one network, which is quick and simple


def column(cells: Any) -> Column:
    cells = np.asarray(cells)
    return NumberColumn(cells) if cells.dtype.kind in "iuf" else TextColumn.of(cells.tolist())


def table(**targets: Any) -> Table:
    """Return the columns a, b and kind, and targets or other columns."""
    columns = COLUMNS | targets
    made = {name: column(cells) for name, cells in columns.items()}
    return Table(made, N, "rows.csv", tuple(targets))


def full_table(**targets: Any) -> Table:
    """Return columns of each kind, and targets."""
    others = {"flag": FLAG, "day": DAY.astype(str), "same": np.ones(N)}
    made = table(**others, **targets)
    return replace(made, targets=tuple(targets))


def classifier(labels: Any = LABELS, **parameters: Any) -> TableClassifier:
    model = TableClassifier(**SMALL | parameters)
    model.fit_table(table(y=labels), ["y"])
    return model


def regressor(outputs: int = 1, **parameters: Any) -> TableRegressor:
    targets = {f"y{j}": Y[:, j] for j in range(outputs)}
    model = TableRegressor(**SMALL | parameters)
    model.fit_table(table(**targets), list(targets))
    return model


def table_model(kind: str, **given: Any) -> TableClassifier | TableRegressor:
    """Return a model of "classes" or of two "numbers", whose encoder has columns of each kind.

    given : parameters; without them, the preset is "plain".
    """
    missing = np.arange(N) == 7
    if kind == "classes":
        targets: dict[str, Any] = {"y": np.where(missing, "NA", LABELS)}
        model: Any = TableClassifier(**PLAIN | given, categorical=("kind",))
    else:
        targets = {"p": np.where(missing, np.nan, Y[:, 0]), "q": Y[:, 1]}
        model = TableRegressor(**PLAIN | given)
    model.fit_table(full_table(**targets), list(targets))
    return model  # type: ignore[no-any-return]
