"""What every backend and its callers speak of: arrays, steps, memory, and their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Array = Any  # numpy.ndarray or cupy.ndarray
Step = Callable[[], None]

ALIGNMENT = 128  # bytes, of every part of a flat vector


class Recording(Protocol):
    """A step, recorded."""

    def __call__(self, times: int = 1) -> None:
        """Do what the step does, ``times`` times."""


class Unrecorded:
    """A step that runs as it is written, every time."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def __call__(self, times: int = 1) -> None:
        """Run the step ``times`` times."""
        for _ in range(times):
            self._step()


class Memory(NamedTuple):
    """Bytes of device memory; None where the backend does not know."""

    used: int | None
    free: int | None
    total: int | None
