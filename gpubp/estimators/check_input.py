"""Validation of X and y as in scikit-learn; rows on a CUDA device or in a file stay there."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_array,
    check_X_y,
    validate_data,
)

from gpubp.backends.blas_threads import BLAS
from gpubp.backends.foreign_arrays import converted, nan_or_infinity, on_device, on_host
from gpubp.backends.protocol import Array
from gpubp.training.block_rows import BlockRows

# Validation of X: other sparse formats are converted to CSR.
X_CHECKS: dict[str, Any] = {"dtype": (np.float64, np.float32), "accept_sparse": "csr"}
_ONES = {dtype: np.ones(1024, dtype) for dtype in (np.dtype("f4"), np.dtype("f8"))}


def check_input(estimator: Any, X: Any, *y: Any, reset: bool, **checks: Any) -> Any:
    """Return X, or X and y, validated as by scikit-learn's validate_data.

    X on a CUDA device stays there, as a CuPy array of float32 or float64; y must be on the host.
    `BlockRows`, whose numbers are finite, are returned unchanged.
    """
    rows = X if isinstance(X, BlockRows) else on_device(X)
    if rows is None or rows.ndim != 2 or rows.dtype.kind not in "biuf":
        # On the host, scikit-learn raises its detailed messages.
        X = on_host(X if rows is None else rows)
        checks["ensure_all_finite"] = not is_finite_by_sum(X)
        return validate_data(estimator, X, *y, reset=reset, **checks)
    if rows.dtype not in (np.float32, np.float64):
        rows = converted(rows, np.float64)
    _check_feature_names(estimator, X, reset=reset)
    outline = _outline(rows)
    # The outline repeats one number without using memory, so checking one entry is enough.
    checks |= {"estimator": estimator, "ensure_all_finite": bool(outline[:1, :1].any())}
    checked: Any = rows
    if y:
        checked = rows, check_X_y(outline, *y, **checks)[1]
    else:
        check_array(outline, input_name="X", **checks)
    _check_n_features(estimator, outline, reset=reset)
    return checked


def _outline(rows: Array) -> np.ndarray:
    """Return a host array with the shape, dtype and finiteness of ``rows``, for validation."""
    value = np.array(0 if isinstance(rows, BlockRows) else nan_or_infinity(rows), rows.dtype)
    return np.broadcast_to(value, rows.shape)


def is_finite_by_sum(array: object) -> bool:
    """Return True if all values of ``array`` are finite; False if not, or if uncertain.

    A matrix product with ones propagates NaN and infinity like a sum, in less time. It takes one
    BLAS thread: a second would save 0.7 ms for 30 MB, and then spin for longer. The result is
    uncertain if the sum of finite numbers overflows, and for arrays that are not contiguous
    float32 or float64.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in _ONES:
        return False
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        return False
    flat, ones = np.asarray(array).reshape(-1, order="A"), _ONES[array.dtype]
    whole = len(flat) // len(ones) * len(ones)
    rows, rest = flat[:whole].reshape(-1, len(ones)), flat[whole:]
    with np.errstate(all="ignore"), BLAS.limited_to(1):
        return bool(np.isfinite(rows.dot(ones).sum() + rest.dot(ones[: len(rest)])))
