"""Files that commands write: where they go, and that a failed run replaces none."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def free_name(path: Path, word: str) -> Path:
    """Return a path next to ``path`` that has ``word`` in its name, and where there is no file."""
    for number in count(1):
        ending = word if number == 1 else f"{word}-{number}"
        free = path.with_name(f"{path.stem}.{ending}{path.suffix}")
        if not free.exists():
            break
    return free
