"""The losses: which kernel computes one, what its targets are, and how logits become outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gpubp.backend import Array, Backend
from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.losses import (
    SIGMOID_CROSS_ENTROPY,
    SOFTMAX,
    SOFTMAX_CROSS_ENTROPY,
    SQUARED_ERROR,
)


@dataclass(frozen=True)
class Loss:
    """One loss, computed from logits.

    step : value of each row and output delta in one launch (see ``kernels.losses``).
    targets : "index", the class of each row as int32 (n,); or "rows", numbers (n, n_outputs).
    output : what turns logits into predictions, by scikit-learn's name for it.
    formula : the loss of one row in words and symbols, for a person.
    clips : whether the reported value of a row is bounded as scikit-learn bounds it.
    """

    name: str
    step: Elementwise
    targets: Literal["index", "rows"]
    output: Literal["softmax", "logistic", "identity"]
    formula: str
    clips: bool = False

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Add each row's share of the loss to ``row_losses`` and write delta^L = dC/dZ.

        Z, delta : (…, n, n_outputs). Y : (…, n) int32 or (…, n, n_outputs).
        share : each row's part of the batch loss, a number (1/n) or (…, n).
        row_losses : (…, n) float64.
        """
        bounds = reported_range(Z.dtype) if self.clips else ()
        backend.run(self.step, Z, Y, Z.shape[-1], share, *bounds, out=(row_losses, delta))

    def predict(self, backend: Backend, Z: Array, out: Array) -> None:
        """Write the network's outputs for logits ``Z`` into ``out``, which may be ``Z``."""
        if self.output == "softmax":
            log_total = backend.empty(Z.shape[:-1], Z.dtype)
            backend.run(SOFTMAX, Z, Z.shape[-1], out=(log_total, out))
        elif (step := ACTIVATIONS[self.output].forward) is not None:
            backend.run(step, Z, out=out)
        elif out is not Z:
            out[...] = Z


def reported_range(dtype: np.dtype) -> tuple[float, float]:
    """Return the bounds of a reported log loss: probabilities clipped to [eps, 1 - eps]."""
    eps = float(np.finfo(dtype).eps)
    return -float(np.log1p(-eps)), -float(np.log(eps))


LOSSES = {
    loss.name: loss
    for loss in (
        Loss(
            "softmax_cross_entropy",
            SOFTMAX_CROSS_ENTROPY,
            "index",
            "softmax",
            "-log(probability of the target)",
            clips=True,
        ),
        Loss(
            "sigmoid_cross_entropy",
            SIGMOID_CROSS_ENTROPY,
            "rows",
            "logistic",
            "-sum(target log(prediction) + (1 - target) log(1 - prediction))",
            clips=True,
        ),
        Loss(
            "squared_error",
            SQUARED_ERROR,
            "rows",
            "identity",
            "1/2 mean((prediction - target)^2)",
        ),
    )
}
