"""The optional packages onnx and onnxruntime."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def import_onnx() -> Any:
    """Return the module onnx; raise ModuleNotFoundError with the command that installs it."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModuleNotFoundError(
            "the export needs the package onnx, which is not installed; run "
            "pip install 'gpubp[onnx]', in a clone pip install '.[onnx]'",
            name="onnx",
        ) from None
    return onnx


def has_runtime() -> bool:
    """Return whether the package onnxruntime is installed."""
    return find_spec("onnxruntime") is not None
