"""The cache of compiled steps: libraries in the user's cache folder, named by a hash.

A loaded library runs with the rights of the user. Therefore the folder is used only if it belongs
to the user and nobody else may write to it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gpubp.settings import cache_folder

_LIBRARY = re.compile("[0-9a-f]{32}-[0-9a-f]{32}\\.so")
_UNFINISHED = "unfinished-"  # prefix of the name of a file that is being written
_LOCKED: set[BinaryIO] = set()  # files whose locks are held, or waited for
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Cache(NamedTuple):
    """The folder of compiled steps; or None, with the reason why it cannot be used."""

    folder: Path | None
    reason: str = ""

    @property
    def is_writable(self) -> bool:
        """Return whether steps can be added."""
        return self.folder is not None and os.access(self.folder, os.W_OK | os.X_OK)


def compiled_folder() -> Path | None:
    """Return the folder of compiled steps, which need not exist; None without a home folder."""
    folder = cache_folder()
    return None if folder is None else folder / "compiled"


def open_cache(*, create: bool = True) -> Cache:
    """Return the cache.

    create : whether to create a missing folder, with mode 0700.
    """
    folder = compiled_folder()
    if folder is None:
        return Cache(None, "there is no home folder; set GPUBP_CACHE_DIR")
    try:
        if create:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        return Cache(None, f"{folder}: {error.strerror or error}")
    if not stat.S_ISDIR(found.st_mode):
        return Cache(None, f"{folder} is not a folder")
    if not hasattr(os, "getuid"):  # Windows: a home folder is the user's own
        return Cache(folder)
    if found.st_uid != os.getuid():
        return Cache(None, f"{folder} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Cache(None, f"{folder} can be written to by other users; empty it, then chmod 700")
    if found.st_mode & _OTHERS:  # created by an earlier version
        with suppress(OSError):  # a read-only file system
            folder.chmod(0o700)
    return Cache(folder)


def files(folder: Path) -> Iterator[Path]:
    """Yield the files in the cache that gpubp has written; only these are ever deleted."""
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            ours = _LIBRARY.fullmatch(path.name) or path.name.startswith(_UNFINISHED)
            if ours and path.is_file() and not path.is_symlink():
                yield path


def cached(folder: Path, name: str) -> ctypes.CDLL | None:
    """Return the library with this name from the cache; None if it is missing or damaged."""
    for path in folder.glob(f"{name}-*.so"):
        with suppress(OSError):
            if path.stem == f"{name}-{digest(path.read_bytes())}":
                return ctypes.CDLL(str(path))
            path.unlink()
    return None


@contextmanager
def one_at_a_time(folder: Path, name: str) -> Iterator[None]:
    """Return a context in which no other process is that asked for the same ``name``.

    It does not wait where the system or the folder has no locks: then several may compile.
    """
    path = folder / f"{_UNFINISHED}{name}"
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl

            # Without a buffer, whose lock a thread may hold while the process forks.
            file = stack.enter_context(path.open("ab", buffering=0))
            stack.callback(_delete, path)
            _LOCKED.add(file)
            stack.callback(_LOCKED.discard, file)
            fcntl.flock(file, fcntl.LOCK_EX)  # ends with its process
            stack.callback(fcntl.flock, file, fcntl.LOCK_UN)  # in forked children too
        yield


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def store(made: Path, folder: Path, name: str) -> Path | None:
    """Copy the library ``made`` into the cache, and return its path; None if this fails.

    name : the hash of the step; the digest of the library is added to it.
    """
    content = made.read_bytes()
    path = folder / f"{name}-{digest(content)}.so"
    unfinished = None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=_UNFINISHED, delete=False) as file:
            unfinished = Path(file.name)
            file.write(content)
        unfinished.replace(path)
    except OSError:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink()
        return None
    return path


def digest(content: bytes) -> str:
    """Return a hash of ``content`` in 32 hex digits."""
    return hashlib.sha256(content).hexdigest()[:32]


def _close_in_child() -> None:
    """Close the locks that a forked child has inherited: nobody there would end them."""
    for file in [*_LOCKED]:
        with suppress(OSError):
            file.close()
    _LOCKED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
