"""The options --checkpoint-every and --resume of `gpubp train`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from gpubp.estimators.checkpoint import Checkpoint
    from gpubp.tables.table import Table

F = TypeVar("F", bound=Callable[..., Any])

# Options that may differ in a run that goes on: the trained network stays the same, at most up to
# rounding.
FREE = {
    *("data", "target_file", "out", "quiet", "as_json", "checkpoint_every", "resume", "threads"),
    *("device", "compiled", "no_record", "csv", "html", "jobs", "backend", "scheduler"),
    *("report", "history"),
    "start",  # the model of --from, whose weights are compared
    "memory",  # compared as MEMORY, where it counts
}


MEMORY = "the memory of the run in bytes"


class _Every(click.ParamType):  # type: ignore[type-arg]
    """An interval such as 60s or 5epochs; "never"."""

    name = "INTERVAL"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the text in ``value``."""
        from gpubp.estimators.checkpoint import interval_of

        text = str(value).strip().lower()
        if text != "never":
            try:
                interval_of(text)
            except ValueError as error:
                self.fail(f"{error}; or never")
        return text


class _Resume(click.ParamType):  # type: ignore[type-arg]
    """ "auto", "never" or the path of a checkpoint."""

    name = "auto|never|PATH"

    def convert(self, value: Any, param: Any, ctx: Any) -> str | Path:
        """Return the word, or the path of a file that exists."""
        if value in ("auto", "never") or isinstance(value, Path):
            return value  # type: ignore[no-any-return]
        if not Path(value).is_file():
            self.fail(f"there is no checkpoint {value!r}; give auto, never or the path of one")
        return Path(value)


def checkpointing(command: F) -> F:
    """Add the options --checkpoint-every and --resume."""
    command = click.option(
        "--resume",
        type=_Resume(),
        default="auto",
        show_default=True,
        help="Whether to go on from the checkpoint of an interrupted run. auto: if it is of the "
        "same data and options. A PATH has to be.",
    )(command)
    return click.option(
        "--checkpoint-every",
        type=_Every(),
        default="60s",
        show_default=True,
        help="Interval between two checkpoints, from which a run that is interrupted or killed "
        "goes on: a time such as 60s or 5m, or a number of epochs such as 5epochs; never for none.",
    )(command)


def checkpoint_path(out: Path) -> Path:
    """Return the path of the checkpoint of the run whose model is saved at ``out``."""
    return out.with_name(f"{out.name}.checkpoint")


def memory_before(options: Mapping[str, Any]) -> int | None:
    """Return the bytes of memory of the run that may go on, if its table was larger; else None."""
    from gpubp.estimators.checkpoint_file import read_checkpoint
    from gpubp.storage.model_file import ModelFileError

    resume = options["resume"]
    path = checkpoint_path(options["out"]) if resume == "auto" else Path(resume)
    if resume == "never" or not path.is_file():
        return None
    try:
        found = read_checkpoint(path).settings.get(MEMORY)
    except ModelFileError:  # told later
        return None
    return found if isinstance(found, int) else None


def shape_of_table(table: Table) -> dict[str, Any]:
    """Return the number of rows and the columns of a table, as a checkpoint tells them."""
    columns = ", ".join(table.columns)
    return {"the number of rows of the table": len(table), "the columns of the table": columns}


def checkpoint_for(options: Mapping[str, Any], about: Mapping[str, Any]) -> Checkpoint | None:
    """Return where the run of ``options`` saves its state; None for nowhere.

    about : what a run that goes on has to have in common, besides the options.

    Raises UsageError for options of checkpoints that have no effect.
    """
    from gpubp.estimators.training_identity import jsonable
    from gpubp.storage.atomic_file import is_stream

    out, every, resume = options["out"], options["checkpoint_every"], options["resume"]
    if is_stream(out) or options["solver"] == "lbfgs":
        why = f"-o {out} is not a file" if is_stream(out) else "--solver lbfgs has no steps"
        _refuse_given(f"there are no checkpoints, as {why}")
        return None
    if every == "never" and resume == "never":
        return None
    every = math.inf if every == "never" else every
    made = _by_command(out, every=every, resume=resume)
    made.settings = {
        "--from" if name == "start_from" else f"--{name.replace('_', '-')}": jsonable(_text(value))
        for name, value in options.items()
        if name not in FREE
    }
    made.settings |= about
    if options["quiet"]:  # which hides the notes
        made.warn = _warn
    return made


def check_place(out: Path) -> None:
    """Raise CheckpointError if a checkpoint of the run would replace another file."""
    from gpubp.estimators.checkpoint_run import check_path
    from gpubp.storage.atomic_file import is_stream

    if not is_stream(out):
        check_path(_by_command(out))


def checkpoint_of_best(estimator: Any, params: Mapping[str, Any], out: Path) -> Checkpoint | None:
    """Return where `gpubp sweep` saves the state of the training of the best trial.

    params : of the trial, for ``estimator``. None: nowhere.
    """
    from gpubp.storage.atomic_file import is_stream

    if is_stream(out) or params.get("solver", estimator.solver) == "lbfgs":
        return None
    made = _by_command(out)
    made.warn = _warn  # the training prints no notes
    return made


def _by_command(out: Path, **given: Any) -> Checkpoint:
    """Return the checkpoint of the run whose model is saved at ``out``; given : its arguments."""
    from gpubp.estimators.checkpoint import Checkpoint

    made = Checkpoint(checkpoint_path(out), **given)
    made.by_command = True
    return made


def _warn(line: str) -> None:
    click.echo(line, err=True)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _refuse_given(why: str) -> None:
    """Raise UsageError if an option of checkpoints was given on the command line."""
    context = click.get_current_context()
    for name in ("checkpoint_every", "resume"):
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and context.params[name] != "never":
            raise click.UsageError(f"{why}; leave out --{name.replace('_', '-')}")


def tell_interrupted(checkpoint: Checkpoint | None, needed: str | None = None) -> None:
    """Print on stderr how to go on with an interrupted run, if it has a checkpoint.

    needed : the option by which the command goes on; None for --resume auto, if need be.
    """
    if checkpoint is not None and checkpoint.path.is_file():
        if needed is None:
            by_itself = _same(checkpoint.source, checkpoint.path)
            needed = "" if by_itself else "--resume auto"
        how = f" with {needed}" if needed else ""
        click.echo(f"the same command{how} goes on from {checkpoint.path}", err=True)


def _same(source: Path | None, path: Path) -> bool:
    return source is not None and source.exists() and source.samefile(path)


def remove(checkpoint: Checkpoint | None) -> None:
    """Remove the checkpoint of a run that has ended, if there is one."""
    if checkpoint is not None:
        checkpoint.remove()
