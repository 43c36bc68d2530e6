"""Inference by compiled tiles: a forward pass over a chunk of rows, recorded once and replayed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.losses import Loss
from gpubp.backprop.network import Network, Parameters, Workspace, forward

# Multiply-adds from which a compiled pass gains more than its recording takes.
RECORDED_CROSSOVER = 100_000_000
# Of the widest layer in a chunk: few tiles to record, and memory that stays in the cache.
RECORDED_BYTES = 1 << 20
ROOM_BYTES = 1 << 26  # of the rows of X in a chunk

Watch = Callable[[int, Array], None]


class TiledInference:
    """Computes the outputs for ``rows`` rows with a backend of compiled steps.

    It reads ``parameters`` as they are at each call. The last chunk may begin within the one before
    it, since the same rows give the same bits again.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        loss: Loss,
        parameters: Parameters,
        rows: int,
        dtype: np.dtype,
        *,
        predicts: bool = True,
    ) -> None:
        most = RECORDED_BYTES // (max(network.sizes[network.stage is None :]) * dtype.itemsize)
        most = max(1, min(most, ROOM_BYTES // (network.n_inputs * dtype.itemsize)))
        self._rows, self._chunks = rows, -(-rows // most)
        self._size = -(-rows // self._chunks)
        work = Workspace(backend, network, self._size, dtype, deltas=False)
        self._room, self._logits = work.X, work.logits
        self._backend, self._loss, self._predicts = backend, loss, predicts

        def step() -> None:
            forward(backend, network, parameters, work)
            if predicts:
                loss.predict(backend, work.logits, out=work.logits)

        self._run = backend.record(step)

    def __call__(self, X: Array) -> np.ndarray:
        """Return the outputs (rows, d_L) for ``X`` (rows, d_0)."""
        outputs = np.empty((self._rows, self._logits.shape[1]), X.dtype)
        self.into(outputs, X)
        return outputs

    def into(self, outputs: np.ndarray, X: np.ndarray, watch: Watch | None = None) -> None:
        """Write the outputs for ``X`` into ``outputs``.

        watch : see `gpubp.training.inference.infer`; it requires predicts=False.
        """
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for k in range(self._chunks):
                start = min(k * self._size, self._rows - self._size)
                self._pass(np.ascontiguousarray(X[start : start + self._size]))
                if watch is not None:
                    watch(start, self._logits)
                if not self._predicts:
                    self._loss.predict(self._backend, self._logits, out=self._logits)
                outputs[start : start + self._size] = self._logits

    def _pass(self, X: np.ndarray) -> None:
        """Compute the logits, or the outputs, for the rows of one chunk."""
        if self._run.rebind(self._room, X):
            try:
                self._run()
            finally:  # nothing keeps X, after an interrupt neither
                self._run.rebind(self._room, self._room)
        else:
            self._room[...] = X
            self._run()
