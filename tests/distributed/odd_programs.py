"""Programs whose use of the ranks is odd; each prints "ends" when it does not hang.

python -m tests.distributed.odd_programs NAME
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from gpubp import MLPClassifier, run_on_ranks
from gpubp.training.rank_trainer import RankTrainer

RNG = np.random.RandomState(0)
X, Y = RNG.rand(200, 4), RNG.randint(2, size=200)


def _fitted(**options: Any) -> MLPClassifier:
    return MLPClassifier((8,), max_iter=2, random_state=0, **options).fit(X, Y)


def _loss(number: int = 0) -> float:
    return float(_fitted().loss_)


def _run_twice() -> None:
    run_on_ranks(lambda: run_on_ranks(_loss))


def _fits_in_a_scorer(scorer: Any) -> None:
    _fitted(early_stopping=True, scoring=scorer)


def _score_of_threads(model: Any, X: Any, y: Any) -> float:
    return -max(Parallel(n_jobs=2, backend="threading")(delayed(_loss)(k) for k in range(3)))


def _in_processes(method: str, run: Any) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        pool.map_async(run, [0]).get(60)


def _on_ranks(number: int) -> float | None:
    return run_on_ranks(_loss)


def _start_gpubp() -> None:
    command = [sys.executable, "-m", "gpubp", "train", "iris", "--epochs", "1", "-o", "/dev/null"]
    subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)


def _catch_an_error_of_a_step() -> None:
    epoch = RankTrainer.epoch_of_all

    def failing(self: RankTrainer, *of: Any) -> float:
        if self._communicator.rank == 0:
            raise ValueError("rank 0 alone fails")
        return epoch(self, *of)

    RankTrainer.epoch_of_all = failing  # type: ignore[method-assign]
    with suppress(ValueError, TypeError):
        _fitted()
    print("goes on", flush=True)
    _fitted()


def _fail_on_a_full_disk() -> None:
    sys.stdout = Path("/dev/full").open("w")  # noqa: SIM115
    print("lost")
    _catch_an_error_of_a_step()


PROGRAMS = {
    "runs within a run": _run_twice,
    "a scorer that fits": lambda: _fits_in_a_scorer(lambda *of: -_loss()),
    "a scorer with threads that fit": lambda: _fits_in_a_scorer(_score_of_threads),
    "a forked process": lambda: _in_processes("fork", _loss),
    "a forked process that runs": lambda: _in_processes("fork", _on_ranks),
    "a spawned process that runs": lambda: _in_processes("spawn", _on_ranks),
    "a command": _start_gpubp,
    "an error that is caught": _catch_an_error_of_a_step,
    "an error on a full disk": _fail_on_a_full_disk,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run_on_ranks(PROGRAMS[sys.argv[1]])
    print("ends", flush=True)
