"""The candidates of a search: a grid, or random draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.model_selection import ParameterGrid, ParameterSampler

ParamSpace = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Params = dict[str, Any]


def grid(space: ParamSpace) -> list[Params]:
    """Return all combinations of the values in ``space``.

    Raises ValueError if it contains a distribution.
    """
    for each in [space] if isinstance(space, Mapping) else space:
        for name, values in each.items():
            if hasattr(values, "rvs"):
                raise ValueError(
                    f"param_space has a distribution for {name!r}, which has no grid; pass a list "
                    "of values, or use another sampler than 'grid' and a number as n_iter"
                )
    return list(ParameterGrid(space))


def random(space: ParamSpace, n_iter: int, random_state: Any) -> list[Params]:
    """Return ``n_iter`` random candidates, the same as those of RandomizedSearchCV.

    If ``space`` has only lists, no candidate is drawn twice.
    """
    return list(ParameterSampler(space, n_iter, random_state=random_state))
