"""Cells that training had not: in another notation, or no value at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpubp.models.save_load import load
from tests.cli.running import FAST, LABELS, Run, X, features, one_line, write_csv


def test_strays_are_told_once_with_their_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", 10)
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", *FAST)
    cells = X.astype(object)
    cells[[3, 7, 33], 1], cells[5, 2] = "x", "later"
    write_csv("stray.csv", **features(cells), y=LABELS)
    cells[[3, 7, 33], 1], cells[5, 2] = "", ""
    write_csv("gaps.csv", **features(cells), y=LABELS)
    for command in ("predict", "evaluate"):
        strays = run(command, "model.safetensors", "stray.csv")
        assert strays.err.splitlines() == [
            "stray.csv, data row 4, column 'b': 'x' is not a number and counts as empty (3 such "
            "cells)",
            "stray.csv, data row 6, column 'c': 'later' is not a number and counts as empty",
        ]
        gaps = run(command, "model.safetensors", "gaps.csv").out
        assert strays.out == gaps.replace("gaps.csv", "stray.csv")


def test_a_date_that_is_none_is_compared_with_one_of_training(run: Run) -> None:
    rows = "".join(f"{1 + k % 28:02}.{1 + k // 28:02}.2020,{k % 2}\n" for k in range(60))
    Path("data.csv").write_text("when,y\n" + rows)
    run("train", "data.csv", "--test-size", "0.2", *FAST)
    stdin = "when\n01.02.2020\n31.31.2020\n"
    failed = run("predict", "model.safetensors", "-", stdin=stdin, code=1)
    assert "data row 2, column 'when': '31.31.2020' is not a date such as " in one_line(failed)
    assert ".2020 (1 of 2 cells); correct the cells, or give texts that mean" in one_line(failed)


def test_a_decimal_comma_is_the_same_in_train_evaluate_and_predict(run: Run) -> None:
    """The target 50,916 is 50.916, since the other columns have decimal commas."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(10, 99, 80).round(2), rng.uniform(1, 9, 80).round(3)
    y = (a / 2 + b).round(3)
    lines = [f"{u:.2f};{v:.3f};{w:.3f}".replace(".", ",") for u, v, w in zip(a, b, y, strict=True)]
    Path("t.csv").write_text("\n".join(["a;b;y", *lines]))
    said = run("train", "t.csv", "--task", "regression", *FAST)
    assert "--decimal" not in said.err
    model = load("model.safetensors")
    statistics = [found.statistics for found in model.encoder_.types_]
    assert [found.high < 100 for found in statistics] == [True, True]
    found = run("predict", "model.safetensors", "t.csv").column()
    assert_allclose(found, model.predict({"a": a, "b": b}), rtol=1e-5)
    (scores,) = run("evaluate", "model.safetensors", "t.csv", "--json").events
    assert_allclose(scores["rmse"], np.sqrt(np.mean((found - y) ** 2)), rtol=1e-6)
    # One row alone has no cell that shows the sign: the model knows it.
    row = run("predict", "model.safetensors", "-", stdin="a;b\n20,120;1,234\n").column()
    assert_allclose(row[0], model.predict({"a": [20.12], "b": [1.234]})[0], rtol=1e-5)
    points = "a,b\n20.12,1.2\n"
    failed = run("predict", "model.safetensors", "-", stdin=points, code=1)
    assert "'20.12' is not a number with a decimal comma (--decimal . reads it)" in one_line(failed)
    again = run("predict", "model.safetensors", "-", "--decimal", ".", stdin=points).column()
    assert_allclose(again[0], model.predict({"a": [20.12], "b": [1.2]})[0], rtol=1e-5)
