"""Steps that are captured once as a CUDA graph, and then launched."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

from gpubp.backends.protocol import Step
from gpubp.kernels.cublas.library import CublasError

# Largest number of steps of one graph: enough to hide the host's cost of a launch. A graph also
# takes at most GRAPH_SECONDS, so that an interrupt is answered soon.
MOST_STEPS = 64
GRAPH_SECONDS = 0.25
# cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY; CUBLAS_STATUS_ALLOC_FAILED.
_NO_MEMORY, _CUBLAS_NO_MEMORY = 2, 3


def lacks_memory(error: RuntimeError) -> bool:
    """Return whether the CUDA runtime, the driver or cuBLAS failed for lack of memory."""
    expected = _CUBLAS_NO_MEMORY if isinstance(error, CublasError) else _NO_MEMORY
    return getattr(error, "status", None) == expected


class RecordedGraph:
    """A step captured as two CUDA graphs: one of a single step, and one of many steps.

    cuts : takes each graph that ends at a host call during a capture, and then its function. A step
        with host calls is a list of graphs with the functions between them.
    """

    def __init__(
        self, stream: Any, step: Step, launches: Mapping[str, int], cuts: list[Any]
    ) -> None:
        self._stream, self._step = stream, step  # keeps the arrays of the step alive
        self.launches, self._cuts = launches, cuts
        self._one = self._capture(1)
        self._many: Any = None
        self._steps = 0  # of the graph of many steps

    def rebind(self, before: Any, now: Any) -> bool:
        """Return False: the kernels are bound to their arrays."""
        return False

    def __call__(self, times: int = 1) -> None:
        """Launch the step ``times`` times; return with at most one graph of many still running."""
        if times > 1 and self._many is None:
            self._measure(times)
            times -= 1
        many, rest = divmod(times, self._steps) if self._many else (0, times)
        for _ in range(many):
            # Wait for the previous graph, so that the host can answer an interrupt.
            self._stream.synchronize()
            self._launch(self._many)
        for _ in range(rest):
            self._launch(self._one)

    def _launch(self, pieces: list[Any]) -> None:
        """Launch the graphs among ``pieces``; call the functions when the graphs before ended."""
        for piece in pieces:
            if callable(piece):
                self._stream.synchronize()
                piece()
            else:
                piece.launch(stream=self._stream)

    def _measure(self, times: int) -> None:
        """Launch and time one step, and capture the graph of many steps for this time."""
        self._stream.synchronize()
        started = perf_counter()
        self._launch(self._one)
        self._stream.synchronize()
        seconds = perf_counter() - started
        most = max(1, min(MOST_STEPS, int(GRAPH_SECONDS / max(seconds, 1e-9))))
        # Most calls have the same ``times``, so split them into equal graphs: 100 steps are 2 x 50.
        self._steps = times // -(-times // most)
        try:
            self._many = self._capture(self._steps)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            self._many, self._steps = self._one, 1

    def _capture(self, steps: int) -> list[Any]:
        """Return graphs of so many steps, and the functions that are called between them."""
        with _COLLECTOR.paused():
            self._stream.begin_capture()
            try:
                for _ in range(steps):
                    self._step()
            except BaseException:
                # The error may have invalidated the capture. Then end_capture fails, too, with an
                # error that says less.
                with suppress(Exception):
                    self._stream.end_capture()
                raise
            finally:
                cuts = [*self._cuts]
                self._cuts.clear()
            return [*cuts, self._stream.end_capture()]


class _Collector:
    """Turns the garbage collector off while any thread captures."""

    def __init__(self) -> None:
        self._lock, self._captures, self._was_on = threading.Lock(), 0, True

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Return a context without collection, because destroying a stream breaks a capture."""
        with self._lock:
            if not self._captures:
                self._was_on = gc.isenabled()
                gc.disable()
            self._captures += 1
        try:
            yield
        finally:
            with self._lock:
                self._captures -= 1
                if not self._captures and self._was_on:
                    gc.enable()

    def after_fork_in_child(self) -> None:
        """End the pauses of other threads, which do not exist in the child."""
        self._lock = threading.Lock()
        if self._captures and self._was_on:
            gc.enable()
        self._captures = 0


_COLLECTOR = _Collector()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_COLLECTOR.after_fork_in_child)
