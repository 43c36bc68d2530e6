"""The end of the time of a search, which stops its trainings, in other processes too."""

from __future__ import annotations

from time import monotonic

from gpubp.training.history import Epoch, OnEpoch


class Deadline:
    """The end of the time of a search.

    A pickle has the seconds that are left, since the clocks of two machines differ. The time goes
    on when it is loaded.

    seconds : from now; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else monotonic() + seconds

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return self._end is not None and monotonic() >= self._end

    def __call__(self, epoch: Epoch) -> bool:
        """Return whether a training is to stop after this epoch."""
        return self.is_over()

    @property
    def on_epoch(self) -> OnEpoch | None:
        """The function that stops a training when the time is up; None without a limit."""
        return None if self._end is None else self

    def __reduce__(self) -> tuple[type[Deadline], tuple[float | None]]:
        return Deadline, (None if self._end is None else self._end - monotonic(),)
