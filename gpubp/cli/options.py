"""Options and arguments that several commands share."""

from __future__ import annotations

import csv
import difflib
import glob
import math
import tomllib
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click

from gpubp.cli.output_files import is_stdout
from gpubp.settings import is_device_name

MOST_UNITS = 1_000_000  # of a layer: its weights fit in no memory long before

F = TypeVar("F", bound=Callable[..., Any])


def split_names(text: str) -> list[str]:
    """Return the parts between commas; a part in double quotes may hold some itself."""
    if '"' not in text:  # which csv would take for no part at all, if it is empty
        return text.split(",")
    try:
        return next(csv.reader([text], skipinitialspace=True))
    except csv.Error:  # of line breaks
        return text.split(",")


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names separated by commas, as a tuple; a name with a comma is quoted by "..."."""

    name = "COLUMN[,COLUMN]"
    takes_list = True  # in a TOML file

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the names in ``value``."""
        parts = split_names(value) if isinstance(value, str) else value
        names = tuple(part.strip() for part in parts)
        if not all(names):
            self.fail(f"{value!r} has an empty name; separate names by single commas", param, ctx)
        return names


class Repeatable(click.Option):
    """An option whose lists add up where it is given several times; None without any."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"multiple": True}))

    def process_value(self, ctx: click.Context, value: Any) -> tuple[str, ...] | None:
        """Return all that the option was given, one behind the other."""
        return tuple(chain.from_iterable(super().process_value(ctx, value))) or None


class Sizes(click.ParamType):  # type: ignore[type-arg]
    """Units of the hidden layers, separated by commas, as a tuple; "none" is ()."""

    name = "N[,N]"
    takes_list = True

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the sizes in ``value``."""
        if value == "none":
            return ()
        parts = value.split(",") if isinstance(value, str) else value
        try:
            sizes = tuple(int(part) for part in parts)
        except ValueError:
            sizes = (0,)
        if min(sizes, default=1) < 1 or max(sizes, default=1) > MOST_UNITS:
            self.fail(
                f"{value!r} is not a list of layer sizes; give whole numbers from 1 to "
                f"{MOST_UNITS:,}, such as 128,64, or none",
                param,
                ctx,
            )
        return sizes


class FiniteRange(click.FloatRange):
    """A number in a range, which NaN and infinity are not."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number in ``value``."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number; give one", param, ctx)
        return number


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Take the defaults of this command's options from a TOML file."""
    if path is None:
        return
    ctx.meta["config"] = path
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}", ctx, param) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}", ctx, param) from None
    # An option goes by its long flag; an argument by its name.
    params = [p for p in ctx.command.get_params(ctx) if p is not param and p.name != "help"]
    known = {max(p.opts, key=len).lstrip("-"): p for p in params}
    defaults = {}
    for key, value in settings.items():
        option = key.replace("_", "-")
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it may be one of {sorted(known)}"
            raise click.BadParameter(f"{path}: unknown key {key!r}; {hint}", ctx, param)
        takes_list = getattr(known[option].type, "takes_list", False) or known[option].multiple
        if isinstance(value, dict) or (isinstance(value, list) and not takes_list):
            raise click.BadParameter(f"{path}: {key!r} is {value!r}; give one value", ctx, param)
        # As text, so that a value passes the checks that the flag's would.
        as_text = [str(item) for item in value] if isinstance(value, list) else str(value)
        is_whole = not isinstance(value, list) or isinstance(known[option], Repeatable)
        one_of_many = known[option].multiple and is_whole
        defaults[known[option].name] = [as_text] if one_of_many else as_text
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def refuse_input(flag: str, out: Path | None, *inputs: str | Path | None) -> None:
    """Raise UsageError if the file ``out``, which ``flag`` names, is one of those that are read."""
    if out is None or is_stdout(out) or not out.exists():
        return
    for path in inputs:
        for found in () if path is None else {str(path), *glob.glob(str(path))}:  # noqa: PTH207
            with suppress(OSError, ValueError):  # no such file, or no name of one
                if not out.samefile(found):
                    continue
                raise click.UsageError(f"{flag} {out} is a file that is read; give another path")


def computing(command: F) -> F:
    """Add the options that say where and how to compute."""
    command = click.option(
        "--threads",
        type=click.IntRange(1, 4096),
        help="BLAS threads on the CPU.  [default: GPUBP_THREADS; else 1 for small networks, or "
        "all]",
    )(command)
    return device_option(command)


def device_option(command: F) -> F:
    """Add the option that says where to compute."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        callback=_check_device,
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N; auto is GPUBP_DEVICE if that is set.",
    )(command)


def _check_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not is_device_name(value):
        raise click.BadParameter(f"must be auto, cpu, cuda or cuda:N, got {value!r}", ctx, param)
    return value
