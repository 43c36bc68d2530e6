"""The memory of this process, and the processor time of other processes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter

BUSY_CORES = 0.25  # cores used by other processes above which a timing counts as disturbed

_PROC = Path("/proc")


class PeakMemory:
    """The increase of resident memory from now on."""

    def __init__(self) -> None:
        with suppress(OSError):
            (_PROC / "self/clear_refs").write_text("5", encoding="ascii")  # VmHWM = VmRSS
        self._before = _status("VmRSS") or _largest()

    def above(self) -> int:
        """Return the largest number of bytes above the number at the beginning.

        On Linux, this is exact. Other systems report only the largest size since the start of the
        process, so the result there is the growth of this number.
        """
        return max(0, (_status("VmHWM") or _largest()) - self._before)


def _status(name: str) -> int:
    """Return a number of bytes from /proc/self/status; 0 if it is not there."""
    with suppress(OSError):
        for line in (_PROC / "self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return 0


def _largest() -> int:
    """Return the largest resident size so far in bytes; 0 on Windows."""
    try:
        import resource
    except ImportError:
        return 0
    size: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


class OtherLoad:
    """The cores that other processes, or other virtual machines on the host, use from now on."""

    def __init__(self) -> None:
        self._started, self._own, self._all = perf_counter(), _own_seconds(), _busy_seconds()

    def cores(self) -> float:
        """Return the average number of these cores; NaN if the system does not report it."""
        seconds = perf_counter() - self._started
        own, every = _own_seconds() - self._own, _busy_seconds() - self._all
        return max(0.0, (every - own) / max(seconds, 1e-9)) if every == every else every


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_seconds() -> float:
    """Return the busy and stolen seconds of all cores since the machine started."""
    try:
        first = (_PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()
    except OSError:
        return float("nan")
    user, nice, system, _, _, *rest = map(int, first[1:])
    interrupts_and_stolen = sum(rest[:3])
    return (user + nice + system + interrupts_and_stolen) / float(os.sysconf("SC_CLK_TCK"))
