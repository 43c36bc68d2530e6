"""`Pauses`: moments within an epoch at which the state of a training can be saved."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from gpubp.backends.protocol import Recording

SECONDS = 0.2  # between two pauses


class Pauses:
    """Runs the steps of an epoch in parts that take about `SECONDS`, with a pause after each.

    on_pause : called with the number of steps made in the epoch; not after its last step.
    """

    def __init__(self, on_pause: Callable[[int], None]) -> None:
        self._on_pause = on_pause
        self._most = 1  # steps of a part
        self._last = perf_counter()

    def run(self, recording: Recording, first: int, end: int, steps: int) -> None:
        """Run the steps from ``first`` up to ``end`` of an epoch of ``steps`` steps."""
        while first < end:
            part, began = min(self._most, end - first), perf_counter()
            recording(part)
            now = perf_counter()
            first += part
            if now - began > SECONDS:
                self._most = max(1, self._most // 2)
            elif part == self._most and now - began < SECONDS / 2:
                self._most *= 2
            if first < steps and now - self._last > SECONDS:
                self._on_pause(first)
                self._last = perf_counter()
