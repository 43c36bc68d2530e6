"""The tuned preset: hyperparameters of a network that rivals tuned boosted trees on tables.

Its ingredients are those of RealMLP (Holzmüller, Grinsztajn and Steinwart, Better by Default,
NeurIPS 2024), with plain ReLU layers: an input stage with periodic features of the numbers, a
learning rate by layer, a rate that rises in the first quarter, and dropout and weight decay that
end with it. bench/NOTES.md, "The tuned recipe", has what was measured.
"""

from __future__ import annotations

from typing import Any

from gpubp.models.table_recipe import Task, power_of_two

WIDTH = 256
SMALL = 1000  # tables with fewer rows get one hidden layer, more dropout and more weight decay
MEMBERS = 4
MEMBER_ROWS_TIMES_COLUMNS = 20_000_000  # larger tables get one network
MOST_PERIODIC = 100  # columns; of hundreds, features would cost more than they gain
EPOCHS = 24
# The learning rates before the factors, by task: those of standardised regression targets.
LEARNING_RATES = {"classification": 0.04, "regression": 0.2}
# Hyperparameters that do not depend on the table.
FIXED: dict[str, Any] = {
    "solver": "adamw",
    "beta_2": 0.95,
    "alpha": 0.0,
    "learning_rate": "warm_cosine",
    "dropout_schedule": "late_cosine",
    "weight_decay_schedule": "late_cosine",
    "drop_last": True,
    "weights_init": "he_normal",
    "early_stopping": False,
    "validation_fraction": 0.2,
    "scaling": "robust",  # of the encoder
}
RATE_FACTORS: dict[str, Any] = {"weights": "fan_in", "biases": 0.1, "scale": 6.0, "periodic": 0.1}


def tuned_recipe(task: Task, n_rows: int, n_columns: int, periodic: list[int]) -> dict[str, Any]:
    """Return parameters of MLPClassifier or MLPRegressor for a table, by name.

    n_rows : rows to train on. n_columns : columns of the encoded rows.
    periodic : the encoded columns with numbers.
    """
    small = n_rows < SMALL
    batch_size = power_of_two(n_rows / 8, 32, 256)
    parameters = FIXED | {
        "hidden_layer_sizes": (WIDTH,) if small else (WIDTH,) * 3,
        "batch_size": min(batch_size, n_rows),
        "max_iter": EPOCHS,
        "n_iter_no_change": EPOCHS,
        "learning_rate_init": LEARNING_RATES[task],
        "dropout": 0.3 if small else 0.15,
        "weight_decay": 0.3 if small else 0.1,
        "rate_factors": RATE_FACTORS,
    }
    if 0 < len(periodic) <= MOST_PERIODIC:
        parameters["input_stage"] = {"periodic": periodic}
    else:
        parameters["input_stage"] = {}
    if n_rows * n_columns <= MEMBER_ROWS_TIMES_COLUMNS:
        parameters |= {"n_members": MEMBERS, "member_rows": "all"}
    if task == "regression":
        return parameters | {"clip_predictions": True}
    return parameters | {"label_smoothing": 0.1, "scoring": "loss"}
