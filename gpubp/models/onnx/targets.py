"""From the outputs of a network to labels and probabilities, or to numbers in the units of y."""

from __future__ import annotations

import numpy as np

from gpubp.estimators.classifier import MLPClassifier
from gpubp.estimators.given_weights import weights_of
from gpubp.estimators.quantiles import nearest_to_the_median
from gpubp.estimators.regressor import MLPRegressor
from gpubp.estimators.standardizer import Standardizer
from gpubp.estimators.target_range import TargetRange, range_of
from gpubp.models.onnx.graph import GraphBuilder
from gpubp.models.onnx.network import dtype_of, network_nodes
from gpubp.models.unsmoothed import LEAST


def class_nodes(graph: GraphBuilder, network: MLPClassifier, smoothing: float, X: str) -> None:
    """Add the outputs "label" and "probabilities" for the inputs ``X`` of the network.

    smoothing : the label smoothing to remove from the probabilities; 0 for none.
    """
    dtype = dtype_of(network)
    P = network_nodes(graph, network, X, lambda outputs, lead: outputs)
    width = network.n_outputs_
    if width == 1:  # the probability of the second class
        P = graph.op("Concat", graph.op("Sub", dtype.type(1), P), P, axis=1)
        width = 2
    if smoothing:
        P = _unsmoothed(graph, P, smoothing / width, dtype)
    if network._binarizer.y_type_.startswith("multilabel"):
        label = graph.cast(graph.op("Greater", P, dtype.type(0.5)), np.int64)
        graph.output("label", label, np.int64, width)
    else:
        classes = _labels(network.classes_)
        best = graph.op("ArgMax", P, axis=1, keepdims=0)
        if len(classes) == 1:  # its network has one output, like that of two classes
            best = graph.op("Mul", best, np.int64(0))
        graph.output("label", graph.op("Gather", classes, best, axis=0), classes.dtype)
    graph.output("probabilities", P, dtype, width)


def _unsmoothed(graph: GraphBuilder, P: str, part: float, dtype: np.dtype) -> str:
    """Return probabilities without label smoothing; see `unsmoothed.unsmoothed`."""
    without = graph.op("Sub", P, dtype.type(part))
    raised = graph.op("Max", without, dtype.type(LEAST * part))
    total = graph.op("ReduceSum", raised, np.array([1], np.int64), keepdims=1)
    return graph.op("Div", raised, total)


def _labels(classes: np.ndarray) -> np.ndarray:
    """Return the classes in a dtype of ONNX: int64, bool, float64, or objects for strings."""
    kinds = {"i": np.int64, "u": np.int64, "b": np.bool_, "f": np.float64}
    if classes.dtype.kind in kinds:
        return classes.astype(kinds[classes.dtype.kind])
    return np.array([str(label) for label in classes.tolist()], object)


def number_nodes(graph: GraphBuilder, network: MLPRegressor, X: str) -> None:
    """Add the output "prediction", and for several quantile levels also "quantiles"."""
    is_quantile = network._of_fit("loss") == "quantile"
    levels = np.atleast_1d(network._of_fit("quantile")) if is_quantile else np.zeros(1)
    dtype, width = dtype_of(network), network.n_outputs_
    n, k = len(levels), width // len(levels)
    members = weights_of(network.coefs_, network.intercepts_).members or 1

    def of_member(outputs: str, lead: int) -> str:
        row = np.zeros((*[members] * lead, 1, n, k), dtype_of(network))
        return _sorted(graph, outputs, levels, row)

    outputs = network_nodes(graph, network, X, of_member)
    if (scaling := network._target_scaling) is not None:
        outputs, dtype = _unscaled(graph, outputs, scaling, width), np.dtype(np.float64)
    if (limits := range_of(network)) is not None:
        outputs = _clipped(graph, outputs, limits, width, dtype)
    outputs = _sorted(graph, outputs, levels, np.zeros((1, n, k), dtype))
    found = outputs
    if n > 1:
        middle = nearest_to_the_median(levels)
        places = np.arange(middle * k, (middle + 1) * k)
        found = graph.op("Gather", outputs, places, axis=1)
    found = graph.op("Squeeze", found, np.array([1])) if k == 1 else found
    graph.output("prediction", found, dtype, *[k] * (k > 1))
    if n > 1:
        by_target = graph.op("Transpose", graph.reshape(outputs, 0, n, k), perm=[0, 2, 1])
        by_target = by_target if k > 1 else graph.reshape(by_target, 0, n)
        graph.output("quantiles", by_target, dtype, *[k] * (k > 1), n)


def _sorted(graph: GraphBuilder, outputs: str, levels: np.ndarray, row: np.ndarray) -> str:
    """Return outputs (…, rows, levels x k) with the quantiles of each row and target sorted.

    row : zeros (…, 1, levels, k), of the dtype of the outputs. They are sorted too, since TopK of
        no rows ends the process in onnxruntime 1.23.
    """
    *lead, _, n, k = row.shape
    if n == 1:
        return outputs
    rows, first = len(lead), [0] * (len(lead) + 1)
    found = graph.op("Concat", graph.reshape(outputs, *first, n, k), row, axis=rows)
    count = np.array([n], np.int64)
    found = graph.op("TopK", found, count, axis=rows + 1, largest=0, sorted=1)
    start, end, axis = (np.array([each], np.int64) for each in (0, -1, rows))
    found = graph.op("Slice", found, start, end, axis)
    places = np.argsort(np.argsort(levels, kind="stable"))
    return graph.reshape(graph.op("Gather", found, places, axis=rows + 1), *first, n * k)


def _unscaled(graph: GraphBuilder, outputs: str, scaling: Standardizer, width: int) -> str:
    """Return the outputs in the units of y, float64."""
    times = width // scaling.mean.size
    mean, scale = np.tile(scaling.mean, times), np.tile(scaling.scale, times)
    return graph.op("Add", graph.op("Mul", graph.cast(outputs, np.float64), scale), mean)


def _clipped(
    graph: GraphBuilder, outputs: str, limits: TargetRange, width: int, dtype: np.dtype
) -> str:
    """Return the outputs in the range of the training targets; NaN for infinite ones."""
    times = width // limits.low.size
    low, high = (np.tile(of, times).astype(dtype) for of in (limits.low, limits.high))
    inside = graph.op("Min", graph.op("Max", outputs, low), high)
    return graph.op("Add", inside, graph.op("Sub", outputs, outputs))
