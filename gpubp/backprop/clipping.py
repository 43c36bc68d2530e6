"""Gradient clipping on the device: a gradient longer than a limit is scaled down to it."""

from __future__ import annotations

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.kernels.clipping import CLIP, FOLD, SQUARES

FEWER = 32  # factor by which each fold reduces the number of sums


class Clipping:
    """Clips the norm of ``gradient`` (…, size) in place; owns the partial sums.

    limits : the maximum norm, one per network: a number, or (…,); infinity does not clip.
    """

    def __init__(self, backend: Backend, gradient: Array, limits: float | np.ndarray) -> None:
        self._backend, self._gradient = backend, gradient
        *lead, size = gradient.shape
        of_each, dtype = np.broadcast_to(limits, lead)[..., None], gradient.dtype
        clips = np.isfinite(of_each)
        self._clips = backend.asarray(clips.astype(dtype))
        self._limits = backend.asarray(np.where(clips, of_each, 1).astype(dtype))
        n_sums = min(backend.n_partial_sums, -(-size // FEWER))
        self._sums = [backend.zeros((*lead, n_sums), gradient.dtype)]
        while n_sums > 1:
            n_sums = -(-n_sums // FEWER)
            self._sums.append(backend.zeros((*lead, n_sums), gradient.dtype))

    def run(self) -> None:
        """Scale the gradient down if its norm is above the limit."""
        backend, first, size = self._backend, self._sums[0], self._gradient.shape[-1]
        backend.run(SQUARES, self._gradient, size, first.shape[-1], out=first)
        for parts, sums in zip(self._sums, self._sums[1:], strict=False):
            backend.run(FOLD, parts, parts.shape[-1], sums.shape[-1], out=sums)
        numbers = self._sums[-1], self._limits, self._clips, size
        backend.run(CLIP, *numbers, out=self._gradient)
