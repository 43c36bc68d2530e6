"""Rows held out of training: drawn from those to train on, or given beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from gpubp.training.data import TrainingData


def hold_out(
    rows: TrainingData, part: float, strata: np.ndarray | None, rng: np.random.RandomState
) -> tuple[TrainingData, TrainingData]:
    """Return the rows to train on and those to hold out, as scikit-learn draws them.

    part : of the rows, to hold out. strata : (n,), what both keep in proportion; None for nothing.
    """
    kept, held = train_test_split(
        np.arange(len(rows.X)), random_state=rng, test_size=part, stratify=strata
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of "
            "your dataset."
        )
    return rows.take(kept), rows.take(held)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Put ``what`` before the text of a ValueError or TypeError that is raised inside."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what}: {error}") from None


def check_columns(y_val: Any, trained: tuple[int, ...]) -> None:
    """Raise a ValueError where ``y_val`` has not as many columns as y, of shape ``trained``."""
    with named("y_val"):
        given = np.shape(y_val)
    if len(given) not in (1, 2):
        return  # scikit-learn says what is wrong
    columns, wanted = ((*shape, 1)[1] for shape in (given, trained))
    if columns != wanted:
        raise ValueError(
            f"y_val of shape {given} has {columns} column{'s' * (columns != 1)}, but y of shape "
            f"{trained} has {wanted}; pass the same columns as in y"
        )
