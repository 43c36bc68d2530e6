"""Checks of trainings: the loss curve of the CPU, equal bits in two runs, and the first fit."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from gpubp.bench.results import Row, Rows

EPOCHS = 20
# Largest relative difference of a loss on the device from that on the CPU.
LIMITS = {"float32": 1e-4, "float64": 1e-9}
FIRST_FIT = """
import sys, warnings
from time import perf_counter
import numpy as np
from sklearn.datasets import load_digits
from gpubp import MLPClassifier
warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
started = perf_counter()
MLPClassifier(max_iter=1, random_state=0, device=sys.argv[1], dtype="float32").fit(X / 16, y)
print(perf_counter() - started)
"""


def rows(device: str) -> Rows:
    """Return the function that measures each row, by name."""
    return {
        "first fit": partial(_first_fit, device),
        **{f"digits {dtype}": partial(_curve, device, dtype) for dtype in LIMITS},
        **{f"digits {dtype} twice": partial(_twice, device, dtype) for dtype in LIMITS},
    }


def _fit_digits(device: str, dtype: str) -> Any:
    """Return an MLPClassifier, fitted to scikit-learn's digits for EPOCHS epochs."""
    from sklearn.datasets import load_digits

    from gpubp import MLPClassifier

    X, y = load_digits(return_X_y=True)
    model = MLPClassifier(max_iter=EPOCHS, tol=0, random_state=0, device=device, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning
        return model.fit(X / 16, y)


def _curve(device: str, dtype: str) -> Row:
    return compared_with_cpu(f"digits {dtype}", device, dtype, EPOCHS, _fit_digits)


def compared_with_cpu(
    case: str, device: str, dtype: str, epochs: int, fit: Callable[[str, str], Any]
) -> Row:
    """Return the row ``case``, which compares the loss of each epoch with that on the CPU.

    fit : (device, dtype) -> an estimator, fitted for ``epochs`` epochs.
    """
    got, expected = (fit(where, dtype).loss_curve_ for where in (device, "cpu"))
    difference = np.abs(np.divide(got, expected) - 1)
    figures = {"largest_relative_difference": float(difference.max()), "limit": LIMITS[dtype]}
    within = len(got) == epochs and bool((difference <= LIMITS[dtype]).all())
    return Row(
        case,
        status="ok" if within else "failed",
        reason="" if within else "the loss curve differs from that on the CPU",
        device=device,
        precision=dtype,
        seed=0,
        losses=tuple(got),
        figures=figures,
    )


def _twice(device: str, dtype: str) -> Row:
    """Compare the bits of the parameters of two trainings with the same seed."""
    first, second = (_fit_digits(device, dtype) for _ in range(2))
    pairs = zip(
        [*first.coefs_, *first.intercepts_], [*second.coefs_, *second.intercepts_], strict=True
    )
    differ = sum(int((a.view(np.uint8) != b.view(np.uint8)).sum()) for a, b in pairs)
    return Row(
        f"digits {dtype} twice",
        status="failed" if differ else "ok",
        reason="the same seed gave different bits" if differ else "",
        device=device,
        precision=dtype,
        seed=0,
        figures={"bytes_that_differ": differ},
    )


def _first_fit(device: str) -> Row:
    """Time the first fit of a process, and the whole process, with empty kernel caches."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"CUPY_CACHE_DIR": cache, "CUDA_CACHE_PATH": cache}
        command, started = [sys.executable, "-c", FIRST_FIT, device], perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    figures = {"fit_seconds": float(done.stdout), "process_seconds": seconds}
    return Row("first fit", device=device, precision="float32", seed=0, figures=figures)
