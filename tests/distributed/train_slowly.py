"""Trains a network for some seconds on all ranks and saves it; one rank may fail.

python -m tests.distributed.train_slowly MODEL [RANK EPOCH]: RANK raises in EPOCH.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from gpubp import MLPClassifier, run_on_ranks, save
from gpubp.estimators.fit_estimators import fit_estimator
from gpubp.training.rank_trainer import RankTrainer


def fail(rank: int, number: int) -> None:
    """Let ``rank`` raise in epoch ``number``."""
    epoch = RankTrainer.epoch_of_all
    left = [number]

    def failing(self: RankTrainer, *of: Any) -> float:
        left[0] -= 1
        if left[0] == 0 and self._communicator.rank == rank:
            raise OSError("the disk of this rank is gone")
        return epoch(self, *of)

    RankTrainer.epoch_of_all = failing  # type: ignore[method-assign]


def _begins() -> bool:
    print("begins", flush=True)
    return False


def main(model: str) -> None:
    """Train and save."""
    rng = np.random.RandomState(0)
    X, y = rng.rand(2000, 64), rng.randint(10, size=2000)
    network = MLPClassifier((64,), max_iter=3000, tol=0, n_iter_no_change=5000, random_state=0)
    fit_estimator(network, X, y, on_epoch=lambda epoch: epoch.number == 1 and _begins())
    save(network, model)
    print(network.stopped_by_, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) > 2:
        fail(int(sys.argv[2]), int(sys.argv[3]))
    run_on_ranks(lambda: main(sys.argv[1]))
