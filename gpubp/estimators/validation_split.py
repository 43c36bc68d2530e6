"""Validation rows: held out of the training rows, or passed to fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from gpubp.backprop.solvers import STEPWISE
from gpubp.training.data import TrainingData

TOO_SMALL = (
    "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
)


def hold_out(
    rows: TrainingData,
    part: float,
    strata: np.ndarray | None,
    rng: np.random.RandomState,
    *,
    train_on_lone: bool = False,
) -> tuple[TrainingData, TrainingData]:
    """Split ``rows`` into training and validation rows, as scikit-learn draws them.

    part : the fraction of the rows to hold out. strata : (n,), the classes by which to stratify;
    None for none. train_on_lone : whether the only row of a stratum is never held out; if False,
    it raises ValueError as in scikit-learn.
    """
    places = np.arange(len(rows.X))
    lone = _lone(strata) if train_on_lone and strata is not None else places[:0]
    if lone.size:  # nothing is left to stratify by
        places, strata = np.delete(places, lone), None
        if part * len(places) <= 1:
            raise ValueError(TOO_SMALL)
    kept, held = train_test_split(places, random_state=rng, test_size=part, stratify=strata)
    if len(held) < 2:
        raise ValueError(TOO_SMALL)
    return rows.part(np.concatenate([kept, lone])), rows.take(held)


def _lone(strata: np.ndarray) -> np.ndarray:
    """Return the indices of the rows that are the only one of their stratum."""
    _, first, rows = np.unique(strata, return_index=True, return_counts=True)
    lone: np.ndarray = first[rows == 1]
    return lone


def check_given(estimator: Any, X: Any, y: Any) -> None:
    """Raise ValueError unless ``estimator`` can use X and y, validation rows passed to fit."""
    if X is None or y is None:
        raise ValueError(
            "X_val and y_val go together; give both, or neither, and sample_weight_val only with "
            "them"
        )
    if not estimator.early_stopping or estimator.solver == "lbfgs":
        raise ValueError(
            "X_val and y_val require early_stopping=True and a solver among "
            f"{sorted(STEPWISE)}, got early_stopping={estimator.early_stopping!r} and "
            f"solver={estimator.solver!r}; set these, or leave X_val and y_val out"
        )


@contextmanager
def named(what: str) -> Iterator[None]:
    """Put ``what`` before the message of a ValueError or TypeError of the with block."""
    try:
        yield
    except (ValueError, TypeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{what}: {error}") from None


def check_columns(y_val: Any, trained: tuple[int, ...]) -> None:
    """Raise ValueError unless ``y_val`` has as many columns as y, of shape ``trained``."""
    with named("y_val"):
        given = np.shape(y_val)
    if len(given) not in (1, 2):
        return  # scikit-learn raises a ValueError later
    columns, wanted = ((*shape, 1)[1] for shape in (given, trained))
    if columns != wanted:
        raise ValueError(
            f"y_val of shape {given} has {columns} column{'s' * (columns != 1)}, but y of shape "
            f"{trained} has {wanted}; pass the same columns as in y"
        )
