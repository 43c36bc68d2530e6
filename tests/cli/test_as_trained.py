"""A file is read at predict, evaluate and explain as the model was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp import TableClassifier, save
from tests.cli.running import FAST, Run, one_line, write_csv

HIDDEN = ("--hidden", "6", "--epochs", "30")


def _write(path: str, header: str, *rows: Any) -> str:
    Path(path).write_text("\n".join([header, *map(str, rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def commas(run: Run) -> str:
    """A model of a = 1.000,5; y = 1000."""
    thousands = [f"{10 * k:,}".replace(",", ".") for k in range(300)]
    _write("c.csv", "a;y", *[f"{text},5;{10 * k}" for k, text in enumerate(thousands)])
    run("train", "c.csv", "--task", "regression", *HIDDEN, "-o", "c")
    return "c"


def test_decimal_commas_are_those_of_training(run: Run, commas: str) -> None:
    _write("plain.csv", "a;y", "1234,0;1", "5000,0;2")
    expected = run("predict", commas, "plain.csv").out
    _write("new.csv", "a;y", "1.234;1", "5.000;2")  # all are numbers with a decimal point, too
    assert run("predict", commas, "new.csv").out == expected
    kept = run("predict", commas, "new.csv", "--keep", "a")
    assert [row["a"] for row in kept.rows] == ["1.234", "5.000"]
    assert [row["prediction"] for row in kept.rows] == expected.split()[1:]
    _write("more.csv", "a;y", "1.234;1", "5.000;2", "7,5;3")
    assert run("predict", commas, "more.csv").out.startswith(expected)
    scores = [
        json.loads(run("evaluate", commas, path, "--json").out) for path in ("new.csv", "plain.csv")
    ]
    assert scores[0] == scores[1]


def test_explain_reads_as_training_did(run: Run, commas: str) -> None:
    _write("plain.csv", "a;y", "1234,0;1")
    _write("new.csv", "a;y", "1.234;1")
    inputs = [
        json.loads(run("explain", commas, path, "--json").out)["steps"][0]
        for path in ("new.csv", "plain.csv")
    ]
    assert inputs[0] == inputs[1]


def test_categories_stay_as_they_are_written(run: Run) -> None:
    kinds = ["1.1", "1.10", "beta"]
    _write("v.csv", "v,y", *[f"{kinds[k % 3]},{'pqr'[k % 3]}" for k in range(150)])
    run("train", "v.csv", *HIDDEN, "-o", "v")
    _write("new.csv", "v", "1.10", "1.1", "1.10")
    found = run("predict", "v", "new.csv", "--proba")
    assert [row["prediction"] for row in found.rows] == ["q", "p", "q"]
    _write("more.csv", "v", "1.10", "1.1", "1.10", "beta")
    assert run("predict", "v", "more.csv", "--proba").out.startswith(found.out)


def test_kept_columns_of_parquet_change_no_prediction(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    duckdb.sql(
        "COPY (SELECT range / 7.0 AS a, range % 2 = 0 AS b, nullif(range, 30) AS i, range % 3 AS y "
        "FROM range(60)) TO 'd.parquet' (FORMAT parquet)"
    )
    duckdb.sql(
        "COPY (SELECT a, b::INT::DOUBLE AS b, i, y FROM 'd.parquet') TO 'f.parquet' "
        "(FORMAT parquet)"
    )
    run("train", "d.parquet", "--task", "classification", *FAST, "-o", "m")
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", 25)
    expected = run("predict", "m", "d.parquet", "--proba")
    for path in ("d.parquet", "f.parquet"):
        kept = run("predict", "m", path, "--proba", "--keep", "a,b,i")
        assert [row["proba_0"] for row in kept.rows] == [row["proba_0"] for row in expected.rows]
        assert [row["i"] for row in kept.rows] == [str(k) if k != 30 else "" for k in range(60)]
        np.testing.assert_allclose(kept.column("a"), np.arange(60) / 7)
        run("predict", "m", path, "--keep", "i", "-o", "out.parquet")
        assert duckdb.sql("SELECT count(*) FROM 'out.parquet'").fetchall() == [(60,)]


def test_several_labels_are_columns_of_0_and_1(run: Run) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    a = np.linspace(-1, 1, 40)
    Y = pd.DataFrame({"p": a > 0, "q": a > -0.5}).astype(int)
    frame = pd.DataFrame({"a": a})
    model = TableClassifier(preset="plain", hidden_layer_sizes=(8,), random_state=0).fit(frame, Y)
    save(model, "m")
    write_csv("d.csv", a=a, **{name: Y[name] for name in Y})
    found = run("predict", "m", "d.csv", "--proba")
    assert list(found.rows[0]) == ["prediction_p", "prediction_q", "proba_p", "proba_q"]
    for k, name in enumerate("pq"):
        np.testing.assert_array_equal(
            found.column(f"prediction_{name}"), model.predict(frame)[:, k]
        )
        np.testing.assert_array_equal(
            found.column(f"prediction_{name}"), found.column(f"proba_{name}") > 0.5
        )
    for command in ("evaluate", "explain"):
        failed = run(command, "m", "d.csv", code=1)
        assert "the model is multi-label, with targets 'p', 'q'" in one_line(failed)


def test_a_model_of_an_array_names_its_columns_x0_and_on(run: Run) -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = X[:, 0] > 0
    model = TableClassifier(preset="plain", hidden_layer_sizes=(4,), random_state=0).fit(X, y)
    save(model, "m")
    write_csv("d.csv", x0=X[:, 0], x1=X[:, 1], y=y)
    found = run("predict", "m", "d.csv")
    assert [row["prediction"] for row in found.rows] == model.predict(X).astype(str).tolist()
    scores = json.loads(run("evaluate", "m", "d.csv", "--json").out)
    assert scores["accuracy"] == pytest.approx(model.score(X, y))
    run("explain", "m", "d.csv")
