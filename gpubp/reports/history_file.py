"""The file of `--history`: one JSON object per line, written while training runs.

docs/operations.md describes the lines. They are strict JSON: NaN and infinity are null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpubp.reports.terminal import to_json
from gpubp.storage.atomic_file import clear_errors, is_stream
from gpubp.training.history import Epoch

SCHEMA = 1
_BEGIN = b'{"event": "start", "schema": '  # also of a line that a full disk cut off


class HistoryFile:
    """An open history of a training.

    Each line is handed to the system at once, so that it can be followed and outlives the process;
    only `close` waits for the disk. An error while training runs ends the writing instead of the
    training: ``problem`` is then a sentence, and "" otherwise.

    path : a file, which is replaced, or a pipe. keep : number of epochs, of an earlier part of the
    same training, whose lines in the file are kept, to append after them; None for a new history.

    Raises OSError, in one sentence, if the file cannot be opened.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path = path
        self.problem = ""
        has_lines = keep is not None and not is_stream(path)  # reading a pipe would not end
        kept = b"".join(_kept_lines(path, keep or 0)) if has_lines else b""
        with clear_errors(path):
            binary = getattr(os, "O_BINARY", 0)  # Windows would end lines by \r\n
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | binary
            self._file = os.open(path, flags, 0o666)
        self._write(kept)

    def begin(self, about: Mapping[str, Any]) -> None:
        """Write the first line, on what is trained.

        about : values for JSON, see `gpubp.models.about_training`.
        """
        self._write_json({"event": "start", "schema": SCHEMA} | dict(about))

    def epoch(self, epoch: Epoch) -> None:
        """Write the line of a finished epoch."""
        if not self.problem:
            self._write(epoch_line(epoch).encode())

    def end(self, about: Mapping[str, Any]) -> None:
        """Write the last line, on why the training ended. A killed training has none."""
        self._write_json({"event": "end"} | dict(about))

    def close(self) -> None:
        """Wait until the lines are on the disk, and close the file."""
        with suppress(OSError):  # a pipe has no disk
            os.fsync(self._file)
        os.close(self._file)

    def _write_json(self, values: dict[str, Any]) -> None:
        self._write(f"{to_json(values)}\n".encode())

    def _write(self, data: bytes) -> None:
        try:
            while data and not self.problem:  # one call writes all, unless the disk is nearly full
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self.problem = f"cannot write {str(self.path)!r}: {error.strerror}"


def is_history(path: Path) -> bool:
    """Return whether a file is a history, or empty; raise OSError if it cannot be read."""
    with path.open("rb") as file:
        head = file.read(len(_BEGIN))
    return head in (b"", _BEGIN)


def epoch_line(epoch: Epoch) -> str:
    """Return the line of an epoch.

    Formatting takes 2 microseconds, where json.dumps takes 6: some epochs take 200.
    """
    member = "null" if epoch.member is None else epoch.member
    return (
        f'{{"event": "epoch", "epoch": {epoch.number}, "member": {member}, '
        f'"loss": {_number(epoch.loss)}, "validation_loss": {_number(epoch.validation_loss)}, '
        f'"validation": {_number(epoch.score)}, "learning_rate": {_number(epoch.rate)}, '
        f'"best": {"true" if epoch.best else "false"}, "rows": {epoch.rows}, '
        f'"seconds": {epoch.seconds:.6f}}}\n'
    )


def _number(value: float | None) -> str:
    """Return a number as JSON; null for None, NaN and infinity."""
    return "null" if value is None or not math.isfinite(value) else float.__repr__(float(value))


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a history; a torn last line is left out.

    Raises OSError if there is no such file, ValueError if a complete line is no JSON.
    """
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _kept_lines(path: Path, keep: int) -> Iterator[bytes]:
    """Yield the lines of the first ``keep`` epochs, and the first line; none if there is no file.

    The last checkpoint of a killed training may be older than its last line.
    """
    with suppress(FileNotFoundError):
        for values in read_history(path):
            if values.get("event") != "end" and values.get("epoch", 0) <= keep:
                yield f"{to_json(values)}\n".encode()
