"""The rows of a table as the inputs of a network, and a table fit up to its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import sklearn

from gpubp.estimators.fit_estimators import Fit
from gpubp.models.table_rows import Rows
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.table import Table

# The indices of the training rows and of the validation rows; None if no rows are held out.
Parts = tuple[np.ndarray, np.ndarray] | None
# An encoder fitted to rows, and the encoded rows of each part.
Encoded = tuple[TableEncoder, Sequence[Any]]
Encode = Callable[[TableEncoder, Any, Parts], Encoded]


class PreparedTableFit(NamedTuple):
    """A fit of a table estimator whose rows are encoded and whose training can begin.

    fit : the fit of the network. rows : all training rows, with those that are held out.
    """

    encoder: TableEncoder
    fit: Fit
    rows: Rows


def columns_of(X: Any) -> int:
    """Return the number of columns of a table, a frame, an array or a list of rows; at least 1."""
    if isinstance(X, Table):
        return max(1, len(X.names))
    rows = X[:1] if isinstance(X, list | tuple) else X
    shape = X.shape if hasattr(X, "shape") else np.asarray(rows).shape
    return max(1, int(shape[1])) if len(shape) == 2 else 1


def encoded(transform: Callable[[Any], Any], X: Any) -> Any:
    """Return X encoded, as an array or CSR matrix even if scikit-learn is set to other outputs."""
    with sklearn.config_context(transform_output="default"):
        return transform(X)


def fit_and_encode(encoder: TableEncoder, X: Any, parts: Parts, *, whole: Any = None) -> Encoded:
    """Fit ``encoder`` to the training rows of X; return it with the encoded rows of each part.

    whole : see `TableEncoder.fit`.
    """
    if parts is None:
        return encoder, [encoded(partial(encoder.fit_transform, whole=whole), X)]
    # The encoder does not learn from held-out rows.
    return encoder, encoder.fit_transform_parts(X, *parts, whole=whole)


def encode_parts(encoder: TableEncoder, X: Any, parts: Parts) -> Encoded:
    """Return a fitted encoder with the encoded rows of each part of X."""
    Z = encoded(encoder.transform, X)
    return encoder, [Z] if parts is None else [Z[part] for part in parts]


def weights_at(weights: Any, places: np.ndarray) -> Any:
    """Return the weights of the rows at the indices ``places``; None if ``weights`` is None."""
    return None if weights is None else np.asarray(weights)[places]
