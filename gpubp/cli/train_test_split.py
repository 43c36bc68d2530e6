"""Split the rows of `gpubp train` into training rows and test rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import numpy as np

    from gpubp.tables.table import Table


def split(
    table: Table, labels: np.ndarray | None, options: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the indices of the training rows and of the test rows; None for no test rows.

    labels : (n,) of a classification; None for a regression. If the test is large enough, the split
    is stratified by class, and a class with a single row is in the training rows.

    Raises UsageError if fewer than 2 rows are left to train on.
    """
    import numpy as np
    from sklearn.model_selection import train_test_split

    n, fraction = len(table), options["test_size"]
    n_test = math.ceil(n * fraction)
    if n_test == 0:
        return np.arange(n), None
    if n - n_test < 2:
        raise click.UsageError(
            f"--test-size {fraction} leaves {n - n_test} of {n} rows to train on; make it smaller"
        )
    drawn, alone, strata = np.arange(n), np.arange(0), None
    if labels is not None:
        _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
        repeats = counts[places] > 1
        if min(n_test, repeats.sum() - n_test) >= (counts > 1).sum() > 0:
            drawn, alone, strata = drawn[repeats], drawn[~repeats], labels[repeats]
    kept, tested = train_test_split(
        drawn, test_size=n_test, random_state=options["seed"], stratify=strata
    )
    return np.concatenate([kept, alone]), tested


def unseen_classes(labels: np.ndarray, test_labels: np.ndarray) -> str:
    """Return a sentence on classes that only test rows have; "" if there are none.

    The network cannot learn such classes.
    """
    unseen = sorted(set(test_labels.tolist()) - set(labels.tolist()))
    if not unseen:
        return ""
    names = ", ".join(repr(label) for label in unseen[:5]) + (", ..." if unseen[5:] else "")
    return (
        f"the only rows of {names} are in the test, so the network does not know "
        f"{'it' if len(unseen) == 1 else 'them'}; add rows, or use --test-size 0"
    )


def check_validation(n: int, labels: np.ndarray | None, options: dict[str, Any]) -> None:
    """Raise UsageError if the training rows are too few for training and validation.

    n : number of training rows. labels : (n,) of a classification; None for a regression.
    """
    import numpy as np

    fraction = options["validation_size"] or 0
    held_out = math.ceil(n * fraction)
    if fraction > 0 and not 2 <= held_out <= n - 2:
        raise click.UsageError(
            f"--validation-size {fraction} splits {n} rows into {n - held_out} and {held_out}; "
            "leave at least 2 rows in each part, or give 0 for no validation"
        )
    if labels is None:
        return
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) == 1:
        raise click.UsageError(
            f"--test-size {options['test_size']} leaves only rows of {classes[0].item()!r} to "
            "train on; use 0, or add rows of the other classes"
        )
    if fraction > 0 and len(classes) == 2 and counts.min() == 1:
        rare = classes[counts.argmin()].item()
        raise click.UsageError(
            f"--validation-size {fraction} needs 2 rows of each class to train on, but there is 1 "
            f"of {rare!r}; use 0, or add rows"
        )
