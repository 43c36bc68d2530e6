"""Inference: the outputs of a trained network, in chunks of bounded memory."""

from __future__ import annotations

import numpy as np

from gpubp.backend import Array, Backend
from gpubp.losses import Loss
from gpubp.network import Network, Parameters, Workspace, forward
from gpubp.rows import SparseRows

# Of the widest layer: chunks that stay in a CPU's cache, and in a device's L2.
CHUNK_BYTES, DEVICE_CHUNK_BYTES = 1 << 22, 1 << 24


def infer(
    backend: Backend, network: Network, loss: Loss, parameters: Parameters, X: Array | SparseRows
) -> np.ndarray:
    """Return the outputs for ``X`` (n, d_0) as (n, d_L) on the host, in the dtype of ``X``.

    X : on the host, sparse or dense, or on the device. Probabilities for the classification
    losses, predictions for the others.
    """
    n, on_host = len(X), backend.name == "cpu"
    room = CHUNK_BYTES if on_host else DEVICE_CHUNK_BYTES
    # Dense rows on the host stay where they are; others take room in each chunk.
    stays = on_host and isinstance(X, np.ndarray)
    width = max(network.sizes[1:] if stays else network.sizes)
    chunk = max(1, min(n, room // (width * X.dtype.itemsize)))
    while True:
        try:
            return _in_chunks(backend, network, loss, parameters, X, chunk)
        except MemoryError:
            if on_host or chunk == 1:
                raise
        chunk = max(1, chunk // 8)
        backend.free_unused()


def _in_chunks(
    backend: Backend, network: Network, loss: Loss, parameters: Parameters, X: Array, chunk: int
) -> np.ndarray:
    work = Workspace(backend, network, chunk, X.dtype, deltas=False)
    outputs = np.empty((len(X), network.sizes[-1]), X.dtype)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, len(X), chunk):
            rows = min(chunk, len(X) - start)
            part = work if rows == chunk else work.first(rows)
            part.X = backend.asarray(_rows(X, start, start + rows))
            forward(backend, network, parameters, part)
            loss.predict(backend, part.logits, out=part.logits)
            outputs[start : start + rows] = backend.to_numpy(part.logits)
    return outputs


def _rows(X: Array | SparseRows, start: int, stop: int) -> Array:
    return X.dense(start, stop) if isinstance(X, SparseRows) else X[start:stop]
