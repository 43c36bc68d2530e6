"""`gpubp predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

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
