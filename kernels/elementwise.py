"""One elementwise step of training: a CUDA body with its NumPy twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

# Every part of a flat vector has a multiple of RUN elements: 128 bytes of float64.
RUN = 16


@dataclass(frozen=True)
class Elementwise:
    """A named step over arrays, written twice: in NumPy as the reference, and in CUDA.

    name : of the kernel.
    inputs, outputs : the parameters in CuPy's notation, such as "T z, raw int32 y". ``T`` is the
        dtype of the arrays. The body indexes a ``raw`` array itself. It may also read outputs.
    body : CUDA for one element ``i``. Literals are written ``T(0.5)``: a bare ``0.5`` is a
        double and would move the whole expression to double precision. A value that is read
        twice is copied to a local variable, because parameters may alias.
    numpy : the twin, called as ``numpy(np, *inputs, *outputs)``. It writes into its outputs with
        functions of ``np`` only (no operators), so that a backend can record the calls.
    per_thread : number of elements of the first output that one ``i`` computes. If it is above 1,
        every array is ``raw``, and the size of the first output is a multiple of it.
    host : the same step with a body that is faster on a CPU; None if ``body`` serves both.
    prologue : for the CPU, code before each run of RUN elements; ``first`` is the index of the
        run's first element, and a parameter ``z`` that is not raw is ``z_``, an array. If all
        parameters but numbers are ``raw``, ``i`` is a row of the first output there.
    sums_rows : for a step that sums over the rows of a batch: the name of the parameter that is the
        index of the first entry it writes in the flat gradient, and the number of entries that each
        run of RUN elements writes. Of theta, a run reads only the same entries. None for others.
    vectorizes : whether a C++ compiler vectorizes the body (that of ``host`` if there is one).
        Such a body may be compiled for the CPU at every size (see `host.compiler`).
    small : a body that does not vectorize is compiled for the CPU if its largest argument has at
        most this many elements: there, NumPy's call overhead exceeds the gain of its vectorized
        functions.
    """

    name: str
    inputs: str
    outputs: str
    body: str
    numpy: Callable[..., None]
    per_thread: int = 1
    host: Elementwise | None = None
    prologue: str = ""
    vectorizes: bool = False
    small: int = 1024
    sums_rows: tuple[str, int] | None = None

    def on_host(self, **changes: Any) -> Elementwise:
        """Return this step with ``host`` set to a copy of it that has the given ``changes``."""
        return replace(self, host=replace(self, **changes))

    def __getstate__(self) -> dict[str, Any]:
        # A compiled kernel cannot be copied or pickled.
        return {name: value for name, value in vars(self).items() if name != "kernel"}

    @cached_property
    def kernel(self) -> Any:
        """The compiled ``cupy.ElementwiseKernel``."""
        # Imported here, so that a machine without CuPy can import this module.
        import cupy

        return cupy.ElementwiseKernel(self.inputs, self.outputs, self.body, f"gpubp_{self.name}")
