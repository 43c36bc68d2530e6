"""`export_onnx`: the file, what it says of the model, and the check before it is written."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

import gpubp
from gpubp import ExportError, MLPClassifier, TableClassifier, TableRegressor, export_onnx
from gpubp.models.onnx import check, columns, graph
from gpubp.models.onnx.export import to_onnx
from tests.estimators.cases import CLASSES, X, fit
from tests.models.table_cases import COLUMNS, LABELS, PLAIN, A, table_model

onnx = pytest.importorskip("onnx", reason="needs onnx")


@pytest.fixture(scope="module")
def model() -> Any:
    return table_model("classes")


def test_the_file_has_inputs_by_kind_of_column(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    done = export_onnx(model, path)
    kinds = {"a": "double", "b": "double", "kind": "string", "flag": "string", "day": "int64"}
    assert done.inputs == kinds
    assert done.outputs == {"label": "string", "probabilities": "float"}
    assert done.rows == 256
    assert done.differences["onnx.reference"] <= 1e-5
    read = onnx.load(path)
    onnx.checker.check_model(read, full_check=True)
    assert [each.name for each in read.graph.input] == list(kinds)
    for each in (*read.graph.input, *read.graph.output):
        assert each.type.tensor_type.shape.dim[0].dim_param == "rows"
    assert {each.domain: each.version for each in read.opset_import} == {"": 17, "ai.onnx.ml": 3}


def test_the_file_describes_the_model(model: Any) -> None:
    made = to_onnx(model)
    assert (made.producer_name, made.producer_version) == ("gpubp", gpubp.__version__)
    assert made.doc_string == (
        f"A TableClassifier of gpubp {gpubp.__version__}: classification of 'y' from 5 columns."
    )
    known = {each.key: each.value for each in made.metadata_props}
    assert known["task"] == "classification"
    assert json.loads(known["classes"]) == ["high", "low", "mid"]
    assert json.loads(known["targets"]) == ["y"]
    assert json.loads(known["columns"])["day"] == "date"
    assert known["preset"] == "plain"


def test_a_network_of_arrays_has_one_input(tmp_path: Path) -> None:
    network = fit(MLPClassifier((4,), max_iter=2), X, CLASSES > 0)
    done = export_onnx(network, tmp_path / "m.onnx")
    assert done.inputs == {"X": "double"}
    assert done.outputs == {"label": "bool", "probabilities": "double"}


def test_without_the_runtime_the_reference_checks(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "has_runtime", lambda: False)
    done = export_onnx(model, tmp_path / "m.onnx")
    assert list(done.differences) == ["onnx.reference"]


def test_a_graph_that_differs_is_not_written(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    monkeypatch.setattr(columns, "missing_markers", lambda na: frozenset(["v"]))
    with pytest.raises(ExportError, match=r"onnx.reference differs .* at most 1e-05 is allowed"):
        export_onnx(model, path)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_other_labels_are_a_difference(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where all probabilities agree."""
    order = model.classes_[::-1]
    monkeypatch.setattr("gpubp.models.onnx.targets._labels", lambda classes: order.astype(object))
    with pytest.raises(ExportError, match="returns other labels than the model"):
        export_onnx(model, tmp_path / "m.onnx")


def test_numbers_are_compared_in_standard_deviations_of_the_target() -> None:
    """A target of 1e6 with a standard deviation of 1 is not allowed an error of 10."""
    model = TableRegressor(**PLAIN).fit(COLUMNS, 1e6 + A)
    ours = {"prediction": np.full(3, 1e6)}
    near, far = (np.array([1e6, 1e6 + off, 1e6]) for off in (2e-6, 2e-5))
    scale = check._scale(model.network_)
    assert check._difference("onnx", ours, [near], scale) < 1e-5
    with pytest.raises(ExportError, match="differs from the model by"):
        check._difference("onnx", ours, [far], scale)
    relative = check._difference("onnx", ours, [far], None)
    assert relative == pytest.approx(2e-11, rel=0.1)


def test_an_output_that_is_not_finite_in_one_of_both_is_a_difference() -> None:
    ours, theirs = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    assert check._difference("onnx", {"prediction": ours}, [ours], None) == 0
    for mine, other in ((ours, theirs), (theirs, ours)):
        with pytest.raises(ExportError, match="by inf"):
            check._difference("onnx", {"prediction": mine}, [other], None)


def test_what_is_no_model_of_ours(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="got LinearRegression"):
        export_onnx(LinearRegression(), tmp_path / "m.onnx")
    with pytest.raises(NotFittedError):
        export_onnx(TableClassifier(), tmp_path / "m.onnx")


def test_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    model = TableClassifier(**PLAIN).fit({"": A, "b": A**2}, LABELS)
    with pytest.raises(ExportError, match="the name of a column is empty"):
        export_onnx(model, tmp_path / "m.onnx")


def test_text_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    kinds = np.where(A > 0, "\ud800", "x")
    model = TableClassifier(**PLAIN, categorical=("kind",)).fit({"kind": kinds, "b": A}, LABELS)
    with pytest.raises(ExportError, match=r"'\\ud800' is not Unicode text"):
        export_onnx(model, tmp_path / "m.onnx")


def test_weights_of_two_gibibytes_are_refused(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "MOST_BYTES", 1000)
    with pytest.raises(ExportError, match="an ONNX file holds less than 2 GiB"):
        export_onnx(model, tmp_path / "m.onnx")


def test_a_missing_package_is_named(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without_onnx(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "onnx":
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'gpubp\[onnx\]'"):
        export_onnx(model, tmp_path / "m.onnx")


@pytest.mark.parametrize("path", ["missing/m.onnx", "."])
def test_a_path_that_cannot_be_written(
    model: Any, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="cannot write"):
        export_onnx(model, path)
