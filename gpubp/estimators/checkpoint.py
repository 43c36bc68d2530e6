"""`Checkpoint`: where and when a fit saves its state, and whether it goes on from a saved one."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|h|epochs?)")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used as asked."""


class Interval(NamedTuple):
    """The time between two checkpoints: seconds, or epochs."""

    seconds: float | None
    epochs: int | None


def interval_of(every: float | str) -> Interval:
    """Return the interval of a number of seconds or a text such as "60s", "5m" or "5epochs".

    Raises ValueError for another value.
    """
    if isinstance(every, int | float) and not isinstance(every, bool) and every > 0:
        return Interval(float(every), None)
    match = _INTERVAL.fullmatch(every.strip()) if isinstance(every, str) else None
    if match is not None and (number := float(match[1])) > 0:
        if match[2] in _UNITS:
            return Interval(number * _UNITS[match[2]], None)
        if number.is_integer():
            return Interval(None, int(number))
    raise ValueError(
        f"the interval of checkpoints is a time above 0, such as 60s, 5m or 1h, or a number of "
        f"epochs, such as 5epochs; got {every!r}"
    )


class Checkpoint:
    """Saves the state of a fit in a file while it trains, and goes on from it.

    A fit that is started again with the same data, parameters and file ends with the bits that it
    would have had without the interruption (on CUDA up to the order in which the device adds up).

    Parameters
    ----------
    path : str or path-like
        The file. It is replaced as a whole, so there is always one that is complete, and removed
        when the fit ends. `CheckpointError` is raised if another file than a checkpoint is there. A
        damaged checkpoint is kept as ``path`` + ".old", with a warning.
    every : str or float, default="60s"
        Interval between two checkpoints: seconds, or a text such as "5m" or "10epochs". Intervals
        are longer where a checkpoint would take more than 1 % of the time.
    resume : {"auto", "never"} or path-like, default="auto"
        "auto" goes on from ``path`` if the file is of the same training, and begins anew otherwise,
        with a warning. "never" begins anew. A path goes on from that file, and raises
        `CheckpointError` if it is of another training.
    on_save : callable or None, default=None
        Called with the path after each checkpoint.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: float | str = "60s",
        resume: str | os.PathLike[str] = "auto",
        on_save: Callable[[Path], object] | None = None,
    ) -> None:
        self.path, self.interval, self.on_save = Path(path), interval_of(every), on_save
        self.resume = resume if resume in ("auto", "never") else Path(resume)
        # What the caller compares first, in its own terms.
        self.settings: dict[str, Any] = {}
        # Whether a command chose the path, so that only checkpoints are there, and removes the file
        # when it has saved the model.
        self.by_command = False
        # Called with a line on work that is lost; None: it is a note like others.
        self.warn: Callable[[str], object] | None = None
        # A signal that came after the last moment at which it could stop the training.
        self.late_signal: int | None = None

    @property
    def source(self) -> Path | None:
        """The file to go on from, if there is one; None to begin anew."""
        if self.resume == "never":
            return None
        return self.path if self.resume == "auto" else Path(self.resume)

    @property
    def must_resume(self) -> bool:
        """Whether a file of another training is an error."""
        return self.resume not in ("auto", "never")

    def remove(self) -> None:
        """Remove the file, if there is one, and the links that lead to it."""
        path: Path | None = self.path
        while path is not None:
            following = path.parent / path.readlink() if path.is_symlink() else None
            with suppress(OSError):
                path.unlink(missing_ok=True)
            path = None if path.is_symlink() else following

    def raise_late_signal(self) -> None:
        """Let a signal take effect that came in the last epoch; call it when all is kept."""
        number, self.late_signal = self.late_signal, None
        if number is not None:
            signal.raise_signal(number)


def checkpoint_of(given: Checkpoint | str | os.PathLike[str] | None) -> Checkpoint | None:
    """Return the ``checkpoint`` that was passed to fit, a `Checkpoint` or a path, or None."""
    return given if given is None or isinstance(given, Checkpoint) else Checkpoint(given)
