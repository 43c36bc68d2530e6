"""Options that say how a table is read, and which of its columns a model learns from."""

from __future__ import annotations

import codecs
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpubp.cli.options import Names, Repeatable, split_names

if TYPE_CHECKING:
    from gpubp.models.table_estimators import TableEstimator
    from gpubp.tables.read import ReadOptions
    from gpubp.tables.table import Table

F = TypeVar("F", bound=Callable[..., Any])

READING = ("delimiter", "decimal", "encoding", "no_header", "na", "query")
# Each is also a parameter of the encoder.
COLUMNS = {
    "drop": "Columns to leave out.",
    "features": "Columns to learn from, instead of all but the target.",
    "categorical": "Columns to take as categories, such as codes written as numbers.",
    "numeric": "Columns to take as numbers.",
    "date": "Columns to take as dates.",
}
SLOW_QUERY = 10  # seconds
# Codecs of Python that are for names of hosts and for its own literals.
NOT_OF_FILES = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
_NAMED = {r"\t": "\t", "tab": "\t", "space": " "}


class Delimiter(click.ParamType):  # type: ignore[type-arg]
    """One character between fields."""

    name = "CHARACTER"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the character in ``value``."""
        text: str = _NAMED.get(value, value)
        if len(text) != 1 or text in '"\r\n':
            self.fail(
                f"{value!r} is not one character between fields; give one, such as ';', or tab",
                param,
                ctx,
            )
        return text


class Encoding(click.ParamType):  # type: ignore[type-arg]
    """The name of an encoding of text that Python knows."""

    name = "ENCODING"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return ``value`` if it names an encoding of text."""
        try:
            codec = codecs.lookup(value)
        except (LookupError, ValueError):
            codec = None
        no_file = codec is not None and codec.name in NOT_OF_FILES
        if codec is None or no_file or not getattr(codec, "_is_text_encoding", True):
            self.fail(
                f"{value!r} is not an encoding; give one, such as latin-1 or utf-16", param, ctx
            )
        return str(value)


class Markers(click.ParamType):  # type: ignore[type-arg]
    """Cells that mean "no value", separated by commas; "" for the empty cell alone, as ("",)."""

    name = "VALUE[,VALUE]"
    takes_list = True  # in a TOML file

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the markers in ``value``."""
        parts = split_names(value) if isinstance(value, str) else value
        return tuple(part for part in map(str, parts) if part) or ("",)


def reading(command: F) -> F:
    """Add the options that say how DATA is read."""
    for option in reversed(
        (
            click.option("--delimiter", type=Delimiter(), help="Between fields.  [default: found]"),
            click.option(
                "--decimal",
                type=click.Choice([".", ","]),
                help="Decimal sign of numbers.  [default: found]",
            ),
            click.option("--encoding", type=Encoding(), help="Of the text.  [default: UTF-8]"),
            click.option("--no-header", is_flag=True, help="The first line is data, not names."),
            click.option(
                "--na",
                cls=Repeatable,
                type=Markers(),
                help="Cells that mean 'no value', besides '', NA, null, ?, - and the like; '' for "
                "the empty cell alone.",
            ),
            click.option(
                "--query",
                metavar="SQL",
                help="SELECT to run on the file, whose table is called data.",
            ),
        )
    ):
        command = option(command)
    return command


def choosing_columns(command: F) -> F:
    """Add the options that choose columns and say what they hold."""
    for name, text in reversed(COLUMNS.items()):
        more = " A name with a comma goes in an option of its own." if name == "drop" else ""
        option = click.option(
            f"--{name}", multiple=True, metavar="COLUMN[,COLUMN]", help=text + more
        )
        command = option(command)
    return command


def read_options(
    options: Mapping[str, Any], model: TableEstimator | None = None, data: str = ""
) -> ReadOptions:
    """Return how the command line says that ``data`` is read.

    model : gives the markers and the decimal sign of its training, where the options have none.
    """
    from gpubp.tables.read import DATASETS, ReadOptions

    asked = options["na"]
    stored = None if model is None or model.na is None else tuple(model.na)
    decimal = None if model is None or data in DATASETS else model.encoder_.decimal_
    return ReadOptions(
        delimiter=options["delimiter"],
        decimal=options["decimal"] or decimal,
        encoding=options["encoding"],
        header=False if options["no_header"] else None,
        na=stored if asked is None else asked,
        query=options["query"],
    )


@contextmanager
def strays_told() -> Iterator[None]:
    """Say at the end, in one line per column, which cells do not fit and count as empty."""
    from gpubp.tables.encoding.strays import StrayCellWarning, Strays

    found: dict[str, dict[str, Strays]] = {}  # by column, then by place: rows are encoded twice
    with warnings.catch_warnings():
        warnings.simplefilter("always", StrayCellWarning)
        show = warnings.showwarning

        def keep(message: Any, *others: Any) -> None:
            if not isinstance(message, StrayCellWarning):
                show(message, *others)
                return
            place = message.strays.place
            found.setdefault(place.partition(", column ")[2], {})[place] = message.strays

        warnings.showwarning = keep  # type: ignore[assignment]
        yield
    for strays in found.values():
        first = next(iter(strays.values()))
        click.echo(first.line(sum(each.count for each in strays.values())), err=True)


def read_data(
    data: str,
    options: ReadOptions | None = None,
    *,
    target_file: Path | None = None,
    targets: Sequence[str] | None = None,
    known: Sequence[str] = (),
    as_text: Sequence[str] = (),
) -> Table:
    """Return the table at the path ``data``, or the built-in data set of that name.

    targets, known, as_text : as `read_table` takes them.
    """
    from gpubp.tables.read import DATASETS, ReadOptions, load_dataset, read_table

    options = options or ReadOptions()
    if data not in DATASETS:  # a file that can be read has a suffix
        with told_if_slow(options):
            return read_table(
                data,
                options,
                target_file=target_file,
                targets=targets,
                known=known,
                as_text=as_text,
            )
    if target_file is not None:
        raise click.UsageError(f"--target-file goes with an .npy file, not with {data!r}")
    if options != ReadOptions(na=options.na):
        raise click.UsageError(
            f"{data!r} is a built-in data set, which takes no options of reading; leave them out"
        )
    table = load_dataset(data, options.missing)
    return replace(table, targets=tuple(targets)) if targets else table


@contextmanager
def told_if_slow(options: ReadOptions) -> Iterator[None]:
    """Say in a line on stderr that a query takes long, which may be an endless one."""
    text = f"the query has run for {SLOW_QUERY} s and goes on; Ctrl-C ends it"
    timer = threading.Timer(SLOW_QUERY, lambda: click.echo(text, err=True))
    timer.daemon = True
    if options.query is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def column_choices(
    options: Mapping[str, Any], table: Table, targets: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the parameters of the encoder that the options of columns set.

    A value is the name of a column, commas and all, or else names separated by commas.
    Raises UsageError for an empty name and for a target.
    """
    choices: dict[str, tuple[str, ...]] = {}
    for name in COLUMNS:
        found: dict[str, None] = {}
        for value in options[name]:
            found |= dict.fromkeys([value] if value in table.columns else _names(name, value))
        for target in targets:
            if target in found:
                raise click.UsageError(
                    f"--{name} names {target!r}, which is the target; leave it out, or take "
                    "another --target"
                )
        if found:
            choices[name] = tuple(found)
    return choices


def _names(option: str, value: str) -> tuple[str, ...]:
    try:
        return Names().convert(value, None, None)
    except click.BadParameter as error:
        raise click.UsageError(f"--{option}: {error.message}") from None
