"""Our predictions against those of an ONNX graph, by its reference evaluator and onnxruntime."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.models.onnx.columns import encoded_columns
from gpubp.models.onnx.graph import GraphBuilder
from gpubp.models.onnx.model_graph import to_onnx
from gpubp.tables.column_types.dates import parse_dates
from gpubp.tables.column_types.find_type import as_text
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.encoding.encodings import numbers_in
from gpubp.tables.encoding.strays import StrayCellWarning
from gpubp.tables.table import Table

Feed = Mapping[str, np.ndarray]
RUNTIMES = ("onnx.reference", "onnxruntime")


def runtime(made: Any, name: str) -> Callable[[Feed], list[Any]]:
    """Return what runs a ModelProto."""
    if name == "onnx.reference":
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(made)

        def run(feed: Feed) -> list[Any]:
            with np.errstate(all="ignore"):
                return list(evaluator.run(None, dict(feed)))

        return run
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda feed: list(session.run(None, dict(feed)))


def feed_of(encoder: TableEncoder, table: Table) -> dict[str, np.ndarray]:
    """Return the rows of a table as the inputs of a graph, column by column."""
    feed: dict[str, np.ndarray] = {}
    for encoding in encoder.encodings_:
        found, column = encoding.type, table.columns[encoding.type.name]
        if found.kind == "number":
            feed[found.name] = numbers_in(column, found).astype(np.float64)
        elif found.kind == "date":
            text = as_text(column)
            times = np.append(parse_dates(text.values, found.order), np.datetime64("NaT"))
            feed[found.name] = times[text.codes].astype("M8[s]").view(np.int64)
        else:
            feed[found.name] = as_text(column).texts()
    return feed


def encode_both(encoder: TableEncoder, feed: Feed, name: str) -> np.ndarray:
    """Return the rows that the nodes of an encoder encode."""
    graph = GraphBuilder([encoding.type.name for encoding in encoder.encodings_])
    width = encoder.n_features_out_
    graph.output("encoded", encoded_columns(graph, encoder), encoder.dtype, width)
    (rows,) = runtime(graph.model("encoder", "", {"gpubp_version": "0"}), name)(feed)
    return np.asarray(rows)


def assert_agree(model: Any, rows: Any, feed: Feed, scale: Any = 1.0) -> None:
    """All outputs agree to 1e-5 in both runtimes, and so do those of batches of 0 and 1 rows.

    The reference evaluator of onnx 1.19 does not run nodes of no rows as onnxruntime does.

    scale : the unit of the numbers of a regression.
    """
    made = to_onnx(model)
    names = [each.name for each in made.graph.output]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", StrayCellWarning)
        ours = {name: _ours(model, name, rows) for name in names}
    for name in RUNTIMES:
        run = runtime(made, name)
        _compare(ours, dict(zip(names, run(feed), strict=True)), scale)
        for part in (*[slice(0)] * (name == "onnxruntime"), slice(1), slice(1, 3)):
            found = run({key: cells[part] for key, cells in feed.items()})
            some = {key: mine[part] for key, mine in ours.items()}
            _compare(some, dict(zip(names, found, strict=True)), scale)


def _ours(model: Any, name: str, rows: Any) -> np.ndarray:
    methods = {
        "label": "predict",
        "prediction": "predict",
        "probabilities": "predict_proba",
        "quantiles": "predict_quantiles",
    }
    return np.asarray(getattr(model, methods[name])(rows))


def _compare(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], scale: Any) -> None:
    for name, mine in ours.items():
        other = np.asarray(theirs[name])
        assert mine.shape == other.shape, name
        if name != "label":
            assert other.dtype == mine.dtype
            assert_allclose(other / scale, mine / scale, rtol=1e-5, atol=1e-5)
        elif mine.dtype.kind == "U":
            assert_array_equal(other.astype(str), mine)
        else:
            assert_array_equal(other, mine)
