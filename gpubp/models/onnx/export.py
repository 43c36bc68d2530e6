"""Write a fitted model as an ONNX file: encoder, network and labels in one graph."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.models.onnx.check import checked
from gpubp.models.onnx.columns import encoded_columns
from gpubp.models.onnx.graph import ExportError, GraphBuilder
from gpubp.models.onnx.network import dtype_of
from gpubp.models.onnx.packages import import_onnx
from gpubp.models.onnx.targets import class_nodes, number_nodes
from gpubp.models.table_estimators import TableEstimator
from gpubp.models.unsmoothed import smoothing_of
from gpubp.storage.atomic_file import atomic_write
from gpubp.version import __version__


@dataclass(frozen=True)
class Export:
    """What `export_onnx` has written.

    inputs, outputs : the type of each input and output by its name, such as "double", "int64" and
        "string".
    rows : number of rows on which the graph was compared with the model.
    differences : the largest difference by the name of the runtime.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    rows: int
    differences: dict[str, float]


def to_onnx(model: Any) -> Any:
    """Return a fitted model as an onnx.ModelProto; see `export_onnx`.

    Raises TypeError, ExportError and ModuleNotFoundError as `export_onnx` does, but does not
    compare predictions.
    """
    if not isinstance(model, MLPClassifier | MLPRegressor | TableEstimator):
        raise TypeError(
            "ONNX files are made of an MLPClassifier, MLPRegressor, TableClassifier or "
            f"TableRegressor of gpubp, got {type(model).__name__}"
        )
    check_is_fitted(model)
    try:
        return _graph_of(model)
    except UnicodeEncodeError as error:
        raise ExportError(
            f"{error.object!r:.80} is not Unicode text, which ONNX requires of names and "
            "categories; correct the table and train the model again"
        ) from None


def _graph_of(model: Any) -> Any:
    """Return the ModelProto of a fitted model."""
    table = model if isinstance(model, TableEstimator) else None
    network = model if table is None else table.network_
    dtype = dtype_of(network)
    if table is None:
        graph = GraphBuilder(["X"])
        X = graph.input("X", dtype, network.n_features_in_)
    else:
        graph = GraphBuilder(_input_names(table))
        X = graph.cast(encoded_columns(graph, table.encoder_), dtype)
    if isinstance(network, MLPClassifier):
        class_nodes(graph, network, smoothing_of(table), X)
    else:
        number_nodes(graph, network, X)
    return graph.model(type(model).__name__, _doc(model), _metadata(model, network))


def _input_names(model: TableEstimator) -> list[str]:
    """Return the names of the used columns; raise ExportError for an empty one."""
    names = [encoding.type.name for encoding in model.encoder_.encodings_]
    if "" in names:
        raise ExportError(
            "the name of a column is empty, but each input of an ONNX graph needs a name; train "
            "the model again with a name for it"
        )
    return names


def export_onnx(model: Any, path: str | os.PathLike[str]) -> Export:
    """Write a fitted model to the ONNX file ``path``; return what was written.

    The graph of a table model contains its encoder. It has one input (rows,) for each used column,
    with the name of the column: double for numbers, with NaN for a gap; string for categories and
    booleans, with "" for a gap; int64 for dates, in seconds since 1970, with the smallest int64
    for a gap. The graph of another model has one input "X" (rows, n_features).

    A classifier has the outputs "label" and "probabilities", a regressor "prediction", and one of
    several quantiles also "quantiles", with the values of the methods of the model. A name that a
    column has gets a number, such as "label_2".

    Before the file is written, the predictions of the graph are compared with those of the model,
    on rows made for it: in ONNX's reference evaluator, and in onnxruntime if it is installed.
    Probabilities may differ by 1e-5; numbers by 1e-5 standard deviations of the training target if
    the model scales it (`target_scaling`), else by 1e-5 of the larger of 1 and the number.

    Parameters
    ----------
    model : MLPClassifier, MLPRegressor, TableClassifier or TableRegressor
        A fitted model; an ensemble becomes one graph.
    path : str or path-like
        The file to write; an old one is replaced only when the new one is complete.

    Returns
    -------
    Export
        ``inputs`` and ``outputs``, the types by name; ``rows``, the number of compared rows; and
        ``differences``, the largest difference by runtime.

    Raises
    ------
    ExportError
        If predictions differ by more, for a loss with outputs of its own, and for weights of 2 GiB
        or more.
    ModuleNotFoundError
        If the package onnx is not installed.
    TypeError
        For a model that is not one of gpubp.
    OSError
        If the path cannot be written.
    """
    made = to_onnx(model)
    content = made.SerializeToString()
    rows, differences = checked(model, made, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    inputs, outputs = (
        {each.name: _type_name(each) for each in of} for of in (made.graph.input, made.graph.output)
    )
    return Export(inputs, outputs, rows, differences)


def _type_name(info: Any) -> str:
    onnx = import_onnx()
    name: str = onnx.TensorProto.DataType.Name(info.type.tensor_type.elem_type)
    return name.lower()


def _doc(model: Any) -> str:
    """Return a sentence on what the graph predicts."""
    kind = type(model).__name__
    if not isinstance(model, TableEstimator):
        return f"A {kind} of gpubp {__version__}."
    targets = ", ".join(map(repr, model.target_names_))
    columns = len(model.encoder_.encodings_)
    text = f"A {kind} of gpubp {__version__}: {model.task} of {targets} from {columns} column"
    return f"{text}{'s' * (columns != 1)}."


def _metadata(model: Any, network: Any) -> dict[str, str]:
    """Return facts for the properties of the file, as text or JSON."""
    classifies = isinstance(network, MLPClassifier)
    facts: dict[str, Any] = {
        "gpubp_version": __version__,
        "class": type(model).__name__,
        "task": "classification" if classifies else "regression",
    }
    if classifies:
        facts["classes"] = network.classes_.tolist()
    if isinstance(model, TableEstimator):
        about: Mapping[str, Any] = model.about_
        known = {name: about.get(name) for name in ("rows", "scores", "data", "preset", "verdict")}
        facts |= {
            "targets": list(model.target_names_),
            "columns": {each.type.name: each.type.kind for each in model.encoder_.encodings_},
            **{name: value for name, value in known.items() if value is not None},
        }
    return {k: v if isinstance(v, str) else json.dumps(v, default=_plain) for k, v in facts.items()}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
