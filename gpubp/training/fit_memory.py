"""Memory of a training: what it tries in turn where a device has no room for all of it.

Each way takes less memory and more time than the one before; the mathematics stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from gpubp.backends.foreign_arrays import is_on_device
from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.network import Network
from gpubp.backprop.optimizers import Optimizer
from gpubp.training.batches import Batches
from gpubp.training.data import CsrData, Matrix, TrainingData
from gpubp.training.inference import free_all_device_parameters
from gpubp.training.streamed_batches import StreamedBatches

STEP_BYTES = 1 << 26  # of the activations and deltas of the rows that are computed at once
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class DeviceMemoryError(MemoryError):
    """A training does not fit on its device in any way."""


class OneStepWindows(StreamedBatches):
    """Batches that are streamed one step at a time."""

    window_bytes = 1


class Way(NamedTuple):
    """How a training finds room.

    kind : its batches; batch_size : rows of a step; parts : in which a batch is computed.
    note : the way in words, for a person; "" for the fastest.
    """

    kind: type[Batches]
    batch_size: int
    parts: int = 1
    note: str = ""


class Make(Protocol[T_co]):
    """Makes what computes with the batches: a `Trainer`, or the `Objective` of L-BFGS."""

    def __call__(self, *, batches: Batches, parts: int) -> T_co:
        """Return it, or raise a MemoryError."""


def ways(
    backend: Backend, X: Matrix | Array, batch_size: int, most_parts: int | None = None
) -> Iterator[Way]:
    """Yield the ways to train on ``X``, the fastest first.

    most_parts : of a batch; None is as many as it has rows.
    """
    if backend.name == "cpu":
        yield Way(Batches, batch_size)
        return
    most_parts = most_parts or min(batch_size, len(X))
    doubled = [1 << k for k in range(1, most_parts.bit_length())]
    if is_on_device(X):  # where they stay
        yield Way(Batches, batch_size)
        for parts in doubled:
            yield Way(Batches, batch_size, parts, f"each batch takes {parts} parts")
        return
    sparse = isinstance(X, CsrData)
    # Sparse rows become dense on the host, window by window: for them that is not a fall-back.
    streamed = "its rows are streamed from the host"
    yield Way(StreamedBatches if sparse else Batches, batch_size)
    if not sparse:
        yield Way(StreamedBatches, batch_size, note=streamed)
    yield Way(OneStepWindows, batch_size, note=streamed)
    for parts in doubled:
        note = f"its rows are streamed, and each batch takes {parts} parts"
        yield Way(OneStepWindows, batch_size, parts, note)


def ways_over_all(
    backend: Backend, network: Network, X: Matrix | Array, dtype: np.dtype
) -> Iterator[Way]:
    """Yield the ways to compute a sum over all rows of ``X`` (n, d), as many at once as fit."""
    row_bytes = (network.sizes[0] + 3 * sum(network.sizes[1:])) * dtype.itemsize
    steps = -(-len(X) // max(1, STEP_BYTES // row_bytes))
    rows = -(-len(X) // (32 * steps)) * 32  # even steps, of whole warps
    while True:
        yield from ways(backend, X, rows, most_parts=1)
        if backend.name == "cpu" or rows == 1:
            return
        rows = rows // 128 * 32 or rows // 2


def place(
    backend: Backend,
    data: TrainingData,
    among: Iterable[Way],
    make: Make[T],
    check_memory: Callable[[T], None],
    needed: int,
    note: Callable[[str], None] = lambda line: None,
) -> T:
    """Return ``make(batches=..., parts=...)`` for the first way that has room.

    check_memory : raises a MemoryError if training would not fit beside the object made.
    needed : the bytes that every way takes, for the message if none fits.
    note : gets a line about the way that was taken because a faster one found no room.

    Raises
    ------
    DeviceMemoryError
        If none fits.
    """
    for way in among:
        for _ in range(2):  # again without the parameters of other models, if there were any
            try:
                batches = way.kind(backend, data.X, data.targets, way.batch_size, data.weights)
                made = make(batches=batches, parts=way.parts)
                check_memory(made)
            except MemoryError:
                if backend.name == "cpu":
                    raise
            else:
                if way.note:
                    note(f"{backend.name} has no room for all of the data; {way.note}")
                return made
            batches = made = None  # type: ignore[assignment]  # before memory is looked for
            backend.free_unused()
            if not free_all_device_parameters():
                break
            backend.free_unused()
    memory = backend.memory()
    raise DeviceMemoryError(
        f"training needs {needed:,} bytes on {backend.name} at the least, and {memory.free or 0:,} "
        f"of {memory.total or 0:,} are free; free some, take fewer units, or use device 'cpu'"
    )


def bytes_needed(network: Network, optimizer: Optimizer | None, dtype: np.dtype) -> int:
    """Return the bytes that a training of ``network`` takes on its device at the least.

    Parameters, gradient and the optimizer's state, and the activations of one row.
    """
    vectors = 2 + (len(optimizer.state_names) if optimizer is not None else 0)
    row = network.sizes[0] + 2 * sum(network.sizes[1:])
    return (vectors * network.theta_size(dtype) + row) * dtype.itemsize
