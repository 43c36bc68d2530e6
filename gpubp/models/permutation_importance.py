"""The importance of the columns: how much worse a model is if the values of one are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from scipy import sparse

from gpubp.models.ensemble_facts import ensemble_of, parameters_of
from gpubp.models.unsmoothed import unsmoothed_of

# Rows and repeats: the first that take at most MOST_WORK multiplications, about 10 s on a core.
EFFORTS = ((2000, 5), (1000, 5), (1000, 3), (500, 3), (500, 2), (200, 2))
MOST_WORK = 1e11
MOST_SECONDS = 30.0  # after which the remaining columns are left out

Score = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class ColumnImportance:
    """The loss in score when a column is shuffled: mean and standard deviation of the repeats."""

    column: str
    mean: float
    std: float


@dataclass(frozen=True)
class Importance:
    """The importance of the columns, the largest first.

    metric : name of the score, larger is better unless it is an error. score : of the ``rows``
    rows as they are. left_out : columns for which there was no time.
    """

    metric: str
    score: float
    rows: int
    repeats: int
    columns: Sequence[ColumnImportance]
    left_out: Sequence[str]


def permutation_importance(
    model: Any, Z: Any, score: Callable[[np.ndarray], Score], metric: str, sign: int, seed: int
) -> Importance:
    """Return the importance of the columns of a table for a fitted table estimator.

    A column is shuffled after it was encoded: each encoding reads one column, so this is the same
    as shuffling the column of the table, without encoding again.

    Z : the encoded rows (n, n_inputs), an array or CSR. score : for the places of some rows,
    returns the function from outputs to their score. metric : name of the score. sign : 1 if a
    larger score is better, -1 for an error. seed : of the drawn rows and orders.
    """
    rng = np.random.default_rng(seed)
    blocks = _blocks(model)
    n, repeats = _effort(model, Z.shape[0], len(blocks))
    rows = np.arange(Z.shape[0]) if n == Z.shape[0] else np.sort(rng.permutation(Z.shape[0])[:n])
    Z, measured = Z[rows], score(rows)
    base, began = measured(outputs_of(model, Z)), monotonic()
    orders = [rng.permutation(n) for _ in range(repeats)]
    found, left_out = [], []
    for name, places in blocks.items():
        if monotonic() - began > MOST_SECONDS:
            left_out.append(name)
            continue
        scores = [measured(outputs_of(model, shuffled(Z, places, order))) for order in orders]
        losses = sign * (base - np.array(scores))
        found.append(ColumnImportance(name, float(losses.mean()), float(losses.std())))
    found.sort(key=lambda of: (np.isnan(of.mean), -of.mean))
    return Importance(metric, base, n, repeats, found, left_out)


def outputs_of(model: Any, Z: Any) -> np.ndarray:
    """Return the probabilities (n, k) or numbers of a table estimator for encoded rows.

    They may be NaN or infinite.
    """
    network = model.network_
    if not hasattr(model, "classes_"):
        numbers: np.ndarray = network.predict(Z)
        return numbers
    P: np.ndarray = unsmoothed_of(model, network.predict_proba(Z))
    return P


def shuffled(Z: Any, places: slice, order: np.ndarray) -> Any:
    """Return a copy of Z (n, n_inputs) whose columns ``places`` have their rows in ``order``."""
    if not sparse.issparse(Z):
        copy = Z.copy()
        copy[:, places] = Z[order, places]
        return copy
    parts = [Z[:, : places.start], Z[order][:, places], Z[:, places.stop :]]
    return sparse.hstack(parts, format="csr", dtype=Z.dtype)


def _blocks(model: Any) -> dict[str, slice]:
    """Return the encoded columns of each used column of the table."""
    found, start = {}, 0
    for encoding in model.encoder_.encodings_:
        stop = start + len(encoding.outputs)
        found[encoding.type.name] = slice(start, stop)
        start = stop
    return found


def _effort(model: Any, rows: int, columns: int) -> tuple[int, int]:
    """Return the number of rows and of repeats."""
    ensemble = ensemble_of(model.network_)
    members = 1 if ensemble is None else ensemble["members"]
    each = columns * members * parameters_of(model.network_)
    for most, repeats in EFFORTS:
        if min(most, rows) * repeats * each <= MOST_WORK:
            break
    return min(most, rows), repeats
