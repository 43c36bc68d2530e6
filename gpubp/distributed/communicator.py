"""`Single`: the operations of processes that train together, for one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from gpubp.backends.protocol import Array, Backend


class Ended(BaseException):
    """Rank 0 has ended; `receive` raises it when rank 0 has sent it."""


class Single:
    """A training in one process; the base class of communicators between several.

    rank : the number of this process. size : the number of processes.
    local_rank, local_size : the same among the processes on this machine.
    All processes call each operation, except `send` and `receive`, in the same order.
    """

    rank = local_rank = 0
    size = local_size = 1

    def sum_gradient(self, backend: Backend, gradient: Array) -> None:
        """Add up ``gradient`` (size,) over the processes, in place; part of a training step.

        All processes have the same bits afterwards.
        """

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the small array ``values`` over the processes."""
        return values

    def broadcast(self, array: np.ndarray) -> None:
        """Copy ``array`` of rank 0 to that of all processes."""

    def send(self, value: Any, rank: int) -> None:
        """Send ``value`` to the process ``rank``; it is pickled."""
        raise NotImplementedError("one process cannot send")

    def receive(self, rank: int = 0) -> Any:
        """Return the next value that the process ``rank`` sends; wait without using the CPU."""
        raise NotImplementedError("one process cannot receive")

    def senders(self, ranks: Sequence[int]) -> list[int]:
        """Return those of ``ranks`` that have sent a value which is not received yet."""
        return []

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def abort(self, code: int) -> NoReturn:
        """End all processes at once with the exit code ``code``."""
        raise SystemExit(code)


SINGLE = Single()
