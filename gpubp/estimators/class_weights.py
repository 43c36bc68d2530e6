"""Weights in the loss: of rows, of labels and of classes."""

from __future__ import annotations

import reprlib
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from gpubp.backends.foreign_arrays import on_host


def checked_weights(y: Any, sample_weight: Any, *, by_label: bool = False) -> np.ndarray | None:
    """Return validated sample weights, (n,); None if ``sample_weight`` is None.

    by_label : whether they may also have the shape of a multi-label ``y``, (n, n_labels).

    Raises ValueError for another shape, for weights that are all 0, and for an infinite sum.
    """
    if sample_weight is None:
        return None
    weights: np.ndarray = on_host(sample_weight)
    if by_label and np.ndim(weights) == 2:
        weights = check_array(weights, dtype=[np.float64, np.float32], input_name="sample_weight")
        if weights.shape != y.shape:
            raise ValueError(
                f"sample_weight has shape {weights.shape}, but y has shape {y.shape}; give one "
                "weight per row, or one per row and label"
            )
    else:
        weights = _check_sample_weight(weights, y)
    if not weights.any():  # scikit-learn's message; 1.7 lacks the check
        raise ValueError("Sample weights must contain at least one non-zero number.")
    check_sum(weights, "sample_weight")
    return weights


def check_sum(weights: np.ndarray, name: str) -> None:
    """Raise ValueError if ``weights`` have no finite sum. name : for the message."""
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise ValueError(
            f"{name} adds up to {total}, beyond the range of {weights.dtype}; scale it down"
        )


def weights_by_class(class_weight: Any, classes: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Return the weight of each class, (n_classes,).

    For a multi-label y (n, k), return the weights of 0 and 1 for each label, (k, 2). Return None if
    ``class_weight`` is None or an array of weights per row and label.
    class_weight : {label: weight}, where missing labels have weight 1; or "balanced", which gives
    all classes of y the same total weight. For a multi-label y a list of k dicts, or "balanced".
    classes : all classes; some may be missing in ``y``.

    Raises ValueError for a class_weight that does not fit ``y``, or whose weights are all 0.
    """
    if class_weight is None or by_row(class_weight):
        return None
    if y.ndim == 1 and not isinstance(class_weight, list):
        by_class = _of_labels(class_weight, classes, y)
    else:
        _check_columns(class_weight, y)
        columns = _dense(y).T
        each = class_weight if isinstance(class_weight, list) else [class_weight] * len(columns)
        labels = np.arange(2)
        pairs = zip(each, columns, strict=True)
        by_class = np.array([_of_labels(weight, labels, column) for weight, column in pairs])
    if not by_class.any():
        raise ValueError(
            f"class_weight must have a number above 0, got {class_weight!r}, which leaves no row "
            "to train on"
        )
    return by_class


def weighed(
    by_class: np.ndarray | None, classes: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> np.ndarray | None:
    """Return ``weights`` times the class weights of ``y``: (n,), or (n, k) for multi-label."""
    if by_class is None:
        return weights
    if by_class.ndim == 1:
        own: np.ndarray = by_class[np.searchsorted(classes, y)]
    else:
        own = np.where(_dense(y) > 0, by_class[:, 1], by_class[:, 0])
    return times(own, weights)


def times(own: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weights ``own``, (n,) or (n, k), times sample weights, (n,) or (n, k)."""
    if weights is None:
        return own
    weights = weights[:, None] if weights.ndim < own.ndim else weights
    with np.errstate(over="ignore"):  # the caller checks the sum
        return np.asarray(own * weights)


def by_row(class_weight: Any) -> bool:
    """Return whether ``class_weight`` is array-like, with a weight per row and label."""
    if class_weight is None or isinstance(class_weight, str | dict):
        return False
    return not isinstance(class_weight, list) or not any(isinstance(c, dict) for c in class_weight)


def weights_by_row(class_weight: Any, y: np.ndarray) -> np.ndarray:
    """Return an array-like class_weight as an array (n, k); raise ValueError if it does not fit."""
    try:
        weights = np.asarray(on_host(class_weight), np.float64)
        got = f"shape {weights.shape}"
    except (TypeError, ValueError):
        weights, got = np.empty(0), "no numbers, or rows of different lengths"
    if y.ndim != 2 or weights.shape != y.shape:
        raise ValueError(
            "an array as class_weight is only for a multi-label y and needs its shape (n, "
            f"n_labels), but y has shape {y.shape} and class_weight has {got}: "
            f"{reprlib.repr(class_weight)}; pass a dict, for a multi-label y a list of dicts, or "
            "use sample_weight"
        )
    with np.errstate(over="ignore"):
        if not ((weights >= 0).all() and 0 < weights.sum() < np.inf):
            raise ValueError(
                "class_weight by row and label must have numbers of 0 or more with a finite sum "
                f"above 0, got numbers from {weights.min()} to {weights.max()}"
            )
    return weights


def _dense(y: Any) -> np.ndarray:
    return np.asarray(y.toarray() if issparse(y) else y)


def row_and_label_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split label weights (n, k) into their row means (n,) and factors (n, k) around 1."""
    rows = weights.mean(axis=1)
    return rows, weights / np.where(rows == 0, 1, rows)[:, None]


def _of_labels(class_weight: Any, classes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the weight of each class for {label: weight} or "balanced", (n_classes,)."""
    by_class = np.ones(len(classes))
    if isinstance(class_weight, str):
        present = np.isin(classes, y)
        by_class[present] = compute_class_weight(class_weight, classes=classes[present], y=y)
        return by_class
    _check_numbers(class_weight)
    labels = classes.tolist()
    unknown = [key for key in class_weight if key not in labels]
    missing = [label for label in labels if label not in class_weight]
    if unknown and missing:  # as in a fold that lacks a class
        raise ValueError(
            f"class_weight has keys {unknown}, which are not in y, and no weight for {missing}; "
            f"use the labels of y as keys: {labels}"
        )
    by_class[:] = [class_weight.get(label, 1) for label in labels]
    return by_class


def _check_numbers(class_weight: dict[Any, Any]) -> None:
    for weight in class_weight.values():
        if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
            raise ValueError(
                f"class_weight must have finite numbers of 0 or more, got {class_weight!r}; "
                "0 leaves a class out"
            )


def _check_columns(class_weight: Any, y: np.ndarray) -> None:
    """Raise a ValueError unless ``class_weight`` has a dict for each column of ``y``."""
    if isinstance(class_weight, dict):
        raise ValueError(
            "class_weight for a multi-label y must be a list of dicts, one per column, or "
            f"'balanced', got {class_weight!r}"
        )
    columns = y.shape[1] if y.ndim == 2 else 0
    dicts = isinstance(class_weight, str) or (
        len(class_weight) == columns and all(isinstance(each, dict) for each in class_weight)
    )
    if not dicts:
        raise ValueError(
            f"a class_weight list needs one dict per column of a multi-label y, but y has shape "
            f"{y.shape} and class_weight is {class_weight!r}; if y has one label per row, pass a "
            "dict or 'balanced'"
        )
