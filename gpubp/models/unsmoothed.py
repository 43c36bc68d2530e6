"""Probabilities of a network that was trained with label smoothing."""

from __future__ import annotations

from typing import Any

import numpy as np

# A probability is at least this fraction of the share s / K of smoothing, so that none becomes 0.
LEAST = 0.1


def unsmoothed(P: np.ndarray, smoothing: float) -> np.ndarray:
    """Return ``P`` (n, K) as if the labels had not been smoothed.

    Smoothing moves the target of each class to (1 - s) y + s / K. A probability p becomes
    max(p - s / K, LEAST s / K), and those of a row are divided by their sum. Their order stays.
    """
    part = smoothing / P.shape[1]
    raised = np.maximum(P - part, LEAST * part)
    shares: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return shares


def unsmoothed_of(model: Any, found: Any) -> Any:
    """Return the probabilities of a `TableClassifier` without the smoothing that its preset chose.

    found : (n, K), or a tuple with it and the standard deviations, which stay. With a smoothing
    that the user chose, for a multi-label y, and without any, it is returned as it is.
    """
    smoothing = smoothing_of(model)
    if not smoothing:
        return found
    if isinstance(found, tuple):
        return unsmoothed(found[0], smoothing), found[1]
    return unsmoothed(found, smoothing)


def smoothing_of(model: Any) -> float:
    """Return the label smoothing that `unsmoothed_of` removes for a table model; 0 for none.

    model : a table model, or None.
    """
    if model is None or not model.about_.get("unsmoothed"):
        return 0.0
    return float(model.network_.label_smoothing)
