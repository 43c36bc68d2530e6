"""A journal: JSON objects in a file, one per line, each on the disk before the next one.

A process that is killed while it writes leaves a last line without its end, which is ignored.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpubp.storage.atomic_file import clear_errors


class JournalError(ValueError):
    """A file is not a journal, or one of its lines is damaged."""


def read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the objects of a journal, and the number of bytes of its complete lines.

    Raises JournalError if a complete line is not a JSON object, OSError if there is no file.
    """
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    found = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise JournalError(f"{path}, line {number}, is damaged; restore or delete the file")
        found.append(value)
    return found, len(whole)


class Journal:
    """An open journal.

    size : the number of bytes to keep of the file at ``path``; 0 for a new journal.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = path
        with clear_errors(path):
            binary = getattr(os, "O_BINARY", 0)  # Windows would end lines by \r\n
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | binary
            self._file = os.open(path, flags, 0o666)
            self._lock()
            os.ftruncate(self._file, size)

    def _lock(self) -> None:
        """Raise OSError if another process writes to this journal. Windows has no such lock."""
        with suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                raise OSError("another process is writing to it; give another path") from None
            except OSError:  # some network disks have no locks
                pass

    def append(self, value: dict[str, Any]) -> None:
        """Write an object as one line, and wait until it is on the disk."""
        line = json.dumps(value, allow_nan=False) + "\n"
        with clear_errors(self.path):
            data = line.encode()
            while data:  # one call writes all of it, unless the disk is nearly full
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
