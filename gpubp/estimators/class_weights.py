"""Class weights: how much the rows of each class count in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight


def row_weights(
    class_weight: Any, classes: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> np.ndarray | None:
    """Return ``weights`` (n,) times the weight of each row's class, or of its labels' product.

    class_weight : None leaves them; {class: weight}, 1 for those left out; "balanced" gives each
    class the same sum; for multi-label y (n, k), a list of k dicts, or "balanced".
    classes : those that y may have; in a part of the data some may be absent.

    Raises ValueError for a class_weight that does not fit ``y``.
    """
    if class_weight is None:
        return weights
    for each in class_weight if isinstance(class_weight, list) else [class_weight]:
        _check_numbers(each)
    if y.ndim == 1 and not isinstance(class_weight, list):
        by_class = compute_class_weight(class_weight, classes=classes, y=y)
        own = by_class[np.searchsorted(classes, y)]
    else:
        own = compute_sample_weight(_checked(class_weight, y), y)
    return np.asarray(own if weights is None else own * weights)


def _check_numbers(class_weight: Any) -> None:
    weights = class_weight.values() if isinstance(class_weight, dict) else ()
    for weight in weights:
        if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
            raise ValueError(
                f"class_weight must have finite numbers of 0 or more, got {class_weight!r}; "
                "0 leaves a class out"
            )


def _checked(class_weight: Any, y: np.ndarray) -> Any:
    if isinstance(class_weight, list) and not _fits(class_weight, y):
        raise ValueError(
            f"a class_weight list has a dict for each column of a multi-label y, but y has shape "
            f"{y.shape} and class_weight is {class_weight!r}; pass a dict or 'balanced' for one "
            "label a row"
        )
    return class_weight


def _fits(class_weight: Sequence[Any], y: np.ndarray) -> bool:
    columns = y.shape[1] if y.ndim == 2 else 0
    return len(class_weight) == columns and all(isinstance(each, dict) for each in class_weight)
