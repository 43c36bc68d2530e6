"""`gpubp inspect`: what a model file holds."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import sklearn

import gpubp
from tests.cli.running import FAST, LABELS, Run, X, Y, features, one_line, write_csv


def test_a_model_of_a_table(run: Run) -> None:
    write_csv("t.csv", **features(), color=["red", "blue"] * 20, note=["x"] * 40, kind=LABELS)
    run("train", "t.csv", *FAST, "--solver", "sgd", "--lr", "0.05", "--seed", "7", "-o", "m")
    os.utime("m", (0, datetime(2024, 3, 5, 16, 7).timestamp()))
    told = run("inspect", "m").out
    size = Path("m").stat().st_size
    for line in (
        f"model       m, a TableClassifier, {size:,} bytes",
        "saved       2024-03-05 16:07:00",
        "network     5-6-3, 57 parameters, float32",
        "activation  relu, outputs softmax",
        "data        40 rows, 6 columns; 32 to train, 8 to test (random, seed 7)",
        "Scores on 8 test rows (train: the network on the 32 rows it learned from)",
        "a       number         1        standardised",
        "color   category       2        one-hot, 2 values",
        "note    constant                left out: 'x' in every row",
        "4 columns as 5 inputs of the network",
    ):
        assert line in told.splitlines()
    assert max(map(len, told.splitlines())) <= 80
    words = " ".join(told.split())
    assert "kind', 3 classes (training rows): may, be (11), no (11), yes (10)" in words
    assert "recipe solver sgd, rate 0.05, epochs 3, seed 7," in words
    reason = r"\(by preset plain and the size of the table\)"
    assert re.search(rf"chosen schedule \w+, batch 8, .*{reason}", words)
    assert "patience" not in words
    assert "all 3 epochs done on cpu" in words
    assert "verdict 8 test rows are too few to distinguish the network from " in words
    assert f"versions gpubp {gpubp.__version__}, numpy {np.__version__}" in words


def test_the_same_as_json(run: Run) -> None:
    write_csv("t.csv", **features(), y=Y)
    result = run("train", "t.csv", *FAST, "--json", "-o", "m").events[-1]
    found = json.loads(run("inspect", "m", "--json").out)
    assert (found["class"], found["task"], found["targets"]) == (
        "TableRegressor",
        "regression",
        ["y"],
    )
    assert found["classes"] is None
    assert found["network"]["layers"] == result["layers"] == [3, 6, 1]
    assert found["network"]["parameters"] == result["parameters"]
    assert found["recipe"]["seed"] == 0
    assert found["recipe"]["epochs"] == 3
    assert found["training"]["epochs"] == 3
    assert found["training"]["loss"] == result["train"]["loss"]
    assert found["scores"]["test"] == result["test"]
    for name in ("baselines", "verdict", "remarks", "positive_class"):
        assert found[name] == result[name]
    assert result["data"] == found["data"] | {"source": "t.csv"}
    assert "batch" in found["chosen"]
    assert "epochs" not in found["chosen"]
    assert [column["column"] for column in found["columns"]] == ["a", "b", "c"]
    assert found["versions"]["scikit-learn"] == sklearn.__version__


def test_an_estimator_that_was_saved_in_python(run: Run) -> None:
    model = gpubp.MLPRegressor("squared_error", (5, 4), ("relu", "tanh"), random_state=3)
    gpubp.save(model.partial_fit(X, Y), "m")
    told = run("inspect", "m").out.splitlines()
    assert told[0].startswith("model       m, a MLPRegressor, ")
    assert "task        regression" in told
    assert "network     3-5-4-1, 49 parameters, float64" in told
    assert "activation  relu, tanh, outputs identity" in told
    assert f"versions    gpubp {gpubp.__version__}" in told
    assert not any("column" in line for line in told)
    assert told[-1] == "scores      none: saved from Python"
    assert json.loads(run("inspect", "m", "--json").out)["columns"] is None


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "missing: no such file"), ("notes", "notes: not a safetensors file")],
)
def test_what_is_no_model(run: Run, name: str, message: str) -> None:
    Path("notes").write_text("my notes", encoding="utf-8")
    assert message in one_line(run("inspect", name, code=1))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parameters_that_are_not_usual_are_shown(run: Run) -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    model = gpubp.MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=2, tol=1e-3, clip_norm=0.5, quantile=0.5, threads=1
    )
    gpubp.save(model.fit(X, X[:, 0]), "m")
    recipe = json.loads(run("inspect", "m", "--json").out)["recipe"]
    assert (recipe["clip_norm"], recipe["tol"]) == (0.5, 1e-3)
    assert not {"quantile", "threads", "shuffle"} & set(recipe)
