"""What commands write: to files, devices and pipes, or to standard output by the name "-"."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import click

# Other names of the files that this process has open. To open one of them again would cut the file
# that a shell appends to, and to replace it would lose the file.
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})", re.ASCII)
_STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EBADF)


class OutputPath(click.Path):
    """A path to write to; "-" is standard output, and ./- a file of that name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path in ``value``."""
        path = super().convert(value, param, ctx)
        return Path.cwd() / "-" if path == Path("-") and str(value) != "-" else path


def _descriptor(path: Path | None) -> int | None:
    """Return the descriptor of an open file that ``path``, or what it links to, is a name of."""
    for _ in range(40):  # a link to itself has no end
        if path is None:
            break
        if match := _DESCRIPTOR.fullmatch(name := path.as_posix()):
            return int(match[1])
        if name in _STANDARD or not path.is_symlink():
            return _STANDARD.get(name)
        path = path.parent / path.readlink()
    return None


def is_stdout(path: Path | None) -> bool:
    """Return whether ``path`` is a name of standard output, or a link to one."""
    return _descriptor(path) == 1


def is_same(path: Path, other: Path) -> bool:
    """Return whether two paths, there or not, are one file, or both standard output."""
    if is_stdout(path) or is_stdout(other):
        return is_stdout(path) and is_stdout(other)
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def check_output(flag: str, path: Path, as_json: bool = False) -> None:
    """Raise an error, before any work, where what ``flag`` names cannot be written to ``path``.

    as_json : whether lines of JSON go to standard output.
    """
    from gpubp.storage.atomic_file import check_writable

    if is_stdout(path):
        if as_json:
            raise click.UsageError(
                f"{flag} {path} and --json both go to standard output; give a file, or leave one "
                "out"
            )
    elif (descriptor := _descriptor(path)) is None:
        check_writable(path)
    else:
        with _clear_errors(path):
            os.fstat(descriptor)


def refuse_stdout(flag: str, path: Path, why: str) -> None:
    """Raise UsageError if ``path`` is standard output."""
    if is_stdout(path):
        raise click.UsageError(f"{flag} {path} is standard output, and {why}; give a file")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Yield the file at ``path``, one that is open already as it is, at its place."""
    from gpubp.storage.atomic_file import atomic_write

    if (descriptor := _descriptor(path)) is not None:
        with os.fdopen(os.dup(descriptor), "w", encoding="utf-8", newline="") as file:
            yield file
        return
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Yield standard output for None and "-", else a file that replaces ``path`` when it is whole.

    Both are in UTF-8, whatever the terminal has.
    """
    if path is None or is_stdout(path):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    with _clear_errors(path), _opened(path) as file:
        yield file


@contextmanager
def _clear_errors(path: Path) -> Iterator[None]:
    """Say what cannot be written where the error of the system does not."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        problem = f"cannot write {str(path)!r}: {error.strerror}; choose another path"
        raise OSError(problem) from None


def write_output(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, as `open_output` does."""
    with open_output(path) as file:
        file.write(text)


@contextmanager
def lines_apart(*paths: Path | None) -> Iterator[None]:
    """Print on standard error instead, where one of ``paths`` is standard output."""
    if not any(map(is_stdout, paths)):
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def whole_or_beside(path: Path, whole: bool) -> Path:
    """Return ``path``, or a name next to it for a part that would replace what is there."""
    return path if whole or is_stdout(path) or not path.is_file() else free_name(path, "part")


def free_name(path: Path, word: str) -> Path:
    """Return a path next to ``path`` that has ``word`` in its name, and where there is no file."""
    for number in count(1):
        ending = word if number == 1 else f"{word}-{number}"
        free = path.with_name(f"{path.stem}.{ending}{path.suffix}")
        if not free.exists():
            break
    return free
