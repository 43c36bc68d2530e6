"""How to train on a table where nobody says how: one rule, by the number of rows.

bench/NOTES.md, "The recipe for tables", has what was tried and what it gave; bench/quality.py
measures it against scikit-learn's MLP.
"""

from __future__ import annotations

from math import log2
from typing import Any, Literal

Task = Literal["classification", "regression"]

HELD_OUT_FROM = 5000  # rows; fewer lose more by a tenth held out than the best epoch gains
HELD_OUT_PER_CLASS = 1000  # few classes need it sooner: the log loss of noisy ones doubles without
# Weight decay is 1 up to so many rows, and falls as 1 / rows from there. Without rows held out, it
# alone keeps the noise of two classes from being learned by heart.
DECAYED_ROWS, DECAYED_ROWS_OF_CLASSES = 300, 3000  # the latter / classes
EPOCHS, LEAST_EPOCHS = 60, 10
MOST_STEPS = 20_000  # of the optimizer, for up to 1,000 columns: half a minute on one core
CLIP_NORM = (
    0.1  # of a regression: below nearly every gradient, so that no outlier takes a long step
)
LEAST_DROPOUT = 0.03  # masks take a third of a step's time, so that a lower rate is none
# What the rule's own solver and schedule take; another solver has defaults of its own.
RATES = {
    "solver": "adamw",
    "learning_rate": "cosine",
    "learning_rate_init": 0.004,
    "alpha": 0.0,
}


def recipe(
    task: Task, n_rows: int, n_columns: int, n_outputs: int, *, solver: str | None = None
) -> dict[str, Any]:
    """Return parameters of MLPClassifier or MLPRegressor for a table, by their names.

    n_rows : to train on, rows to validate on included. n_columns : of the encoded rows.
    n_outputs : classes, or targets. solver : the one that was asked for, if any; what only the
    recipe's own is to have is left out for another.

    Few rows are soon known by heart: they get weight decay and dropout, which fall as 1 / n_rows.
    Decay falls later for few classes, whose rows say less. Many rows have a tenth held out:
    training stops after half the epochs without improvement, and the epoch with the best loss, or
    R², is kept. Fewer rows are all trained on, to the end of the schedule, whose last epochs are
    the best ones. Targets of a regression are to be standardised.
    """
    parameters: dict[str, Any] = {"hidden_layer_sizes": (256,)}
    if solver == "lbfgs":
        return parameters
    least = _power_of_two(n_rows / 4, 8, 32)  # so that an epoch of few rows has several steps
    batch_size = _power_of_two(max(n_rows / 40, n_columns / 8), least, 256)
    most = MOST_STEPS * min(1, 1000 / n_columns) * batch_size / n_rows
    dropout = 0.3 * min(1, 1500 / n_rows)
    parameters |= {
        "batch_size": min(batch_size, n_rows),
        "max_iter": max(min(EPOCHS, round(most)), LEAST_EPOCHS),
        "dropout": round(dropout, 2) if dropout >= LEAST_DROPOUT else 0.0,
    }
    if task == "regression":
        parameters["clip_norm"] = CLIP_NORM
    classes = max(n_outputs, 2) if task == "classification" else None
    holds_out = n_rows >= _held_out_from(classes)
    parameters |= _stopping(task, holds_out, parameters["max_iter"])
    if solver in (None, RATES["solver"]):
        decayed = DECAYED_ROWS
        if classes is not None and not holds_out:
            decayed = max(decayed, DECAYED_ROWS_OF_CLASSES // classes)
        parameters |= RATES | {"weight_decay": min(1.0, decayed / n_rows)}
    return parameters


def _held_out_from(classes: int | None) -> int:
    """Return the rows from which a tenth is held out; classes : None for a regression."""
    return HELD_OUT_FROM if classes is None else min(HELD_OUT_FROM, HELD_OUT_PER_CLASS * classes)


def _stopping(task: Task, holds_out: bool, epochs: int) -> dict[str, Any]:
    if not holds_out:
        return {"early_stopping": False, "n_iter_no_change": epochs}
    return {
        "early_stopping": True,
        "validation_fraction": 0.1,
        "n_iter_no_change": epochs // 2,
        # Accuracy says little of rare classes, and jumps from epoch to epoch where rows are few.
        "scoring": "loss" if task == "classification" else None,
    }


def _power_of_two(number: float, least: int, most: int) -> int:
    """Return the power of 2 that is nearest to ``number`` (by its logarithm) within bounds."""
    return int(min(max(2.0 ** round(log2(number)), least), most))
