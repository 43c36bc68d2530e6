"""ONNX graphs of table models predict what the models predict, on every table of the tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp import TableClassifier, TableRegressor, read_table
from gpubp.models.number_columns import with_columns_of
from gpubp.models.onnx.model_graph import to_onnx
from gpubp.tables.frame import as_table
from gpubp.tables.read import ReadOptions
from gpubp.tables.table import Table
from tests.cli.test_tables_in_the_wild import CASES
from tests.models.onnx.agreement import assert_agree, feed_of
from tests.models.table_cases import COLUMNS, LABELS, PLAIN, SMALL, A, Y, full_table, table_model

pytest.importorskip("onnx", reason="needs onnx")


def _check(model: Any, table: Table) -> None:
    scale = 1.0
    if model.task == "regression" and (scaling := model.network_._target_scaling) is not None:
        scale = scaling.scale if len(scaling.scale) > 1 else scaling.scale[0]
    assert_agree(model, table, feed_of(model.encoder_, table), scale)


@pytest.mark.parametrize("kind", CASES)
def test_tables_in_the_wild(kind: str, tmp_path: Path) -> None:
    case = CASES[kind]
    path = tmp_path / case.name
    path.write_bytes(case.content)
    table = read_table(path)
    estimator = TableRegressor if case.labels is None else TableClassifier
    model = estimator(**PLAIN | {"max_iter": 1})
    target = table.names[-1]
    model.fit_table(table, [target])
    _check(model, table)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("preset", ["plain", "tuned"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_columns_of_each_kind(kind: str, preset: str, dtype: str) -> None:
    model = table_model(kind, preset=preset, dtype=dtype)
    assert (model.network_.n_members is None) == (preset == "plain")
    _check(model, full_table())


@pytest.mark.parametrize("loss", ["huber", "poisson", "quantile"])
@pytest.mark.parametrize("preset", ["plain", "tuned"])
def test_losses(loss: str, preset: str) -> None:
    given: dict[str, Any] = {"quantile": (0.1, 0.5, 0.9)} if loss == "quantile" else {}
    model = TableRegressor(**SMALL | {"preset": preset}, loss=loss, **given)
    model.fit(COLUMNS, np.exp(A))
    _check(model, full_table())


def test_the_smoothing_of_the_tuned_preset_is_removed() -> None:
    model = TableClassifier(**SMALL).fit(COLUMNS, LABELS)
    assert model.network_.label_smoothing > 0
    _check(model, full_table())


def test_the_smoothing_of_the_user_stays() -> None:
    model = TableClassifier(**SMALL, label_smoothing=0.3).fit(COLUMNS, LABELS)
    _check(model, full_table())


@pytest.mark.parametrize("labels", ["binary", "one", "multi-label", "booleans", "numbers"])
def test_kinds_of_labels(labels: str) -> None:
    y: Any = {
        "binary": np.where(A > 0, "yes", "no"),
        "one": np.full(len(A), "only"),
        "multi-label": np.stack([A > 0, A > 1, A < 0.5], axis=1).astype(int),
        "booleans": A > 0,
        "numbers": np.digitize(A, [-1, 0, 1]) * 10,
    }[labels]
    _check(TableClassifier(**SMALL).fit(COLUMNS, y), full_table())


def test_two_targets_of_different_sizes() -> None:
    model = TableRegressor(**SMALL, clip_predictions=True).fit(COLUMNS, Y)
    _check(model, full_table())


def test_a_network_with_columns_that_have_names() -> None:
    columns = {"p": A, "q": A**2}
    network = TableRegressor(**PLAIN).fit(columns, A + 1).network_
    table = replace(as_table(columns | {"y": A}), targets=("y",))
    _check(with_columns_of(network, table), table)


def test_markers_of_the_model_are_gaps(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{x},{c},{x:.0f}" for x, c in zip(range(30), "uvxw-" * 6, strict=True)]
    path.write_text("a,c,y\n-999,none,1\n" + "\n".join(rows))
    table = read_table(path, options=ReadOptions(na=("-999", "none")))
    model = TableRegressor(**PLAIN, na=("-999", "none")).fit(table, target="y")
    feed = {"a": np.array([-999, 1, np.nan]), "c": np.array(["none", "u", ""], object)}
    assert_agree(model, {"a": [-999, 1, None], "c": ["none", "u", ""]}, feed, 10)


def test_a_table_of_many_columns() -> None:
    rng = np.random.default_rng(0)
    columns = {f"x{j}": rng.normal(size=50) for j in range(120)}
    model = TableRegressor(**PLAIN).fit(columns, rng.normal(size=50))
    assert len(to_onnx(model).graph.input) == 120
    table = as_table(columns)
    _check(model, table)


def test_columns_that_are_called_like_outputs_and_nodes() -> None:
    columns = {name: A + j for j, name in enumerate(["label", "probabilities", "Concat", "Größe"])}
    model = TableClassifier(**PLAIN).fit(columns, LABELS)
    made = to_onnx(model)
    assert [each.name for each in made.graph.input] == list(columns)
    assert [each.name for each in made.graph.output] == ["label_2", "probabilities_2"]
    known = {each.key: each.value for each in made.metadata_props}
    assert json.loads(known["columns"]) == dict.fromkeys(columns, "number")
