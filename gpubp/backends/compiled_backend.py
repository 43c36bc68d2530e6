"""NumPy on the host, with recorded steps compiled for its processor.

The compiled code of an elementwise step is the body that CUDA runs. A step that consists of
compiled calls only is cut into tiles (`gpubp.backends.phases`), with matrix products of gpubp's
own. In another step, consecutive compiled calls and the products of BLAS between them are one call
into C.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np

from gpubp.backends.blas_threads import BLAS, usable_cores
from gpubp.backends.compiled_calls import COPY, Call, bind, items, product
from gpubp.backends.networks_recording import NetworksRecording
from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.phases import cut
from gpubp.backends.pooled_recording import AtOnce, PooledRecording
from gpubp.backends.protocol import Array, Epilogues, Recording, Step
from gpubp.backends.step_recorder import MOST_SUMMED, StepRecorder, Unplanned
from gpubp.backends.tape import Tape
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.host.compiler import CompilerError, replay_library

# A second worker gains nothing in a step of fewer multiply-adds than this in a forward pass.
ONE_WORKER_LIMIT = 500_000


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
        if b is None or step is None or Z is not A:
            return False
        if (recorder := backend.recorder) is not None:
            recorder.product(X, W, Z)
            recorder.run(step, (Z, A), bias=b)
            return True
        if not step.vectorizes or Z.ndim > 2:
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
        if (
            out.ndim > 2
            or len(out) > MOST_SUMMED
            or (call := bind(step, (out, kept, out), sums=db)) is None
        ):
            return False
        backend.gemm(delta, W, out=out, transpose_b=True)
        backend.keep(call)
        return True


class CompiledBackend(NumpyBackend):
    """NumPy, with compiled parts of recorded steps; see `gpubp.backends.protocol.Backend`."""

    engine = "compiled"

    def __init__(self, reason: str = "device='cpu'") -> None:
        super().__init__(reason)
        replay_library()  # raises CompilerError if nothing can be compiled
        self.epilogues = CompiledEpilogues(self)
        # Of the last step that was recorded: its tiles by phase, or why it has none.
        self.tiles: list[int] = []
        self.not_cut = ""
        self._workers = 1

    def run(self, step: Elementwise, *inputs: Any, out: Array | tuple[Array, ...]) -> None:
        arguments = (*inputs, *(out if isinstance(out, tuple) else (out,)))
        if self.recorder is not None:
            self.recorder.run(step, arguments)
            return
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
        if self.recorder is not None:
            self.recorder.product(A, B, out, bias=bias, accumulate=accumulate, **transposed)
            return
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
            now()
        self.keep(call)
        if added is not None:
            self.keep(added)

    def call_on_host(self, function: Callable[[], object], arrays: Sequence[Array]) -> None:
        if self.recorder is not None:
            self.recorder.call_on_host(function, arrays)
        else:
            super().call_on_host(function, arrays)

    @property
    def is_recording(self) -> bool:
        """Whether a step is being recorded; a single compiled call costs more than NumPy's."""
        return isinstance(self._np, Tape)

    def keep(self, call: Call) -> None:
        """Add ``call`` to the step that is being recorded."""
        self._np.keep(call)

    @property
    def recorder(self) -> StepRecorder | None:
        """The recorder of a step that may be cut into tiles; None otherwise."""
        return self._np if isinstance(self._np, StepRecorder) else None

    def record(self, step: Step, networks: int = 1, counter: Array | None = None) -> Recording:
        self._np = recorder = StepRecorder(networks)
        try:
            step()
            recorder.compile()
            if networks > 1:
                self.tiles, self.not_cut = [networks], ""
                return NetworksRecording(recorder.ops, networks, counter, lambda: self._workers)
            recording = PooledRecording(cut(recorder.ops), lambda: self._workers)
            self.tiles, self.not_cut = recording.tiles, ""
            return recording
        except (Unplanned, CompilerError) as reason:
            self.tiles, self.not_cut = [], str(reason)
        finally:
            self._np = np
        return CompiledTape(cast(Tape, super().record(step)), lambda: self._workers)

    @contextmanager
    def in_use(self, threads: int | None, work: int) -> Iterator[None]:
        self._workers = _workers(self._threads if threads is None else threads, work)
        # BLAS has one thread, since others would spin next to the pool's: `CompiledTape` sets more.
        with super().in_use(1, work):
            yield


def _workers(threads: int | None, work: int) -> int:
    """Return how many threads a step takes: those asked for, or those that others leave to us."""
    if threads is None and work <= ONE_WORKER_LIMIT:
        return 1
    return max(1, min(usable_cores(), BLAS.threads() if threads is None else int(threads)))


class CompiledTape(Tape):
    """A tape in which consecutive compiled calls are joined to one call.

    threads : returns how many threads its products may take.
    """

    def __init__(self, tape: Tape, threads: Callable[[], int]) -> None:
        super().__init__()
        self._threads = threads
        for ours, group in itertools.groupby(tape.calls, lambda call: isinstance(call, Call)):
            calls: list[Any] = list(group)
            self.calls += [_Together(calls)] if ours else calls
        self._at_once = AtOnce()

    def __call__(self, times: int = 1) -> None:
        whole = self.calls[0] if len(self.calls) == 1 else None
        with BLAS.limited_to(self._threads()):
            if isinstance(whole, _Together):
                self._at_once(whole, times)
            else:
                super().__call__(times)

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

    def __init__(self, calls: list[Call]) -> None:
        self.calls = calls
        self._items = items((call, 0, call.elements) for call in calls)
        address, count = ctypes.c_void_p(self._items.ctypes.data), ctypes.c_ssize_t(len(calls))
        self._replay = partial(replay_library().replay, address, count)

    def __call__(self, times: int = 1) -> None:
        self._replay(ctypes.c_ssize_t(times))
