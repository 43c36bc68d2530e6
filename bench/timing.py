"""Timing: clocks of device and host, and medians over epochs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any, Protocol

from gpubp.bench.results import Timing

EPOCHS, SECONDS = 20, 0.5  # at least so many epochs, and so long


class Clock(Protocol):
    """Moments on the device's time line, and the seconds between them."""

    name: str

    def mark(self) -> Any:
        """Return the moment at which the device has done all that was asked of it so far."""

    def seconds(self, start: Any, end: Any) -> float:
        """Return the seconds between two moments."""


class HostClock:
    """The host's clock, read when the device is done."""

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
    """Events of a CUDA library on its current stream; the host need not wait for them.

    new_event : makes an event with ``record`` and ``synchronize``.
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

    It is called at least ``samples`` times and ``seconds`` long, after a warm-up of a tenth.
    The second number has in it what the host does between calls, where it holds the device up.
    """
    _call_for(call, clock, max(1, samples // 10), seconds / 2)
    synchronize()
    started = perf_counter()
    marks = _call_for(call, clock, samples, seconds)
    synchronize()
    each = (perf_counter() - started) / (len(marks) - 1)
    return summary([clock.seconds(a, b) for a, b in pairwise(marks)], clock.name), each


def _call_for(call: Callable[[], Any], clock: Clock, samples: int, seconds: float) -> list[Any]:
    """Call at least so often and so long; return the moments before, between and after."""
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
