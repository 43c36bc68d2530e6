"""Ways to train if the data do not fit in device memory, tried one after another.

Each way needs less memory and more time than the one before; the mathematics is the same.
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
from gpubp.training.block_batches import BlockBatches, BlockOneStepWindows, BlockStreamedBatches
from gpubp.training.block_rows import BlockRows
from gpubp.training.data import CsrData, Matrix, TrainingData
from gpubp.training.inference import free_all_device_parameters
from gpubp.training.streamed_batches import OneStepWindows, StreamedBatches

STEP_BYTES = 1 << 26  # activations and deltas of the rows that are computed at once
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
# The kind of batches for `BlockRows` by that for other rows.
OF_BLOCKS: dict[type[Batches], type[Batches]] = {
    Batches: BlockBatches,
    StreamedBatches: BlockStreamedBatches,
    OneStepWindows: BlockOneStepWindows,
}


class DeviceMemoryError(MemoryError):
    """A training does not fit in the memory of its device."""


class Way(NamedTuple):
    """One way to train with limited device memory.

    kind : the class of the batches. batch_size : rows of a step.
    parts : the number of parts in which a batch is computed.
    note : a description for the user; "" for the fastest way.
    """

    kind: type[Batches]
    batch_size: int
    parts: int = 1
    note: str = ""


class Make(Protocol[T_co]):
    """A function that makes a `Trainer`, or the `Objective` of L-BFGS, from batches."""

    def __call__(self, *, batches: Batches, parts: int) -> T_co:
        """Return the object; raise MemoryError if it does not fit."""


def ways(
    backend: Backend, X: Matrix | Array, batch_size: int, most_parts: int | None = None
) -> Iterator[Way]:
    """Yield the ways to train on ``X``, the fastest first.

    most_parts : the maximum number of parts of a batch; None is its number of rows.
    """
    for way in _ways(backend, X, batch_size, most_parts):
        yield way._replace(kind=OF_BLOCKS[way.kind]) if isinstance(X, BlockRows) else way


def _ways(
    backend: Backend, X: Matrix | Array, batch_size: int, most_parts: int | None
) -> Iterator[Way]:
    if backend.name == "cpu":
        yield Way(Batches, batch_size)
        return
    most_parts = most_parts or min(batch_size, len(X))
    doubled = [1 << k for k in range(1, most_parts.bit_length())]
    if is_on_device(X):  # rows on the device are not streamed
        yield Way(Batches, batch_size)
        for parts in doubled:
            yield Way(Batches, batch_size, parts, f"each batch is computed in {parts} parts")
        return
    # Sparse rows are always streamed: they become dense on the host, window by window. So are the
    # rows of a mapped file.
    always = isinstance(X, CsrData | BlockRows)
    streamed = "its rows are streamed from the host"
    yield Way(StreamedBatches if always else Batches, batch_size)
    if not always:
        yield Way(StreamedBatches, batch_size, note=streamed)
    yield Way(OneStepWindows, batch_size, note=streamed)
    for parts in doubled:
        note = f"its rows are streamed, and each batch is computed in {parts} parts"
        yield Way(OneStepWindows, batch_size, parts, note)


def ways_over_all(
    backend: Backend, network: Network, X: Matrix | Array, dtype: np.dtype
) -> Iterator[Way]:
    """Yield the ways to sum over all rows of ``X`` (n, d), with the most rows per step first."""
    row_bytes = network.numbers_per_row(deltas=True) * dtype.itemsize
    steps = -(-len(X) // max(1, STEP_BYTES // row_bytes))
    rows = -(-len(X) // (32 * steps)) * 32  # equal steps, in whole warps
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
    *,
    drop_last: bool = False,
) -> T:
    """Return ``make(batches=..., parts=...)`` for the first way that fits in memory.

    check_memory : raises MemoryError if the memory left is too small for training.
    needed : the bytes that every way needs, for the error message.
    note : called with a message if the way is not the fastest one. drop_last : see `Batches`.

    Raises
    ------
    DeviceMemoryError
        If no way fits.
    """
    for way in among:
        for _ in range(2):  # the second time without the parameters of other models
            try:
                of = backend, data.X, data.targets, way.batch_size, data.weights
                batches = way.kind(*of, drop_last=drop_last)
                made = make(batches=batches, parts=way.parts)
                check_memory(made)
            except MemoryError:
                if backend.name == "cpu":
                    raise
            else:
                if way.note:
                    note(f"{backend.name} has no room for all of the data; {way.note}")
                return made
            batches = made = None  # type: ignore[assignment]  # free their memory first
            backend.free_unused()
            if not free_all_device_parameters():
                break
            backend.free_unused()
    memory = backend.memory()
    raise DeviceMemoryError(
        f"training needs at least {needed:,} bytes on {backend.name}, but {memory.free or 0:,} of "
        f"{memory.total or 0:,} are free; free some, use fewer units, or use device 'cpu'"
    )


def bytes_needed(network: Network, optimizer: Optimizer | None, dtype: np.dtype) -> int:
    """Return the minimum device memory for a training of ``network``, in bytes.

    It is the memory of parameters, gradient, optimizer state, and the activations of one row.
    """
    vectors = 2 + (len(optimizer.state_names) if optimizer is not None else 0)
    row = network.numbers_per_row(deltas=False)
    return (vectors * network.theta_size(dtype) + row) * dtype.itemsize
