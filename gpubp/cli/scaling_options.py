"""The options of `gpubp doctor --scaling`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gpubp.cli.options import MOST_UNITS, FiniteRange, WholeRange, computing

MOST_BATCH, MOST_DEVICES = 1 << 24, 1 << 20
LINK_NAMES = ("shared-memory", "ethernet", "infiniband", "nvlink")
ASSUMED = "ethernet"  # the link if none is measured or given
F = TypeVar("F", bound=Callable[..., Any])


class LayerSizes(click.ParamType):  # type: ignore[type-arg]
    """Units per layer from inputs to outputs, separated by hyphens, as a tuple."""

    name = "N-N[-N]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the sizes in ``value``."""
        sizes = value if isinstance(value, tuple) else _numbers(value, "-", MOST_UNITS)
        if len(sizes) < 2:
            self.fail(
                f"{value!r} is not a network; give the units per layer from inputs to outputs, "
                f"whole numbers from 1 to {MOST_UNITS:,}, such as 784-512-10",
                param,
                ctx,
            )
        return sizes


class DeviceCounts(click.ParamType):  # type: ignore[type-arg]
    """Numbers of devices, separated by commas, as a sorted tuple."""

    name = "N[,N]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Return the numbers in ``value``."""
        counts = value if isinstance(value, tuple) else _numbers(value, ",", MOST_DEVICES)
        if not counts:
            self.fail(
                f"{value!r} is not a list of numbers of devices; give whole numbers from 1 to "
                f"{MOST_DEVICES:,}, such as 1,2,4",
                param,
                ctx,
            )
        return tuple(sorted(set(counts)))


def _numbers(text: str, separator: str, most: int) -> tuple[int, ...]:
    """Return the numbers in ``text``; () if one is not a whole number from 1 to ``most``."""
    parts = [part.strip() for part in text.split(separator)]
    if not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        return ()
    numbers = tuple(map(int, parts))
    return numbers if all(1 <= number <= most for number in numbers) else ()


_OPTIONS = (
    click.option(
        "--scaling",
        is_flag=True,
        help="Show how training steps scale with the number of devices, by a model; the options "
        "below belong to it.",
    ),
    click.option(
        "--network",
        type=LayerSizes(),
        default="784-512-512-10",
        show_default=True,
        help="Units per layer from inputs to outputs.",
    ),
    click.option(
        "--batch",
        type=WholeRange(1, MOST_BATCH),
        default=1024,
        show_default=True,
        metavar="N",
        help="Rows of a step, over all devices.",
    ),
    click.option(
        "--devices",
        "counts",
        type=DeviceCounts(),
        help="Numbers of devices.  [default: 1,2,4 and so on up to 1,024]",
    ),
    click.option(
        "--link",
        type=click.Choice(LINK_NAMES),
        help="Network between the devices, with assumed figures.  [default: measured if several "
        f"ranks run, else {ASSUMED}]",
    ),
    click.option(
        "--latency",
        type=FiniteRange(0.001, 1e6),
        metavar="US",
        help="Latency in microseconds, instead of that of --link.",
    ),
    click.option(
        "--bandwidth",
        type=FiniteRange(0.001, 1e5),
        metavar="GB/S",
        help="Bandwidth in GB/s, instead of that of --link.",
    ),
    computing,
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
)


def scaling_options(command: F) -> F:
    """Add --scaling and the options that need it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def refuse_without_scaling(ctx: click.Context) -> None:
    """Raise UsageError if an option that needs --scaling was given."""
    for param in ctx.command.params:
        given = ctx.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if given and param.name not in ("verbose", "scaling"):
            raise click.UsageError(f"{param.opts[0]} needs --scaling; add it, or leave it out")
