"""Share the rows of fits that were given the same X."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gpubp.estimators.prepared_fit import Prepared, PreparedEnsemble
from gpubp.training.data import TakenRows, TrainingData
from gpubp.training.population import Member


class SharedRows:
    """The rows of fits by the object that they were given as X.

    Each fit validates and converts X, which copies lists, frames, integers and other dtypes. All
    fits of one X then train on the copy of the first.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, np.dtype], Any] = {}

    def share(self, X: Any, prepared: Prepared) -> Prepared:
        """Return ``prepared``, a fit of X, with the rows of an earlier fit of X in its dtype.

        X : must live as long as this object.
        """
        if isinstance(prepared, PreparedEnsemble):
            members = [self._member(X, member) for member in prepared.members]
            return prepared._replace(members=members, rows=self._rows(X, prepared.rows))
        return prepared._replace(member=self._member(X, prepared.member))

    def _member(self, X: Any, member: Member) -> Member:
        shared = self._rows(X, member.data)
        return member if shared is member.data else replace(member, data=shared)

    def _rows(self, X: Any, data: TrainingData) -> TrainingData:
        rows = data.X.whole if isinstance(data.X, TakenRows) else data.X
        first = self._known.setdefault((id(X), rows.dtype), rows)
        if first is rows:
            return data
        shared = TakenRows(first, data.X.index) if isinstance(data.X, TakenRows) else first
        return data._replace(X=shared)
