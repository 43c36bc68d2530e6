"""A listener that keeps the epochs of a training, writes its history, and passes all on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpubp.reports.columns import Summary
from gpubp.reports.history_file import HistoryFile
from gpubp.reports.terminal import Report
from gpubp.training.history import Epoch, History


class RecordedReport:
    """A `Report` in front of another one.

    shown : the report that everything is passed to.
    opened : returns the file of the history when the first epoch is finished, see `HistoryFile`;
        None for no file.
    at_once : whether the history is opened before the training instead. A pipe needs it: opening
        waits for its reader, and during the training signals would not end that.
    keep : whether the epochs are kept in ``record``.
    """

    def __init__(
        self,
        shown: Report,
        opened: Callable[..., HistoryFile] | None = None,
        keep: bool = True,
        at_once: bool = False,
    ) -> None:
        self._shown = shown
        self._keep = keep
        self._opened, self._at_once = opened, at_once
        self._file: HistoryFile | None = None
        self._about: Mapping[str, Any] = {}
        self.record: list[Epoch] = []
        self.problem = ""  # a sentence if the history could not be written to its end

    @property
    def epochs(self) -> int:
        """The largest number of epochs."""
        return self._shown.epochs

    @epochs.setter
    def epochs(self, number: int) -> None:
        self._shown.epochs = number

    def begin(self, about: Mapping[str, Any]) -> None:
        """Take what is about to be trained, the first line of the history."""
        self._shown.begin(about)
        self._about = about
        if self._opened is not None and self._at_once:
            self._open(before=0)

    def columns(self, summary: Summary, inputs: int) -> None:
        """Pass on the columns."""
        self._shown.columns(summary, inputs)

    def note(self, text: str) -> None:
        """Pass on a note."""
        self._shown.note(text)

    def epoch(self, epoch: Epoch) -> None:
        """Keep an epoch, write its line and pass it on."""
        if self._keep:
            self.record.append(epoch)
        if self._opened is not None:
            self._open(before=epoch.number - 1)
        if self._file is not None:
            self._file.epoch(epoch)
        self._shown.epoch(epoch)

    def _open(self, before: int) -> None:
        """Open the history; keep the lines of the epochs ``before``, which another run made."""
        opened, self._opened = self._opened, None
        assert opened is not None
        try:
            self._file = opened(keep=before or None)
        except OSError as error:  # the training goes on
            self.problem = str(error)
        else:
            self._file.begin(self._about)

    def result(self, result: dict[str, Any]) -> None:
        """Pass on the result."""
        self._shown.result(result)

    def end(self, history: History) -> None:
        """Write the last line of the history."""
        if self._opened is not None:  # no epoch was finished
            self._open(before=0)
        if self._file is not None:
            self._file.end(
                {
                    "stopped_by": history.stopped_by,
                    "epochs": history.epochs,
                    "seconds": history.seconds,
                }
            )

    def close(self) -> None:
        """Close the history and the report; may be called again."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
            self.problem = file.problem
        self._shown.close()
