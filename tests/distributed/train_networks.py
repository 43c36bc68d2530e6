"""Trains networks of several settings on all ranks; saves weights, losses and hashes by rank.

python -m tests.distributed.train_networks FOLDER [reproducible]
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from gpubp import MLPClassifier, MLPRegressor, run_on_ranks
from gpubp.training.rank_trainer import RankTrainer

SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "compiled": {"compiled": True},
    "sgd, hashed order": {
        "solver": "sgd",
        "batch_size": 33,
        "learning_rate_init": 0.05,
        "row_order": "hash",
        "nesterovs_momentum": False,
        "learning_rate": "cosine",
    },
    "rows in order": {"shuffle": False, "batch_size": 100},
    "all rows in a batch": {"batch_size": 601},
    "dropout and clipping": {"dropout": 0.2, "clip_norm": 0.5},
    "rates by layer": {"rate_factors": {"weights": "fan_in", "biases": (0.1, 0, 2)}},
    "input stage": {"input_stage": {"periodic": [20, 43, 28], "tables": {10: 2, 0: 1}}},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 60},
    "a tiny batch": {"batch_size": 2, "max_iter": 2},
    "weights": {"sample_weight": True, "alpha": 0.1},
    "schedules and full batches": {
        "solver": "adamw",
        "weight_decay": 0.5,
        "dropout": 0.2,
        "learning_rate": "warm_cosine",
        "weight_decay_schedule": "late_cosine",
        "dropout_schedule": "late_cosine",
        "drop_last": True,
        "weights_init": "he_normal",
    },
    "regression": {"regression": True, "batch_size": 50},
    "diverged": {"solver": "sgd", "learning_rate_init": 1e9, "activation": "relu"},
}
# Those that are trained with --reproducible, to save time.
REPRODUCIBLE = (
    *("adam", "compiled", "sgd, hashed order", "all rows in a batch", "early stopping"),
    "input stage",
)


def _fitted(dtype: str, options: dict[str, Any]) -> Any:
    X, y = load_digits(return_X_y=True)
    X, y = X[:601] / 16, y[:601]
    options = {"max_iter": 20, "activation": "tanh", "random_state": 0, "tol": 0} | options
    weights = np.linspace(0, 2, len(y)) if options.pop("sample_weight", False) else None
    kind = MLPRegressor if options.pop("regression", False) else MLPClassifier
    options.setdefault("compiled", False)
    return kind(hidden_layer_sizes=(24, 16), dtype=dtype, **options).fit(X, y, weights)


def _note_hashes(folder: Path) -> None:
    """Append a hash of the parameters after each epoch to a file of this rank."""
    epoch = RankTrainer.epoch_of_all

    def noted(self: RankTrainer, *of: Any) -> float:
        loss = epoch(self, *of)
        rank = self._communicator.rank
        with (folder / f"rank {rank}").open("a") as file:
            file.write(hashlib.sha256(self.theta.tobytes()).hexdigest() + "\n")
        return loss

    RankTrainer.epoch_of_all = noted  # type: ignore[method-assign]


def main(folder: Path, names: Iterable[str]) -> None:
    """Train the settings of these names in both precisions."""
    for dtype in ("float64", "float32"):
        for name in names:
            options = SETTINGS[name]
            file = folder / f"{name} {dtype}.npz"
            try:
                network = _fitted(dtype, dict(options))
            except ValueError as error:
                np.savez(file, losses=[], error=str(error))
                continue
            arrays = {f"a{k}": W for k, W in enumerate([*network.coefs_, *network.intercepts_])}
            if network.input_stage is not None:
                arrays |= network.input_stage_
            np.savez(file, losses=network.loss_curve_, **arrays)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    FOLDER, IS_REPRODUCIBLE = Path(sys.argv[1]), "reproducible" in sys.argv
    _note_hashes(FOLDER)
    NAMES = REPRODUCIBLE if IS_REPRODUCIBLE else SETTINGS
    run_on_ranks(lambda: main(FOLDER, NAMES), reproducible=IS_REPRODUCIBLE)
