"""The protocol of a backend, which computes on the arrays of one device.

A backend supplies arrays, the matrix product, elementwise steps and the recording of a training
step. The mathematics (network, losses, optimizers) is written once, over these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

Array = Any  # numpy.ndarray or cupy.ndarray
Step = Callable[[], None]

ALIGNMENT = 128  # bytes, of every part of a flat vector


class Recording(Protocol):
    """A step, recorded."""

    @property
    def launches(self) -> Mapping[str, int]:
        """Kernel launches, or library calls on the CPU, of one step, by name."""

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


class Backend(Protocol):
    """What training needs of a device."""

    name: str  # "cpu" or "cuda:0"
    reason: str  # the reason for this choice, for a person
    precision: str  # of the factors of float32 products
    epilogues: Epilogues  # what its products may do on their way out
    n_partial_sums: int  # of a reduction, computed side by side

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Return ``values`` as a C-contiguous array on this device, without a copy if possible."""

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return ``array`` on the host."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array with room to write into, aligned to 128 bytes."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros, aligned to 128 bytes."""

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        """Apply ``step`` to ``inputs``, writing into ``out``."""

    def gemm(
        self,
        A: Array,
        B: Array,
        *,
        out: Array,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
        accumulate: bool = False,
    ) -> None:
        """Write A B + bias into ``out``; the last two axes are the matrices, others a batch.

        accumulate : add A B to ``out`` instead; not with a bias.
        """

    def side_stream(self) -> AbstractContextManager[None]:
        """Return a context for work that what follows need not wait for, until `join`."""

    def join(self) -> None:
        """Let what follows wait for all that was asked for on the side stream."""

    def record(self, step: Step) -> Recording:
        """Return a callable that does what ``step`` does now, as fast as the device can.

        Every array and number that ``step`` uses is bound here: what changes between calls has
        to lie in arrays. Recording may run ``step`` once, so set what it changes afterwards.
        """

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array on the host that `upload` can read while the host goes on."""

    def upload(self, host: np.ndarray, out: Array, after: Any) -> Any:
        """Copy pinned ``host`` into ``out`` beside the steps that run; return the mark of its end.

        after : the mark that the copy waits for; None for all that was asked for so far. ``host``
        must stay as it is until `wait_on_host` for the mark that is returned.
        """

    def mark(self) -> Any:
        """Return a mark of what was asked for so far, uploads apart."""

    def wait(self, mark: Any) -> None:
        """Let what is asked for from now on wait for ``mark``."""

    def wait_on_host(self, mark: Any) -> None:
        """Wait for ``mark``."""

    def free_unused(self) -> None:
        """Give memory that no array has any more back to the device."""

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""

    def memory(self) -> Memory:
        """Return the device memory in use, free and in all."""

    def in_use(self, threads: int | None, work: int) -> Any:
        """Return a context to compute in: on CUDA its device and stream, which are done at the end.

        threads : BLAS threads of products on the host; None takes one where ``work``, the
        multiply-adds of a forward pass, is small, else all.
        """
