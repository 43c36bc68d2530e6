"""The protocol of a backend, which computes with the arrays of one device.

A backend supplies arrays, the matrix product, elementwise steps and the recording of a training
step. The mathematics (network, losses, optimizers) is written once, with these operations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from gpubp.kernels.elementwise import Elementwise

Array = Any  # numpy.ndarray or cupy.ndarray
Step = Callable[[], None]

ALIGNMENT = 128  # bytes; alignment of every part of a flat vector


class Recording(Protocol):
    """A recorded step."""

    @property
    def launches(self) -> Mapping[str, int]:
        """The number of kernel launches (on the CPU: library calls) of one step, by name."""

    def __call__(self, times: int = 1) -> None:
        """Replay the step ``times`` times."""

    def rebind(self, before: Array, now: Array) -> bool:
        """Read the array ``now`` where the step was recorded with ``before``.

        Return False, and change nothing, if it cannot. The caller keeps ``before``.
        """


class Unrecorded:
    """A step that is not recorded: each call runs its Python code."""

    def __init__(self, step: Step, launches: Mapping[str, int]) -> None:
        self._step, self.launches = step, launches

    def __call__(self, times: int = 1) -> None:
        """Run the step ``times`` times."""
        for _ in range(times):
            self._step()

    def rebind(self, before: Array, now: Array) -> bool:
        """Return False: the step is bound to its arrays."""
        return False


class Epilogues:
    """Matrix products that are fused with the operations after them; this class supports none.

    A method returns whether it computed its result. If it returns False, it has done nothing, and
    the caller computes the product and the elementwise steps one by one.
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

        inference : whether no backward pass follows, so that nothing has to be kept for f'(Z).
        """
        return False

    def weight_gradient(self, A: Array, delta: Array, dW: Array, db: Array) -> bool:
        """Write A^T delta into dW, and the sum of the rows of ``delta`` into db."""
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
        """Write (delta W^T) * f'(Z) into ``out``, and the sum of the rows of ``out`` into db.

        kept : A or Z, from which f'(Z) is computed; see `Activation.keeps`.
        """
        return False


class Memory(NamedTuple):
    """Device memory in bytes; None if the backend does not know it."""

    used: int | None
    free: int | None
    total: int | None


class Backend(Protocol):
    """The operations of a device that training needs."""

    name: str  # "cpu" or "cuda:0"
    engine: str  # "numpy", "compiled" or "cuda", the kind of code that computes a step
    reason: str  # why this backend was chosen, in words
    precision: str  # of the factors of float32 products
    epilogues: Epilogues  # fused matrix products
    n_partial_sums: int  # partial sums of a reduction, computed in parallel

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Return ``values`` as a C-contiguous array on this device, if possible without a copy."""

    def to_numpy(self, array: Array) -> np.ndarray:
        """Return ``array`` as a NumPy array on the host."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an uninitialised array, aligned to 128 bytes."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros, aligned to 128 bytes."""

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        """Apply ``step`` to ``inputs``, and write the result into ``out``."""

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
        """Write op(A) op(B) + bias into ``out``; axes before the last two are a batch.

        transpose_a, transpose_b : whether op transposes the last two axes of A and B.
        bias : (…, 1, N), is added to each row; None for none.
        accumulate : add the product to ``out`` instead; only without a bias.
        """

    def call_on_host(self, function: Callable[[], object], arrays: Sequence[Array]) -> None:
        """Call ``function`` after all work before this, and before all work after it.

        A recorded step calls it in each replay, but not while it is recorded. An error ends the
        replay at this point.

        function : computes on the host, with the device's work on ``arrays`` done.
        arrays : the arrays of this device that it reads and writes.
        """

    def side_stream(self) -> AbstractContextManager[None]:
        """Return a context for work that may run in parallel with later work, until `join`."""

    def join(self) -> None:
        """Let later work wait for all work on the side stream."""

    def record(self, step: Step, networks: int = 1, counter: Array | None = None) -> Recording:
        """Return a callable that repeats ``step`` with the least overhead.

        networks : if above 1, the step is of so many independent networks: the first axis of all
        arrays that it changes is that of the networks, except of ``counter`` (1,), the number of
        the step, which it may advance.

        Every array and number that ``step`` uses is bound now, so values that change between calls
        have to be in arrays. Recording may run ``step`` once, so set the arrays that it changes
        afterwards.
        """

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a host array that `upload` can copy while the host continues."""

    def upload(self, host: np.ndarray, out: Array, after: Any) -> Any:
        """Copy pinned ``host`` into ``out`` in parallel with steps; return the mark of its end.

        after : the mark that the copy waits for; None to wait for all work requested so far.

        Do not change ``host`` until `wait_on_host` has waited for the returned mark.
        """

    def mark(self) -> Any:
        """Return a mark for all work requested so far, except uploads."""

    def wait(self, mark: Any) -> None:
        """Let all later work on the device wait for ``mark``."""

    def wait_on_host(self, mark: Any) -> None:
        """Block the host until the work before ``mark`` is done."""

    def free_unused(self) -> None:
        """Return cached memory that no array uses to the device."""

    def synchronize(self) -> None:
        """Block the host until the device has done all requested work."""

    def memory(self) -> Memory:
        """Return the used, free and total memory of the device."""

    def in_use(self, threads: int | None, work: int) -> Any:
        """Return a context for computing; on CUDA, its device and stream, with a wait at the end.

        threads : BLAS threads of products on the host. None: one if ``work`` is small, else all.
        work : multiply-adds of a forward pass.
        """
