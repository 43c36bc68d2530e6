"""Build an ONNX graph: nodes, constants, inputs and outputs with unique names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gpubp.models.onnx.packages import import_onnx

# The operators of ONNX 1.12 (May 2022), which has all that a model needs: with newer ones, older
# runtimes could not run the file. Elu, Selu, Softplus and Asinh are not used, since onnxruntime has
# no float64 kernels for them.
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8
ML = "ai.onnx.ml"
ROWS = "rows"  # the name of the first axis of all inputs and outputs
MOST_BYTES = 2**31  # of a protobuf message

Value = str | np.ndarray | np.generic  # the name of a value of the graph, or a constant


class ExportError(ValueError):
    """A model that cannot be written as ONNX, or whose ONNX graph predicts other numbers."""


class GraphBuilder:
    """An ONNX graph that is being built. Values are known by their names."""

    def __init__(self, reserved: Sequence[str] = ()) -> None:
        """Start an empty graph. reserved : names of the inputs to come."""
        self._onnx = import_onnx()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._taken = set(reserved)
        self._scope = ""
        self._bytes = 0

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put ``name`` and "/" in front of the names of values that are made in the block."""
        before, self._scope = self._scope, f"{self._scope}{name}/"
        yield
        self._scope = before

    def free_name(self, name: str) -> str:
        """Return ``name``, or one that starts with it if it is taken, and take it."""
        found, count = name, 1
        while found in self._taken:
            count += 1
            found = f"{name}_{count}"
        self._taken.add(found)
        return found

    def input(self, name: str, dtype: DTypeLike, *shape: int) -> str:
        """Add an input of shape (rows, *shape) with exactly this name, and return it."""
        self._taken.add(name)
        self.inputs.append(self._info(name, dtype, [ROWS, *shape]))
        return name

    def output(self, name: str, value: str, dtype: DTypeLike, *shape: int) -> str:
        """Make ``value`` of shape (rows, *shape) an output; return its name, ``name`` if free."""
        name = self.free_name(name)
        helper = self._onnx.helper
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self.outputs.append(self._info(name, dtype, [ROWS, *shape]))
        return name

    def op(self, kind: str, *inputs: Value, domain: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its first output."""
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        name = self.free_name(f"{self._scope}{kind}")
        helper = self._onnx.helper
        # TopK has a second output, which nothing reads.
        outputs = [name, self.free_name(f"{name}/indices")] if kind == "TopK" else [name]
        node = helper.make_node(kind, names, outputs, name=name, domain=domain, **attributes)
        self._nodes.append(node)
        return name

    def cast(self, value: str, dtype: DTypeLike) -> str:
        """Return ``value`` as another dtype."""
        return self.op("Cast", value, to=self._element(dtype))

    def reshape(self, value: str, *shape: int) -> str:
        """Return ``value`` in another shape; an axis of 0 keeps its size."""
        return self.op("Reshape", value, np.array(shape, np.int64))

    def unsqueeze(self, value: str, axis: int) -> str:
        """Return ``value`` with a new axis of size 1."""
        return self.op("Unsqueeze", value, np.array([axis], np.int64))

    def look_up(self, texts: str, codes: Mapping[str, int], other: int) -> str:
        """Return the code of each text, int64; ``other`` for texts that are not in ``codes``."""
        return self.op(
            "LabelEncoder",
            texts,
            domain=ML,
            keys_strings=list(codes),
            values_int64s=list(codes.values()),
            default_int64=other,
        )

    def model(self, name: str, doc: str, metadata: Mapping[str, str]) -> Any:
        """Return the ModelProto.

        Raises ExportError if it is too large for a file.
        """
        if self._bytes >= MOST_BYTES:
            raise ExportError(
                f"the weights take {self._bytes:,} bytes, but an ONNX file holds less than 2 GiB; "
                "export a smaller network"
            )
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, name, self.inputs, self.outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        made.producer_name, made.doc_string = "gpubp", doc
        made.producer_version = metadata["gpubp_version"]
        helper.set_model_props(made, dict(metadata))
        self._onnx.checker.check_model(made, full_check=True)
        return made

    def _constant(self, given: np.ndarray | np.generic) -> str:
        name = self.free_name(f"{self._scope}constant")
        array = np.array(given, order="C")
        self._bytes += array.nbytes
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def _info(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> Any:
        return self._onnx.helper.make_tensor_value_info(name, self._element(dtype), shape)

    def _element(self, dtype: DTypeLike) -> int:
        """Return ONNX's number of a dtype; object stands for strings."""
        if np.dtype(dtype) == np.dtype(object):
            return int(self._onnx.TensorProto.STRING)
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
