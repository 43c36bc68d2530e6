"""The network as nodes: input stage, dense layers and outputs, for one network or an ensemble.

The members of an ensemble are the first axis of the weights, and of all values up to their mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpubp.backprop.input_stage import InputStage
from gpubp.backprop.losses import Loss
from gpubp.estimators.fitted_network import Estimator, loss_of, network_of
from gpubp.estimators.fitted_stage import stage_parts
from gpubp.estimators.given_weights import Weights, weights_of
from gpubp.kernels.input_stage import FEATURES, LEVEL_WIDTH, TWO_PI, of_columns
from gpubp.models.onnx.activations import ACTIVATION_NODES, OUTPUT_NODES, Nodes
from gpubp.models.onnx.graph import ExportError, GraphBuilder


def dtype_of(estimator: Estimator) -> np.dtype:
    """Return the dtype in which a fitted network computes."""
    return weights_of(estimator.coefs_, estimator.intercepts_).dtype


def network_nodes(
    graph: GraphBuilder, estimator: Estimator, X: str, of_member: Callable[[str, int], str]
) -> str:
    """Return the outputs for ``X`` (rows, n_inputs), of the dtype of the network, as they are.

    of_member : makes of the outputs (…, rows, n_outputs), and the number of axes before the rows,
        the form that is averaged over the members of an ensemble.

    Raises ExportError for a loss whose outputs are those of a user's function, and for an
    activation of the user's.
    """
    weights, network, loss = _weights(estimator), network_of(estimator), loss_of(estimator)
    if type(loss).predict is not Loss.predict:
        raise ExportError(
            f"the loss {loss.name!r} computes its outputs by a function of its own, which an ONNX "
            "graph cannot hold; fit with a built-in loss"
        )
    lead = 0 if weights.members is None else 1
    if network.stage is not None:
        parts = {name: part.astype(weights.dtype) for name, part in stage_parts(estimator).items()}
        with graph.scope("input stage"):
            X = _stage(graph, network.stage, parts, X, lead)
    last = len(weights.Ws) - 1
    for layer, (W, b) in enumerate(zip(weights.Ws, weights.bs, strict=True)):
        with graph.scope(f"layer {layer + 1}"):
            X = graph.op("Add", graph.op("MatMul", X, W), b[..., None, :] if lead else b)
            if layer < last:
                X = _nodes_of(network.activations[layer])(graph, X, weights.dtype)
    with graph.scope("outputs"):
        outputs = OUTPUT_NODES[loss.output](graph, X, weights.dtype)
        outputs = of_member(outputs, lead)
        return graph.op("ReduceMean", outputs, axes=[0], keepdims=0) if lead else outputs


def _nodes_of(activation: str) -> Nodes:
    """Return the nodes of an activation; raise ExportError if it has none."""
    if activation not in ACTIVATION_NODES:
        raise ExportError(
            f"the activation {activation!r} has no ONNX nodes; fit with one of "
            f"{', '.join(sorted(ACTIVATION_NODES))}, or add its nodes to ACTIVATION_NODES in "
            "gpubp.models.onnx.activations"
        )
    return ACTIVATION_NODES[activation]


def _weights(estimator: Estimator) -> Weights:
    found = weights_of(estimator.coefs_, estimator.intercepts_)
    Ws, bs = ([each.astype(found.dtype) for each in of] for of in (found.Ws, found.bs))
    return found._replace(Ws=Ws, bs=bs)


def _stage(
    graph: GraphBuilder, stage: InputStage, parts: dict[str, np.ndarray], X: str, lead: int
) -> str:
    """Return the outputs of the input stage, (…, rows, D); see `kernels.input_stage`."""
    features = []
    if stage.tables:
        features.append(_levels(graph, stage, parts["tables"], X, lead))
    if stage.periodic:
        features.append(_periodic(graph, stage, parts["periodic"], X, lead))
    if stage.others:
        numbers = _taken(graph, X, stage.others)
        if lead:  # the other features have an axis of the members
            numbers = graph.op("Expand", numbers, np.array([len(parts["scale"]), 1, 1]))
        features.append(numbers)
    joined = features[0] if len(features) == 1 else graph.op("Concat", *features, axis=-1)
    scale = parts["scale"]
    return graph.op("Mul", joined, scale[..., None, :] if lead else scale)


def _levels(graph: GraphBuilder, stage: InputStage, tables: np.ndarray, X: str, lead: int) -> str:
    """Return the vectors of the levels, (…, rows, t x LEVEL_WIDTH); the number is cut to range."""
    counts = np.array([count for _, count in stage.tables])
    zero, last = (np.array(of, tables.dtype) for of in (0 * counts, counts - 1))
    numbers = _taken(graph, X, [column for column, _ in stage.tables])
    numbers = graph.op("Min", graph.op("Max", numbers, zero), last)
    levels = graph.op("Add", graph.cast(numbers, np.int64), np.cumsum(counts) - counts)
    vectors = graph.op("Gather", tables, levels, axis=lead)
    return graph.reshape(vectors, *[0] * (lead + 1), len(counts) * LEVEL_WIDTH)


def _periodic(
    graph: GraphBuilder, stage: InputStage, periodic: np.ndarray, X: str, lead: int
) -> str:
    """Return the periodic features, (…, rows, p x FEATURES)."""
    w, b, V, v = of_columns(periodic)
    dtype = periodic.dtype.type
    columns = graph.op("Transpose", _taken(graph, X, stage.periodic), perm=[1, 0])
    turns = graph.op("Mul", graph.unsqueeze(columns, 2), w[..., None, :])
    turns = graph.op("Add", turns, (b * dtype(1 / TWO_PI))[..., None, :])
    # cos is more precise for small angles.
    turns = graph.op("Sub", turns, graph.op("Round", turns))
    cosines = _cosines(graph, graph.op("Mul", turns, dtype(TWO_PI)), periodic.dtype)
    mixed = graph.op("MatMul", cosines, V.swapaxes(-1, -2))
    mixed = graph.op("Add", mixed, v[..., None, :])
    by_row = graph.op("Transpose", mixed, perm=[*range(lead), lead + 1, lead, lead + 2])
    return graph.reshape(by_row, *[0] * (lead + 1), len(stage.periodic) * FEATURES)


def _cosines(graph: GraphBuilder, angles: str, dtype: np.dtype) -> str:
    """Return the cosines of angles."""
    if dtype == np.float32:
        return graph.op("Cos", angles)
    # onnxruntime 1.23 has a float64 kernel for Sin, but none for Cos.
    return graph.op("Sin", graph.op("Add", angles, dtype.type(np.pi / 2)))


def _taken(graph: GraphBuilder, X: str, columns: list[int] | tuple[int, ...]) -> str:
    return graph.op("Gather", X, np.array(columns, np.int64), axis=1)
