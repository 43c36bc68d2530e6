"""`python -m gpubp.bench.quality_measurement CASE THREADS SEED`: scores a peer on a table.

CASE is a line of JSON. The command prints a row as a line of JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from time import perf_counter, process_time
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from gpubp.bench.isolation import measured, own_stdout
from gpubp.bench.machine import installed
from gpubp.bench.quality_peers import PEERS, Job
from gpubp.bench.quality_tables import TABLES, RawTable
from gpubp.bench.results import Row, row_to_json
from gpubp.bench.usage import OtherLoad, PeakMemory
from gpubp.models.scores import class_scores, number_scores

TEST_SIZE = 0.2


@dataclass(frozen=True)
class QualityCase:
    """A table that a peer learns; in each round it has another seed."""

    table: str
    peer: str

    @property
    def name(self) -> str:
        """The name, equal for all peers."""
        return self.table

    @property
    def key(self) -> tuple[str, str]:
        """Table and peer, which identify a case."""
        return self.table, self.peer

    @property
    def needs(self) -> tuple[str, str]:
        """What decides whether the case can run here."""
        return self.key

    def values(self) -> dict[str, Any]:
        """Return the fields as values for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the case as one line of JSON."""
        return json.dumps(self.values())

    @property
    def missing(self) -> str:
        """Why the case cannot be measured here: a package that is not installed; else ""."""
        for package in (TABLES[self.table].package, PEERS[self.peer].package):
            if package and installed(package) is None:
                return f"{package} is not installed: pip install {package}"
        return ""


def measure(case: QualityCase, threads: int, seed: int) -> Row:
    """Return the row of one seed: scores on the test rows, seconds and memory.

    ``rounds`` are the seconds of the fit; ``by_round`` has its seconds of the processor, which
    other processes disturb less, the seconds of the predictions, and the scores; the note "metric"
    names the main score.
    seed : of the split into training and test rows, and of the model.
    """
    table, peer = TABLES[case.table].make(), PEERS[case.peer]
    X, (train, test) = peer.inputs(table), split(table, seed)
    X_train, X_test = _rows(X, train), _rows(X, test)
    job = Job(table.task, table.numbers.shape[1], threads, seed)
    if peer.package:
        import_module(peer.package)  # not timed
    memory, load, started, busy = PeakMemory(), OtherLoad(), perf_counter(), process_time()
    model = peer.train(job, X_train, table.y[train])
    seconds, by_round = perf_counter() - started, {"cpu_seconds": process_time() - busy}
    figures = {"peak_bytes": float(memory.above())} | _shape(table, train, test)
    memory, started = PeakMemory(), perf_counter()
    outputs = (model.predict_proba if job.classifies else model.predict)(X_test)
    by_round["predict_seconds"] = perf_counter() - started
    figures |= {"predict_peak_bytes": float(memory.above()), "other_cores": load.cores()}
    by_round |= scores(table, getattr(model, "classes_", None), outputs, test)
    more: dict[str, tuple[float, ...]] = {name: (value,) for name, value in by_round.items()}
    notes = {"metric": table.metric}
    return Row(*case.key, figures=figures, rounds=(seconds,), notes=notes, by_round=more)


def split(table: RawTable, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of training and test rows; every class has its part in both."""
    strata = table.y if table.task == "classification" else None
    rows = np.arange(len(table.y))
    train, test = train_test_split(rows, test_size=TEST_SIZE, random_state=seed, stratify=strata)
    return train, test


def scores(
    table: RawTable, classes: np.ndarray | None, outputs: np.ndarray, test: np.ndarray
) -> dict[str, float]:
    """Return all scores of the ``outputs`` for the ``test`` rows, by name."""
    if classes is None:
        return number_scores(table.y[test], outputs)
    return class_scores(np.asarray(classes), table.y[test], outputs)


def _rows(X: Any, rows: np.ndarray) -> Any:
    return {name: values[rows] for name, values in X.items()} if isinstance(X, dict) else X[rows]


def _shape(table: RawTable, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    classes = len(np.unique(table.y)) if table.task == "classification" else 0
    return {
        "train_rows": float(len(train)),
        "test_rows": float(len(test)),
        "columns": float(table.numbers.shape[1] + table.categories.shape[1]),
        "classes": float(classes),
    }


def main(case_json: str, threads: str, seed: str) -> None:
    """Score a case, and print its row as a line of JSON."""
    out = own_stdout()
    case = QualityCase(**json.loads(case_json))
    warnings.simplefilter("ignore")  # such as ConvergenceWarning of scikit-learn's MLP
    call = partial(measure, case, int(threads), int(seed))
    print(row_to_json(measured(f"{case.peer}/{case.name}", call)), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
