"""Algorithms of cuBLASLt that were found the fastest, kept in a file between processes."""

from __future__ import annotations

import json
import os
import re
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

ALGORITHM_BYTES = 64  # of cublasLtMatmulAlgo_t
_HEX = re.compile(f"[0-9a-f]{{{2 * ALGORITHM_BYTES}}}")

# Device name -> library version -> product -> algorithm in hex digits.
Content = dict[str, dict[str, dict[str, str]]]


def default_path() -> Path | None:
    """Return the file in the user's cache folder, or None where there is no such folder.

    See "XDG Base Directory Specification", which has relative paths ignored.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (folder if folder.is_absolute() else Path.home() / ".cache") / "gpubp/products.json"
    except RuntimeError:  # no home
        return None


class Choices:
    """The algorithm of each product on one kind of device, with one version of cuBLASLt.

    path : of the JSON file; None keeps choices for this process only.
    device : its name, as the driver says it.
    version : as `cublasLtGetVersion` returns it: an algorithm holds for the same version only
        ("cublasLtMatmulAlgo_t" in NVIDIA's documentation).

    The file is read at the first use, and written whole after each new choice, beside and then
    renamed. What other processes have written meanwhile is kept; of two that write in the same
    millisecond, one's choice may be lost until its next. A file that cannot be read or written
    is left out, with one warning: no training fails for it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, device: str, version: int) -> None:
        self._path = None if path is None else Path(path)
        self._device, self._version = device, str(version)
        self._known: dict[str, str] | None = None
        self._new: dict[str, str] = {}
        self._warned = False
        self._lock = threading.Lock()

    def get(self, product: str) -> bytes | None:
        """Return the 64 bytes of the algorithm of ``product``, or None.

        product : a text of all that the choice depends on.
        """
        with self._lock:
            kept = self._all().get(product)
        return None if kept is None else bytes.fromhex(kept)

    def put(self, product: str, algorithm: bytes) -> None:
        """Keep ``algorithm`` for ``product``."""
        if len(algorithm) != ALGORITHM_BYTES:
            raise ValueError(f"an algorithm has {ALGORITHM_BYTES} bytes, got {len(algorithm)!r}")
        with self._lock:
            self._all()[product] = self._new[product] = algorithm.hex()
            self._write()

    def drop(self, product: str) -> None:
        """Forget the algorithm of ``product``, which the library refuses."""
        with self._lock:
            self._all().pop(product, None)
            self._new.pop(product, None)
            self._write(without=product)

    def _all(self) -> dict[str, str]:
        if self._known is None:
            try:
                self._known = dict(self._mine(self._read()))
            except OSError as error:
                self._known = {}
                self._warn("read", error)
        return self._known

    def _mine(self, content: Content) -> dict[str, str]:
        return content.setdefault(self._device, {}).setdefault(self._version, {})

    def _read(self) -> Content:
        """Return what the file holds: nothing if there is none, or a damaged one."""
        if self._path is None:
            return {}
        try:
            return _checked(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            self._warn("read", error)
            return {}

    def _write(self, without: str | None = None) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            content = self._read()
            mine = self._mine(content)
            if without is not None:
                mine.pop(without, None)
            # What another process has put first stays: all later ones then use the same.
            mine.update(self._new | mine)
            _replace(self._path, json.dumps(content, indent=1, sort_keys=True))
        except OSError as error:
            self._warn("write", error)

    def _warn(self, verb: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            warnings.warn(
                f"cannot {verb} the algorithms of matrix products in {str(self._path)!r} "
                f"({reason}): they are timed anew; remove the file, or make its folder writable",
                RuntimeWarning,
                stacklevel=3,
            )


def _checked(content: Any) -> Content:
    """Return ``content``, or raise ValueError where it is not that of such a file."""
    level = [content]
    for _ in range(3):
        if not all(isinstance(part, dict) for part in level):
            raise ValueError("it holds something else")
        level = [inner for part in level for inner in part.values()]
    if not all(isinstance(text, str) and _HEX.fullmatch(text) for text in level):
        raise ValueError("an algorithm in it is not one")
    return content  # type: ignore[no-any-return]


def _replace(path: Path, text: str) -> None:
    """Write ``text`` beside ``path`` and put it there, so that a reader finds a whole file."""
    number, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    beside = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
