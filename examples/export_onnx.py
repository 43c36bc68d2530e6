"""
Export to ONNX
==============

A table model becomes one ONNX file that takes the columns as they are: numbers with gaps, text and
dates. This script writes one, and runs it without gpubp. It needs the packages ``onnx`` and
``onnxruntime``.
"""

# %%
# Train on a table of each kind of column.
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gpubp import TableClassifier, export_onnx

rng = np.random.default_rng(0)
age = rng.integers(18, 80, 400).astype(float)
age[::17] = np.nan
plan = rng.choice(["free", "pro", "team"], 400).astype(object)
since = np.datetime64("2020-01-01") + rng.integers(0, 1500, 400)
columns = {"age": age, "plan": plan, "since": since}
left = np.where((plan == "free") & (since > np.datetime64("2021-06-01")), "yes", "no")
model = TableClassifier(hidden_layer_sizes=(32,), random_state=0).fit(columns, left)

# %%
# The inputs of the graph have the names of the columns: double, string, and int64 seconds.
if any(find_spec(name) is None for name in ("onnx", "onnxruntime")):
    print("skipped: needs onnx and onnxruntime; pip install 'gpubp[onnx]'")
else:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "left.onnx"
        done = export_onnx(model, path)
        session = onnxruntime.InferenceSession(path)
    print(done.inputs)
    feed = columns | {"since": since.astype("datetime64[s]").astype(np.int64)}
    label, probabilities = session.run(None, feed)
    agree = np.allclose(probabilities, model.predict_proba(columns), rtol=0, atol=1e-5)
    print("agrees to 1e-5:", agree)
    print("same labels:", bool((label == model.predict(columns)).all()))
    print(f"accuracy {np.mean(label == left):.3f}")
