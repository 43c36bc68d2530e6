"""The environment variables that set defaults of gpubp, which only this file reads.

They are read when a backend is made or the cache is used, never at import. Arguments take
precedence over them. An empty variable counts as unset. This file imports only the standard
library, so that `gpubp --help` stays fast.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_THREADS = 999_999  # of GPUBP_THREADS and --threads; gpubp uses as many as there are cores


class SettingError(ValueError):
    """An environment variable of gpubp has an invalid value."""


def default_device() -> str:
    """Return the device for device="auto", from GPUBP_DEVICE; "auto" if it is unset."""
    text = os.environ.get("GPUBP_DEVICE") or "auto"
    if not is_device_name(text):
        raise _error("GPUBP_DEVICE", text, "auto, cpu, cuda or cuda:N")
    return text


def default_threads() -> int | None:
    """Return the BLAS threads for threads=None, from GPUBP_THREADS; None if it is unset."""
    text = os.environ.get("GPUBP_THREADS")
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_THREADS:
        raise _error("GPUBP_THREADS", text, f"a whole number from 1 to {MOST_THREADS}")
    return int(text)


def default_compiled() -> bool | None:
    """Return GPUBP_COMPILED: True always compiles by default, False never; None if unset."""
    text = os.environ.get("GPUBP_COMPILED")
    if text not in (None, "", "0", "1"):
        raise _error("GPUBP_COMPILED", text, "0 (never start a compiler) or 1 (compile by default)")
    return bool(int(text)) if text else None


def cache_folder() -> Path | None:
    """Return the folder of gpubp's cache: GPUBP_CACHE_DIR, else gpubp/ in the user's cache folder.

    None if there is no home folder. A relative XDG_CACHE_HOME is ignored, as required by the XDG
    Base Directory Specification.
    """
    if text := os.environ.get("GPUBP_CACHE_DIR"):
        if not Path(text).is_absolute():
            raise _error("GPUBP_CACHE_DIR", text, "an absolute path")
        return Path(text)
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (folder if folder.is_absolute() else Path.home() / ".cache") / "gpubp"
    except RuntimeError:  # no home
        return None


def is_device_name(text: str) -> bool:
    """Return whether ``text`` has the form of a device: auto, cpu, cuda or cuda:N."""
    return re.fullmatch("auto|cpu|cuda(:[0-9]{1,6})?", text) is not None


def _error(variable: str, got: str, allowed: str) -> SettingError:
    return SettingError(
        f"the environment variable {variable} must be {allowed}, got {got!r}; correct or unset it"
    )


# Variable -> the function that reads it, and the behaviour if it is unset.
VARIABLES: dict[str, tuple[Callable[[], Any], str]] = {
    "GPUBP_DEVICE": (default_device, "device='auto' chooses by the size of the work"),
    "GPUBP_THREADS": (default_threads, "one BLAS thread for small networks, else all"),
    "GPUBP_COMPILED": (default_compiled, "compiled='auto' chooses by the size of the training"),
    "GPUBP_CACHE_DIR": (cache_folder, "the user's cache folder"),
}
