"""Inference: the outputs of a trained network, in chunks of bounded memory."""

from __future__ import annotations

import numpy as np

from gpubp.backend import Backend
from gpubp.losses import Loss
from gpubp.network import Network, Parameters, Workspace, forward

CHUNK_BYTES = 1 << 22  # of the widest layer: a chunk that stays in a CPU's cache


def infer(
    backend: Backend, network: Network, loss: Loss, parameters: Parameters, X: np.ndarray
) -> np.ndarray:
    """Return the outputs for ``X`` (n, d_0) as (n, d_L) on the host, in the dtype of ``X``.

    Probabilities for the classification losses, predictions for the others.
    """
    dtype, n = X.dtype, len(X)
    chunk = max(1, min(n, CHUNK_BYTES // (max(network.sizes) * dtype.itemsize)))
    work = Workspace(backend, network, chunk, dtype, deltas=False)
    outputs = np.empty((n, network.sizes[-1]), dtype)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, n, chunk):
            rows = min(chunk, n - start)
            part = work if rows == chunk else work.first(rows)
            part.X = backend.asarray(X[start : start + rows])
            forward(backend, network, parameters, part)
            loss.predict(backend, part.logits, out=part.logits)
            outputs[start : start + rows] = backend.to_numpy(part.logits)
    return outputs
