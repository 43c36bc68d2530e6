"""`python -m gpubp.bench.search_measurement SEARCH`: times one search in one round.

SEARCH is a line of JSON. The command prints a row as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from scipy.stats import loguniform
from sklearn.model_selection import RandomizedSearchCV
from sklearn.neural_network import MLPClassifier as PeerClassifier

from gpubp import MLPClassifier, MLPSearchCV
from gpubp.bench.datasets import load_dataset
from gpubp.bench.isolation import measured, own_stdout
from gpubp.bench.results import Row, row_to_json
from gpubp.bench.usage import OtherLoad


@dataclass(frozen=True)
class Search:
    """A search for the hyperparameters of a classifier of digits.

    peer : a name in `PEERS`. candidates : their number. folds : of cross-validation.
    epochs : of each network, at most. rows : of the data.
    jobs : processes of scikit-learn's search.
    """

    peer: str
    candidates: int = 60
    folds: int = 5
    epochs: int = 30
    rows: int = 1797
    jobs: int = 2
    seed: int = 0

    @property
    def name(self) -> str:
        """The name, equal for all peers."""
        return f"{self.candidates} candidates x {self.folds} folds, {self.epochs} epochs"


SPACE = {
    "hidden_layer_sizes": [(32,), (64,), (100,)],
    "batch_size": [100, 200],
    "alpha": loguniform(1e-6, 1e-1),
    "learning_rate_init": loguniform(1e-3, 3e-2),
}


def _together(search: Search) -> Any:
    model = MLPClassifier(max_iter=search.epochs, random_state=search.seed, device="cpu")
    return MLPSearchCV(model, SPACE, **_options(search))


def _one_by_one(kind: Callable[..., Any], search: Search) -> Any:
    model = kind(max_iter=search.epochs, random_state=search.seed)
    return RandomizedSearchCV(model, SPACE, n_jobs=search.jobs, **_options(search))


def _options(search: Search) -> dict[str, Any]:
    return {"n_iter": search.candidates, "cv": search.folds, "random_state": search.seed}


PEERS: dict[str, Callable[[Search], Any]] = {
    "gpubp": _together,
    "gpubp_in_sklearn": partial(_one_by_one, partial(MLPClassifier, device="cpu")),
    "sklearn": partial(_one_by_one, PeerClassifier),
}


def measure(search: Search) -> Row:
    """Return the row of one search: its seconds, with the fit to all rows, and its best score."""
    X, y = load_dataset("digits", search.rows)
    X = X.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning
        # Compiles, and starts the processes.
        PEERS[search.peer](replace(search, candidates=6, epochs=1)).fit(X, y)
        load, started = OtherLoad(), perf_counter()
        fitted = PEERS[search.peer](search).fit(X, y)
        seconds = perf_counter() - started
    figures = {
        "best_score": float(fitted.best_score_),
        "mean_score": float(np.mean(fitted.cv_results_["mean_test_score"])),
    }
    if search.peer == "gpubp" or search.jobs == 1:  # else they include those of the jobs
        figures["other_cores"] = load.cores()
    best = {"best_params": str(fitted.best_params_)}
    return Row(search.name, search.peer, rounds=(seconds,), figures=figures, notes=best)


def to_json(search: Search) -> str:
    """Return ``search`` as a line of JSON."""
    return json.dumps(asdict(search))


def main(search_json: str) -> None:
    """Time a search, and print its row as a line of JSON."""
    out = own_stdout()
    search = Search(**json.loads(search_json))
    row = measured(f"{search.peer}/{search.name}", partial(measure, search))
    print(row_to_json(row), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
