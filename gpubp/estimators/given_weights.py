"""The weights and labels with which an estimator predicts, from fit or set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.preprocessing import LabelBinarizer

_FLOATS = np.dtype(np.float32), np.dtype(np.float64)


class Weights(NamedTuple):
    """Weights and biases by layer, the units of each layer, and the dtype to compute in.

    members : the length of the first axis of all arrays, for an ensemble; None for one network.
    """

    Ws: list[np.ndarray]
    bs: list[np.ndarray]
    sizes: tuple[int, ...]
    dtype: np.dtype
    members: int | None = None


def weights_of(coefs: Sequence[Any], intercepts: Sequence[Any]) -> Weights:
    """Return ``coefs`` and ``intercepts`` as arrays; raise ValueError if the shapes do not fit.

    The dtype to compute in is float32 or float64; for any other dtype it is float64.
    """
    try:
        Ws, bs = [np.asarray(W) for W in coefs], [np.asarray(b) for b in intercepts]
    except ValueError:
        raise ValueError(
            "coefs_ or intercepts_ has rows of different lengths; set one array per layer in "
            "both, or fit again"
        ) from None
    shapes, biases = [W.shape for W in Ws], [b.shape for b in bs]
    lead = shapes[0][:1] if shapes and len(shapes[0]) == 3 else ()  # the members
    inputs = shapes[0][len(lead) :][:1] if shapes else ()
    sizes = (*inputs, *(n for shape in biases for n in shape[-1:]))
    wanted = [(*lead, *of) for of in pairwise(sizes)], [(*lead, h) for h in sizes[1:]]
    if (shapes, biases) != wanted or not Ws or lead == (0,):
        raise ValueError(
            f"coefs_ has shapes {shapes} and intercepts_ {biases}, which do not fit together; "
            "set one array per layer in both, or fit again"
        )
    dtype = np.result_type(*Ws, *bs)
    dtype = dtype if dtype in _FLOATS else np.dtype(np.float64)
    return Weights(Ws, bs, sizes, dtype, *lead)


def check_columns_of_X(X: Any, name: str, d: int) -> None:
    """Raise ValueError, with scikit-learn's message, if X does not have ``d`` columns."""
    if X.shape[1] != d:
        raise ValueError(
            f"X has {X.shape[1]} features, but {name} is expecting {d} features as input."
        )


def binarizer_of(classes: Any, n_outputs: int, output: str) -> LabelBinarizer:
    """Return the LabelBinarizer for ``classes`` that were set by hand; raise ValueError if wrong.

    output : the activation of the outputs. Several 'logistic' outputs are a multi-label y.
    """
    classes = np.asarray(classes)
    multilabel = n_outputs > 1 and output == "logistic"
    known = len(classes) == (2 if n_outputs == 1 else n_outputs)
    wanted = np.arange(n_outputs) if multilabel else np.unique(classes)
    if not known or not np.array_equal(classes, wanted):
        many = f"{n_outputs} outputs" if n_outputs > 1 else "1 output"
        raise ValueError(
            f"classes_ must be the sorted labels for the {many} of the network: 2 labels for one "
            f"output, range({n_outputs}) for a multi-label y, got {classes.tolist()!r}"
        )
    binarizer = LabelBinarizer()
    if multilabel:
        return binarizer.fit(np.eye(n_outputs, dtype=int))
    binarizer.fit(classes)
    binarizer.y_type_ = "binary" if n_outputs == 1 else "multiclass"
    return binarizer
