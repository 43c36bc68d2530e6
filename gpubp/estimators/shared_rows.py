"""Share the rows of fits that were given the same X."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gpubp.estimators.prepared_fit import PreparedFit
from gpubp.training.data import TakenRows


class SharedRows:
    """The rows of fits by the object that they were given as X.

    Each fit validates and converts X, which copies lists, frames, integers and other dtypes. All
    fits of one X then train on the copy of the first.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, np.dtype], Any] = {}

    def share(self, X: Any, prepared: PreparedFit) -> PreparedFit:
        """Return ``prepared``, a fit of X, with the rows of an earlier fit of X in its dtype.

        X : must live as long as this object.
        """
        data = prepared.member.data
        rows = data.X.whole if isinstance(data.X, TakenRows) else data.X
        first = self._known.setdefault((id(X), rows.dtype), rows)
        if first is rows:
            return prepared
        shared = TakenRows(first, data.X.index) if isinstance(data.X, TakenRows) else first
        member = replace(prepared.member, data=data._replace(X=shared))
        return prepared._replace(member=member)
