"""Replace files atomically: write a temporary file in the same folder, then rename it.

Character devices and pipes (/dev/null, a FIFO) cannot be replaced; they are written to directly.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_in_use: set[Path] = set()  # temporary files that this process is writing


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that path can be written or replaced.

    The check creates a temporary file in the same folder and removes it; no other file changes.

    Raises OSError, with advice, if path cannot be written.
    """
    if is_stream(path):
        with clear_errors(path):
            _check_access(Path(path))
        return
    with _temporary_beside(path):
        pass


def check_room(path: str | os.PathLike[str], size: int) -> None:
    """Check that the disk of path has room for a new file of ``size`` bytes next to the old one.

    Raises OSError, with advice, if there is too little room.
    """
    if is_stream(path):
        return
    with clear_errors(path):
        free = shutil.disk_usage(Path(os.path.realpath(path)).parent).free
        if free < size:
            raise OSError(
                f"it takes {size:,} bytes, but only {free:,} are free; free some or choose another "
                "path"
            )


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether path is a character device or a pipe."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of an empty temporary file that replaces path if the block succeeds.

    After a failure the old file is unchanged and the temporary file is removed. The block must
    open the temporary file only once and close it. Links are followed. For a device or pipe, path
    itself is yielded.

    Raises OSError, in one sentence, if path cannot be written; errors of the block pass unchanged.
    """
    if is_stream(path):
        check_writable(path)
        yield Path(path)
        return
    with _temporary_beside(path) as (target, temporary):
        yield temporary
        with clear_errors(path):
            _put_in_place(temporary, target)


@contextmanager
def clear_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the file system into an OSError of one sentence, with advice."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        advice = f"{reason}; check the folder and the disk or choose another path"
        raise OSError(f"cannot write {os.fspath(path)!r}: {advice if reason else error}") from None


@contextmanager
def _temporary_beside(path: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """Yield path with links resolved, and an empty temporary file in its folder.

    The temporary file is removed afterwards, if it still exists.
    """
    with clear_errors(path):
        target = Path(os.path.realpath(path))
        replaced = _check_target(target)
        _sweep(target)
        temporary = target.with_name(f"{temporary_prefix(target.name)}{os.getpid()}.tmp")
        temporary.touch(exist_ok=False)
    _in_use.add(temporary)
    try:
        if replaced:
            with clear_errors(path):
                shutil.copymode(target, temporary)
        yield target, temporary
    finally:
        _in_use.discard(temporary)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_target(target: Path) -> bool:
    """Return whether target exists; raise OSError if it cannot, or must not, be replaced."""
    if not target.parent.is_dir():
        problem = "is not a folder;" if target.parent.exists() else "does not exist; create it or"
        raise OSError(f"{str(target.parent)!r} {problem} choose another path")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise OSError("it is a directory; add a file name")
    if not stat.S_ISREG(mode):  # root could replace a disk by a file
        raise OSError("it is not a regular file; choose another path")
    _check_access(target)
    return True


def _check_access(target: Path) -> None:
    if not os.access(target, os.W_OK):
        raise OSError("the file there is write-protected; unprotect it or choose another path")


def temporary_prefix(name: str) -> str:
    """Return how the names of this machine's temporary files for ``name`` begin."""
    # With the host name, since process ids of another machine on a shared disk mean nothing here.
    return f".{name}.{platform.node()}."


def _sweep(target: Path) -> None:
    """Remove temporary files of target left by killed processes of this machine."""
    pattern = re.compile(re.escape(temporary_prefix(target.name)) + r"(\d{1,7})\.tmp", re.ASCII)
    with suppress(OSError):
        for file in target.parent.iterdir():
            match = pattern.fullmatch(file.name)
            if match and file not in _in_use and not is_another_live_process(int(match[1])):
                file.unlink(missing_ok=True)


def is_another_live_process(pid: int) -> bool:
    """Return whether another process of this machine has this id."""
    # In a container this process may have the id of the killed one.
    if pid == os.getpid():
        return False
    if os.name == "nt":  # on Windows, signal 0 is Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _put_in_place(temporary: Path, target: Path) -> None:
    """Replace target by the finished file; after a crash, one of the two is there, complete."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(target)
    with suppress(OSError):  # Windows and some network disks cannot sync a folder
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
