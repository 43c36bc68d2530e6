"""`TableInput`: tables as the input of a fitted table estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from gpubp.models.encoded_rows import encoded
from gpubp.models.finite_outputs import finite_outputs
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.frame import as_table
from gpubp.tables.table import DataError, Table
from gpubp.tables.target import rows_with_target


class TableInput:
    """The part of a table estimator that reads tables after the training."""

    encoder_: TableEncoder
    network_: Any
    target_names_: tuple[str, ...]
    na: Any

    def encode(self, X: Any, dtype: Any = None) -> Any:
        """Return the inputs of the network, (n, n_inputs): an array, or a CSR matrix if wide.

        dtype : np.float32 or np.float64; None for the dtype of the training.
        """
        check_is_fitted(self)
        encoder = self.encoder_
        if dtype is not None:
            encoder = copy(encoder).set_params(dtype=np.dtype(dtype).name)
        return encoded(encoder.transform, X)

    def _finite(self, predict: Callable[..., Any], X: Any, return_std: bool = False) -> Any:
        """Return ``predict`` of the encoded rows of X; with ``return_std``, a tuple of two arrays.

        Raises NonFiniteOutputError for a row with an output that is not finite.
        """
        sources = [e.type.name for e in self.encoder_.encodings_ for _ in e.outputs]
        Z, weights = self.encode(X), self.network_.coefs_
        return finite_outputs(predict, Z, weights, lambda: self._table(X), sources, return_std)

    def _table(self, X: Any) -> Table:
        """Return X as a table, with the decimal sign of the training unless X has its own."""
        table = as_table(X, na=self.na)
        return replace(table, decimal=table.decimal or self.encoder_.decimal_)

    def _with_truth(self, X: Any, targets: Any) -> tuple[Table, tuple[str, ...]]:
        """Return the rows of X whose targets are known, and the names of the targets.

        targets : names of columns of X; None for the targets of the training; or the true values
        as an array or series.
        """
        table = self._table(X)
        if not hasattr(targets, "__array__"):
            names = self._names_of_truth(targets)
        else:
            y = np.asarray(targets)
            if len(y) != len(table):
                raise ValueError(f"y has {len(y)} rows, but X has {len(table)}; pass one per row")
            names = tuple(
                name + " as given" * (name in table.columns) for name in self.target_names_
            )
            given = as_table(dict(zip(names, y.reshape(len(y), -1).T, strict=True)), na=self.na)
            table = replace(table, columns={**table.columns, **given.columns})
        return rows_with_target(table, names)[0], names

    def _names_of_truth(self, targets: Sequence[str] | None) -> tuple[str, ...]:
        names = (targets,) if isinstance(targets, str) else tuple(targets or self.target_names_)
        if len(names) != len(self.target_names_):
            raise DataError(
                f"{len(names)} targets were given, but the model has {len(self.target_names_)}; "
                f"give columns for {', '.join(self.target_names_)}"
            )
        return names
