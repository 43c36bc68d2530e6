"""Large temporary files: without a name, or in folders that are removed, if need be by a later run.

A file without a name is gone when the process ends, even if it is killed.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gpubp.storage.atomic_file import is_another_live_process, temporary_prefix

# Since version 6.18, Linux maps as many bytes at once as were written at once, up to 2 MB, so small
# pieces keep rows out of memory that lie next to those in use.
PIECE = 1 << 16
_FOLDER = temporary_prefix("gpubp")
_in_use: set[Path] = set()  # folders of this process
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def scratch_folder(beside: Path) -> Path:
    """Return the folder for large temporary files: $TMPDIR if it is set, else that of ``beside``.

    The system's default may be a disk in memory.
    """
    named = os.environ.get("TMPDIR")
    return Path(named) if named else Path(os.path.realpath(beside)).parent


@contextmanager
def temporary_folder(within: Path | None = None) -> Iterator[Path]:
    """Yield a new folder in the folder ``within``; remove it and its files afterwards.

    within : None is the system's folder for temporary files.

    Those of processes of this machine that were killed are removed first.

    Raises OSError, with advice, if it cannot be made.
    """
    within = Path(tempfile.gettempdir()) if within is None else within
    _sweep(within)
    folder = within / f"{_FOLDER}{os.getpid()}.{secrets.token_hex(8)}"
    _in_use.add(folder)
    try:
        with _clear_errors(within, 0):
            folder.mkdir(mode=0o700)
        yield folder
    finally:
        # On Windows a file that is still open cannot be removed; a later run removes it.
        shutil.rmtree(folder, ignore_errors=True)
        _in_use.discard(folder)


def _sweep(within: Path) -> None:
    pattern = re.compile(re.escape(_FOLDER) + r"(\d{1,7})\.\w+", re.ASCII)
    with suppress(OSError):
        for folder in within.iterdir():
            match = pattern.fullmatch(folder.name)
            if match and folder not in _in_use and not is_another_live_process(int(match[1])):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_file(folder: Path, size: int) -> Iterator[IO[bytes]]:
    """Yield a temporary file in ``folder`` with room for ``size`` bytes, at least 1.

    Raises OSError, with advice, if it cannot be written there.
    """
    with _clear_errors(folder, size):
        free = shutil.disk_usage(folder).free
        if free < size:
            raise _no_room(folder, size, free)
        file = tempfile.TemporaryFile(dir=folder, prefix=".gpubp-")  # noqa: SIM115  see below
    with file:
        with _clear_errors(folder, size):
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        yield file


def append(file: IO[bytes], data: memoryview) -> None:
    """Write the bytes of ``data``, any contiguous array, to a scratch file."""
    pieces = data.cast("B") if data.nbytes else data
    for start in range(0, data.nbytes, PIECE):
        file.write(pieces[start : start + PIECE])


def mapped(file: IO[bytes]) -> mmap.mmap:
    """Return the contents of a scratch file, mapped to memory for reading."""
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@contextmanager
def _clear_errors(folder: Path, size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(folder, size, shutil.disk_usage(folder).free) from None
        if error.errno is None:
            raise
        raise OSError(
            f"cannot write a temporary file in {str(folder)!r}: {error.strerror}; set TMPDIR to "
            "another folder"
        ) from None


def _no_room(folder: Path, size: int, free: int) -> OSError:
    return OSError(
        f"the encoded rows take {size:,} bytes on disk, but {free:,} are free in {str(folder)!r}; "
        "make room, or set TMPDIR to another folder"
    )
