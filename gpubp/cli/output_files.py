"""What commands write: to files, devices and pipes, or to standard output by the name "-"."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import click

# To open those after - again would cut the file that a shell appends to.
STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)


class OutputPath(click.Path):
    """A path to write to; "-" is standard output, and ./- a file of that name."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, allow_dash=True)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path in ``value``."""
        path = super().convert(value, param, ctx)
        return Path.cwd() / "-" if path == Path("-") and str(value) != "-" else path


def is_stdout(path: Path | None) -> bool:
    """Return whether ``path`` is a name of standard output, or a link to one."""
    for _ in range(40):  # a link to itself has no end
        if path is None or path.as_posix() in STDOUT:
            return path is not None
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return False


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

    if not is_stdout(path):
        check_writable(path)
    elif as_json:
        raise click.UsageError(
            f"{flag} {path} and --json both go to standard output; give a file, or leave one out"
        )


def refuse_stdout(flag: str, path: Path, why: str) -> None:
    """Raise UsageError if ``path`` is standard output."""
    if is_stdout(path):
        raise click.UsageError(f"{flag} {path} is standard output, and {why}; give a file")


@contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """Yield standard output for None and "-", else a file that replaces ``path`` when it is whole.

    Both are in UTF-8, whatever the terminal has.
    """
    from gpubp.storage.atomic_file import atomic_write

    if path is None or is_stdout(path):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    try:
        with (
            atomic_write(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file
    except OSError as error:
        if error.errno not in _NO_ROOM:
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
