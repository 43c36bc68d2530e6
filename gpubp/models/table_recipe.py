"""Default hyperparameters for a table, chosen by its size.

bench/NOTES.md, "The recipe for tables", has the alternatives that were measured; `gpubp bench
quality` compares the recipe with other libraries.
"""

from __future__ import annotations

from math import log2
from numbers import Integral
from typing import Any, Literal

Task = Literal["classification", "regression"]

# A tenth of the rows is held out from so many rows on. Tables with fewer rows lose more by the
# missing tenth than they gain by the best epoch.
HELD_OUT_FROM = 5000
# The same for a classification, per class: without held-out rows, the log loss of few, noisy
# classes doubles.
HELD_OUT_PER_CLASS = 1000
# Weight decay is 1 up to so many rows and then falls as 1 / rows. Without held-out rows, weight
# decay alone prevents overfitting to the noise of two classes. The second number is divided by the
# number of classes.
DECAYED_ROWS, DECAYED_ROWS_OF_CLASSES = 300, 3000
EPOCHS, LEAST_EPOCHS = 60, 10
MOST_STEPS = 20_000  # optimizer steps, for up to 1,000 columns: half a minute on one core
# For a regression. Nearly every gradient is longer, so an outlier cannot cause a long step.
CLIP_NORM = 0.1
LEAST_DROPOUT = 0.03  # lower rates become 0, since the masks take a third of a step's time
WIDTH = 256
# A narrower hidden layer, which only the user can ask for, gets no dropout: too few units would be
# left. It also needs larger weights, hence a higher learning rate: see `_learning_rate`.
NARROW = 32
# The recipe's solver and schedule, with their parameters; another solver keeps its own defaults.
RATES: dict[str, Any] = {
    "solver": "adamw",
    "learning_rate": "cosine",
    "learning_rate_init": 0.004,
    "alpha": 0.0,
}


def recipe(
    task: Task,
    n_rows: int,
    n_columns: int,
    n_outputs: int,
    *,
    solver: str | None = None,
    hidden_layer_sizes: Any = None,
) -> dict[str, Any]:
    """Return parameters of MLPClassifier or MLPRegressor for a table, by name.

    n_rows : rows to train on, including those held out. n_columns : columns of the encoded rows.
    n_outputs : number of classes, or of targets. solver, hidden_layer_sizes : those that the user
    chose; None for the recipe's. Parameters that suit only the recipe's solver are left out for
    another one.

    Small tables overfit easily, so they get weight decay and dropout, which fall as 1 / n_rows.
    Weight decay falls later for few classes, whose rows carry less information. Large tables have
    a tenth of the rows held out: training stops after half the epochs without improvement, and the
    epoch with the best loss, or R², is kept. Smaller tables train on all rows to the end of the
    schedule, whose last epochs are the best. The recipe assumes standardised regression targets.
    """
    parameters: dict[str, Any] = {"hidden_layer_sizes": (WIDTH,)}
    if solver == "lbfgs":
        return parameters
    least = power_of_two(n_rows / 4, 8, 32)  # an epoch of few rows still has several steps
    batch_size = power_of_two(max(n_rows / 40, n_columns / 8), least, 256)
    most = MOST_STEPS * min(1, 1000 / n_columns) * batch_size / n_rows
    width = _narrowest(hidden_layer_sizes)
    dropout = 0.3 * min(1, 1500 / n_rows) if width >= NARROW else 0.0
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
        parameters["learning_rate_init"] = _learning_rate(width)
    return parameters


def _held_out_from(classes: int | None) -> int:
    """Return the number of rows from which on a tenth is held out; classes : None: regression."""
    return HELD_OUT_FROM if classes is None else min(HELD_OUT_FROM, HELD_OUT_PER_CLASS * classes)


def _narrowest(hidden_layer_sizes: Any) -> int:
    """Return the units of the narrowest hidden layer; WIDTH if the user gave none."""
    given = hidden_layer_sizes
    sizes = given if hasattr(given, "__iter__") else [given]
    return min((int(size) for size in sizes if isinstance(size, Integral)), default=WIDTH)


def _learning_rate(width: int) -> float:
    """Return the recipe's rate, times sqrt(WIDTH / width) for a narrow layer.

    The fewer units share the output, the larger their weights have to become, and AdamW changes a
    weight by at most the learning rate per step.
    """
    rate: float = RATES["learning_rate_init"]
    return rate if width >= NARROW else round(rate * (WIDTH / max(width, 1)) ** 0.5, 4)


def _stopping(task: Task, holds_out: bool, epochs: int) -> dict[str, Any]:
    if not holds_out:
        return {"early_stopping": False, "n_iter_no_change": epochs}
    return {
        "early_stopping": True,
        "validation_fraction": 0.1,
        "n_iter_no_change": epochs // 2,
        # Accuracy hardly depends on rare classes, and is noisy from epoch to epoch with few rows.
        "scoring": "loss" if task == "classification" else None,
    }


def power_of_two(number: float, least: int, most: int) -> int:
    """Return the power of 2 nearest to ``number`` on a log scale, within [least, most]."""
    return int(min(max(2.0 ** round(log2(number)), least), most))
