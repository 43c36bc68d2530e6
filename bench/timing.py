"""Timing: clocks of device and host, and medians over epochs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any, Protocol

from gpubp.bench.results import Timing

EPOCHS, SECONDS = 20, 0.5  # least number of epochs, and least seconds


class Clock(Protocol):
    """Marks points in time on the device, and measures the seconds between them."""

    name: str

    def mark(self) -> Any:
        """Return a mark for the time at which the device has done all work requested so far."""

    def seconds(self, start: Any, end: Any) -> float:
        """Return the seconds between two marks."""


class HostClock:
    """The clock of the host, read when the device has done its work."""

    name = "host clock"

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize

    def mark(self) -> float:
        """Wait for the device; return the time."""
        self._synchronize()
        return perf_counter()

    def seconds(self, start: float, end: float) -> float:
        """Return the seconds between two times."""
        return end - start


class EventClock:
    """Events of a CUDA library on its current stream; the host does not wait for them.

    new_event : returns a new event with ``record`` and ``synchronize``.
    milliseconds : (event, event) -> the time between them.
    """

    name = "device events"

    def __init__(
        self, new_event: Callable[[], Any], milliseconds: Callable[[Any, Any], float]
    ) -> None:
        self._new_event, self._milliseconds = new_event, milliseconds

    def mark(self) -> Any:
        """Return an event, recorded on the current stream."""
        event = self._new_event()
        event.record()
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """Wait for ``end``; return the seconds between two events."""
        end.synchronize()
        return self._milliseconds(start, end) / 1e3


def cupy_clock() -> EventClock:
    """Return the clock of CuPy's current stream."""
    import cupy

    return EventClock(cupy.cuda.Event, cupy.cuda.get_elapsed_time)


def time_calls(
    call: Callable[[], Any],
    clock: Clock,
    synchronize: Callable[[], None],
    *,
    samples: int = EPOCHS,
    seconds: float = SECONDS,
) -> tuple[Timing, float]:
    """Return the time of one ``call``, and the host's seconds per call over the whole run.

    There are at least ``samples`` calls, for at least ``seconds``, after a warm-up with a tenth of
    the samples. The second number includes the host's work between calls, if the device waits for
    it.
    """
    _call_for(call, clock, max(1, samples // 10), seconds / 2)
    synchronize()
    started = perf_counter()
    marks = _call_for(call, clock, samples, seconds)
    synchronize()
    each = (perf_counter() - started) / (len(marks) - 1)
    return summary([clock.seconds(a, b) for a, b in pairwise(marks)], clock.name), each


def _call_for(call: Callable[[], Any], clock: Clock, samples: int, seconds: float) -> list[Any]:
    """Call at least ``samples`` times and for ``seconds``; return the marks around all calls."""
    marks, started = [clock.mark()], perf_counter()
    while len(marks) <= samples or perf_counter() - started < seconds:
        call()
        marks.append(clock.mark())
    return marks


def summary(seconds: list[float], clock: str) -> Timing:
    """Return median and quartiles of ``seconds``."""
    low, median, high = (
        statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    )
    return Timing(median, low, high, len(seconds), clock)
