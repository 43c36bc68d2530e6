"""`python -m gpubp` and the `gpubp` command: run it, and turn errors into one line."""

from __future__ import annotations

import errno
import io
import sys
import traceback

try:
    import click

    from gpubp.cli import gpubp
    from gpubp.distributed.environment import launched
except KeyboardInterrupt:  # before there is a main to catch it
    sys.stderr.write("Interrupted.\n")
    sys.exit(130)

# `gpubp` without a command: help. click 8.1 has no such error and prints the help itself.
_NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())


def main(args: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 failure, 2 usage, 130 interrupted.

    SIGTERM gives 143 and SIGHUP 129.
    """
    _escape_what_the_terminal_lacks()
    return _run(args) if launched() is None else _run_on_ranks(args)


def _run_on_ranks(args: list[str] | None) -> int:
    """Run the command in the first of the processes that mpiexec has started."""
    from gpubp.distributed.launcher import LaunchError
    from gpubp.training.ranks import run_on_ranks

    try:
        code = run_on_ranks(lambda: _run(args), report=_report)
    except LaunchError as error:
        return _tell(str(error), 2) if error.is_first else 2
    return code or 0


def _report(error: BaseException) -> int:
    """Print an error, as one line if the user can fix it; return the exit code."""
    code = _code(error) if isinstance(error, Exception) else 1
    if isinstance(error, Exception) and code is not None:
        return _tell(_message(error), code)
    traceback.print_exception(error)
    return 1


def _run(args: list[str] | None) -> int:
    """Run the command in this process; return its exit code."""
    from gpubp.cli.signals import forget_signals

    forget_signals()
    try:
        result = gpubp.main(args, prog_name="gpubp", standalone_mode=False)
    except click.Abort:
        return _interrupted()
    except _NO_ARGUMENTS as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _tell(error.format_message(), error.exit_code)
    except Exception as error:
        if _is_interrupted_import(error):
            return _interrupted()
        code = _code(error)
        if code is None:
            raise
        return _tell(_message(error), code)
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    from gpubp.cli.signals import interrupt_code

    click.secho("Interrupted.", fg="red", err=True)
    return interrupt_code()


def _is_interrupted_import(error: Exception) -> bool:
    """Return whether an extension module failed to load because of a KeyboardInterrupt."""
    found: BaseException | None = error if isinstance(error, ImportError) else None
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__cause__ or found.__context__
    return found is not None


def _escape_what_the_terminal_lacks() -> None:
    r"""Print characters that the terminal's encoding lacks, and invalid ones, as \uXXXX."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # In UTF-8 the surrogates of a file name that is not text become the bytes that they were.
        if (stream.encoding.lower(), stream.errors) != ("utf-8", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _tell(message: str, code: int) -> int:
    """Print ``message`` as one red line on standard error; return ``code``."""
    click.secho(f"Error: {' '.join(message.split())}", fg="red", err=True)
    return code


def _message(error: Exception) -> str:
    """Return the message of an error; a full disk without a path is that of standard output."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return f"cannot write standard output or a temporary file: {error.strerror}; make room"
    return str(error) or type(error).__name__


def _code(error: Exception) -> int | None:
    """Return the exit code for an error that the user can fix, or None for a bug in gpubp."""
    # Imported here: these load NumPy, which `gpubp --help` need not wait for.
    from gpubp import (
        BackendUnavailableError,
        DataError,
        ExampleError,
        ExportError,
        ModelFileError,
    )
    from gpubp.estimators.checkpoint import CheckpointError
    from gpubp.settings import SettingError

    if isinstance(error, BackendUnavailableError | SettingError | CheckpointError):
        return 2
    of_user = DataError | ExampleError | ExportError | ModelFileError | OSError | MemoryError
    return 1 if isinstance(error, of_user) else None


if __name__ == "__main__":
    sys.exit(main())
