"""`gpubp export`: the ONNX file of a model, and wrong arguments."""

from __future__ import annotations

import json
import os
import shutil
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.models.onnx import columns, packages
from tests.cli.running import FAST, LABELS, Run, X, Y, features, one_line, write_csv

onnx = pytest.importorskip("onnx", reason="needs onnx")

DAYS = [f"2024-01-{k % 12 + 1:02}" for k in range(40)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and its model."""
    folder = tmp_path_factory.mktemp("files")
    table, model = str(folder / "t.csv"), str(folder / "m")
    write_csv(table, **features(), day=DAYS, color=["red", "blue"] * 20, kind=LABELS)
    assert main(["train", table, *FAST, "--quiet", "-o", model]) == 0
    return folder


@pytest.fixture
def trained(run: Run, files: Path) -> Run:
    """Runs the command line in a folder with both."""
    for path in files.iterdir():
        shutil.copy(path, path.name)
    return run


def test_a_model_of_a_table(trained: Run) -> None:
    told = trained("export", "m", "m.onnx")
    size = Path("m.onnx").stat().st_size
    assert told.err == ""
    lines = " ".join(told.out.split())
    assert f"file m.onnx, {size:,} bytes, ONNX opset 17" in lines
    assert "inputs a double, b double, c double, day int64, color string" in lines
    assert "outputs label string, probabilities float" in lines
    assert "check largest difference in 256 rows: " in lines
    assert "onnxruntime.InferenceSession('m.onnx').run(None, columns)" in lines
    assert max(map(len, told.out.splitlines())) <= 80


def test_the_file_predicts_what_predict_writes(trained: Run) -> None:
    from onnx.reference import ReferenceEvaluator

    trained("export", "m", "m.onnx")
    color = np.array(["red", "blue"] * 20, object)
    days = np.array(DAYS, "M8[s]").view(np.int64)
    feed: dict[str, Any] = features() | {"day": days, "color": color}
    label, P = ReferenceEvaluator("m.onnx").run(None, feed)
    predicted = trained("predict", "m", "t.csv", "--proba")
    assert list(label) == [row["prediction"] for row in predicted.rows]
    ours = np.stack([predicted.column(f"proba_{of}") for of in sorted(set(LABELS))], axis=1)
    np.testing.assert_allclose(P, ours, atol=1e-5)


def test_the_same_as_json(trained: Run) -> None:
    found = json.loads(trained("export", "m", "m.onnx", "--json").out)
    assert (found["model"], found["file"], found["opset"]) == ("m", "m.onnx", 17)
    assert found["bytes"] == Path("m.onnx").stat().st_size
    assert found["outputs"] == {"label": "string", "probabilities": "float"}
    assert max(found["differences"].values()) <= 1e-5


def test_a_network_of_arrays(run: Run) -> None:
    model = gpubp.MLPRegressor(hidden_layer_sizes=(4,), random_state=0).partial_fit(X, Y)
    gpubp.save(model, "m")
    found = json.loads(run("export", "m", "M.ONNX", "--json").out)
    assert (found["inputs"], found["outputs"]) == ({"X": "double"}, {"prediction": "double"})


def test_a_file_that_is_replaced_is_named(trained: Run) -> None:
    Path("m.onnx").write_bytes(b"1234")
    os.utime("m.onnx", (0, datetime(2024, 3, 5, 16, 7).timestamp()))
    told = trained("export", "m", "m.onnx")
    assert told.err == "m.onnx replaces a file of 2024-03-05 16:07 with 4 bytes\n"


def test_a_graph_that_differs_is_an_error(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "missing_markers", lambda na: frozenset(["red"]))
    assert "differs from the model by" in one_line(trained("export", "m", "m.onnx", code=1))
    assert not Path("m.onnx").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("m", "m.pb"), 2, "OUT m.pb has the suffix '.pb', but an ONNX file is written; give a"),
        (("m", "m"), 2, "OUT m has the suffix '', but an ONNX file is written; give a name that"),
        (("m", "-"), 2, "OUT - is standard output, but an ONNX file is binary; give a file"),
        (("own.onnx", "own.onnx"), 2, "OUT own.onnx is also an input file; give another path"),
        (("m",), 2, "Missing argument 'OUT'"),
        (("missing", "m.onnx"), 1, "missing: no such file"),
        (("t.csv", "m.onnx"), 1, "t.csv: not a safetensors file"),
        (("m", "missing/m.onnx"), 1, "missing/m.onnx"),
    ],
)
def test_wrong_arguments(trained: Run, args: tuple[str, ...], code: int, message: str) -> None:
    Path("own.onnx").write_bytes(Path("m").read_bytes())
    before = sorted(Path.cwd().iterdir())
    assert message in one_line(trained("export", *args, code=code))
    assert sorted(Path.cwd().iterdir()) == before


def test_a_missing_package_is_named(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("the export needs the package onnx", name="onnx")

    monkeypatch.setattr(packages, "import_onnx", missing)
    assert "needs the package onnx" in one_line(trained("export", "m", "m.onnx", code=2))


def test_doctor_names_the_packages(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = import_module("gpubp.cli.doctor")
    monkeypatch.setattr(doctor, "installed", lambda name: "1.2" if name != "onnxruntime" else None)
    lines = dict(line.split(maxsplit=1) for line in run("doctor").out.splitlines())
    assert lines["onnx"] == (
        "onnx 1.2, onnxruntime (missing) (for gpubp export: pip install 'gpubp[onnx]')"
    )
