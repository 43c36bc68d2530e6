"""
Export to ONNX
==============

A network is a few matrix products, so ten lines are enough to make an ONNX model: one ``Gemm`` and
one activation per layer, with the weights in ``coefs_`` and ``intercepts_``. This script writes
an ONNX model and runs it with ONNX's own reference evaluator. It needs the package ``onnx``.
"""

# %%
# Train a network on standardised columns.
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

from gpubp import MLPClassifier

X, y = load_wine(return_X_y=True)
X = StandardScaler().fit_transform(X).astype(np.float32)
model = MLPClassifier((32, 16), max_iter=500, random_state=0).fit(X, y)

# %%
# Build the graph: ReLU between the layers, and softmax after the last one.


def to_onnx(model):
    """Return the ONNX model of a classifier with ReLU and three or more classes."""
    from onnx import TensorProto, checker, helper, numpy_helper

    if model.input_stage is not None:
        raise ValueError("this script writes dense layers only; fit with input_stage=None")
    nodes, weights, below = [], [], "X"
    last = len(model.coefs_) - 1
    for layer, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        arrays = {f"W{layer}": W, f"b{layer}": b}
        weights += [numpy_helper.from_array(a, name) for name, a in arrays.items()]
        nodes.append(helper.make_node("Gemm", [below, *arrays], [f"Z{layer}"]))
        above, kind = (f"A{layer}", "Relu") if layer < last else ("probabilities", "Softmax")
        nodes.append(helper.make_node(kind, [f"Z{layer}"], [above]))
        below = above
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("X", model.n_features_in_), ("probabilities", model.n_outputs_))
    ]
    graph = helper.make_graph(nodes, "gpubp", ends[:1], ends[1:], weights)
    opset = helper.make_opsetid("", 17)
    onnx_model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    checker.check_model(onnx_model, full_check=True)
    return onnx_model


# %%
# The probabilities agree up to rounding.
if find_spec("onnx") is None:
    print("skipped: the package onnx is not installed; pip install onnx")
else:
    from onnx import load, save
    from onnx.reference import ReferenceEvaluator

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wine.onnx"
        save(to_onnx(model), path)
        (P,) = ReferenceEvaluator(load(path)).run(None, {"X": X})
    print("agrees to 1e-5:", np.allclose(P, model.predict_proba(X), atol=1e-5))
    print(f"accuracy by ONNX: {np.mean(model.classes_[P.argmax(axis=1)] == y):.3f}")
