"""The memory of the host: how much is free, and how much this process has taken."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

# Limit, use and statistics of a container's memory, in versions 2 and 1 of control groups.
_CONTAINER = (
    ("memory.max", "memory.current", "memory.stat"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
    ),
)
GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Return the free memory of the host, or of this container, in bytes, about."""
    return min(_free_of_host(), *(_free_of_container(*paths) for paths in _CONTAINER))


def _free_of_host() -> int:
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 1 << 32


def _free_of_container(limit: str, used: str, statistics: str) -> int:
    """Return the free memory of a container; a huge number without a limit."""
    with suppress(OSError, ValueError):  # ValueError: the limit is "max"
        most = int((GROUPS / limit).read_text("ascii"))
        taken = int((GROUPS / used).read_text("ascii"))
        counts = dict(
            line.split(maxsplit=1) for line in (GROUPS / statistics).read_text("ascii").splitlines()
        )
        # Cached pages of files are given back when memory is short.
        cached = sum(int(counts.get(name, 0)) for name in ("inactive_file", "active_file"))
        return max(0, most - taken + cached)
    return 1 << 62


def peak_memory() -> int:
    """Return the most memory that this process has taken so far, in bytes; 0 if unknown."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:  # on Windows
        return 0
    size: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size
