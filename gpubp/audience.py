"""Audience: who is told of a training as it goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpubp.callbacks import FitTasks
from gpubp.lbfgs import Objective
from gpubp.trainer import Trainer
from gpubp.training import Epoch, OnEpoch


@dataclass(frozen=True)
class Audience:
    """Who is told of a training as it goes on.

    verbose : whether lines are printed, those of scikit-learn among them.
    on_epoch : told of each epoch; may ask to stop.
    note : takes the lines that a person should read, instead of print.
    tasks : the training as scikit-learn's callbacks see it, if there are any.
    """

    verbose: bool
    on_epoch: OnEpoch | None
    note: Callable[[str], None] | None
    tasks: FitTasks | None

    def say(self, line: str) -> None:
        """Tell where training runs, if anybody listens."""
        if self.note or self.verbose:
            (self.note or print)(line)

    def warn(self, line: str) -> None:
        """Tell what goes otherwise than was asked for."""
        if self.note or self.verbose:
            (self.note or print)(line)
        else:
            warnings.warn(line, stacklevel=2)

    def begin(self, trainer: Trainer | Objective, kept: np.ndarray | None) -> OnEpoch | None:
        """Tell that the first epoch begins; return what tells of each that ends.

        It returns whether somebody asks to stop. kept : see `FitTasks.begin`.
        """
        told = None if self.tasks is None else self.tasks.begin(trainer, kept)
        everyone = (_print if self.verbose else None, self.on_epoch, told)
        listeners = [each for each in everyone if each]

        def report(epoch: Epoch) -> bool:
            stops = [each(epoch) for each in listeners]
            return any(stops)

        return report if listeners else None

    def end(self) -> None:
        """Tell that training has ended."""
        if self.tasks is not None:
            self.tasks.end()


def _print(epoch: Epoch) -> None:
    print(f"Iteration {epoch.number}, loss = {epoch.loss:.8f}")
    if epoch.score is not None:
        print(f"Validation score: {epoch.score:f}")
