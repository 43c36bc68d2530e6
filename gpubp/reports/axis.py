"""Axes of drawings: the pixels of values, and the places of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_TICKS = 6


def round_numbers(low: float, high: float) -> list[float]:
    """Return three to seven multiples of 1, 2 or 5 times a power of ten within the range."""
    power = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = next((m * power for m in (5, 2) if (high - low) / (m * power) >= 3), power)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` at pixel ``start`` to ``high`` at ``end``, even or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of ``value``; values outside lie at the nearer end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        part = 0.5 if high == low else (value - low) / (high - low)
        return self.start + part * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """The numbers that have a label, `MOST_TICKS` or one more."""
        if self.high == self.low:
            return [self.low]
        if not self.log:
            return round_numbers(self.low, self.high)
        found = self._one_two_five((1,)) if self.high / self.low >= 100 else []
        found = found or self._one_two_five((1, 2, 5))
        if len(found) < 2:
            return round_numbers(self.low, self.high)
        stride = -(-len(found) // MOST_TICKS)
        return found[::stride]

    def _one_two_five(self, digits: tuple[int, ...]) -> list[float]:
        """Return ``digits`` times powers of ten within the axis."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (float(f"{digit}e{k}") for k in powers for digit in digits)
        return [value for value in values if self.low <= value <= self.high]
