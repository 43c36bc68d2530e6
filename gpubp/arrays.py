"""What every backend and its callers speak of: arrays, steps, memory, and their units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

Array = Any  # numpy.ndarray or cupy.ndarray
Step = Callable[[], None]

ALIGNMENT = 128  # bytes, of every part of a flat vector


class Recording(Protocol):
    """A step, recorded."""

    @property
    def launches(self) -> Mapping[str, int]:
        """What one step asks of the device, by name."""

    def __call__(self, times: int = 1) -> None:
        """Do what the step does, ``times`` times."""


class Unrecorded:
    """A step that runs as it is written, every time."""

    def __init__(self, step: Step, launches: Mapping[str, int]) -> None:
        self._step, self.launches = step, launches

    def __call__(self, times: int = 1) -> None:
        """Run the step ``times`` times."""
        for _ in range(times):
            self._step()


class Epilogues:
    """What a matrix product may do on its way out; each tells whether it did, and here none does.

    Where one returns False, nothing has been done, and the caller takes the product and the
    elementwise steps one by one.
    """

    def forward(
        self,
        X: Array,
        W: Array,
        b: Array | None,
        activation: Any,
        Z: Array,
        A: Array,
        *,
        inference: bool,
    ) -> bool:
        """Write X W + b into Z and f(Z) into A.

        inference : no delta_below will ask for f'(Z), so nothing need be kept for it.
        """
        return False

    def weight_gradient(self, A: Array, delta: Array, dW: Array, db: Array) -> bool:
        """Write A^T delta into dW, and the sum of the rows of delta into db."""
        return False

    def delta_below(
        self,
        delta: Array,
        W: Array,
        activation: Any,
        kept: Array,
        out: Array,
        db: Array | None,
    ) -> bool:
        """Write (delta W^T) * f'(Z) into out, and the sum of its rows into db."""
        return False


class Memory(NamedTuple):
    """Bytes of device memory; None where the backend does not know."""

    used: int | None
    free: int | None
    total: int | None
