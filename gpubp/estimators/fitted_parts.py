"""Attributes of fitted estimators that are views of others."""

from __future__ import annotations

from typing import Self

import numpy as np

from gpubp.estimators.ensemble_members import members_of
from gpubp.estimators.fitted_stage import stage_parts


class FittedParts:
    """The members of an ensemble, and the parameters of an input stage."""

    @property
    def members_(self) -> list[Self]:
        """The members of an ensemble: fitted networks, whose weights are views of `coefs_`."""
        if (members := members_of(self)) is None:
            raise AttributeError(
                f"{type(self).__name__} has members_ only after fit with n_members, such as 5"
            )
        return members

    @property
    def input_stage_(self) -> dict[str, np.ndarray]:
        """The parameters of the input stage by name: "scale", "periodic" and "tables"."""
        if "_stage_vector" not in vars(self):
            raise AttributeError(
                f"{type(self).__name__} has input_stage_ only after fit with input_stage, such as "
                "{'periodic': 'all'}"
            )
        return stage_parts(self)
