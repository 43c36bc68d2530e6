"""Gradient clipping on the device: a gradient longer than a limit is scaled down to it."""

from __future__ import annotations

from gpubp.backends.protocol import Array, Backend
from gpubp.kernels.clipping import CLIP, FOLD, SQUARES

FEWER = 32  # factor by which each fold reduces the number of sums


class Clipping:
    """Clips the norm of ``gradient`` (size,) to ``limit``, in place; owns the partial sums."""

    def __init__(self, backend: Backend, gradient: Array, limit: float) -> None:
        self._backend, self._gradient, self._limit = backend, gradient, limit
        n_sums = min(backend.n_partial_sums, -(-len(gradient) // FEWER))
        self._sums = [backend.zeros((n_sums,), gradient.dtype)]
        while len(self._sums[-1]) > 1:
            fewer = -(-len(self._sums[-1]) // FEWER)
            self._sums.append(backend.zeros((fewer,), gradient.dtype))

    def run(self) -> None:
        """Scale the gradient down if its norm is above the limit."""
        backend, first = self._backend, self._sums[0]
        backend.run(SQUARES, self._gradient, len(self._gradient), len(first), out=first)
        for parts, sums in zip(self._sums, self._sums[1:], strict=False):
            backend.run(FOLD, parts, len(parts), len(sums), out=sums)
        backend.run(CLIP, self._sums[-1], self._limit, out=self._gradient)
