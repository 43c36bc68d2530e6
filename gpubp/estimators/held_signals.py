"""`HeldSignals`: signals that interrupt take effect at the pauses of a training."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gpubp.training.ranks import SIGNALS, blocked


class HeldSignals:
    """Holds signals back until `deliver`; a second one takes effect at once.

    waiting : the signal that is held back; None for none.
    """

    def __init__(self) -> None:
        self.waiting: int | None = None
        self._handlers: dict[int, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Return a context that holds signals back. One that is waiting at its end stays so."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        # Signals that are ignored, or have a handler that Python does not know, keep it.
        self._handlers = {
            number: found
            for number in SIGNALS
            if (found := signal.getsignal(number)) not in (None, signal.SIG_IGN)
        }
        for number in self._handlers:
            signal.signal(number, self._hold)
        try:
            yield
        finally:
            with blocked(self._handlers):
                for number, handler in self._handlers.items():
                    signal.signal(number, handler)

    def _hold(self, number: int, frame: FrameType | None) -> None:
        first, self.waiting = self.waiting, None
        if first is not None:
            self._raise(number)
        self.waiting = number if first is None else first

    def deliver(self) -> None:
        """Let the waiting signal, if there is one, take its effect by the handler of the caller."""
        number, self.waiting = self.waiting, None
        if number is not None:
            self._raise(number)

    def _raise(self, number: int) -> None:
        signal.signal(number, self._handlers[number])
        signal.raise_signal(number)
        signal.signal(number, self._hold)  # it did not end the training
