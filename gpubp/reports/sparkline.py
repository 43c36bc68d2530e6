"""Curves as one line of text: "0.693 █▆▄▃▂▂▁ 0.102"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpubp.training.history import Epoch

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.:-=+*#"  # where the encoding of the output lacks the blocks
WIDTH = 40
WIDE_RANGE = 20  # ratio of the largest to the smallest value from which on their logarithms count


def sparkline(values: Sequence[float], encoding: str = "utf-8", width: int = WIDTH) -> str:
    """Return values as a line of at most ``width`` bars; "?" is a value that is not finite.

    More values than ``width`` are divided into so many parts, and a bar is the mean of a part. If
    the largest value is more than WIDE_RANGE times the smallest, the heights are logarithmic.
    """
    bars = [_mean(part) for part in _parts(values, width)]
    known = [bar for bar in bars if math.isfinite(bar)]
    if not known:
        return "?" * len(bars)
    low, high = min(known), max(known)
    log = low > 0 and high > WIDE_RANGE * low
    levels = BLOCKS if _can_encode(BLOCKS, encoding) else ASCII

    def letter(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        if high == low:
            return levels[0]
        part = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return levels[min(int(part * len(levels)), len(levels) - 1)]

    return "".join(map(letter, bars))


class Sparklines:
    """The curves of a training: the loss, and the score or loss of the validation rows.

    For an ensemble they are means over its members; one that has stopped counts with its last
    epoch.
    """

    def __init__(self) -> None:
        self._losses: dict[int | None, list[float]] = {}
        self._scores: dict[int | None, list[float]] = {}

    def add(self, epoch: Epoch) -> None:
        """Add an epoch."""
        self._losses.setdefault(epoch.member, []).append(epoch.loss)
        if epoch.score is not None:
            is_loss = epoch.validation_loss is not None and epoch.score == -epoch.validation_loss
            score = -epoch.score if is_loss else epoch.score  # a loss is shown as such
            self._scores.setdefault(epoch.member, []).append(score)

    def lines(self, encoding: str) -> dict[str, str]:
        """Return a line of text per curve, by its name; none for fewer than two epochs."""
        curves = {"loss": self._losses, "validation": self._scores}
        return {
            name: _line(_means(list(members.values())), encoding)
            for name, members in curves.items()
            if max(map(len, members.values()), default=0) > 1
        }


def _means(members: Sequence[Sequence[float]]) -> list[float]:
    """Return the means over the members by epoch; a short one counts on with its last value."""
    count = max(map(len, members))
    return [_mean([of[min(k, len(of) - 1)] for of in members]) for k in range(count)]


def _line(values: Sequence[float], encoding: str) -> str:
    return f"{_number(values[0])} {sparkline(values, encoding)} {_number(values[-1])}"


def _number(value: float) -> str:
    return f"{value:.3f}" if 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def _parts(values: Sequence[float], width: int) -> Iterator[Sequence[float]]:
    count = min(width, len(values))
    for k in range(count):
        yield values[k * len(values) // count : (k + 1) * len(values) // count]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.nan


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True
