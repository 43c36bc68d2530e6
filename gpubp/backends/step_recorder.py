"""Records the calls of a step, with the memory that each reads and writes.

A step that consists of compiled calls only can be cut into tiles (see `gpubp.backends.phases`).
`Unplanned` gives the reason why a step cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gpubp.backends.compiled_calls import COPY, LETTERS, Call, Prepared, prepare
from gpubp.backends.protocol import Array
from gpubp.kernels.elementwise import RUN, Elementwise
from gpubp.kernels.host.compiler import compile_at_once, gemm_library, parameters, pool_library

MOST_SUMMED = 10_000  # rows: of more, a sum one by one loses digits that BLAS keeps

_COMPILED: set[Any] = set()  # by this process, so that threads are started only for the others

Extent = tuple[int, int]  # the addresses of an array's first byte and of its end


class Unplanned(Exception):
    """A step cannot be cut into tiles; the message is the reason."""


def extent(array: np.ndarray) -> Extent:
    """Return where the bytes of a contiguous ``array`` lie."""
    return array.ctypes.data, array.ctypes.data + array.nbytes


def overlap(some: list[Extent], others: list[Extent]) -> bool:
    """Return whether one of ``some`` extents has a byte of one of the ``others``."""
    return any(a < d and c < b for a, b in some for c, d in others)


@dataclass(eq=False)
class Op:
    """One call of a step.

    aligned : the arrays that element i of the call is element i of; others are read as a whole.
    bias_stride : bytes from the bias of one network to that of the next.
    """

    call: Call | None  # None before `StepRecorder.compile`, and that of a product: see `phases`
    reads: list[Extent]
    writes: list[Extent]
    aligned: list[np.ndarray] = field(default_factory=list)
    bias_stride: int = 0

    @property
    def raw_reads(self) -> list[Extent]:
        """What it reads as a whole."""
        aligned = {extent(a) for a in self.aligned}
        return [each for each in self.reads if each not in aligned]

    def conflicts(self, other: Op) -> bool:
        """Return whether the two must keep their order."""
        mine, others = [*self.reads, *self.writes], [*other.reads, *other.writes]
        return overlap(self.writes, others) or overlap(other.writes, mine)


@dataclass(eq=False, kw_only=True)
class Product(Op):
    """The product A B, written into ``out`` or added to it.

    strides : bytes from the A, B and ``out`` of one network to those of the next.
    """

    A: np.ndarray
    B: np.ndarray
    out: np.ndarray
    transpose_a: bool
    transpose_b: bool
    accumulate: bool
    strides: tuple[int, int, int]


@dataclass(eq=False, kw_only=True)
class RowSums(Op):
    """A step that sums over the ``rows`` of a batch (see `Elementwise.sums_rows`).

    out : (runs, entries), the gradient that it writes or adds to, of the first network; each run of
    RUN elements of the call writes one row.
    """

    out: np.ndarray
    rows: int
    accumulate: bool


@dataclass(eq=False, kw_only=True)
class HostCall(Op):
    """A call of a Python ``function``, before and after which all else keeps its place."""

    function: Callable[[], object]

    def conflicts(self, other: Op) -> bool:
        return True


class StepRecorder:
    """Stands in for the module ``numpy`` while a step is recorded; it takes compiled calls only.

    networks : the length of the first axis, if the step is of several networks. Matrices have three
    axes then, and the recorded products are those of the first network.
    """

    def __init__(self, networks: int = 1) -> None:
        self._networks = networks
        self.ops: list[Op] = []
        self._prepared: list[tuple[Op, Prepared]] = []

    def __getattr__(self, name: str) -> Any:
        raise Unplanned(f"it calls numpy.{name}")

    def run(self, step: Elementwise, arguments: tuple[Any, ...], bias: Array | None = None) -> None:
        """Record an elementwise ``step``; bias : (1, width), added to the first argument's rows."""
        known = all(isinstance(a, np.ndarray) or np.isscalar(a) for a in arguments)
        step, stride = step.host or step, 0
        if bias is not None and bias.ndim == 3:
            stride, bias = bias.strides[0], bias[0]
        prepared = prepare(step, arguments, bias=bias) if known and step.body else None
        if prepared is None:
            raise Unplanned(f"{step.name} cannot be compiled for its arguments")
        declared = parameters(step)
        written = [p.written for p in declared] + [False] * (bias is not None)
        pairs = list(zip(prepared.arrays, written, strict=True))
        reads = [extent(a) for a, w in pairs if not w]
        writes = [extent(a) for a, w in pairs if w]
        aligned = [a for p, a in zip(declared, prepared.arrays, strict=False) if not p.raw]
        if step.sums_rows is None:
            op = Op(None, reads, writes, aligned, stride)
        else:
            named = dict(zip((p.name for p in declared), arguments, strict=True))
            op = self._row_sums(prepared, named, *step.sums_rows)
        self.ops.append(op)
        self._prepared.append((op, prepared))

    def _row_sums(
        self, prepared: Prepared, arguments: dict[str, Any], start_name: str, entries: int
    ) -> RowSums:
        """Return the op of a step that sums over rows.

        arguments : by parameter name. start_name, entries : see `Elementwise.sums_rows`.
        """
        start = arguments[start_name]
        *read, gradient = prepared.arrays
        runs = prepared.elements // self._networks // RUN
        out = gradient.reshape(-1)[start : start + runs * entries].reshape(runs, entries)
        rows, accumulate = arguments["rows"], bool(arguments["accumulate"])
        reads, writes = [extent(a) for a in read], [extent(out)]
        return RowSums(None, reads, writes, out=out, rows=rows, accumulate=accumulate)

    def product(
        self,
        A: Array,
        B: Array,
        out: Array,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        bias: Array | None = None,
        accumulate: bool = False,
    ) -> None:
        """Record the product of two matrices, and ``bias`` added to its rows."""
        arrays, whole, strides = (A, B, out), out, (0, 0, 0)
        if all(a.ndim == 3 and len(a) == self._networks for a in arrays):
            strides = A.strides[0], B.strides[0], out.strides[0]
            A, B, out = arrays = (A[0], B[0], out[0])
        plain = all(a.ndim == 2 and a.flags.c_contiguous and a.dtype == out.dtype for a in arrays)
        if not plain or out.dtype not in LETTERS or not all(a.size for a in arrays):
            raise Unplanned("a product is not of matrices of one dtype")
        self.ops.append(
            Product(
                None,
                [extent(A), extent(B)],
                [extent(out)],
                A=A,
                B=B,
                out=out,
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                accumulate=accumulate,
                strides=strides,
            )
        )
        if bias is not None:
            self.run(COPY, (whole, whole), bias=bias)

    def call_on_host(self, function: Callable[[], object], arrays: Sequence[Array]) -> None:
        """Record a call of ``function``, which reads and writes ``arrays``."""
        extents = [extent(a) for a in arrays]
        self.ops.append(HostCall(None, extents, extents, function=function))

    def compile(self) -> None:
        """Compile all steps and the products that they need, several at a time."""
        dtypes = {op.out.dtype.name for op in self.ops if isinstance(op, Product)}
        jobs: dict[Any, Callable[[], Any]] = {None: pool_library}
        jobs |= {name: partial(gemm_library, name) for name in dtypes}
        jobs |= {(each.step, each.form): each.compile for _, each in self._prepared}
        if missing := [job for key, job in jobs.items() if key not in _COMPILED]:
            compile_at_once(missing)
            _COMPILED.update(jobs)
        for op, prepared in self._prepared:
            op.call = prepared.call()
            if op.call is None:
                raise Unplanned(f"{prepared.step.name} cannot be compiled")
