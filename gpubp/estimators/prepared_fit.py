"""A fit up to its training: the arguments of `training.fit` for an estimator."""

from __future__ import annotations

from typing import NamedTuple

from gpubp.backends.protocol import Backend
from gpubp.estimators.callbacks import FitTasks
from gpubp.training.population import Member


class PreparedFit(NamedTuple):
    """A fit whose input is validated and whose training can begin.

    tasks : of scikit-learn's callbacks; None without any. threads : see `training.fit`.
    """

    backend: Backend
    member: Member
    tasks: FitTasks | None
    threads: int | None
