"""First checks on a new device: its properties, and small trainings of the shapes at risk.

cuBLASLt's gradient epilogues are known to access memory outside of the arrays for one output or
one row (nvmath-python 0.2.0, release notes). Such an access ends the process. Therefore each row is
measured in a process of its own, and the log of cuBLASLt is kept.
"""

from __future__ import annotations

import ctypes
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends.select import get_backend
from gpubp.bench.machine import machine
from gpubp.bench.results import Row, Rows, SkippedError
from gpubp.bench.trainings import compared_with_cpu
from gpubp.kernels.cublas import library as cublas
from gpubp.kernels.cublas.epilogue_gemm import library_version

EPOCHS, BATCH = 3, 32
# With two hidden layers and one output, the gradient of the upper layer is a product over one
# output, and that of the lower layer a product with an epilogue. cuBLASLt has epilogues for these
# activations.
HIDDEN, ACTIVATIONS = (32, 32), ("relu", "gelu")
LIBRARIES = re.compile(r"/(libcublas|libcublasLt|libnvrtc|libcudart|libcuda)\.so[.0-9]*$")


class Training(NamedTuple):
    """The name of an estimator, the number of rows, and a function X (n, 16) -> targets (n,)."""

    estimator: str
    rows: int
    target: Callable[[np.ndarray], np.ndarray]


TRAININGS = {
    "one-output regressor": Training("MLPRegressor", 4 * BATCH, lambda X: np.abs(X[:, 0])),
    "binary classifier": Training("MLPClassifier", 4 * BATCH, lambda X: X[:, 0] * X[:, 1] > 0),
    "one-row tail": Training("MLPClassifier", 4 * BATCH + 1, lambda X: X[:, :4].argmax(axis=1)),
}


def rows(device: str) -> Rows:
    """Return the function that measures each row, by name."""
    trained = {
        f"{name}, {activation}": partial(_train, device, name, activation)
        for name in TRAININGS
        for activation in ACTIVATIONS
    }
    return {"facts": partial(_facts, device), **trained}


def _train(device: str, name: str, activation: str) -> Row:
    """Compare the loss of each epoch in float32 with the loss on the CPU."""
    fit = partial(_fit, TRAININGS[name], activation)
    return compared_with_cpu(f"{name}, {activation}", device, "float32", EPOCHS, fit)


def _fit(training: Training, activation: str, device: str, dtype: str) -> Any:
    import gpubp

    X = np.random.default_rng(0).standard_normal((training.rows, 16), dtype=np.float32)
    model = getattr(gpubp, training.estimator)(
        hidden_layer_sizes=HIDDEN,
        activation=activation,
        batch_size=BATCH,
        max_iter=EPOCHS,
        random_state=0,
        device=device,
        dtype=dtype,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning
        return model.fit(X, training.target(X))


# ---- facts -------------------------------------------------------------------------------------


def _facts(device: str) -> Row:
    """Return the properties and versions of the device, its driver and the libraries."""
    if device == "cpu":
        raise SkippedError("needs a CUDA device to describe")
    memory = get_backend(device).memory()  # also loads the libraries
    notes = {name: str(value) for name, value in machine(device)["device"].items()}
    notes |= {name: _answer(ask) for name, ask in _QUESTIONS.items()}
    figures = {"free_bytes": float(memory.free or 0), "total_bytes": float(memory.total or 0)}
    maps = Path("/proc/self/maps")  # of Linux
    loaded = libraries(maps.read_text(encoding="utf-8")) if maps.exists() else {}
    return Row("facts", device=device, figures=figures, notes=notes | loaded)


def _driver() -> str:
    text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    return text.partition("\n")[0].removeprefix("NVRM version:").strip()


def _cublas_version() -> str:
    library, number = cublas.load_cublas(), ctypes.c_int()
    parts = []
    for part in range(3):  # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL of library_types.h
        library.cublasGetProperty(part, ctypes.byref(number))
        parts.append(str(number.value))
    return ".".join(parts)


def _nvrtc_version() -> str:
    import cupy

    return ".".join(map(str, cupy.cuda.nvrtc.getVersion()))


_QUESTIONS: dict[str, Callable[[], Any]] = {
    "driver module": _driver,
    "cuBLAS": _cublas_version,
    "cuBLASLt": lambda: library_version(cublas.load_cublas()),
    "NVRTC": _nvrtc_version,
}


def _answer(ask: Callable[[], Any]) -> str:
    """Return the answer as text, or the error as text, so that it does not hide other answers."""
    try:
        return str(ask())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def libraries(maps: str) -> dict[str, str]:
    """Return the path of each CUDA library in a process's memory map, by the library's name.

    The paths of files in Python packages begin at the folder of the package.
    """
    paths = sorted({line[line.index("/") :] for line in maps.splitlines() if "/" in line})
    return {
        found[1]: re.sub(r"^.*/(site|dist)-packages/", "", path)
        for path in paths
        if (found := LIBRARIES.search(path))
    }
