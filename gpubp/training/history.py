"""The history of a training: its losses and scores by epoch, and why it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

StoppedBy = Literal[
    "max_epochs",
    "no_improvement",
    "non_finite",
    "interrupt",
    "callback",
    # for L-BFGS, where "max_epochs" counts iterations:
    "convergence",
    "max_fun",
    "line_search",
]


class Minimum(NamedTuple):
    """The result of L-BFGS, in SciPy's terms: loss, iterations, evaluations, and why it ended."""

    fun: float
    nit: int = 0
    nfev: int = 0
    status: int = 0
    message: str = ""


class ValidationResult(NamedTuple):
    """Score and loss of the parameters on the validation set."""

    score: float
    loss: float


@dataclass
class History:
    """The epochs of a training, over all calls that continue it.

    losses : mean loss of each epoch, with the penalty. scores : validation score of each epoch.
    validation_losses : validation loss of each epoch, without the penalty.
    best_loss, best_score : the lowest loss and the highest score so far.
    stale : consecutive epochs without an improvement. samples : rows trained on.
    epochs : epochs of the last call. seconds : duration of the last call.
    stopped_by : why the last call stopped. finite_weights : for "non_finite", whether the weights
    were finite and only the loss was not.
    minimum : the result of the last call, if it was L-BFGS.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    best_score: float = -np.inf
    stale: int = 0
    samples: int = 0
    epochs: int = 0
    seconds: float = 0.0
    stopped_by: StoppedBy = "max_epochs"
    finite_weights: bool = False
    minimum: Minimum | None = None

    def copy(self) -> History:
        """Return an independent copy."""
        losses, scores = [*self.losses], [*self.scores]
        held = [*self.validation_losses]
        return replace(self, losses=losses, scores=scores, validation_losses=held)


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, or iteration of L-BFGS, as passed to listeners."""

    number: int
    loss: float
    score: float | None
    best: bool
    rate: float | None  # learning rate of its last step; None for L-BFGS
    seconds: float  # since training began
    rows: int  # rows trained on in this epoch
    last: bool = False  # for L-BFGS, only known if max_iter is reached
    validation_loss: float | None = None
    member: int | None = None  # index in an ensemble


OnEpoch = Callable[[Epoch], bool | None]
