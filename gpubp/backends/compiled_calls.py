"""Calls of compiled functions on arrays: an elementwise step, or a matrix product of BLAS."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpubp.backends import host_blas
from gpubp.backends.protocol import Array
from gpubp.kernels.elementwise import RUN, Elementwise
from gpubp.kernels.host.compiler import (
    C_TYPES,
    CompilerError,
    CompilerKilledError,
    Form,
    Parameter,
    compiled,
    parameters,
    replay_library,
)

NO_TRANS, TRANS = 111, 112  # of cblas.h
LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}


def _copy(np: Any, z: Any, a: Any) -> None:
    np.add(z, 0, out=a)


# The step of a layer without an activation, which only adds the bias.
COPY = Elementwise("copy", "T z", "T a", "a = z", _copy, vectorizes=True)


class Call:
    """A compiled function on its arrays, which it keeps.

    arrays : arrays, or addresses. numbers : the sizes that the function takes. elements : the end
    of the range that a whole call covers, from 0 on.
    """

    def __init__(
        self, function: Any, arrays: Sequence[Any], numbers: Sequence[int], elements: int = 1
    ) -> None:
        self.function, self.arrays, self.elements = function, list(arrays), elements
        addresses = [a if isinstance(a, int) else a.ctypes.data for a in arrays]
        self.data = (ctypes.c_void_p * len(addresses))(*addresses)
        self.numbers = (ctypes.c_ssize_t * len(numbers))(*numbers)

    def __call__(self) -> None:
        """Make the whole call."""
        one, item = ctypes.c_ssize_t(1), items([(self, 0, self.elements)])
        replay_library().replay(ctypes.c_void_p(item.ctypes.data), one, one)

    @cached_property
    def head(self) -> tuple[int, int, int]:
        """The addresses of the function, of its arrays' addresses, and of its numbers."""
        function = ctypes.cast(self.function, ctypes.c_void_p).value or 0
        return function, ctypes.addressof(self.data), ctypes.addressof(self.numbers)


def items(pieces: Iterable[tuple[Call, int, int]]) -> np.ndarray:
    """Return calls, each over a range of elements, as the array of ``Item`` of ``replay.h``."""
    rows = [(*call.head, begin, end) for call, begin, end in pieces]
    return np.array(rows, np.uint64).reshape(len(rows), 5)


class Prepared(NamedTuple):
    """A step with the form that its arguments need, before it is compiled."""

    step: Elementwise
    form: Form
    arrays: list[Array]
    columns: int
    elements: int

    def compile(self) -> Any:
        """Return the compiled function; None, with one warning, if it cannot be compiled."""
        try:
            return _function(self.step, self.form)
        except CompilerKilledError as error:  # is tried again in the next training
            warnings.warn(f"NumPy computes {self.step.name}: {error}", stacklevel=2)
            return None

    def call(self) -> Call | None:
        """Return the call of the compiled step; None if it cannot be compiled."""
        function = self.compile()
        return function and Call(function, self.arrays, [self.columns], self.elements)


def bind(
    step: Elementwise,
    arguments: tuple[Any, ...],
    *,
    bias: Array | None = None,
    sums: Array | None = None,
) -> Call | None:
    """Return the call of the compiled ``step``, or None; see `prepare` for the arguments."""
    prepared = prepare(step, arguments, bias=bias, sums=sums)
    return prepared and prepared.call()


def prepare(
    step: Elementwise,
    arguments: tuple[Any, ...],
    *,
    bias: Array | None = None,
    sums: Array | None = None,
) -> Prepared | None:
    """Return ``step`` for its arguments, to be compiled; None if they are not supported.

    bias : (1, width), is added to each row of the first argument.
    sums : (1, width), receives the sum of the rows of the last argument.
    """
    declared = parameters(step)
    types = _dtype_names(declared, arguments)
    if not all(types.get(p.type) in C_TYPES for p in declared):
        return None
    arrays = [
        argument if isinstance(argument, np.ndarray) else np.array([argument], types[p.type])
        for p, argument in zip(declared, arguments, strict=True)
    ]
    pairs = list(zip(declared, arrays, strict=True))
    elements = max((a.size for p, a in pairs if not p.raw), default=1)
    if elements == 1 and all(p.raw for p in declared if p.written):  # by rows
        first = next(a for p, a in pairs if p.written)
        elements = len(first) if first.ndim == 1 else first.size // first.shape[-1]
    single = tuple(not p.raw and a.size == 1 for p, a in pairs)
    row, columns = sums if bias is None else bias, 0
    if row is not None:
        arrays.append(row)
        columns = row.size
        if not row.flags.c_contiguous or row.dtype != arrays[0].dtype:
            return None
    uneven = step.prologue and elements % RUN
    if uneven or (sums is not None and single[-1]) or not _suit(pairs, types, elements):
        return None
    variables = tuple((name, dtype) for name, dtype in types.items() if name not in C_TYPES)
    raw = [a for p, a in pairs if p.raw and not p.written]
    in_place = any(np.may_share_memory(a, b) for a in raw for p, b in pairs if p.written)
    form = Form(variables, single, bias is not None, sums is not None, in_place)
    return Prepared(step, form, arrays, columns, elements)


def _suit(pairs: list[tuple[Parameter, Array]], types: dict[str, str], elements: int) -> bool:
    """Return whether arrays have the types and sizes that their parameters need."""
    return all(
        array.dtype.name == types[p.type]
        and array.flags.c_contiguous
        and (p.raw or array.size == elements or (array.size == 1 and not p.written))
        for p, array in pairs
    )


def _dtype_names(declared: Sequence[Any], arguments: tuple[Any, ...]) -> dict[str, str]:
    """Return the dtype name that each type in a declaration stands for: {"T": "float32", ...}."""
    names = dict(zip(C_TYPES, C_TYPES, strict=True))
    for p, argument in zip(declared, arguments, strict=True):
        if isinstance(argument, np.ndarray):
            names.setdefault(p.type, argument.dtype.name)
    return names


@lru_cache(256)
def _function(step: Elementwise, form: Form) -> Any:
    """Return the compiled step; None, with one warning, if it cannot be compiled."""
    try:
        return compiled(step, form)
    except CompilerKilledError:
        raise
    except CompilerError as error:
        warnings.warn(f"NumPy computes {step.name}: {error}", stacklevel=2)
        return None


def product(
    A: Array, B: Array, out: Array, *, transpose_a: bool, transpose_b: bool, accumulate: bool
) -> Call | None:
    """Return the call of BLAS that writes A B into ``out``, or adds it; None if unsupported."""
    letter = LETTERS.get(out.dtype)
    arrays = (A, B, out)
    plain = all(a.ndim == 2 and a.flags.c_contiguous and a.dtype == out.dtype for a in arrays)
    vector = len(out) == 1 and not transpose_a and not transpose_b
    routine = f"{letter}{'gemv' if vector else 'gemm'}"
    if letter is None or not plain or not all(a.size for a in arrays):
        return None
    if (address := host_blas.address(routine)) is None:
        return None
    k, n = B.shape if not transpose_b else B.shape[::-1]
    if vector:  # out^T = B^T A^T
        numbers = [TRANS, k, n, n, int(accumulate)]
        arrays = (B, A, out)
    else:
        transposed = [TRANS if t else NO_TRANS for t in (transpose_a, transpose_b)]
        strides = [A.shape[1], B.shape[1], int(accumulate), n]
        numbers = [*transposed, len(out), n, k, *strides]
    return Call(getattr(replay_library(), routine), [address, *arrays], numbers)
