"""`gpubp convert`: write a table to a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpubp.cli.completion import DATA
from gpubp.cli.memory_options import memory_option, size_text
from gpubp.cli.options import refuse_input
from gpubp.cli.output_files import OutputPath, refuse_stdout
from gpubp.cli.signals import signals_as_interrupts
from gpubp.cli.table_input import read_options, reading, told_if_slow


@click.command()
@click.argument("data", type=DATA)
@click.argument("out", type=OutputPath())
@reading
@memory_option(
    "Memory for the conversion, such as 500MB; beyond that, temporary files are used.  "
    "[default: half of the free memory]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def convert(data: str, out: Path, as_json: bool, **options: Any) -> None:
    """Write the rows of DATA to the Parquet file OUT, in bounded memory.

    \b
    gpubp convert big.csv big.parquet

    DATA is a file of any kind that gpubp train reads. Numbers, text and missing values are found as
    gpubp train finds them, so a model learns the same from OUT, which is smaller, and is read
    faster and block by block.
    """
    from gpubp.reports.terminal import to_json
    from gpubp.tables.write import is_parquet

    refuse_stdout("OUT", out, "a Parquet file is binary")
    if not is_parquet(out):
        raise click.UsageError(
            f"OUT {out} has the suffix {out.suffix!r}, but a Parquet file is written; give a name "
            "that ends in .parquet"
        )
    refuse_input("OUT", out, data)
    with signals_as_interrupts(), told_if_slow(read_options(options)):
        rows, columns, notes = _written(data, out, options)
    before, after = _bytes_of(data), out.stat().st_size
    if as_json:
        found = {"data": data, "out": str(out), "rows": rows, "columns": columns}
        click.echo(to_json(found | {"bytes_before": before, "bytes": after}))
        return
    for note in notes:
        click.echo(note, err=True)
    was = "" if before is None else f", {size_text(before)}"
    click.echo(
        f"{data}: {rows:,} row{'s' * (rows != 1)}, {columns:,} column{'s' * (columns != 1)}{was}; "
        f"{out}: {size_text(after)}"
    )


def _written(data: str, out: Path, options: dict[str, Any]) -> tuple[int, int, tuple[str, ...]]:
    """Write the file; return its rows and columns, and lines for the user."""
    from gpubp.cli.table_input import read_data
    from gpubp.tables.column import NumberColumn
    from gpubp.tables.files.input_files import ARRAY_SUFFIXES, suffix_of
    from gpubp.tables.files.to_parquet import to_parquet
    from gpubp.tables.read import DATASETS
    from gpubp.tables.write import write_parquet
    from gpubp.training.host_memory import free_memory

    asked = read_options(options)
    if data in DATASETS or (data != "-" and suffix_of(data) in ARRAY_SUFFIXES):
        table = read_data(data, asked)
        cells = {
            name: column.values if isinstance(column, NumberColumn) else column.texts()
            for name, column in table.columns.items()
        }
        write_parquet(out, [cells])
        return len(table), len(cells), table.notes
    room = options["memory"] or free_memory() // 2
    found = to_parquet(data, out, asked, room)
    return found.rows, found.columns, found.notes


def _bytes_of(data: str) -> int | None:
    """Return the size of the files of a path or pattern; None for other data."""
    from gpubp.tables.files.input_files import find_paths
    from gpubp.tables.read import DATASETS

    if data == "-" or data in DATASETS:
        return None
    return sum(path.stat().st_size for path in find_paths(data))
