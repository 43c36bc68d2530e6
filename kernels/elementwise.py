"""One elementwise step of training: a CUDA body with its NumPy twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

RUN = 16  # elements, which every part of a flat vector is a multiple of: 128 bytes of float64


@dataclass(frozen=True)
class Elementwise:
    """A named step over arrays, written twice: ``numpy`` says what it means, ``body`` in CUDA.

    inputs, outputs : the parameters, in CuPy's notation ("T z, raw int32 y"). ``T`` is the
        array dtype, ``raw`` an array that the body indexes itself. An output may be read too.
    body : CUDA for one element ``i``. Literals are written ``T(0.5)``: a bare ``0.5`` is a
        double and would move the whole expression to double precision. Values that are read
        twice go through a local, since parameters may alias.
    numpy : the twin, called as ``numpy(np, *inputs, *outputs)``. It writes into its outputs by
        functions of ``np`` alone (no operators), so that a backend can record its calls.
    per_thread : elements of the first output that one ``i`` stands for; above 1 every array is
        ``raw``, and that output's size a multiple of it.
    host : the same step with the body that a host runs fastest, where that is another. Its
        ``prologue`` stands before a run of RUN elements, of which the ``first`` is known there;
        where all outputs are ``raw``, ``i`` counts the rows of the first.
    vectorizes : whether a C++ compiler makes vector instructions of the body, that of ``host``
        where there is one. Then it may be compiled for the host (see `host.compiler`).
    small : elements of its largest argument up to which a body that does not vectorize is compiled
        too: for so few, NumPy's calls cost more time than its vectorized functions save.
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

    def on_host(self, **changes: Any) -> Elementwise:
        """Return this step with a ``host`` that differs from it by ``changes``."""
        return replace(self, host=replace(self, **changes))

    def __getstate__(self) -> dict[str, Any]:
        # A compiled kernel can be neither copied nor pickled.
        return {name: value for name, value in vars(self).items() if name != "kernel"}

    @cached_property
    def kernel(self) -> Any:
        """The compiled ``cupy.ElementwiseKernel``."""
        # Imported here, so that a machine without CuPy can import this module.
        import cupy

        return cupy.ElementwiseKernel(self.inputs, self.outputs, self.body, f"gpubp_{self.name}")
