"""Write a fitted model as an ONNX file, after its predictions were compared with the model's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from gpubp.models.onnx.check import checked
from gpubp.models.onnx.model_graph import to_onnx
from gpubp.models.onnx.packages import import_onnx
from gpubp.storage.atomic_file import atomic_write


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
    Probabilities may differ by 1e-5; numbers by 1e-5 of the larger of 1 and the number, in the
    units of the network: standard deviations from the mean of the training target if the model
    scales it (`target_scaling`). Where float32 itself rounds by more, eight times that is allowed.

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
