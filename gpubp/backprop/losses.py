"""The table of losses: their kernels, their targets, and how logits become outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.backprop.hyperparameter_spec import HyperparameterSpec, checked, entry_of
from gpubp.kernels.activations import ACTIVATIONS, EXP
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.losses import (
    LABEL_WEIGHTED_CROSS_ENTROPY,
    SIGMOID_CROSS_ENTROPY,
    SOFTMAX,
    SOFTMAX_CROSS_ENTROPY,
    SOFTMAX_CROSS_ENTROPY_ROWS,
)
from gpubp.kernels.regression_losses import HUBER, PINBALL, POISSON, SQUARED_ERROR


@dataclass(frozen=True)
class Loss:
    """A loss function, computed from the logits of the network.

    name : its name, for error messages and `LOSSES`.
    step : the kernel that computes the loss of each row and the output delta (see
        ``kernels.losses``).
    targets : "index": the class of each row, int32 (n,); "numbers": an array (n, n_outputs).
    output : the output activation, which turns logits into predictions; scikit-learn's name.
    formula : the loss of one row as a formula for `explain`.
    clips : whether the reported loss of a row is clipped to `reported_range`, as in scikit-learn.
    parameters : the arguments that ``step`` takes after the share, and after the bounds of
        ``clips``.
    doc : its description in the documentation and the command line.
    takes : the parameters of `make_loss`, from which it computes ``parameters``.
    columns_per_output : number of columns of the targets "numbers" per output: 1, or 2 if the
        targets are followed by as many weights.
    """

    name: str
    step: Elementwise
    targets: Literal["index", "numbers"]
    output: Literal["softmax", "logistic", "identity", "exp"]
    formula: str
    clips: bool = False
    parameters: tuple[float, ...] = ()
    doc: str = ""
    takes: tuple[HyperparameterSpec, ...] = ()
    columns_per_output: int = 1

    @property
    def outputs_per_target(self) -> int:
        """The number of network outputs per column of the targets."""
        return 1

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Add share x loss of each row to ``row_losses``; write delta^L = dC/dZ to ``delta``.

        Z : (…, n, n_outputs), the logits. Y : (…, n) int32 or (…, n, n_outputs), the targets.
        share : weight of each row in the batch loss, a number (1/n) or (…, n).
        row_losses : (…, n) float64. delta : (…, n, n_outputs).
        """
        bounds = reported_range(Z.dtype) if self.clips else ()
        numbers = (*bounds, *self.parameters)
        backend.run(self.step, Z, Y, Z.shape[-1], share, *numbers, out=(row_losses, delta))

    def numbers(self, *values: Any) -> tuple[float, ...]:
        """Return ``parameters`` computed from one value per parameter in ``takes``."""
        return values

    def predict(self, backend: Backend, Z: Array, out: Array) -> None:
        """Write the network's outputs for the logits ``Z`` to ``out``; ``out`` may be ``Z``."""
        if self.output == "softmax":
            log_total = backend.empty(Z.shape[:-1], Z.dtype)
            backend.run(SOFTMAX, Z, Z.shape[-1], out=(log_total, out))
        elif (step := _OUTPUTS[self.output]) is not None:
            backend.run(step, Z, out=out)
        elif out is not Z:
            out[...] = Z


class PinballLoss(Loss):
    """The pinball loss: the mean absolute error, with different weights for its two signs.

    parameters : two weights per level: of predictions that are too low, then of those too high.
    With several levels and targets Y (…, n, k), the first k outputs belong to the first level, the
    next k to the second, and so on.
    """

    @property
    def outputs_per_target(self) -> int:
        """The number of network outputs per column of the targets: the number of levels."""
        return len(self.parameters) // 2

    def numbers(self, *values: Any) -> tuple[float, ...]:
        """Return the two weights of each level: ``level`` and ``1 - level``."""
        (levels,) = values
        levels = levels if isinstance(levels, tuple) else (levels,)
        return tuple(side for level in levels for side in (level, 1 - level))

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Do the same as `Loss.evaluate`, with one launch per level."""
        n_outputs, n_targets, levels = Z.shape[-1], Y.shape[-1], self.outputs_per_target
        if n_outputs != levels * n_targets:
            raise ValueError(
                f"the network has {n_outputs} outputs, but {n_targets} targets with {levels} "
                f"levels need {levels * n_targets}, one per target and level"
            )
        for level in range(levels):
            part = (share, n_targets, level * n_targets)
            weights = self.parameters[2 * level : 2 * level + 2]
            backend.run(self.step, Z, Y, n_outputs, *part, *weights, out=(row_losses, delta))


# Elementwise output activations; None leaves the logits unchanged.
_OUTPUTS: dict[str, Elementwise | None] = {
    "identity": None,
    "logistic": ACTIVATIONS["logistic"].forward,
    "exp": EXP,
}


def reported_range(dtype: np.dtype) -> tuple[float, float]:
    """Return the bounds of a reported log loss, whose probabilities are in [eps, 1 - eps]."""
    eps = float(np.finfo(dtype).eps)
    return -float(np.log1p(-eps)), -float(np.log(eps))


_SMOOTHING = HyperparameterSpec(
    "label smoothing", 0.0, "Probability that is spread evenly over all classes.", high=1
)


def smoothed(Y: np.ndarray, smoothing: float, choices: int) -> np.ndarray:
    """Return targets with label smoothing: (1 - s) Y + s / choices.

    Y : (n, k) probabilities.
    smoothing : s, in [0, 1).
    choices : the number of classes that share a probability: k for softmax outputs, 2 if each
        column is a binary label.
    Szegedy et al., Rethinking the Inception Architecture (2016).

    Raises ValueError for a smoothing outside of [0, 1).
    """
    kept = 1 - float(_SMOOTHING.checked(smoothing))
    return kept * Y + (1 - kept) / choices


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss(
            "softmax_cross_entropy",
            SOFTMAX_CROSS_ENTROPY,
            "index",
            "softmax",
            "-log(probability of the target)",
            clips=True,
            doc="Log loss for targets that are one class per row.",
        ),
        Loss(
            "soft_cross_entropy",
            SOFTMAX_CROSS_ENTROPY_ROWS,
            "numbers",
            "softmax",
            "-sum(target log(prediction))",
            clips=True,
            doc="Log loss for targets that are one probability per class.",
        ),
        Loss(
            "sigmoid_cross_entropy",
            SIGMOID_CROSS_ENTROPY,
            "numbers",
            "logistic",
            "-sum(target log(prediction) + (1 - target) log(1 - prediction))",
            clips=True,
            doc="Binary log loss, summed over the outputs.",
        ),
        Loss(
            "squared_error",
            SQUARED_ERROR,
            "numbers",
            "identity",
            "1/2 mean((prediction - target)^2)",
            doc="Half the squared error, averaged over the outputs.",
        ),
        PinballLoss(
            "absolute_error",
            PINBALL,
            "numbers",
            "identity",
            "mean(|prediction - target|)",
            parameters=(1.0, 1.0),
            doc="Absolute error, averaged over the outputs: fits the median.",
        ),
        Loss(
            "huber",
            HUBER,
            "numbers",
            "identity",
            "mean(1/2 c^2 + delta (|prediction - target| - c)), "
            "c = min(|prediction - target|, delta)",
            parameters=(1.0,),
            doc="Half the squared error where the absolute error is at most `huber_delta`, linear "
            "in the absolute error above; averaged over the outputs.",
            takes=(
                HyperparameterSpec(
                    "delta",
                    1.0,
                    "Absolute error above which the loss is linear, in the units of y.",
                    closed="neither",
                ),
            ),
        ),
        PinballLoss(
            "quantile",
            PINBALL,
            "numbers",
            "identity",
            "mean(max(quantile (target - prediction), (1 - quantile) (prediction - target)))",
            parameters=(0.5, 0.5),
            doc="Pinball loss, averaged over the outputs: fits the quantile at level `quantile`.",
            takes=(
                HyperparameterSpec(
                    "quantile",
                    0.5,
                    "Quantile level to fit.",
                    high=1,
                    closed="neither",
                    several=True,
                ),
            ),
        ),
        Loss(
            "poisson",
            POISSON,
            "numbers",
            "exp",
            "sum(target log(target / prediction) - target + prediction)",
            doc="Half the Poisson deviance, for targets of 0 or more; the output activation is "
            "exp.",
        ),
    )
}
# Its targets (n, 2 n_outputs) are the target of each output, then the weight of each output.
LABEL_WEIGHTED = replace(
    LOSSES["sigmoid_cross_entropy"],
    name="label_weighted_cross_entropy",
    step=LABEL_WEIGHTED_CROSS_ENTROPY,
    columns_per_output=2,
    formula="-sum(weight (target log(prediction) + (1 - target) log(1 - prediction)))",
    doc="Weighted binary log loss, summed over the outputs.",
)
# Softmax and logistic outputs are probabilities of classes; the other losses are for regression.
REGRESSION_LOSSES = tuple(
    name for name, loss in LOSSES.items() if loss.output in ("identity", "exp")
)
# Parameters of the losses, by their name in MLPRegressor, such as "huber_delta".
LOSS_NUMBERS: dict[str, tuple[str, HyperparameterSpec]] = {
    each.name if each.name == name else f"{name}_{each.name}": (name, each)
    for name, loss in LOSSES.items()
    for each in loss.takes
}


def make_loss(name: str, **parameters: Any) -> Loss:
    """Return the loss ``name`` with the given parameters; others keep their defaults.

    parameters : by the names in ``takes``: ``delta`` for "huber"; ``quantile`` for "quantile", a
        level or a list of levels. `PinballLoss` describes the outputs for several levels.

    Raises ValueError for an unknown loss, and for an unknown parameter or a value out of range.
    """
    loss = entry_of(LOSSES, name, "loss")
    values = checked(f"loss {name!r}", loss.takes, parameters)
    return replace(loss, parameters=loss.numbers(*values.values())) if parameters else loss
