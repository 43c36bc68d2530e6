"""Check that the outputs of a network are finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import issparse

from gpubp.tables.table import DataError, Table


class NonFiniteOutputError(DataError):
    """The network's output for a row is NaN or infinite."""


def finite_outputs(
    predict: Callable[..., Any],
    Z: Any,
    weights: list[np.ndarray],
    table: Callable[[], Table],
    sources: Sequence[str],
    return_std: bool,
) -> Any:
    """Return ``predict(Z)``; with ``return_std``, the tuple ``predict(Z, return_std=True)``.

    table : returns the rows before encoding. The other arguments are those of `check_finite`.

    Raises NonFiniteOutputError unless all outputs are finite.
    """
    none = not Z.shape[0]  # a file with only a header
    given = np.zeros((1, Z.shape[1]), Z.dtype) if none else Z
    found = predict(given, return_std=True) if return_std else (predict(given),)
    for outputs in () if none else found:
        if not np.isfinite(outputs).all():
            check_finite(outputs, Z, weights, table(), sources)
    found = tuple(outputs[:0] for outputs in found) if none else found
    return found if return_std else found[0]


def check_finite(
    outputs: np.ndarray, Z: Any, weights: list[np.ndarray], table: Table, sources: Sequence[str]
) -> None:
    """Raise NonFiniteOutputError unless all outputs (n, ...) are finite.

    Z : the encoded rows, (n, D). weights : the weight matrices of the network, for the message.
    table : the rows before encoding. sources : for each encoded column, the name of the column of
    ``table`` that it comes from.
    """
    is_finite = np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
    if is_finite.all():
        return
    row = int(np.argmin(is_finite))
    cells = Z[row].toarray().ravel() if issparse(Z) else Z[row]
    raise NonFiniteOutputError(_reason(np.abs(cells), weights, table, row, sources))


def _reason(
    distances: np.ndarray,
    weights: list[np.ndarray],
    table: Table,
    row: int,
    sources: Sequence[str],
) -> str:
    """Return a sentence on why a row has an output that is not finite.

    distances : (D,), of the row from the training mean, in standard deviations.
    """
    largest = max(float(np.abs(W).max()) for W in weights)
    j = int(np.argmax(distances))
    if distances[j] < largest:
        return (
            f"{table.where(row)}: the network's output is not finite, as its weights reach "
            f"{largest:.3g}; train the model again with a smaller learning rate"
        )
    return (
        f"{table.where(row, sources[j])}: the network's output is not finite, as this cell is "
        f"{distances[j]:.3g} standard deviations from the mean of training; correct the cell or "
        "remove the row"
    )
