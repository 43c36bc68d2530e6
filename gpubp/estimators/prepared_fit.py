"""A fit up to its training: the arguments of `training.fit` for an estimator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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


def described(dtype: np.dtype, backend: Backend) -> str:
    """Return a log line with the device, dtype and precision of training, and the reason."""
    rounded = dtype == np.float32 and backend.precision != "float32"
    products = f" with {backend.precision} products" if rounded else ""
    return f"training on {backend.name} in {dtype}{products}: {backend.reason}"
