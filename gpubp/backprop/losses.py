"""The losses: which kernel computes one, what its targets are, and how logits become outputs."""

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
    """One loss, computed from logits.

    step : value of each row and output delta in one launch (see ``kernels.losses``).
    targets : "index", the class of each row as int32 (n,); or "numbers", numbers (n, n_outputs).
    output : what turns logits into predictions, by scikit-learn's name for it.
    formula : the loss of one row in words and symbols, for a person.
    clips : whether the reported value of a row is bounded as scikit-learn bounds it.
    parameters : what ``step`` takes after the share, and the bounds where it clips.
    doc : one sentence for a person.
    takes : the numbers that `make_loss` makes ``parameters`` of.
    columns_per_output : of targets that are numbers; 2 where weights follow them.
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
        """How many outputs a network needs for each column of the targets."""
        return 1

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Add each row's share of the loss to ``row_losses`` and write delta^L = dC/dZ.

        Z, delta : (…, n, n_outputs). Y : (…, n) int32 or (…, n, n_outputs).
        share : each row's part of the batch loss, a number (1/n) or (…, n).
        row_losses : (…, n) float64.
        """
        bounds = reported_range(Z.dtype) if self.clips else ()
        numbers = (*bounds, *self.parameters)
        backend.run(self.step, Z, Y, Z.shape[-1], share, *numbers, out=(row_losses, delta))

    def numbers(self, *values: Any) -> tuple[float, ...]:
        """Return ``parameters`` made of a value for each of what the loss ``takes``."""
        return values

    def predict(self, backend: Backend, Z: Array, out: Array) -> None:
        """Write the network's outputs for logits ``Z`` into ``out``, which may be ``Z``."""
        if self.output == "softmax":
            log_total = backend.empty(Z.shape[:-1], Z.dtype)
            backend.run(SOFTMAX, Z, Z.shape[-1], out=(log_total, out))
        elif (step := _OUTPUTS[self.output]) is not None:
            backend.run(step, Z, out=out)
        elif out is not Z:
            out[...] = Z


class PinballLoss(Loss):
    """The mean absolute error, its two sides weighted: by such weights one predicts quantiles.

    parameters : for each level the weight of a prediction that is too low, then of one too high.
    With several levels, targets Y (…, n, k) have k outputs for each level in turn.
    """

    @property
    def outputs_per_target(self) -> int:
        """How many outputs a network needs for each column of the targets: one for each level."""
        return len(self.parameters) // 2

    def numbers(self, *values: Any) -> tuple[float, ...]:
        """Return the weights of either side for one level or several."""
        (levels,) = values
        levels = levels if isinstance(levels, tuple) else (levels,)
        return tuple(side for level in levels for side in (level, 1 - level))

    def evaluate(
        self, backend: Backend, Z: Array, Y: Array, share: Any, row_losses: Array, delta: Array
    ) -> None:
        """Do what `Loss.evaluate` does, with a launch for each level."""
        n_outputs, n_targets, levels = Z.shape[-1], Y.shape[-1], self.outputs_per_target
        if n_outputs != levels * n_targets:
            raise ValueError(
                f"a network of {n_outputs} outputs was given for {levels} levels of {n_targets} "
                f"targets; it needs {levels * n_targets}, one for each target at each level"
            )
        for level in range(levels):
            part = (share, n_targets, level * n_targets)
            weights = self.parameters[2 * level : 2 * level + 2]
            backend.run(self.step, Z, Y, n_outputs, *part, *weights, out=(row_losses, delta))


# What turns logits into predictions one by one; None leaves them as they are.
_OUTPUTS: dict[str, Elementwise | None] = {
    "identity": None,
    "logistic": ACTIVATIONS["logistic"].forward,
    "exp": EXP,
}


def reported_range(dtype: np.dtype) -> tuple[float, float]:
    """Return the bounds of a reported log loss: probabilities clipped to [eps, 1 - eps]."""
    eps = float(np.finfo(dtype).eps)
    return -float(np.log1p(-eps)), -float(np.log(eps))


_SMOOTHING = HyperparameterSpec(
    "label smoothing", 0.0, "Part that all classes share evenly.", high=1
)


def smoothed(Y: np.ndarray, smoothing: float, choices: int) -> np.ndarray:
    """Return the targets ``Y`` moved towards the uniform distribution: (1 - s) Y + s / choices.

    Y : (n, k) probabilities. smoothing : s in [0, 1). choices : the classes that share a row's
    probability, k under the softmax; 2 where each column is a yes or no of its own.
    Szegedy et al., Rethinking the Inception Architecture (2016).

    Raises ValueError for a smoothing outside of that.
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
            doc="Log loss of one class for each row.",
        ),
        Loss(
            "soft_cross_entropy",
            SOFTMAX_CROSS_ENTROPY_ROWS,
            "numbers",
            "softmax",
            "-sum(target log(prediction))",
            clips=True,
            doc="Log loss of a probability for each class.",
        ),
        Loss(
            "sigmoid_cross_entropy",
            SIGMOID_CROSS_ENTROPY,
            "numbers",
            "logistic",
            "-sum(target log(prediction) + (1 - target) log(1 - prediction))",
            clips=True,
            doc="Log loss of a yes or no for each output.",
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
            doc="Absolute error, averaged over the outputs: fits medians.",
        ),
        Loss(
            "huber",
            HUBER,
            "numbers",
            "identity",
            "mean(1/2 c^2 + delta (|prediction - target| - c)), "
            "c = min(|prediction - target|, delta)",
            parameters=(1.0,),
            doc="Half the squared error up to `huber_delta`, linear from there on; averaged over "
            "the outputs.",
            takes=(
                HyperparameterSpec(
                    "delta",
                    1.0,
                    "Error from which on the loss is linear, in the units of y.",
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
                    "Level to fit, or several at once.",
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
            doc="Half the Poisson deviance, for targets of 0 or more; exp activates the outputs.",
        ),
    )
}
# Of targets (n, 2 n_outputs): those of each output, then the weight of each in its row.
LABEL_WEIGHTED = replace(
    LOSSES["sigmoid_cross_entropy"],
    name="label_weighted_cross_entropy",
    step=LABEL_WEIGHTED_CROSS_ENTROPY,
    columns_per_output=2,
    formula="-sum(weight (target log(prediction) + (1 - target) log(1 - prediction)))",
    doc="Log loss of a yes or no for each output, each with a weight.",
)
# Those of numbers, not of classes, whose probabilities softmax or logistic give.
REGRESSION_LOSSES = tuple(
    name for name, loss in LOSSES.items() if loss.output in ("identity", "exp")
)
# Each number of a loss, under the name that MLPRegressor has for it, such as "huber_delta".
LOSS_NUMBERS: dict[str, tuple[str, HyperparameterSpec]] = {
    each.name if each.name == name else f"{name}_{each.name}": (name, each)
    for name, loss in LOSSES.items()
    for each in loss.takes
}


def make_loss(name: str, **parameters: Any) -> Loss:
    """Return the loss called ``name`` with its parameters set; those left out keep their default.

    parameters : those that the loss ``takes``, such as delta of "huber", or quantile of
        "quantile", a level or a list of levels. See `PinballLoss` for the outputs of several.

    Raises ValueError for an unknown loss, or a parameter that it does not have or cannot take.
    """
    loss = entry_of(LOSSES, name, "loss")
    values = checked(f"loss {name!r}", loss.takes, parameters)
    return replace(loss, parameters=loss.numbers(*values.values())) if parameters else loss
