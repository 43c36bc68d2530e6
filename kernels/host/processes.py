"""Programs whose output is read, in a process that may fork in another thread."""

from __future__ import annotations

import os
import subprocess
from threading import RLock

# Held while a program starts. A child that was forked then would keep the ends of pipes that the
# program writes to, and whoever reads the output would wait for the end of that child too.
_STARTING = RLock()


def output_of(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run ``command``; return its exit code and output.

    Raises OSError if it cannot be started, and TimeoutExpired after so many ``seconds``.
    """
    pipe = subprocess.PIPE
    with _STARTING:
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, errors="replace")
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_STARTING.acquire,
        after_in_parent=_STARTING.release,
        after_in_child=_STARTING.release,
    )
