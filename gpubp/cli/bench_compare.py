"""`gpubp bench compare`: which cases have changed in speed between two results files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpubp.cli.bench_run import results_in
from gpubp.cli.options import FiniteRange

if TYPE_CHECKING:
    from gpubp.bench.results import Part


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--threshold",
    type=FiniteRange(0, 10),
    default=0.05,
    show_default=True,
    help="Smallest relative change that counts, even if there is less noise.",
)
def compare(old: Path, new: Path, threshold: float) -> int:
    """Show which cases are faster or slower in NEW than in OLD, two results files of one suite.

    A change counts if it is larger than the noise of the two files. The exit code is 1 if gpubp is
    slower in a case, or if NEW lacks a case of gpubp.
    """
    from gpubp.bench.comparison import compared, comparison_table, has_become_worse

    before, after = _part(old), _part(new)
    changes = compared(before, after, threshold=math.log1p(threshold))
    click.echo(comparison_table(before, after, changes))
    return int(has_become_worse(changes))


def _part(path: Path) -> Part:
    """Return the results in the file at ``path``."""
    from gpubp.bench.saved_runs import is_run

    if not path.exists():
        raise click.UsageError(f"{str(path)!r} does not exist; give a file of gpubp bench")
    found = [part for part in results_in(path).values() if is_run(part)]
    if len(found) != 1:
        raise click.UsageError(
            f"{str(path)!r} does not have the speeds of one suite; give a file of gpubp bench"
        )
    return found[0]
