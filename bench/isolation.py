"""Rows measured in processes of their own: what crashes, hangs or poisons its device is one row.

A part of a benchmark is a module with ``rows(device)``, which returns what measures each row, by
name. The rows of a part share a process until one of them fails.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import IO

from gpubp.bench.results import Row, Rows, SkippedError, named_row, row_from_json, row_to_json

MOST_CHARACTERS = 500  # of an error: a compiler's may be pages
LAST_LINES = 3  # of the stderr of a process that ended before its row
LOG_BYTES = 1 << 20  # the end of a log
SECONDS_TO_END = 5.0  # of a process whose libraries have logs to close
NO_TIME = "no time was left for it"


def isolated_rows(
    module: str, device: str, names: list[str], *, row_seconds: float, until: float
) -> Generator[Row, None, None]:
    """Yield the row of each name, measured by ``module`` in processes of their own.

    row_seconds : the longest that one row may take. until : the `time.monotonic` at which the
    time for all of them is up. A row that fails, or for which no time is left, says why.
    """
    waiting = list(names)
    while waiting and monotonic() < until:
        for row in _until_failure(module, device, list(waiting), row_seconds, until):
            waiting.pop(0)
            yield row
    for name in waiting:
        yield named_row(name, "failed", NO_TIME)


def logged_rows(
    module: str, device: str, names: list[str], *, row_seconds: float, until: float
) -> Generator[Row, None, None]:
    """Yield as `isolated_rows` does, but each row from its own process, with what cuBLASLt logged.

    Level 2 logs errors, and the parameters of every product that is launched.
    """
    for name in names:
        seconds = min(row_seconds, until - monotonic())
        if seconds <= 0:
            yield named_row(name, "failed", NO_TIME)
            continue
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "cublaslt.log")
            variables = {"CUBLASLT_LOG_LEVEL": "2", "CUBLASLT_LOG_FILE": str(log)}
            row = isolated_row(
                _command(module, device, name),
                name,
                seconds=seconds,
                environment=os.environ | variables,
                seconds_to_end=SECONDS_TO_END,
            )
            yield replace(row, log=_end_of(log))


def _end_of(log: Path) -> str:
    """Return the last LOG_BYTES of the file; "" if there is no such file."""
    if not log.exists():
        return ""
    return log.read_bytes()[-LOG_BYTES:].decode(errors="replace")


def _command(module: str, device: str, *names: str) -> list[str]:
    """Return the command whose process measures the rows ``names`` of ``module``."""
    return [sys.executable, "-m", "gpubp.bench.isolation", module, device, *names]


def _until_failure(
    module: str, device: str, names: list[str], row_seconds: float, until: float
) -> Iterator[Row]:
    """Yield the rows of one process, up to the first that fails."""
    with _process(_command(module, device, *names)) as (child, lines, log):
        for name in names:
            limit = max(0.0, min(row_seconds, until - monotonic()))
            row = _next_row(name, lines, limit, child, log)
            yield row
            if row.status == "failed":
                return


def isolated_row(
    command: list[str],
    name: str,
    *,
    seconds: float,
    environment: dict[str, str] | None = None,
    seconds_to_end: float = 0.0,
) -> Row:
    """Return the row ``name`` that ``command`` prints as a line of JSON, in a process of its own.

    seconds : the longest that it may take. environment : all variables; None takes this process's.
    seconds_to_end : how much of that the process may take to end by itself, after its row.
    """
    until = monotonic() + seconds
    with _process(command, environment) as (child, lines, log):
        row = _next_row(name, lines, seconds, child, log)
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, min(seconds_to_end, until - monotonic())))
        return row


@contextmanager
def _process(
    command: list[str], environment: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], queue.Queue[str], IO[str]]]:
    """Yield a process, the lines of its stdout, and its stderr; end it and all it has started."""
    lines: queue.Queue[str] = queue.Queue()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            process_group=0,  # to end with it what it has started
        )
        reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
        reader.start()
        try:
            yield child, lines, log
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            reader.join()


def _read(stream: IO[str], lines: queue.Queue[str]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put("")


def _next_row(
    name: str, lines: queue.Queue[str], limit: float, child: subprocess.Popen[str], log: IO[str]
) -> Row:
    """Return the next row of ``child``, or a failed one with what is known of the reason."""
    try:
        line = lines.get(timeout=limit)
    except queue.Empty:
        return named_row(name, "failed", f"took longer than {limit:.0f} s")
    if line:
        return row_from_json(line)
    code = child.wait()
    log.seek(0)
    printed = [text.strip() for text in log if text.strip()]
    # The last line of a traceback has the error.
    last = printed[-1 if any(map(_begins_traceback, printed)) else -LAST_LINES :]
    said = " | ".join(last)[-MOST_CHARACTERS:]
    return named_row(name, "failed", ": ".join(filter(None, [_ending(code), said])))


def _begins_traceback(line: str) -> bool:
    return line.startswith("Traceback ")


def _ending(code: int) -> str:
    """Return how a process with that exit code ended."""
    if code >= 0:
        return f"its process ended with code {code}"
    with suppress(ValueError):
        cause = signal.Signals(-code)
        hint = ", perhaps for want of memory" if cause == signal.SIGKILL else ""
        return f"its process was ended by {cause.name}{hint}"
    return f"its process was ended by signal {-code}"


def measured(name: str, measure: Callable[[], Row]) -> Row:
    """Return the row that ``measure`` returns, or one with the reason why it did not."""
    try:
        return measure()
    except SkippedError as reason:
        return named_row(name, "skipped", str(reason))
    except Exception as error:
        message = " ".join(str(error).split())[:MOST_CHARACTERS]
        # PyTorch's error is no MemoryError.
        full = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
        kind = "out of memory" if full else type(error).__name__
        return named_row(name, "failed", f"{kind}: {message}".removesuffix(": "))


def own_stdout() -> IO[str]:
    """Return stdout for rows alone: libraries print as they like, from now on to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def main(module: str, device: str, *names: str) -> None:
    """Print the row of each name as a line of JSON; end after one that fails."""
    out = own_stdout()
    rows: Rows = import_module(module).rows(device)
    for name in names:
        row = measured(name, rows[name])
        print(row_to_json(row), file=out, flush=True)
        if row.status == "failed":
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
