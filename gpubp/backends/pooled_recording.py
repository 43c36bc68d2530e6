"""A recorded step as phases of tiles on a pool of workers, which lives in C (``pool.h``)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np

from gpubp.backends.compiled_calls import Call, items
from gpubp.backends.phases import Phase, Phases
from gpubp.backends.protocol import Array
from gpubp.kernels.host.compiler import pool_library

SECONDS = 0.05  # that steps made in one go may take: an interrupt has to wait for them


class PhaseStruct(ctypes.Structure):
    """``Phase`` of ``pool.h``."""

    _fields_ = (
        ("items", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("tiles", ctypes.c_ssize_t),
        ("n_items", ctypes.c_ssize_t),
        ("repeat", ctypes.c_ssize_t),
    )


class AtOnce:
    """Runs steps in goes of at most about `SECONDS`, between which Python sees an interrupt."""

    def __init__(self) -> None:
        self._most = 1

    def __call__(self, run: Callable[[int], None], times: int) -> None:
        """Do ``times`` steps by ``run``."""
        while times > 0:
            steps, started = min(times, self._most), perf_counter()
            run(steps)
            if (seconds := perf_counter() - started) < SECONDS / 2:
                self._most = max(self._most, 2 * steps)
            elif seconds > SECONDS:
                self._most = max(1, steps // 2)
            times -= steps


class _Segment(NamedTuple):
    """So many ``phases`` from the ``first`` on, and the function that is called then."""

    first: int
    phases: int
    then: Callable[[], object] | None


def _segments(phases: Phases) -> list[_Segment]:
    """Return the phases of a step, cut after each call of a function; one segment without any."""
    first, segments = len(phases.before), []
    for end, phase in enumerate(phases.step, len(phases.before) + 1):
        if phase.then is not None or phase is phases.step[-1]:
            segments.append(_Segment(first, end - first, phase.then))
            first = end
    return segments


class PooledRecording:
    """A step, cut into phases. ``workers`` returns how many threads a run may take."""

    def __init__(self, phases: Phases, workers: Callable[[], int]) -> None:
        every = [*phases.before, *phases.step]
        self._workers, self._before = workers, len(phases.before)
        self._calls: list[Call] = []
        self._rooms = [self._items(phase) for phase in every]
        self._structs = (PhaseStruct * len(every))(
            *[
                PhaseStruct(pieces.ctypes.data, starts.ctypes.data, len(starts) - 1, len(pieces), 1)
                for pieces, starts in self._rooms
            ]
        )
        self._segments = _segments(phases)
        self.tiles = [len(phase.tiles) for phase in phases.step]
        self._at_once = AtOnce()
        self._places: dict[int, list[tuple[Call, int]]] = {}

    def _items(self, phase: Phase) -> tuple[np.ndarray, np.ndarray]:
        """Return the items of a phase, and where those of each tile begin."""
        starts, pieces = [0], []
        for tile in phase.tiles:
            pieces += tile
            starts.append(len(pieces))
        pieces += phase.after
        self._calls += dict.fromkeys(piece.call for piece in pieces)
        return items(pieces), np.array(starts, np.int64)

    def rebind(self, before: Array, now: Array) -> bool:
        """Read the array ``now`` where the step was recorded with ``before``; return True."""
        if (places := self._places.get(id(before))) is None:
            arrays = [(call, k, a) for call in self._calls for k, a in enumerate(call.arrays)]
            places = [(call, k) for call, k, array in arrays if array is before]
            self._places[id(before)] = places
        for call, k in places:
            call.arrays[k], call.data[k] = now, now.ctypes.data
        return True

    def _run(self, times: int) -> None:
        if len(self._segments) == 1 and self._segments[0].then is None:
            self._phases(self._before, self._segments[0], times)
            return
        before = self._before
        for segment in self._segments * times:
            self._phases(before, segment, 1)
            before = 0
            if segment.then is not None:
                segment.then()

    def _phases(self, before: int, segment: _Segment, times: int) -> None:
        """Run the phases of ``segment``, and once those ``before`` the first."""
        first = ctypes.sizeof(PhaseStruct) * (segment.first - before)
        numbers = before, segment.phases, times, self._workers()
        pool_library().run_phases(
            ctypes.byref(self._structs, first), *map(ctypes.c_ssize_t, numbers)
        )

    def __call__(self, times: int = 1) -> None:
        """Do what the step does, ``times`` times."""
        self._at_once(self._run, times)

    @property
    def launches(self) -> dict[str, int]:
        """How many calls one step makes from Python, by kind; those of the host are NumPy's."""
        on_host = sum(segment.then is not None for segment in self._segments)
        return {"NumPy calls": on_host, "compiled calls": len(self._segments)}


def _new_pool() -> None:
    if pool_library.cache_info().currsize:
        pool_library().new_pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool)
