"""The weights and labels that an estimator predicts by: those of its fit, or set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.preprocessing import LabelBinarizer

_FLOATS = np.dtype(np.float32), np.dtype(np.float64)


class Weights(NamedTuple):
    """Weights and biases by layer as arrays, the units by layer, and the dtype to compute in."""

    Ws: list[np.ndarray]
    bs: list[np.ndarray]
    sizes: tuple[int, ...]
    dtype: np.dtype


def weights_of(coefs: Sequence[Any], intercepts: Sequence[Any]) -> Weights:
    """Return ``coefs`` and ``intercepts``, which may be of any numbers, or raise a ValueError.

    Numbers of another type than float32 are computed in float64.
    """
    try:
        Ws, bs = [np.asarray(W) for W in coefs], [np.asarray(b) for b in intercepts]
    except ValueError:
        raise ValueError(
            "coefs_ or intercepts_ has rows of different lengths; set both by layer, or fit again"
        ) from None
    shapes, biases = [W.shape for W in Ws], [b.shape for b in bs]
    sizes = (*(shapes[0][:1] if shapes else ()), *(n for shape in biases for n in shape[:1]))
    if shapes != list(pairwise(sizes)) or any(len(shape) != 1 for shape in biases) or not Ws:
        raise ValueError(
            f"coefs_ has shapes {shapes} and intercepts_ {biases}, which do not fit together; "
            "set both by layer, or fit again"
        )
    dtype = np.result_type(*Ws, *bs)
    return Weights(Ws, bs, sizes, dtype if dtype in _FLOATS else np.dtype(np.float64))


def check_columns_of_X(X: Any, name: str, d: int) -> None:
    """Raise a ValueError, in scikit-learn's words, where X has other columns than ``d`` weights."""
    if X.shape[1] != d:
        raise ValueError(
            f"X has {X.shape[1]} features, but {name} is expecting {d} features as input."
        )


def binarizer_of(classes: Any, n_outputs: int, output: str) -> LabelBinarizer:
    """Return what makes labels of outputs, for ``classes`` that were set by hand, or raise.

    output : the activation of the outputs: several that are 'logistic' are of a multi-label y.
    """
    classes = np.asarray(classes)
    multilabel = n_outputs > 1 and output == "logistic"
    known = len(classes) == (2 if n_outputs == 1 else n_outputs)
    wanted = np.arange(n_outputs) if multilabel else np.unique(classes)
    if not known or not np.array_equal(classes, wanted):
        many = f"{n_outputs} outputs" if n_outputs > 1 else "1 output"
        raise ValueError(
            f"classes_ must be the sorted labels of the {many} of the network, 2 for one output "
            f"and range({n_outputs}) for a multi-label y, got {classes.tolist()!r}"
        )
    binarizer = LabelBinarizer()
    if multilabel:
        return binarizer.fit(np.eye(n_outputs, dtype=int))
    binarizer.fit(classes)
    binarizer.y_type_ = "binary" if n_outputs == 1 else "multiclass"
    return binarizer
