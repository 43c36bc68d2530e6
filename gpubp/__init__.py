"""Train multilayer perceptrons by explicit backpropagation, on NumPy or CuPy arrays."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from gpubp.version import __version__

# A wheel contains gpubp/kernels and gpubp/bench. A checkout has kernels and bench at the top level;
# the next lines make `import gpubp.kernels` find them there. os.path, since importing pathlib would
# make `gpubp --help` a fifth slower.
if not os.path.isdir(os.path.join(__path__[0], "kernels")):  # noqa: PTH112, PTH118
    __path__.append(os.path.dirname(__path__[0]))  # noqa: PTH120

# Imported at first use, so that `import gpubp` and `gpubp --help` load neither NumPy nor
# scikit-learn.
_PUBLIC = {
    "BackendUnavailableError": "gpubp.backends.select",
    "Checkpoint": "gpubp.estimators.checkpoint",
    "CheckpointError": "gpubp.estimators.checkpoint",
    "DataError": "gpubp.tables.table",
    "Elementwise": "gpubp.kernels.elementwise",
    "ExampleError": "gpubp.explain.examples",
    "ExportError": "gpubp.models.onnx.graph",
    "Loss": "gpubp.backprop.losses",
    "MLPClassifier": "gpubp.estimators.classifier",
    "MLPRegressor": "gpubp.estimators.regressor",
    "MLPSearchCV": "gpubp.selection.search",
    "ModelFileError": "gpubp.storage.model_file",
    "TableClassifier": "gpubp.models.table_estimators",
    "TableEncoder": "gpubp.tables.encoder",
    "TableRegressor": "gpubp.models.table_estimators",
    "check_loss": "gpubp.backprop.custom_losses",
    "export_onnx": "gpubp.models.onnx.export",
    "load": "gpubp.models.save_load",
    "read_table": "gpubp.tables.read",
    "run_on_ranks": "gpubp.training.ranks",
    "save": "gpubp.models.save_load",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604 (strings, built above)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'gpubp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
