"""The rows of `gpubp train`: which train, which are kept for the test, which validate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gpubp.reports.terminal import Report
    from gpubp.tables.table import Table


def note_unseen(rows: Table, test_rows: Table, class_column: str, report: Report) -> None:
    """Say which classes have rows in the test alone, so that the network does not learn them."""
    unseen = sorted(set(test_rows.labels(class_column)) - set(rows.labels(class_column)))
    if unseen:
        names = ", ".join(str(label) for label in unseen[:5]) + (", ..." if unseen[5:] else "")
        report.note(
            f"the only rows of {names} are in the test, so the network does not know "
            f"{'it' if len(unseen) == 1 else 'them'}; add rows, or take --test-size 0"
        )


def split(
    table: Table, class_column: str | None, options: dict[str, Any]
) -> tuple[Table, Table | None]:
    """Return the rows to train on and those kept for the test, each class in proportion."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    n, fraction = len(table), options["test_size"]
    n_test = math.ceil(n * fraction)
    if n_test == 0:
        return table, None
    if n - n_test < 2:
        raise click.UsageError(
            f"--test-size {fraction} leaves {n - n_test} of {n} rows to train on; make it smaller"
        )
    strata = None
    if class_column is not None:
        labels = table.labels(class_column)
        counts = np.unique(labels, return_counts=True)[1]
        if counts.min() > 1 and min(n_test, n - n_test) >= len(counts):
            strata = labels
    index = np.arange(n)
    kept, tested = train_test_split(
        index, test_size=n_test, random_state=options["seed"], stratify=strata
    )
    return table.take(kept), table.take(tested)


def count_held_out(rows: Table, class_column: str | None, options: dict[str, Any]) -> int:
    """Return how many of the training rows validate; UsageError where training needs more rows."""
    import numpy as np

    n, fraction = len(rows), options["validation_size"]
    held_out: int = math.ceil(n * fraction)
    if fraction > 0 and not 2 <= held_out <= n - 2:
        raise click.UsageError(
            f"--validation-size {fraction} splits {n} rows into {n - held_out} and {held_out}; "
            "give at least 2 to each, or 0 for no validation"
        )
    if class_column is None:
        return held_out
    classes, counts = np.unique(rows.labels(class_column), return_counts=True)
    if len(classes) == 1:
        raise click.UsageError(
            f"--test-size {options['test_size']} leaves only rows of {classes[0].item()!r} to "
            "train on; make it 0, or give more rows of the other classes"
        )
    if fraction > 0 and len(classes) == 2 and counts.min() == 1:
        rare = classes[counts.argmin()].item()
        raise click.UsageError(
            f"--validation-size {fraction} needs 2 rows of each class to train on, but there is 1 "
            f"of {rare!r}; make it 0, or give more rows"
        )
    return held_out
