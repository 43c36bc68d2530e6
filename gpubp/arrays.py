"""What every backend and its callers speak of: arrays, steps, memory, and their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Array = Any  # numpy.ndarray or cupy.ndarray
Step = Callable[[], None]

ALIGNMENT = 128  # bytes, of every part of a flat vector


class Memory(NamedTuple):
    """Bytes of device memory; None where the backend does not know."""

    used: int | None
    free: int | None
    total: int | None
