"""Reports of small models, for the tests of their pages."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from gpubp import TableClassifier, TableRegressor
from gpubp.models.description import description_of
from gpubp.models.diagnostics import diagnostics
from gpubp.models.learning_curves import learning_curves
from gpubp.reports.model_report.report import Evaluated, ModelReport
from gpubp.tables.frame import as_table
from gpubp.training.history import Epoch

N = 90
EVIL = "<script>&amp;\u202e"

DATA = {
    "source": f"{EVIL}.csv",
    "rows": N,
    "columns": 4,
    "without_target": 0,
    "seed": 0,
    "train": N,
    "validation": 0,
    "test": 0,
}


@cache
def _made(name: str) -> ModelReport:
    rng = np.random.default_rng(0)
    table: dict[str, Any] = {EVIL: rng.normal(size=N), "größe": rng.normal(size=N)}
    table["constant"] = np.ones(N)
    options: dict[str, Any] = {"preset": "plain", "max_iter": 4, "random_state": 0}
    options |= {"early_stopping": True, "validation_fraction": 0.3}
    if name == "classes":
        table["y"] = np.array(["no", f"{EVIL} yes", "3"])[rng.integers(0, 3, N)]
        model: Any = TableClassifier(**options)
    else:
        table["y"] = table["größe"] * 1e4
        model = TableRegressor(**options, loss="quantile", quantile=[0.1, 0.9])
    record: list[Epoch] = []
    model.fit_table(as_table(table), ["y"], on_epoch=record.append)
    scores = model.evaluate(table)
    trivial = {"model": "the mean", "label": "mean", "scores": dict(scores)}
    return ModelReport(
        command=f"gpubp train '{EVIL}.csv'",
        written="2026-11-30 12:00",
        model=description_of(model),
        versions={"gpubp": "1"},
        result={"data": DATA, "epochs": 4},
        evaluated=Evaluated(
            kind="table",
            rows=N,
            source=f"{EVIL}.csv",
            scores=scores,
            classes=model.per_class(table) if name == "classes" else (),
            baselines={"trivial": trivial},
            training=scores,
        ),
        diagnostics=diagnostics(model, table),
        curves=learning_curves(model.network_, record),
    )


def made(name: str = "classes", **changes: Any) -> ModelReport:
    """Return the report of a classifier ("classes") or of a regression ("numbers")."""
    return replace(_made(name), **changes)
