"""Handle termination signals as Ctrl-C, so that commands can save their work and clean up."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_last: int = signal.SIGINT  # the signal of the last interrupt


def forget_signals() -> None:
    """Let `interrupt_code` return that of Ctrl-C until another signal comes."""
    global _last  # noqa: PLW0603 (a signal handler has no other place)
    _last = signal.SIGINT


def interrupt_code() -> int:
    """Return the exit code of a command after an interrupt: 128 and the number of its signal."""
    return 128 + int(_last)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _last  # noqa: PLW0603 (see above)
    _last = number
    raise KeyboardInterrupt


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM and SIGHUP (job scheduler, closed terminal) too.

    Signals that are ignored, as nohup lets SIGHUP be, stay so.
    """
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []  # only the main thread may set handlers
    numbers = [getattr(signal, name) for name in names]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
