"""Listeners that a search calls with each finished candidate, and that know earlier results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gpubp.selection.scoring import Result


class TrialLog(Protocol):
    """Keeps the results of finished candidates, for example in a file.

    params : the parameters of a candidate. more : further entries of its row in cv_results_, which
    tell apart evaluations of the same parameters, such as the iteration of 'halving'.
    """

    def begin(self, n_candidates: int, n_folds: int) -> None:
        """Note the number of candidates of the whole search, and the number of folds."""

    def known(self, params: Mapping[str, Any], more: Mapping[str, Any]) -> list[Result] | None:
        """Return the results of the folds of a candidate; None if it has to be trained."""

    def finished(
        self, params: Mapping[str, Any], more: Mapping[str, Any], results: Sequence[Result]
    ) -> None:
        """Keep the results of a candidate whose folds have just been finished."""


class NoTrialLog:
    """Knows no results and keeps none."""

    def begin(self, n_candidates: int, n_folds: int) -> None:
        """Do nothing."""

    def known(self, params: Mapping[str, Any], more: Mapping[str, Any]) -> list[Result] | None:
        """Return None."""
        return None

    def finished(
        self, params: Mapping[str, Any], more: Mapping[str, Any], results: Sequence[Result]
    ) -> None:
        """Do nothing."""
