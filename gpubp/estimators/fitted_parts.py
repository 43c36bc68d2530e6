"""Attributes of fitted estimators that are views of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpubp.estimators.ensemble_members import members_of
from gpubp.estimators.fitted_stage import stage_parts


def members(estimator: Any) -> list[Any]:
    """Return the members of an ensemble: fitted networks, whose weights are views of `coefs_`."""
    if (found := members_of(estimator)) is None:
        raise AttributeError(
            f"{type(estimator).__name__} has members_ only after fit with n_members, such as 5"
        )
    return found


def input_stage(estimator: Any) -> dict[str, np.ndarray]:
    """Return the parameters of the input stage by name: "scale", "periodic" and "tables"."""
    if "_stage_vector" not in vars(estimator):
        raise AttributeError(
            f"{type(estimator).__name__} has input_stage_ only after fit with input_stage, such as "
            "{'periodic': 'all'}"
        )
    return stage_parts(estimator)
