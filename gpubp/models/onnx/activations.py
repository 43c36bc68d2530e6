"""Activations and output functions as nodes, from the formulas of `kernels.activations`.

ONNX has no expm1 and log1p: exp(z) - 1 and log(1 + y) differ from them by the rounding of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpubp.kernels.activations import GELU_CUBIC, GELU_SCALE, SELU_DEPTH, SELU_SCALE
from gpubp.models.onnx.graph import GraphBuilder

# (graph, z, dtype) -> f(z)
Nodes = Callable[[GraphBuilder, str, np.dtype], str]


def _identity(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
    return z


def _node(kind: str) -> Nodes:
    return lambda graph, z, dtype: graph.op(kind, z)


def _leaky_relu(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
    return graph.op("Max", z, graph.op("Mul", z, dtype.type(0.01)))


def _gelu(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
    one, half = dtype.type(1), dtype.type(0.5)
    t = graph.op("Mul", graph.op("Mul", z, z), dtype.type(GELU_CUBIC))
    t = graph.op("Mul", graph.op("Add", t, one), z)
    t = graph.op("Tanh", graph.op("Mul", t, dtype.type(GELU_SCALE)))
    return graph.op("Mul", z, graph.op("Mul", graph.op("Add", t, one), half))


def _exponential_units(scale: float, depth: float) -> Nodes:
    """Return the nodes of scale z above 0, depth (exp(z) - 1) below."""

    def nodes(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
        zero = dtype.type(0)
        below = graph.op("Sub", graph.op("Exp", graph.op("Min", z, zero)), dtype.type(1))
        above = graph.op("Mul", graph.op("Max", z, zero), dtype.type(scale))
        return graph.op("Add", above, graph.op("Mul", below, dtype.type(depth)))

    return nodes


def _silu(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
    # z sigmoid(z) would become a fused operator, which onnxruntime 1.20 does not have in float64.
    total = graph.op("Add", graph.op("Exp", graph.op("Neg", z)), dtype.type(1))
    return graph.op("Div", z, total)


def _softplus(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
    rest = graph.op("Exp", graph.op("Neg", graph.op("Abs", z)))
    rest = graph.op("Log", graph.op("Add", rest, dtype.type(1)))
    return graph.op("Add", graph.op("Max", z, dtype.type(0)), rest)


def _softmax(graph: GraphBuilder, z: str, dtype: np.dtype) -> str:
    return graph.op("Softmax", z, axis=-1)


ACTIVATION_NODES: dict[str, Nodes] = {
    "identity": _identity,
    "logistic": _node("Sigmoid"),
    "tanh": _node("Tanh"),
    "relu": _node("Relu"),
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "elu": _exponential_units(1.0, 1.0),
    "selu": _exponential_units(SELU_SCALE, SELU_DEPTH),
    "silu": _silu,
    "softplus": _softplus,
}

# By the output of a loss.
OUTPUT_NODES: dict[str, Nodes] = {
    "softmax": _softmax,
    "logistic": _node("Sigmoid"),
    "identity": _identity,
    "exp": _node("Exp"),
}
