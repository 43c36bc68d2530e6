"""Options for reading a table and for choosing the columns that a model learns from."""

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

from gpubp.cli.options import Names, NearChoice, Repeatable, split_names

if TYPE_CHECKING:
    from gpubp.models.table_estimators import TableEstimator
    from gpubp.tables.read import ReadOptions
    from gpubp.tables.table import Table

F = TypeVar("F", bound=Callable[..., Any])

READING = ("delimiter", "decimal", "encoding", "no_header", "na", "query")
# Each is also a parameter of the encoder.
COLUMNS = {
    "drop": "Columns to leave out.",
    "features": "Columns to learn from.  [default: all but the target]",
    "categorical": "Columns to treat as categories, such as codes written as numbers.",
    "numeric": "Columns to treat as numbers.",
    "date": "Columns to treat as dates. NAME:dmy or NAME:mdy gives the order of day and month.",
}
SLOW_QUERY = 10  # seconds
# Python codecs for host names and for string literals, which are not encodings of files.
NOT_OF_FILES = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
_NAMED = {r"\t": "\t", "tab": "\t", "space": " "}


class Delimiter(click.ParamType):  # type: ignore[type-arg]
    """The character between fields; also "tab", "space" or "\\t"."""

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
    """The name of a text encoding known to Python."""

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
    """Cells that mean "no value", separated by commas, as a tuple.

    An empty text gives ("",): only empty cells mean "no value".
    """

    name = "VALUE[,VALUE]"
    takes_list = True  # the TOML file of --config may give a list

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the markers in ``value``."""
        parts = split_names(value) if isinstance(value, str) else value
        return tuple(part for part in map(str, parts) if part) or ("",)


def reading(command: F) -> F:
    """Add the options for reading DATA."""
    for option in reversed(
        (
            click.option(
                "--delimiter",
                type=Delimiter(),
                help="Character between fields, or tab.  [default: detected]",
            ),
            click.option(
                "--decimal",
                type=click.Choice([".", ","]),
                help="Decimal sign of numbers.  [default: detected]",
            ),
            click.option("--encoding", type=Encoding(), help="Text encoding.  [default: UTF-8]"),
            click.option(
                "--no-header", is_flag=True, help="The first line is data, not column names."
            ),
            click.option(
                "--na",
                cls=Repeatable,
                type=Markers(),
                help="More cells that mean 'no value', in addition to '', NA, null, ?, - and "
                "similar ones. --na '' counts only empty cells as 'no value'.",
            ),
            click.option(
                "--query",
                metavar="SQL",
                help="SELECT statement whose rows are used. The table is called data; in a DuckDB "
                "file, tables have their own names.",
            ),
        )
    ):
        command = option(command)
    return command


def choosing_columns(command: F) -> F:
    """Add the options that choose columns, set their kinds, and scale numbers."""
    command = click.option(
        "--scaling",
        type=NearChoice(["standard", "robust"]),
        help="How to scale numbers. standard: by mean and standard deviation. robust: by median "
        "and interquartile range, with outliers clipped smoothly.  [default: robust with preset "
        "tuned, else standard]",
    )(command)
    for name, text in reversed(COLUMNS.items()):
        more = " A name that contains a comma needs a --drop of its own." if name == "drop" else ""
        option = click.option(
            f"--{name}", multiple=True, metavar="COLUMN[,COLUMN]", help=text + more
        )
        command = option(command)
    return command


def read_options(
    options: Mapping[str, Any], model: TableEstimator | None = None, data: str = ""
) -> ReadOptions:
    """Return the options for reading a table.

    options : of the command line. model : its missing-value markers and its decimal sign are used
    where ``options`` has none. data : path or name of the table.
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
    """Print on stderr, at the end, one line per column with cells that count as empty.

    Cells count as empty if they do not fit the kind of their column.
    """
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

    The other arguments are those of `read_table`.
    """
    from gpubp.tables.read import DATASETS, ReadOptions, load_dataset, read_table

    options = options or ReadOptions()
    if data not in DATASETS:  # no file has such a name: readable files have a suffix
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
            f"{data!r} is a built-in data set, which takes no options for reading; leave them out"
        )
    table = load_dataset(data, options.missing)
    return replace(table, targets=tuple(targets)) if targets else table


@contextmanager
def told_if_slow(options: ReadOptions) -> Iterator[None]:
    """Print a line on stderr if a query takes long, since it may never end."""
    text = f"the query is still running after {SLOW_QUERY} s; Ctrl-C stops it"
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
    """Return the parameters of the encoder set by --drop, --features and the like.

    A value is the name of one column, which may contain commas, or names separated by commas.

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
                    f"--{name} names {target!r}, which is the target; leave it out, or choose "
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
