"""How a training that may take so much memory divides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

# Memory that is not divided: of the network, its optimizer, and the arrays of a step.
LEAST = 1 << 26
# Bytes per row that stay in memory: its place in the order of an epoch, twice, and its target.
BYTES_OF_ROW = 16


@dataclass(frozen=True)
class MemoryShares:
    """Bytes that each part of a training on a table larger than memory may take.

    sample: the rows to which the encoder is fitted. test, validation: the rows of the test, and
    the encoded rows for early stopping. block: the rows that are encoded at once.
    training: the encoded rows that are in memory at once during the training. As many that lie next
        to them in the file may be in memory too, since the system maps several pages at once.
    database: DuckDB.
    """

    sample: int
    test: int
    validation: int
    block: int
    training: int
    database: int

    @classmethod
    def of(cls, limit: int) -> Self:
        """Return the shares of ``limit`` bytes."""
        return cls(
            sample=limit // 16,
            test=limit // 20,
            validation=limit // 20,
            block=limit // 32,
            training=limit // 12,
            database=limit // 6,
        )


def least_memory(n_rows: int) -> int:
    """Return the smallest limit, in bytes, with which ``n_rows`` rows can be trained on."""
    return LEAST + BYTES_OF_ROW * n_rows
