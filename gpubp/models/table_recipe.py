"""How to train on a table where nobody says how: one rule, by the size of the table.

The evidence is in bench/NOTES.md ("The recipe for tables"), made by bench/quality.py.
"""

from __future__ import annotations

from math import inf, log2
from typing import Any, Literal

Task = Literal["classification", "regression"]

STEPS = 2000  # of the optimizer, as long as that is between 30 and 200 epochs
HELD_OUT_FROM = 1000  # rows; of fewer, each tenth is missed more than the best epoch gains


def recipe(task: Task, n_rows: int, n_columns: int, n_outputs: int) -> dict[str, Any]:
    """Return parameters of MLPClassifier or MLPRegressor for a table.

    n_rows : to train on, validation rows included. n_columns : of the encoded rows.
    n_outputs : classes, or targets.
    """
    batch_size = min(max(2 ** round(log2(n_rows / 40)), 32), 256)
    epochs = min(max(round(STEPS * batch_size / n_rows), 30), 200)
    parameters: dict[str, Any] = {
        "hidden_layer_sizes": (256,),
        "batch_size": min(batch_size, n_rows),
        "max_iter": epochs,
        "learning_rate": "cosine",
        "learning_rate_init": 0.004,
        "solver": "adamw",
        "weight_decay": 0.2,
        "alpha": 0.0,
        "dropout": 0.2,
        "n_iter_no_change": inf,
    }
    if n_rows >= HELD_OUT_FROM:
        parameters |= {"early_stopping": True, "validation_fraction": 0.1}
        if task == "classification":
            parameters["scoring"] = "loss"
    return parameters
