"""`gpubp predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpubp.cli.predict as module
from tests.cli.running import FAST, LABELS, Run, X, features, one_line, write_csv


def test_standard_input(run: Run) -> None:
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", *FAST)
    expected = run("predict", "model.safetensors", "data.csv").out
    got = run("predict", "model.safetensors", "-", stdin=Path("data.csv").read_text())
    assert got.out == expected
    assert len(got.rows) == 40


def test_columns_are_matched_by_name(run: Run) -> None:
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", *FAST)
    expected = run("predict", "model.safetensors", "data.csv").out
    a, b, c = X.T
    write_csv("other.csv", remark=["ü, x"] * 40, c=c, a=a, b=b)
    assert run("predict", "model.safetensors", "other.csv").out == expected


def test_predictions_into_a_file(run: Run) -> None:
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", *FAST)
    expected = run("predict", "model.safetensors", "data.csv").out
    assert run("predict", "model.safetensors", "data.csv", "-o", "out.csv").out == ""
    assert Path("out.csv").read_text() == expected
    Path("out.csv").write_text("of before")
    run("predict", "model.safetensors", "data.csv", "-o", "out.csv")
    assert Path("out.csv").read_text() == expected


@pytest.mark.parametrize("kind", ["csv", "npz", "stdin"])
@pytest.mark.parametrize("options", [(), ("--proba",)])
def test_chunks_equal_the_whole(
    run: Run, kind: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("data.npz", X=X, y=LABELS, feature_names=np.array(["a", "b", "c"]))
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", "--dtype", "float64", *FAST)
    data = {"csv": "data.csv", "npz": "data.npz", "stdin": "-"}[kind]
    args = ("predict", "model.safetensors", data, *options)
    whole = run(*args, stdin=Path("data.csv").read_text())
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", 7)
    chunks = run(*args, stdin=Path("data.csv").read_text())
    assert len(chunks.rows) == 40
    for one, other in zip(chunks.rows, whole.rows, strict=True):
        assert one["prediction"] == other["prediction"]
        for name in list(one)[1:]:
            assert_allclose(float(one[name]), float(other[name]), rtol=1e-12)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("missing/model", "cannot write 'missing/model': "),
        ("folder", "cannot write 'folder': it is a directory; add a file name"),
        ("", "it is a directory; add a file name"),
        ("data.csv/model", "is not a folder; choose another path"),
    ],
)
def test_an_unwritable_output_is_found_before_anything_else(
    run: Run, out: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv("data.csv", **features(), label=LABELS)
    Path("folder").mkdir()
    run("train", "data.csv", *FAST)

    def unexpected(*args: Any, **options: Any) -> None:
        pytest.fail("data was read")

    monkeypatch.setattr("gpubp.tables.read.read_table", unexpected)
    assert message in one_line(run("train", "data.csv", "-o", out, code=1))
    monkeypatch.setattr("gpubp.models.table_estimators.TableClassifier.predict_proba", unexpected)
    monkeypatch.setattr("gpubp.tables.read.read_chunks", unexpected)
    assert message in one_line(run("predict", "model.safetensors", "data.csv", "-o", out, code=1))


@pytest.fixture
def model(run: Run) -> str:
    """A model of the columns a, b and c of data.csv, which has id and day too."""
    ids = [f"0{k}" for k in range(40)]
    days = [f"2024-02-{k % 28 + 1:02}" for k in range(40)]
    write_csv("t.csv", **features(), y=LABELS)
    run("train", "t.csv", *FAST, "-o", "m")
    write_csv("data.csv", id=ids, **features(), day=days, number=["1.50", "NA"] * 20)
    return "m"


@pytest.mark.parametrize("rows", [7, 1000])
def test_columns_are_passed_through_as_they_are_written(
    run: Run, model: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", rows)
    expected = run("predict", model, "data.csv").rows
    kept = run("predict", model, "data.csv", "--keep", "day,id,number")
    assert kept.out.startswith("day,id,number,prediction\n2024-02-01,00,1.50,")
    assert [row["prediction"] for row in kept.rows] == [row["prediction"] for row in expected]
    assert [row["id"] for row in kept.rows] == [f"0{k}" for k in range(40)]
    # A column that the model takes, too.
    kept = run("predict", model, "data.csv", "--keep", "a")
    assert kept.column("a").tolist() == X[:, 0].tolist()
    assert [row["prediction"] for row in kept.rows] == [row["prediction"] for row in expected]


@pytest.mark.parametrize(("inputs", "fewest", "rows"), [(30, 2, 10), (30, 15, 15), (3000, 2, 40)])
def test_chunks_have_fewer_rows_where_the_network_has_many_inputs(
    run: Run, model: str, inputs: int, fewest: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("predict", model, "data.csv").rows
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_INPUTS", inputs)
    monkeypatch.setattr("gpubp.cli.predict.FEWEST_CHUNK_ROWS", fewest)
    lengths: list[int] = []
    block = module._block
    monkeypatch.setattr(
        module, "_block", lambda *args: lengths.append(len(args[1])) or block(*args)
    )
    assert run("predict", model, "data.csv").rows == expected
    assert lengths[0] == rows
    assert sum(lengths) == 40


def test_a_kept_column_must_not_have_the_name_of_a_new_one(run: Run, model: str) -> None:
    write_csv("more.csv", **features(), prediction=LABELS)
    failed = run("predict", model, "more.csv", "--keep", "prediction", code=2)
    assert "gives two columns called 'prediction'; leave it out" in one_line(failed)


def test_predictions_as_parquet(run: Run, model: str) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    flags = ("--proba", "--keep", "id")
    expected = run("predict", model, "data.csv", *flags).rows
    assert run("predict", model, "data.csv", *flags, "-o", "out.parquet").out == ""
    found = duckdb.sql("from 'out.parquet'")
    assert found.columns == list(expected[0])
    assert [str(kind) for kind in found.types] == ["VARCHAR", "VARCHAR", *["FLOAT"] * 3]
    for row, want in zip(found.fetchall(), expected, strict=True):
        assert row[:2] == (want["id"], want["prediction"])
        assert [np.float32(p) for p in row[2:]] == [np.float32(p) for p in list(want.values())[2:]]
    run("predict", model, "missing.csv", "-o", "out.parquet", code=1)
    assert len(duckdb.sql("from 'out.parquet'").fetchall()) == 40


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_a_header_without_rows_gives_one(run: Run, model: str, out: str) -> None:
    Path("none.csv").write_text("a,b,c,id\n", encoding="utf-8")
    run("predict", model, "none.csv", "--proba", "--keep", "id", "-o", out)
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    found = duckdb.sql(f"from '{out}'")
    names = [f"proba_{label}" for label in ("may, be", "no", "yes")]
    assert found.columns == ["id", "prediction", *names]
    assert found.fetchall() == []
    Path("few.csv").write_text("a,b\n", encoding="utf-8")
    assert "few.csv has no column 'c'" in one_line(run("predict", model, "few.csv", code=1))


def test_kept_cells_are_as_they_are_written(run: Run, model: str) -> None:
    cells = ["NA", " x ", "?", "", "01", "1.50"]
    columns = features()
    rows = ["id,a,b,c"]
    rows += [
        f"{c},{columns['a'][k]},{columns['b'][k]},{columns['c'][k]}" for k, c in enumerate(cells)
    ]
    Path("odd.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = run("predict", model, "odd.csv", "--keep", "id", "--keep", "a").rows
    assert [row["id"] for row in found] == cells
    assert [row["a"] for row in found] == [str(columns["a"][k]) for k in range(len(cells))]


@pytest.mark.parametrize("suffix", ["xlsx", "csv.gz", "json", "npz", "duckdb"])
def test_formats_that_are_not_written(run: Run, model: str, suffix: str) -> None:
    failed = run("predict", model, "data.csv", "-o", f"out.{suffix}", code=2)
    assert "but predictions are written as CSV or Parquet; give a name" in one_line(failed)
    assert not Path(f"out.{suffix}").exists()
