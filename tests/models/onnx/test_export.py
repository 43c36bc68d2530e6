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
from gpubp.estimators.standardizer import Standardizer
from gpubp.models.onnx import check, columns, graph
from gpubp.models.onnx.model_graph import to_onnx
from tests.estimators.cases import CLASSES, X, fit
from tests.models.table_cases import LABELS, PLAIN, A, table_model

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


def test_numbers_are_compared_in_the_units_of_the_network() -> None:
    """In a target of 1e6 with a standard deviation of 2, 1 part in 1e9 is half of 1e-3."""
    units = Standardizer(np.array([1e6, 0.0]), np.array([2.0, 100.0]))
    ours = {"prediction": np.array([[1e6, 0.0], [1e6 + 400, 0.0]])}

    def off(*numbers: float, units: Any = units) -> float:
        theirs = ours["prediction"] + np.array(numbers).reshape(2, 2)
        return check.difference("a runtime", ours, [theirs], units)

    assert off(1e-5, 0, 0, 0) == pytest.approx(5e-6, rel=1e-3)
    assert off(0, 1e-4, 0, 0) == pytest.approx(1e-6, rel=1e-3)
    assert off(0, 0, 1e-3, 0) == pytest.approx(2.5e-6, rel=1e-3)  # 200 from the mean
    assert off(1e-3, 0, 0, 0, units=None) == pytest.approx(1e-9, rel=1e-3)
    assert off(1e-3, 0, 0, 0) == pytest.approx(5e-4, rel=1e-3)


def test_an_output_that_is_not_finite_in_one_of_both_is_a_difference() -> None:
    ours, theirs = np.array([1.0, np.nan]), np.array([1.0, 2.0])
    assert check.difference("onnx", {"prediction": ours}, [ours], None) == 0
    for mine, other in ((ours, theirs), (theirs, ours)):
        assert check.difference("onnx", {"prediction": mine}, [other], None) == np.inf


@pytest.mark.parametrize("of_table", [True, False])
def test_rounding_of_float32_is_not_a_difference(of_table: bool, tmp_path: Path) -> None:
    """Terms of 1e3 cancel, so that both orders of summation are off by more than 1e-5."""
    columns = {"a": A + 1, "b": A**2}
    model: Any = TableRegressor(**PLAIN | {"hidden_layer_sizes": (200,)}).fit(columns, A)
    network = model.network_
    network.intercepts_[0][:] = 1e3
    network.coefs_[1][:] = np.tile([1, -1], 100)[:, None]
    given = model if of_table else network
    done = export_onnx(given, tmp_path / "m.onnx")
    assert 1e-5 < max(done.differences.values()) < 1


def test_an_output_of_another_shape() -> None:
    ours = {"prediction": np.zeros(3)}
    with pytest.raises(ExportError, match=r"'prediction' of shape \(3, 1\), but the model"):
        check.difference("onnx", ours, [np.zeros((3, 1))], None)


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
