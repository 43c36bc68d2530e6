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
    # of L-BFGS, whose iterations are what max_epochs counts:
    "convergence",
    "max_fun",
    "line_search",
]


class Minimum(NamedTuple):
    """Where L-BFGS ended, in SciPy's terms: loss, iterations, evaluations, and why."""

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
    """What training did, epoch by epoch, over all calls that continue it.

    losses : mean loss of each epoch, with the penalty; scores : validation score of each;
    validation_losses : validation loss of each, without the penalty.
    stale : epochs since the last improvement; samples : rows trained on.
    epochs : epochs of the last call; seconds : its duration.
    finite_weights : of a call that stopped by "non_finite", whether its loss alone was not finite.
    minimum : what the last call reached, if it was L-BFGS, which has iterations for epochs.
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
        """Return a history of the same epochs that goes on by itself."""
        losses, scores = [*self.losses], [*self.scores]
        held = [*self.validation_losses]
        return replace(self, losses=losses, scores=scores, validation_losses=held)


@dataclass(frozen=True)
class Epoch:
    """One finished epoch, or iteration of L-BFGS, for those who listen."""

    number: int
    loss: float
    score: float | None
    best: bool
    rate: float | None  # of its last step; L-BFGS has none
    seconds: float  # since training began
    rows: int  # trained on in this epoch
    last: bool = False  # as far as is known: L-BFGS knows its last allowed iteration only
    validation_loss: float | None = None


OnEpoch = Callable[[Epoch], bool | None]
