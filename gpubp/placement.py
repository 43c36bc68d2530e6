"""Where a training finds room: its data on the device, or streamed, and batches whole or in parts.

Each fall-back takes less memory and more time; the mathematics stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import numpy as np

from gpubp.backend import Array, Backend
from gpubp.batches import Batches
from gpubp.inference import forget_all
from gpubp.interchange import is_on_device
from gpubp.network import Network
from gpubp.optimizers import Optimizer
from gpubp.rows import Matrix, SparseRows
from gpubp.streaming import StreamedBatches

T = TypeVar("T")  # what computes with the batches: a trainer, or the objective of L-BFGS


class DeviceMemoryError(MemoryError):
    """A training does not fit on its device in any way."""


class OneStepWindows(StreamedBatches):
    """Batches that are streamed one step at a time."""

    window_bytes = 1


def place(
    backend: Backend,
    X: Matrix | Array,
    Y: np.ndarray,
    batch_size: int,
    weights: np.ndarray | None,
    make: Callable[[Batches, int], T],
    needed: int,
    note: Callable[[str], None] = lambda line: None,
    *,
    most_parts: int | None = None,
) -> T:
    """Return ``make(batches, parts)`` with the fastest batches and fewest parts that fit.

    needed : bytes that no way can do without, to be told where none fits.
    note : gets a line about the way that was taken because a faster one found no room.
    most_parts : None is as many as a batch has rows.

    Raises
    ------
    DeviceMemoryError
        If none fits.
    """

    def build(kind: type[Batches], parts: int) -> T:
        return make(kind(backend, X, Y, batch_size, weights), parts)

    for kind, parts, way in _ways(backend, most_parts or min(batch_size, len(X)), X):
        trainer = _attempt(backend, partial(build, kind, parts))
        if trainer is None and forget_all():
            backend.free_unused()
            trainer = _attempt(backend, partial(build, kind, parts))
        if trainer is not None:
            if way:
                note(f"{backend.name} has no room for all of the data; {way}")
            return trainer
        backend.free_unused()
    memory = backend.memory()
    raise DeviceMemoryError(
        f"training needs {needed:,} bytes on {backend.name} at the least, and {memory.free or 0:,} "
        f"of {memory.total or 0:,} are free; free some, take fewer units, or use device 'cpu'"
    )


def _ways(
    backend: Backend, most_parts: int, X: Matrix | Array
) -> Iterator[tuple[type[Batches], int, str]]:
    if backend.name == "cpu":
        yield Batches, 1, ""
        return
    doubled = [1 << k for k in range(1, most_parts.bit_length())]
    if is_on_device(X):  # where they stay
        yield Batches, 1, ""
        for parts in doubled:
            yield Batches, parts, f"each batch takes {parts} parts"
        return
    sparse = isinstance(X, SparseRows)
    # Sparse rows become dense on the host, window by window: for them that is no fall-back.
    streamed = "its rows are streamed from the host"
    yield (StreamedBatches if sparse else Batches), 1, ""
    if not sparse:
        yield StreamedBatches, 1, streamed
    yield OneStepWindows, 1, streamed
    for parts in doubled:
        yield OneStepWindows, parts, f"its rows are streamed, and each batch takes {parts} parts"


def _attempt(backend: Backend, make: Callable[[], T]) -> T | None:
    """Return what ``make`` makes, or None where memory runs out."""
    try:
        return make()
    except MemoryError:
        if backend.name == "cpu":
            raise
    return None  # the error is gone by now, and with it the arrays that it held


def bytes_needed(network: Network, optimizer: Optimizer | None, dtype: np.dtype) -> int:
    """Return the bytes that a training of ``network`` takes on its device at the least.

    Parameters, gradient and the optimizer's state, and the activations of one row.
    """
    vectors = 2 + (len(optimizer.state_names) if optimizer is not None else 0)
    row = network.sizes[0] + 2 * sum(network.sizes[1:])
    return (vectors * network.theta_size(dtype) + row) * dtype.itemsize
