"""`python -m gpubp` and the `gpubp` command: run it, and turn errors into one line."""

from __future__ import annotations

import os
import sys

import click

from gpubp.cli import gpubp


def main(args: list[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 failure, 2 usage, 130 interrupted."""
    try:
        result = gpubp.main(args, prog_name="gpubp", standalone_mode=False)
    except click.Abort:
        click.secho("Interrupted.", fg="red", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:  # the reader of a pipe has gone, which is its right
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (for the flush at exit)
        return 0
    except Exception as error:
        code = _code(error)
        if code is None:
            raise
        reason = " ".join(str(error).split())
        click.secho(f"Error: {reason}", fg="red", err=True)
        return code
    return result if isinstance(result, int) else 0


def _code(error: Exception) -> int | None:
    """Return the exit code for an error that a user can mend, or None for a defect of ours."""
    # Imported here: these load NumPy, which `gpubp --help` need not wait for.
    from gpubp import BackendUnavailableError, DataError, ModelFileError

    if isinstance(error, BackendUnavailableError):
        return 2
    if isinstance(error, DataError | ModelFileError | OSError | MemoryError):
        return 1
    return None


if __name__ == "__main__":
    sys.exit(main())
