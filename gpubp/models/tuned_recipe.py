"""The tuned preset: hyperparameters of networks that rival boosted trees on tables.

Its ingredients are those of RealMLP (Holzmüller, Grinsztajn and Steinwart, Better by Default,
NeurIPS 2024), with plain ReLU layers: an input stage with periodic features of the numbers, a
learning rate by layer, a rate that rises in the first quarter of the steps and then falls, and
dropout and weight decay that fall to 0 in the second half of the epochs.

bench/NOTES.md, "The tuned recipe", has the measurements.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

from gpubp.models.table_recipe import Task, power_of_two

WIDTH = 256
SMALL = 1000  # tables with fewer rows get one hidden layer, more dropout and more weight decay
MOST_PERIODIC = 128  # columns of numbers; with more, no column gets periodic features
# Each network holds out a part of the rows, and keeps the epoch of the lowest log loss, or of the
# highest R²: noisy labels are overfitted before the accuracy falls, and so are noisy targets.
SMALL_PART, LARGE_PART = 0.25, 0.1  # of tables with fewer than SMALL rows, and of others
# A small table holds out at least this many rows, plus one per class, or none: by fewer, the best
# epoch would be chance.
LEAST_HELD_OUT = 4
# Epochs of a classification with fewer than SMALL rows, of a regression, and of any other
# classification. With MANY_CLASSES or more, a label has more information: more epochs pay off.
EPOCHS_OF_SMALL, EPOCHS_OF_NUMBERS, EPOCHS_OF_CLASSES, EPOCHS_OF_MANY_CLASSES = 16, 24, 32, 48
MANY_CLASSES = 10
FEW_ROWS, MORE_OF_FEW = 1500, 1.5  # below so many rows, by this factor
LARGE, EPOCHS_OF_LARGE = 50_000, 32  # at least so many
FEWER_FROM = 200_000  # rows; from here on, epochs fall as 1 / sqrt(rows)
LEAST_EPOCHS = 8
MEMBERS = 4
MOST_CELLS = 20_000_000  # rows times encoded columns; larger tables get one network
# The learning rates before the factors, for standardised targets.
LEARNING_RATES = {"classification": 0.04, "regression": 0.2}
RATE_FACTORS: dict[str, Any] = {"weights": "fan_in", "biases": 0.1, "scale": 6.0, "periodic": 0.1}
# Hyperparameters that do not depend on the table.
FIXED: dict[str, Any] = {
    "solver": "adamw",
    "beta_2": 0.95,
    "alpha": 0.0,
    "learning_rate": "warm_cosine",
    "rate_factors": RATE_FACTORS,
    "dropout_schedule": "late_cosine",
    "weight_decay_schedule": "late_cosine",
    "drop_last": True,
    "weights_init": "he_normal",
}
SCALING = "robust"


def tuned_recipe(
    task: Task, n_rows: int, n_columns: int, n_outputs: int, periodic: list[int]
) -> dict[str, Any]:
    """Return parameters of MLPClassifier or MLPRegressor for a table, by name.

    n_rows : rows to train on, including those held out. n_columns : columns of the encoded rows.
    n_outputs : number of classes, or of targets. periodic : the encoded columns with numbers.

    The recipe assumes robust scaling, and standardised targets of a regression.
    """
    small = n_rows < SMALL
    classifies = task == "classification"
    least = LEAST_HELD_OUT + (n_outputs if classifies else 0)
    epochs = _epochs(n_rows, n_outputs if classifies else None)
    parameters = FIXED | {
        "hidden_layer_sizes": (WIDTH,) if small else (WIDTH,) * 3,
        "batch_size": min(power_of_two(n_rows / 8, 32, 256), n_rows),
        "max_iter": epochs,
        "n_iter_no_change": epochs,
        "learning_rate_init": LEARNING_RATES[task],
        "dropout": 0.3 if small or classifies else 0.15,
        "weight_decay": 0.3 if small else 0.1,
        "early_stopping": not small or ceil(SMALL_PART * n_rows) >= least,
        "validation_fraction": SMALL_PART if small else LARGE_PART,
        "input_stage": {"periodic": tuple(periodic) if len(periodic) <= MOST_PERIODIC else ()},
    }
    if n_rows * n_columns <= MOST_CELLS:
        parameters |= {"n_members": MEMBERS, "member_rows": "all"}
    if classifies:
        return parameters | {"label_smoothing": 0.1, "scoring": "loss"}
    return parameters | {"clip_predictions": True}


def _epochs(n_rows: int, classes: int | None) -> int:
    """Return the number of epochs. classes : None for a regression."""
    if classes is not None and classes >= MANY_CLASSES:
        epochs: float = EPOCHS_OF_MANY_CLASSES
    elif classes is None:
        epochs = EPOCHS_OF_NUMBERS
    else:
        epochs = EPOCHS_OF_SMALL if n_rows < SMALL else EPOCHS_OF_CLASSES
    if n_rows < FEW_ROWS:
        epochs *= MORE_OF_FEW
    if n_rows >= LARGE:
        epochs = max(epochs, EPOCHS_OF_LARGE) * min(1.0, sqrt(FEWER_FROM / n_rows))
    return max(LEAST_EPOCHS, round(epochs))
