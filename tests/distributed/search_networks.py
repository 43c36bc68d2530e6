"""Searches on all ranks; saves the scores, and notes which rank has trained a task.

python -m tests.distributed.search_networks FOLDER [many]: many candidates take some seconds.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from gpubp import MLPClassifier, MLPSearchCV, run_on_ranks
from gpubp.distributed.launcher import connect
from gpubp.estimators import rank_tasks

FOLDER, IS_LONG = Path(sys.argv[1]), "many" in sys.argv


def _note_tasks() -> None:
    """Append a line for each task to a file of this rank."""
    train, rank = rank_tasks.train_packed, connect().rank

    def noted(*of: Any) -> Any:
        with (FOLDER / f"rank {rank}").open("a") as file:
            file.write("a task\n")
        if "slow" in sys.argv and rank:
            print("trains soon", flush=True)
            sleep(5)
        return train(*of)

    rank_tasks.train_packed = noted


def main() -> None:
    """Search, and save the results."""
    X, y = load_digits(return_X_y=True)
    rates = np.geomspace(1e-4, 1e-1, 40 if IS_LONG else 6).tolist()
    # The last candidate of a short search cannot be trained.
    failing: list[dict[str, Any]] = [] if IS_LONG else [{"batch_size": ["large"]}]
    space: list[dict[str, Any]] = [{"learning_rate_init": rates}, *failing]
    search = MLPSearchCV(
        MLPClassifier((64 if IS_LONG else 16,), max_iter=400 if IS_LONG else 10, random_state=0),
        *(space,),
        sampler="grid",
        cv=3,
        refit=False,
    )
    print("begins", flush=True)
    search.fit(X / 16, y)
    scores = {name: of for name, of in search.cv_results_.items() if name.endswith("_score")}
    np.savez(FOLDER / "scores.npz", **scores)
    print(search.stopped_by_, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _note_tasks()
    run_on_ranks(main)
