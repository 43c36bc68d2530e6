"""Which of several algorithms multiplies the fastest: timed on the device, and remembered."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

from .gemm_choices import Choices

CANDIDATES = 8  # algorithms that a heuristic is asked for
_ROUNDS = 5  # of which the median counts
# A round takes about so long, and at most so many launches: events tell half a microsecond.
_ROUND_MILLISECONDS, _MOST_LAUNCHES = 0.2, 20

Launch = Callable[[bytes], bool]


class Tuner:
    """The fastest algorithm of each product: timed once, then taken from ``choices``."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices

    def fastest(
        self, product: str, stream: Any, algorithms: Sequence[bytes], launch: Launch
    ) -> bytes | None:
        """Return and remember the fastest of ``algorithms`` on ``stream``; None without any.

        product : as in `Choices.get`.
        stream : cupy.cuda.Stream that does not capture.
        launch : launches the product there by an algorithm, or returns False if it is refused;
            it has to read nothing that it writes.
        """
        # The first launch of a kernel loads it, which takes long and is no part of a capture.
        usable = [algorithm for algorithm in algorithms if launch(algorithm)]
        if not usable:
            return None
        best = usable[0]
        if len(usable) > 1:
            times = _times(stream, [partial(launch, algorithm) for algorithm in usable])
            best = usable[times.index(min(times))]
        self.choices.put(product, best)
        return best


def _times(stream: Any, launches: Sequence[Callable[[], Any]]) -> list[float]:
    """Return the milliseconds of a round of each launch.

    A round is a graph: launched one by one, what is shorter than its launch by the host would
    take the same time by every algorithm. The rounds of all alternate, so that a clock that
    rises or falls does so for all.
    """
    once = min(_milliseconds(stream, launch) for launch in launches)
    count = max(1, min(_MOST_LAUNCHES, int(_ROUND_MILLISECONDS / max(once, 1e-6))))
    graphs = [_captured(stream, launch, count) for launch in launches]
    rounds = [
        [_milliseconds(stream, partial(graph.launch, stream=stream)) for graph in graphs]
        for _ in range(_ROUNDS)
    ]
    return [median(of_one) for of_one in zip(*rounds, strict=True)]


def _milliseconds(stream: Any, run: Callable[[], Any]) -> float:
    """Return what the device takes for what ``run`` puts on ``stream``, and wait for it."""
    import cupy

    start = stream.record(cupy.cuda.Event())
    run()
    stop = stream.record(cupy.cuda.Event())
    stop.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, stop))


def _captured(stream: Any, launch: Callable[[], Any], count: int) -> Any:
    # What is collected during a capture may be a handle, and to destroy one breaks the capture.
    was_on = gc.isenabled()
    gc.disable()
    try:
        stream.begin_capture()
        try:
            for _ in range(count):
                launch()
        finally:
            graph = stream.end_capture()
    finally:
        if was_on:
            gc.enable()
    return graph
