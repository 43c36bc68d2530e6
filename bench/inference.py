"""Inference over rows that lie on the device: the forward pass in chunks that stay in its cache."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpubp.backend import Array, Backend, Step, get_backend
from gpubp.bench.peers.ours import clock_of
from gpubp.bench.results import Row, Rows, SkippedError
from gpubp.bench.timing import time_calls
from gpubp.bench.workloads import LOSS_TOLERANCE, repeated_normals
from gpubp.network import Network, Parameters, Workspace, forward

NETWORK = Network((64, 128, 128, 10), ("relu", "relu"))
ROWS = 10_000_000
REHEARSAL_ROWS = 100_000  # on the CPU
CHUNK = 1 << 14  # rows; their activations take 22 MB, and an H100 has 50 MB of L2
CHECKED_ROWS = 1000


def rows(device: str) -> Rows:
    """Return what measures each row, by name."""
    n = REHEARSAL_ROWS if device == "cpu" else ROWS
    return {
        f"64-128-128-10, {n:,} rows, {precision}": partial(_infer, device, precision, n)
        for precision in ("tf32", "float32")
    }


def _infer(device: str, precision: Any, n: int) -> Row:
    """Check the logits of the first rows against float64, then time all of them."""
    if device == "cpu" and precision != "float32":
        raise SkippedError(f"needs a CUDA device: there is no {precision} on {device}")
    backend, rng = get_backend(device, precision=precision), np.random.default_rng(0)
    theta = NETWORK.initial_theta(np.random.RandomState(0), np.dtype(np.float32))
    X_host = repeated_normals(rng, n, NETWORK.sizes[0])
    with backend.in_use(None, CHUNK * NETWORK.n_parameters):
        X = backend.asarray(X_host)
        logits = backend.empty((n, NETWORK.sizes[-1]), np.float32)
        passes = _passes(backend, NETWORK.views(backend.asarray(theta)), X, logits)
        recorded = backend.record(passes)
        logits[...] = np.nan
        recorded()
        error = _error(backend.to_numpy(logits), X_host[:CHECKED_ROWS], theta)
        if not error <= LOSS_TOLERANCE[precision]:
            raise AssertionError(f"the logits differ from float64's by {error:.3g} of their norm")
        timing, _ = time_calls(recorded, clock_of(backend), backend.synchronize)
    return Row(
        f"64-128-128-10, {n:,} rows, {precision}",
        device=device,
        precision=precision,
        seed=0,
        timing=timing,
        figures={
            "milliseconds": 1e3 * timing.median,
            "rows_per_second": n / timing.median,
            "relative_error": error,
        },
    )


def _passes(backend: Backend, parameters: Parameters, X: Array, logits: Array) -> Step:
    """Return what writes the logits of X (n, d_0) into ``logits`` (n, d_L), chunk by chunk.

    Nothing is allocated in it, so that it can be recorded.
    """
    chunk = min(CHUNK, len(X))
    work, parts = Workspace(backend, NETWORK, chunk, X.dtype, deltas=False), []
    for start in range(0, len(X), chunk):
        some = slice(start, min(start + chunk, len(X)))
        part = work.first(some.stop - start)
        part.X = X[some]
        part.Zs[-1] = part.As[-1] = logits[some]
        parts.append(part)

    def passes() -> None:
        for part in parts:
            forward(backend, NETWORK, parameters, part)

    return passes


def _error(got: np.ndarray, X: np.ndarray, theta: np.ndarray) -> float:
    """Return |logits - those of float64| / |those of float64|; NaN where any row was not written.

    X : the first rows of those that ``got`` (n, d_L) is of.
    """
    A = X.astype(np.float64)
    *hidden, (W, b) = zip(*NETWORK.unpack(theta), strict=True)
    for V, c in hidden:
        A = np.maximum(A @ V + c, 0)
    expected = A @ W + b
    difference = np.linalg.norm(got[: len(X)] - expected) / np.linalg.norm(expected)
    return float(difference) if np.isfinite(got).all() else np.nan
