"""Options and arguments that several commands share."""

from __future__ import annotations

import csv
import difflib
import glob
import math
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gpubp.cli.output_files import is_stdout
from gpubp.settings import MOST_THREADS, is_device_name

MOST_UNITS = 1_000_000  # per layer; the weights of such a layer do not fit in memory anyway

# Parameters of scikit-learn, and other frequent names, by the options of `gpubp train` they mean.
OPTIONS_MEANT = {
    **dict.fromkeys(("hidden-layer-sizes", "hidden-layers", "layers", "units"), ("hidden",)),
    **dict.fromkeys(("learning-rate-init", "eta"), ("lr",)),
    "learning-rate": ("lr", "schedule"),
    **dict.fromkeys(("max-iter", "max-epochs", "n-epochs", "iterations"), ("epochs",)),
    **dict.fromkeys(("early-stopping", "validation-fraction"), ("validation-size",)),
    "n-iter-no-change": ("patience",),
    "random-state": ("seed",),
    "optimizer": ("solver",),
    "batch": ("batch-size",),
    **dict.fromkeys(("l2", "penalty"), ("alpha",)),
    "n-jobs": ("threads",),
    **dict.fromkeys(("n-members", "n-estimators", "ensemble"), ("members",)),
    "output": ("out",),
}

F = TypeVar("F", bound=Callable[..., Any])


def split_names(text: str) -> list[str]:
    """Return the parts of ``text`` between commas; a part in double quotes may contain commas."""
    if '"' not in text:  # csv.reader gives no part for an empty text; split gives one
        return text.split(",")
    try:
        return next(csv.reader([text], skipinitialspace=True))
    except csv.Error:  # raised for line breaks
        return text.split(",")


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}  # of a unit of time


class Names(click.ParamType):  # type: ignore[type-arg]
    """Names separated by commas, as a tuple; a name with a comma is put in double quotes."""

    name = "COLUMN[,COLUMN]"
    takes_list = True  # the TOML file of --config may give a list

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the names in ``value``."""
        parts = split_names(value) if isinstance(value, str) else value
        names = tuple(part.strip() for part in parts)
        if not all(names):
            self.fail(f"{value!r} has an empty name; separate names by single commas", param, ctx)
        return names


class Repeatable(click.Option):
    """An option that may be given several times: its lists are joined; None if it is not given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"multiple": True}))

    def process_value(self, ctx: click.Context, value: Any) -> tuple[str, ...] | None:
        """Return the items of all lists given, in order; None if there are none."""
        return tuple(chain.from_iterable(super().process_value(ctx, value))) or None


class Sizes(click.ParamType):  # type: ignore[type-arg]
    """Numbers of units per hidden layer, separated by commas, as a tuple; () for "none"."""

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


class NearChoice(click.Choice):  # type: ignore[type-arg]
    """One of some names; an unknown name is refused with the nearest one."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return ``value``, one of the names."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            from gpubp.backprop.hyperparameter_spec import meant  # imports NumPy

            near = meant(value, self.choices)
            hint = f"; did you mean {near!r}?" if near else ""
            raise click.BadParameter(error.message.rstrip(".") + hint, ctx, param) from None


class WholeRange(click.IntRange):
    """A whole number in a range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number in ``value``."""
        try:
            int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number; give one", param, ctx)
        return super().convert(value, param, ctx)


THREADS = WholeRange(1, MOST_THREADS)


class FiniteRange(click.FloatRange):
    """A number in a range; NaN and infinity are refused."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the number in ``value``."""
        try:
            float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number; give one", param, ctx)
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number; give one", param, ctx)
        return number


def read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    """Set the defaults of this command's options to the values in a TOML file.

    path : the file; None does nothing.

    Raises BadParameter if the file cannot be read, is not TOML, or has an unknown key.
    """
    if path is None:
        return
    ctx.meta["config"] = path
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be read: {error.strerror}", ctx, param) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}", ctx, param) from None
    # A key is the long flag of an option, without "--", or the name of an argument.
    params = [p for p in ctx.command.get_params(ctx) if p is not param and p.name != "help"]
    known = {max(p.opts, key=len).lstrip("-"): p for p in params}
    defaults = {}
    for key, value in settings.items():
        option = key.replace("_", "-")
        if option not in known:
            meant = [name for name in OPTIONS_MEANT.get(option, ()) if name in known]
            near = meant or difflib.get_close_matches(option, known, n=1)
            names = " or ".join(map(repr, near))
            hint = f"did you mean {names}?" if near else f"give one of {sorted(known)}"
            raise click.BadParameter(f"{path}: unknown key {key!r}; {hint}", ctx, param)
        takes_list = getattr(known[option].type, "takes_list", False) or known[option].multiple
        if isinstance(value, dict) or (isinstance(value, list) and not takes_list):
            raise click.BadParameter(f"{path}: {key!r} is {value!r}; give one value", ctx, param)
        # Values become text, so that they pass the same checks as values of the flags.
        as_text = [str(item) for item in value] if isinstance(value, list) else str(value)
        is_whole = not isinstance(value, list) or isinstance(known[option], Repeatable)
        one_of_many = known[option].multiple and is_whole
        defaults[known[option].name] = [as_text] if one_of_many else as_text
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def refuse_input(flag: str, out: Path | None, *inputs: str | Path | None) -> None:
    """Raise UsageError if the output file would replace an input file.

    flag : the option that names the output, for the message. out : the output file, if any.
    inputs : paths or patterns of the files that the command reads.
    """
    if out is None or is_stdout(out) or not out.exists():
        return
    for path in inputs:
        for found in () if path is None else {str(path), *glob.glob(str(path))}:  # noqa: PTH207
            with suppress(OSError, ValueError):  # the file is missing, or the name is not a path
                if not out.samefile(found):
                    continue
                raise click.UsageError(f"{flag} {out} is also an input file; give another path")


def computing(command: F) -> F:
    """Add the options --device and --threads."""
    command = click.option(
        "--threads",
        type=THREADS,
        help="BLAS threads on the CPU.  [default: GPUBP_THREADS if set, else 1 for small networks "
        "and all cores for large ones]",
    )(command)
    return device_option(command)


def device_option(command: F) -> F:
    """Add the option --device."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        callback=_check_device,
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:N. auto takes GPUBP_DEVICE if it is set, else CUDA for large "
        "work if a device is available, else the CPU.",
    )(command)


def _check_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not is_device_name(value):
        raise click.BadParameter(f"must be auto, cpu, cuda or cuda:N, got {value!r}", ctx, param)
    return value


def ranks_options(command: F) -> F:
    """Add --comm and --reproducible, for processes that mpiexec has started."""
    command = click.option(
        "--reproducible",
        is_flag=True,
        expose_value=False,
        callback=_make_reproducible,
        help="Train the same network, to the bit, in 1, 2 and 4 processes. A step takes up to "
        "about twice as long.",
    )(command)
    return click.option(
        "--comm",
        type=click.Choice(["auto", "nccl", "mpi"]),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_choose_gradients,
        help="How the processes that mpiexec starts add up their gradients: by NCCL between GPUs, "
        "or by MPI through host memory. auto takes NCCL if it is installed and each process has "
        "a GPU of its own.",
    )(command)


def _choose_gradients(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    is_given = ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
    if value == "auto" and not is_given:
        return
    from gpubp.training.ranks import current_ranks

    if (ranks := current_ranks()) is not None and ranks.others:
        ranks.gradients = value
    elif is_given:
        raise click.BadParameter(
            "needs several processes; start them by 'mpiexec -n 4 gpubp train ...', or leave "
            "--comm out",
            ctx,
            param,
        )


def _make_reproducible(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from gpubp.distributed.communicator import SINGLE
    from gpubp.training.ranks import Ranks, current_ranks, ranks_in_use

    ranks = current_ranks()
    if ranks is None:
        ctx.with_resource(ranks_in_use(ranks := Ranks(SINGLE)))
    ranks.reproducible = True


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time such as 90s, 5m or 1.5h, in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the seconds in ``value``."""
        found = re.fullmatch(r"([0-9.]+) ?([smh]?)", str(value).strip().lower())
        try:
            seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < math.inf:
            self.fail(f"{value!r} is not a time above 0; give one, such as 60s, 5m or 2h")
        return seconds
