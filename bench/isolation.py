"""Measures rows in separate processes, so that a crash, a hang or a lost device costs one row.

A part of a benchmark is a module with ``rows(device)``, which returns the function that measures
each row, by name. The rows of a part share a process until one of them fails.
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

MOST_CHARACTERS = 500  # of an error message; a compiler's may be pages long
LAST_LINES = 3  # of stderr that are kept if a process ends before its row
LOG_BYTES = 1 << 20  # number of last bytes of a log that are kept
SECONDS_TO_END = 5.0  # for a process to end after its row, when libraries close their logs
NO_TIME = "no time was left for it"


def isolated_rows(
    module: str, device: str, names: list[str], *, row_seconds: float, until: float
) -> Generator[Row, None, None]:
    """Yield the row of each name, measured by ``module`` in separate processes.

    row_seconds : time limit of one row. until : the `time.monotonic` at which the time for all rows
    ends. A row that fails, or for which no time is left, has the reason.
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
    """Yield rows as `isolated_rows` does, but each from its own process and with cuBLASLt's log.

    Log level 2 has errors, and the parameters of every product that is launched.
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
    """Return the last LOG_BYTES of the file ``log``; "" if it does not exist."""
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
    """Run ``command`` in a process; return the row ``name``, which it prints as a line of JSON.

    seconds : time limit. environment : all variables of the process; None for those of this one.
    seconds_to_end : part of the time limit that the process may take to end after its row.
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
    """Yield a process, the lines of its stdout, and its stderr; at the end, kill its group."""
    lines: queue.Queue[str] = queue.Queue()
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            process_group=0,  # so that the processes that it has started can be killed, too
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
    """Return the next row of ``child``, or a failed row with the known reason."""
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
    """Return in words how a process with this exit code ended."""
    if code >= 0:
        return f"its process ended with code {code}"
    with suppress(ValueError):
        cause = signal.Signals(-code)
        hint = ", perhaps for lack of memory" if cause == signal.SIGKILL else ""
        return f"its process was ended by {cause.name}{hint}"
    return f"its process was ended by signal {-code}"


def measured(name: str, measure: Callable[[], Row]) -> Row:
    """Return the row from ``measure``, or a skipped or failed row with the reason."""
    try:
        return measure()
    except SkippedError as reason:
        return named_row(name, "skipped", str(reason))
    except Exception as error:
        message = " ".join(str(error).split())[:MOST_CHARACTERS]
        # PyTorch's error is not a subclass of MemoryError.
        full = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
        kind = "out of memory" if full else type(error).__name__
        return named_row(name, "failed", f"{kind}: {message}".removesuffix(": "))


def own_stdout() -> IO[str]:
    """Return stdout for rows only; everything else that is printed goes to stderr from now on."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return out


def main(module: str, device: str, *names: str) -> None:
    """Print the row of each name as a line of JSON; stop after a row that fails."""
    out = own_stdout()
    rows: Rows = import_module(module).rows(device)
    for name in names:
        row = measured(name, rows[name])
        print(row_to_json(row), file=out, flush=True)
        if row.status == "failed":
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
