"""Output of the commands: to files, devices and pipes, or to standard output ("-")."""

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

# Other names of files that this process already has open. Opening such a file again would truncate
# a file that the shell appends to, and replacing it would lose the output.
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})", re.ASCII)
_STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE, errno.EBADF)


class OutputPath(click.Path):
    """A path to write to; "-" is standard output, and "./-" is a file called "-"."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path in ``value``."""
        path = super().convert(value, param, ctx)
        return Path.cwd() / "-" if path == Path("-") and str(value) != "-" else path


def _descriptor(path: Path | None) -> int | None:
    """Return the descriptor of an open file if ``path``, or its link target, names one."""
    for _ in range(40):  # links may form a cycle
        if path is None:
            break
        if match := _DESCRIPTOR.fullmatch(name := path.as_posix()):
            return int(match[1])
        if name in _STANDARD or not path.is_symlink():
            return _STANDARD.get(name)
        path = path.parent / path.readlink()
    return None


def is_stdout(path: Path | None) -> bool:
    """Return whether ``path`` names standard output, directly or by a link."""
    return _descriptor(path) == 1


def is_same(path: Path, other: Path) -> bool:
    """Return whether two paths, which need not exist, are the same file or standard output."""
    if is_stdout(path) or is_stdout(other):
        return is_stdout(path) and is_stdout(other)
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def check_output(flag: str, path: Path, as_json: bool = False) -> None:
    """Raise an error, before any work, if ``path`` cannot be written to.

    flag : the option that gives the path, for messages.
    as_json : whether --json also prints to standard output.
    """
    from gpubp.storage.atomic_file import check_writable

    if flag in ("--html", "--report") and path.suffix.lower() not in ("", ".html", ".htm"):
        raise click.UsageError(
            f"{flag} {path} has the suffix {path.suffix!r}, but an HTML page is written; give a "
            "name that ends in .html"
        )
    if is_stdout(path):
        if as_json:
            raise click.UsageError(
                f"{flag} {path} and --json both write to standard output; give a file, or leave "
                "one out"
            )
    elif (descriptor := _descriptor(path)) is None:
        check_writable(path)
    else:
        with _clear_errors(path):
            os.fstat(descriptor)


def refuse_stdout(flag: str, path: Path, why: str) -> None:
    """Raise UsageError if ``path`` is standard output.

    flag : the option that gives the path. why : the reason, a clause of the message.
    """
    if is_stdout(path):
        raise click.UsageError(f"{flag} {path} is standard output, but {why}; give a file")


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Yield the file at ``path`` for writing; a file that is already open continues where it is."""
    from gpubp.storage.atomic_file import atomic_write

    if (descriptor := _descriptor(path)) is not None:
        with os.fdopen(os.dup(descriptor), "w", encoding="utf-8", newline="") as file:
            yield file
        return
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Yield a text file to write to, in UTF-8 whatever the encoding of the terminal.

    path : None or "-" for standard output; else a file, replaced only when writing is complete.
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
    """Add the path to an OSError whose message does not name it."""
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
    """Redirect standard output to standard error if one of ``paths`` is standard output.

    Printed lines then do not mix with the file that is written to standard output.
    """
    if not any(map(is_stdout, paths)):
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def whole_or_beside(path: Path, whole: bool) -> Path:
    """Return ``path``; for an incomplete result that would replace a file, a free name next to it.

    whole : whether the result is complete.
    """
    return path if whole or is_stdout(path) or not path.is_file() else free_name(path, "part")


def free_name(path: Path, word: str) -> Path:
    """Return an unused path next to ``path``, with ``word`` in its name."""
    for number in count(1):
        ending = word if number == 1 else f"{word}-{number}"
        free = path.with_name(f"{path.stem}.{ending}{path.suffix}")
        if not free.exists():
            break
    return free
