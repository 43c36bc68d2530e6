"""The losses: which kernel computes one, what its targets are, and how logits become outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np

from gpubp.backend import Array, Backend
from gpubp.kernels.activations import ACTIVATIONS, EXP
from gpubp.kernels.elementwise import Elementwise
from gpubp.kernels.losses import (
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
    targets : "index", the class of each row as int32 (n,); or "rows", numbers (n, n_outputs).
    output : what turns logits into predictions, by scikit-learn's name for it.
    formula : the loss of one row in words and symbols, for a person.
    clips : whether the reported value of a row is bounded as scikit-learn bounds it.
    parameters : what ``step`` takes after the share, and the bounds where it clips.
    """

    name: str
    step: Elementwise
    targets: Literal["index", "rows"]
    output: Literal["softmax", "logistic", "identity", "exp"]
    formula: str
    clips: bool = False
    parameters: tuple[float, ...] = ()

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


def smoothed(Y: np.ndarray, smoothing: float, choices: int) -> np.ndarray:
    """Return the targets ``Y`` moved towards the uniform distribution: (1 - s) Y + s / choices.

    Y : (n, k) probabilities. smoothing : s in [0, 1). choices : the classes that share a row's
    probability, k under the softmax; 2 where each column is a yes or no of its own.
    Szegedy et al., Rethinking the Inception Architecture (2016).

    Raises ValueError for a smoothing outside of that.
    """
    if not (_is_number(smoothing) and 0 <= smoothing < 1):
        raise ValueError(
            f"label smoothing must be a number from 0 up to, but not including, 1, "
            f"got {smoothing!r}"
        )
    kept = 1 - float(smoothing)
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
        ),
        Loss(
            "soft_cross_entropy",
            SOFTMAX_CROSS_ENTROPY_ROWS,
            "rows",
            "softmax",
            "-sum(target log(prediction))",
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
        PinballLoss(
            "absolute_error",
            PINBALL,
            "rows",
            "identity",
            "mean(|prediction - target|)",
            parameters=(1.0, 1.0),
        ),
        Loss(
            "huber",
            HUBER,
            "rows",
            "identity",
            "mean(1/2 c^2 + delta (|prediction - target| - c)), "
            "c = min(|prediction - target|, delta)",
            parameters=(1.0,),
        ),
        PinballLoss(
            "quantile",
            PINBALL,
            "rows",
            "identity",
            "mean(max(quantile (target - prediction), (1 - quantile) (prediction - target)))",
            parameters=(0.5, 0.5),
        ),
        Loss(
            "poisson",
            POISSON,
            "rows",
            "exp",
            "sum(target log(target / prediction) - target + prediction)",
        ),
    )
}


def make_loss(name: str, **parameters: Any) -> Loss:
    """Return the loss called ``name`` with its parameters set; those left out keep their default.

    delta : of "huber", the error from which on the loss is linear, above 0; 1 by default.
    quantile : of "quantile", the level to predict, between 0 and 1, or a list of levels; 0.5 by
        default. See `PinballLoss` for the outputs of several.

    Raises ValueError for an unknown loss, or a parameter that it does not have or cannot take.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {name!r}")
    takes = _PARAMETERS.get(name)
    for given in parameters:
        if takes is None or given != takes[0]:
            only = f"only {takes[0]!r}" if takes else "none"
            raise ValueError(f"loss {name!r} has no parameter {given!r}; it takes {only}")
    if takes is None or not parameters:
        return LOSSES[name]
    parameter, numbers = takes
    return replace(LOSSES[name], parameters=numbers(parameters[parameter]))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an int that no float holds
        return False


def _delta(delta: Any) -> tuple[float, ...]:
    if not (_is_number(delta) and delta > 0):
        raise ValueError(f"delta must be a finite number above 0, got {delta!r}")
    return (float(delta),)


def _levels(quantile: Any) -> tuple[float, ...]:
    """Return the weights of either side for one level or several."""
    several = isinstance(quantile, list | tuple) or np.ndim(quantile) == 1
    levels = list(quantile) if several else [quantile]
    if not levels or not all(_is_number(level) and 0 < level < 1 for level in levels):
        raise ValueError(
            f"quantile must be a number between 0 and 1, or a list of such numbers, "
            f"got {quantile!r}"
        )
    return tuple(float(side) for level in levels for side in (level, 1 - level))


# What a loss may be given, and what makes the numbers of its kernel of it.
_PARAMETERS: dict[str, tuple[str, Callable[[Any], tuple[float, ...]]]] = {
    "huber": ("delta", _delta),
    "quantile": ("quantile", _levels),
}
