"""A fit up to its training: the arguments of `training.fit` for an estimator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Backend
from gpubp.estimators.callbacks import FitTasks
from gpubp.training.data import TrainingData
from gpubp.training.population import Member


class PreparedFit(NamedTuple):
    """A fit whose input is validated and whose training can begin.

    tasks : of scikit-learn's callbacks; None without any. threads : see `training.fit`.
    """

    backend: Backend
    member: Member
    tasks: FitTasks | None
    threads: int | None

    @property
    def members(self) -> list[Member]:
        """The only network."""
        return [self.member]


class PreparedEnsemble(NamedTuple):
    """A fit of an ensemble whose input is validated and whose training can begin.

    seeds : of the members. rows : of all members, with sample weights. left_out : for each member,
    the indices of the rows that it neither trains on nor holds out; empty if all members train on
    all rows.
    began : when the fit began. threads : see `training.fit`.
    """

    backend: Backend
    members: list[Member]
    seeds: np.ndarray
    rows: TrainingData
    left_out: list[np.ndarray]
    began: float
    threads: int | None


Prepared = PreparedFit | PreparedEnsemble


def described(dtype: np.dtype, backend: Backend) -> str:
    """Return a log line with the device, dtype and precision of training, and the reason."""
    rounded = dtype == np.float32 and backend.precision != "float32"
    products = f" with {backend.precision} products" if rounded else ""
    return f"training on {backend.name} in {dtype}{products}: {backend.reason}"
