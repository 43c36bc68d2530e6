"""The cache of compiled steps: libraries in the user's cache folder, by a hash of what they are."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def cache_folder() -> Path | None:
    """Return the user's cache folder for compiled steps, or None where there is no home.

    See "XDG Base Directory Specification", which has relative paths ignored.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (folder if folder.is_absolute() else Path.home() / ".cache") / "gpubp" / "compiled"
    except RuntimeError:  # no home
        return None


def cached(folder: Path, name: str) -> ctypes.CDLL | None:
    """Return the library of this name in the cache, if it is there and whole."""
    for path in folder.glob(f"{name}-*.so"):
        with suppress(OSError):
            if path.stem == f"{name}-{digest(path.read_bytes())}":
                return ctypes.CDLL(str(path))
            path.unlink()
    return None


def store(made: Path, folder: Path, name: str) -> Path | None:
    """Copy a library into the cache, its digest in its name; return None where that fails."""
    content = made.read_bytes()
    path = folder / f"{name}-{digest(content)}.so"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
    except OSError:
        return None
    return path


def digest(content: bytes) -> str:
    """Return a hash of ``content`` in 32 hex digits."""
    return hashlib.sha256(content).hexdigest()[:32]
