"""NumPy on the host, with the elementwise parts of a recorded step compiled for its processor.

The compiled code is the body that CUDA runs. A part that would not be faster stays with NumPy.
Compiled parts and the matrix products between them are called from C, without Python.
"""

from __future__ import annotations

import ctypes
import itertools
import warnings
from collections.abc import Sequence
from functools import lru_cache, partial
from time import perf_counter
from typing import Any

import numpy as np

from gpubp.backends import host_blas
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Array, Epilogues, Step
from gpubp.backends.tape import Tape
from gpubp.kernels.elementwise import RUN, Elementwise
from gpubp.kernels.host.compiler import (
    C_TYPES,
    CompilerError,
    Form,
    compiled,
    parameters,
    replay_library,
)

NO_TRANS, TRANS = 111, 112  # of cblas.h
MOST_SUMMED = 10_000  # rows; in longer sums, adding one by one loses digits that BLAS keeps
SECONDS = 0.05  # longest time of one call into C, for which an interrupt has to wait
_LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}


def _copy(np: Any, z: Any, a: Any) -> None:
    np.add(z, 0, out=a)


# The step of a layer without an activation, which only adds the bias.
COPY = Elementwise("copy", "T z", "T a", "a = z", _copy, vectorizes=True)


class Call:
    """A function of a C library with its arguments.

    arrays : arrays, which are kept alive, or addresses. numbers : sizes and flags.
    """

    def __init__(self, function: Any, arrays: list[Any], numbers: list[int]) -> None:
        self.function, self._arrays = function, arrays
        addresses = [a if isinstance(a, int) else a.ctypes.data for a in arrays]
        self.data = (ctypes.c_void_p * len(addresses))(*addresses)
        self.numbers = (ctypes.c_ssize_t * len(numbers))(*numbers)


class _CallStruct(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("numbers", ctypes.c_void_p),
    )


class CompiledEpilogues(Epilogues):
    """Compiled epilogues: bias and activation, or f'(Z) and row sums, in one pass."""

    def __init__(self, backend: CompiledBackend) -> None:
        self._backend = backend

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
        backend, step = self._backend, activation.forward
        if b is None or step is None or not step.vectorizes or Z is not A:
            return False
        if not backend.is_recording or (call := bind(step, (Z, A), bias=b)) is None:
            return False
        backend.gemm(X, W, out=Z)
        backend.keep(call)
        return True

    def delta_below(
        self,
        delta: Array,
        W: Array,
        activation: Any,
        kept: Array,
        out: Array,
        db: Array | None,
    ) -> bool:
        backend, step = self._backend, activation.delta
        if db is None or step is None or not step.vectorizes or not backend.is_recording:
            return False
        if len(out) > MOST_SUMMED or (call := bind(step, (out, kept, out), sums=db)) is None:
            return False
        backend.gemm(delta, W, out=out, transpose_b=True)
        backend.keep(call)
        return True


class CompiledBackend(NumpyBackend):
    """NumPy, with compiled parts of recorded steps; see `gpubp.backends.protocol.Backend`."""

    def __init__(self, reason: str = "asked for") -> None:
        super().__init__(reason)
        replay_library()  # raises CompilerError if nothing can be compiled
        self.epilogues = CompiledEpilogues(self)

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        arguments = (*inputs, *(out if isinstance(out, tuple) else (out,)))
        gains = self.is_recording and _is_faster(step, arguments)
        call = bind(step.host or step, arguments) if gains else None
        if call is None:
            super().run(step, *inputs, out=out)
        else:
            self.keep(call)

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
        transposed = {"transpose_a": transpose_a, "transpose_b": transpose_b}
        call = added = None
        if self.is_recording:
            call = product(A, B, out, accumulate=accumulate, **transposed)
            added = None if bias is None else bind(COPY, (out, out), bias=bias)
        if call is None or (added is None and bias is not None):
            super().gemm(A, B, out=out, bias=bias, accumulate=accumulate, **transposed)
            return
        # Call BLAS once now, and drop the result. If BLAS started its threads during a replay, they
        # would inherit the mode in which subnormal numbers count as 0, and keep it.
        if now := product(A, B, np.empty_like(out), accumulate=False, **transposed):
            now.function(now.data, now.numbers)
        self.keep(call)
        if added is not None:
            self.keep(added)

    @property
    def is_recording(self) -> bool:
        """Whether a step is being recorded; a single compiled call costs more than NumPy's."""
        return isinstance(self._np, Tape)

    def keep(self, call: Call) -> None:
        """Add ``call`` to the step that is being recorded."""
        self._np.keep(call)

    def record(self, step: Step) -> CompiledTape:
        return CompiledTape(super().record(step))


class CompiledTape(Tape):
    """A tape in which consecutive compiled calls are joined to one call."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._at_once = 1  # steps
        for ours, group in itertools.groupby(tape.calls, lambda call: isinstance(call, Call)):
            calls = list(group)
            self.calls += [_together(calls)] if ours else calls

    def __call__(self, times: int = 1) -> None:
        if len(self.calls) != 1 or not isinstance(whole := self.calls[0], _Together):
            super().__call__(times)
            return
        while times > 0:
            steps, started = min(times, self._at_once), perf_counter()
            whole(steps)
            if perf_counter() - started < SECONDS / 2:
                self._at_once = max(self._at_once, 2 * steps)
            times -= steps

    @property
    def launches(self) -> dict[str, int]:
        """The number of calls of one replay, by kind."""
        compiled = sum(isinstance(call, _Together) for call in self.calls)
        return {"NumPy calls": len(self.calls) - compiled, "compiled calls": compiled}


def _is_faster(step: Elementwise, arguments: tuple[Any, ...]) -> bool:
    """Return whether ``step`` can be compiled and is then faster than NumPy's functions."""
    sizes = [a.size if isinstance(a, np.ndarray) else 1 for a in arguments]
    # Other arguments, such as sparse rows, are not supported.
    known = all(isinstance(a, np.ndarray) or np.isscalar(a) for a in arguments)
    return bool(step.body) and known and (step.vectorizes or max(sizes) <= step.small)


class _Together:
    """Calls that C makes one after the other; ``calls`` keeps their arrays alive."""

    def __init__(self, replay: Any, structs: Any, calls: list[Any]) -> None:
        self.calls = calls
        self._replay = partial(replay, structs, ctypes.c_ssize_t(len(calls)))

    def __call__(self, times: int = 1) -> None:
        self._replay(ctypes.c_ssize_t(times))


def _together(calls: list[Any]) -> _Together:
    """Return one call that makes all ``calls``."""
    structs = (_CallStruct * len(calls))(
        *[
            _CallStruct(
                ctypes.cast(call.function, ctypes.c_void_p).value,
                ctypes.addressof(call.data),
                ctypes.addressof(call.numbers),
            )
            for call in calls
        ]
    )
    return _Together(replay_library().replay, structs, calls)


def bind(
    step: Elementwise,
    arguments: tuple[Any, ...],
    *,
    bias: Array | None = None,
    sums: Array | None = None,
) -> Call | None:
    """Return the call of the compiled ``step`` on its arguments; None if they are not supported.

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
    if all(p.raw for p in declared if p.written):  # by rows
        elements = len(next(a for p, a in zip(declared, arrays, strict=True) if p.written))
    else:
        elements = max(a.size for p, a in zip(declared, arrays, strict=True) if not p.raw)
    single = tuple(not p.raw and a.size == 1 for p, a in zip(declared, arrays, strict=True))
    suits = all(
        array.dtype.name == types[p.type]
        and array.flags.c_contiguous
        and (p.raw or array.size == elements or (array.size == 1 and not p.written))
        for p, array in zip(declared, arrays, strict=True)
    )
    if step.prologue:
        suits = suits and elements % RUN == 0
    columns = 0
    if (row := sums if bias is None else bias) is not None:
        arrays.append(row)
        columns = row.size
        suits = suits and row.flags.c_contiguous and row.dtype == arrays[0].dtype
    if sums is not None:
        suits = suits and not single[-1]
    if not suits:
        return None
    variables = tuple((name, dtype) for name, dtype in types.items() if name not in C_TYPES)
    function = _function(step, Form(variables, single, bias is not None, sums is not None))
    return function and Call(function, arrays, [elements, columns])


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
    except CompilerError as error:
        warnings.warn(f"NumPy computes {step.name}: {error}", stacklevel=2)
        return None


def product(
    A: Array, B: Array, out: Array, *, transpose_a: bool, transpose_b: bool, accumulate: bool
) -> Call | None:
    """Return the call of BLAS that writes A B into ``out``, or adds it; None if unsupported."""
    letter = _LETTERS.get(out.dtype)
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
