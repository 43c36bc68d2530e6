"""The rows of the folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, resample
from sklearn.utils.validation import _is_arraylike, _num_samples

from gpubp.backends.foreign_arrays import is_on_device, rows_at
from gpubp.tables.table import Table

# Parameters of fit with rows of their own.
VALIDATION = ("X_val", "y_val", "sample_weight_val")
Split = tuple[np.ndarray, np.ndarray]


def count_rows(X: Any) -> int:
    """Return the number of rows of an array, a frame, a table or a dict of columns."""
    if _is_dict(X):
        return max((len(column) for column in X.values()), default=0)
    return int(_num_samples(X))


def take_rows(X: Any, index: np.ndarray) -> Any:
    """Return a copy of the rows of X at ``index``, in the type of X."""
    if isinstance(X, Table):
        return X.take(index)
    if _is_dict(X):
        return {name: _safe_indexing(column, index) for name, column in X.items()}
    return rows_at(X, index) if is_on_device(X) else _safe_indexing(X, index)


def is_table(X: Any) -> bool:
    """Return whether X is a Table or a dict of columns, which scikit-learn cannot split."""
    return isinstance(X, Table) or _is_dict(X)


def _is_dict(X: Any) -> bool:
    # Sparse DOK matrices are mappings too.
    return isinstance(X, Mapping) and not hasattr(X, "tocsr")


class TrainingRows:
    """The rows that a fold trains on, and values computed from them for several candidates.

    X, y : the rows. params : the other arguments of fit, such as sample_weight.
    """

    def __init__(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        self.X, self.y, self.params = X, y, params
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return ``compute()``, which is called once for each key."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


class Fold:
    """One split: copies of its training and test rows, shared by all candidates.

    X, y : all rows. train, test : indices of rows. fit_params, score_params : the other arguments
    of fit and of the scorer; those with one entry per row of X are split too.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        train: np.ndarray,
        test: np.ndarray,
        fit_params: Mapping[str, Any],
        score_params: Mapping[str, Any],
    ) -> None:
        n = count_rows(X)
        self.train = TrainingRows(
            take_rows(X, train), take_rows(y, train), _split(fit_params, train, n)
        )
        self.X_test, self.y_test = take_rows(X, test), take_rows(y, test)
        self.score_train = _split(score_params, train, n)
        self.score_test = _split(score_params, test, n)


class Folds:
    """The folds of a cross-validation.

    splits : indices of the training and of the test rows of each. The rest : see `Fold`.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        splits: Sequence[Split],
        fit_params: Mapping[str, Any],
        score_params: Mapping[str, Any],
    ) -> None:
        self.X, self.y, self._splits = X, y, splits
        self._params = fit_params, score_params

    def __len__(self) -> int:
        return len(self._splits)

    def with_all_rows(self) -> list[Fold]:
        """Return the folds with copies of their rows."""
        return self._with(self._splits)

    def with_fraction(self, fraction: float, random_state: Any) -> list[Fold]:
        """Return the folds with a random fraction of their training and of their test rows.

        The rows are those of HalvingRandomSearchCV with the same random_state.
        """

        def part(rows: np.ndarray) -> Any:
            n = int(fraction * len(rows))
            return resample(rows, replace=False, random_state=random_state, n_samples=n)

        return self._with([(part(train), part(test)) for train, test in self._splits])

    def _with(self, splits: Sequence[Split]) -> list[Fold]:
        return [Fold(self.X, self.y, train, test, *self._params) for train, test in splits]


def _split(params: Mapping[str, Any], index: np.ndarray, n: int) -> dict[str, Any]:
    """Return ``params`` with the entries at ``index`` of each value that has n entries."""
    return {
        name: take_rows(value, index)
        if name not in VALIDATION and _is_arraylike(value) and count_rows(value) == n
        else value
        for name, value in params.items()
    }


def rows_for_splitter(X: Any) -> Any:
    """Return X for the split method of a splitter.

    For a table, and for an array on a device, it is a placeholder of equal length.
    """
    return np.zeros((count_rows(X), 1)) if is_table(X) or is_on_device(X) else X
