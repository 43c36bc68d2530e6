"""A fitted model as one ONNX graph: encoder, network and labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.regressor import MLPRegressor
from gpubp.models.onnx.columns import encoded_columns
from gpubp.models.onnx.graph import ExportError, GraphBuilder
from gpubp.models.onnx.network import dtype_of
from gpubp.models.onnx.targets import class_nodes, number_nodes
from gpubp.models.table_estimators import TableEstimator
from gpubp.models.unsmoothed import smoothing_of
from gpubp.version import __version__


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
