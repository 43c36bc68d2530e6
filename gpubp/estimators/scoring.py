"""Scoring: what a scikit-learn scorer says of the parameters of an epoch."""

from __future__ import annotations

from inspect import signature
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer

from gpubp.backends.foreign_arrays import on_host
from gpubp.estimators.fitted_attributes import set_fitted
from gpubp.training.data import CsrData, TrainingData
from gpubp.training.fit import Snapshot


class Scorer:
    """What a scikit-learn scorer says of parameters: it is handed an estimator that has them.

    scoring : one of scikit-learn's names, or a callable scorer(estimator, X, y), which is given
        the weights of the rows too if it takes sample_weight. estimator : knows all but coefs_.
    """

    def __init__(self, scoring: Any, estimator: Any, rows: TrainingData) -> None:
        self._scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        self._estimator = estimator
        self._X = rows.X.matrix if isinstance(rows.X, CsrData) else on_host(rows.X)
        self._y = rows.y
        weighted = rows.weights is not None and _takes_weights(self._scorer)
        self._weights = {"sample_weight": rows.weights} if weighted else {}
        self._check_call()

    def _check_call(self) -> None:
        """Raise a ValueError for a scorer that cannot be called as one."""
        try:
            takes = signature(self._scorer)
        except (TypeError, ValueError):  # it has none that Python could tell
            return
        try:
            takes.bind(self._estimator, self._X, self._y, **self._weights)
        except TypeError as error:
            raise ValueError(
                "scoring must be a scorer, which is called as scorer(estimator, X, y), got "
                f"{self._scorer!r} ({error}); of a metric, sklearn.metrics.make_scorer makes one"
            ) from None

    def begin(self, snapshot: Snapshot) -> None:
        """Take what returns the parameters of the moment."""
        self._snapshot = snapshot

    def __call__(self, outputs: np.ndarray, loss: float) -> float:
        """Return the score of the parameters of the moment, NaN where an output is not finite.

        outputs : (n, n_outputs), those of the rows.
        """
        if not np.isfinite(outputs).all():
            return float("nan")
        view = self._view()
        # Of other rows, or after a scorer has fitted it again, outputs are computed.
        view._known = self._X, view.coefs_, outputs
        score = self._scorer(view, self._X, self._y, **self._weights)
        view._known = None
        score = score.item() if getattr(score, "shape", None) == () else score
        if not isinstance(score, Real):
            raise ValueError(f"scoring must return a number, got {score!r} of {self._scorer!r}")
        return float(score)

    def _view(self) -> Any:
        """Return the estimator as if training had ended now, the rest of it shared."""
        view: Any = object.__new__(type(self._estimator))
        vars(view).update(vars(self._estimator))
        # The rows come without the names of their columns.
        vars(view).pop("feature_names_in_", None)
        set_fitted(view, self._snapshot(), view._loss().output)
        return view


def _takes_weights(scorer: Any) -> bool:
    if hasattr(scorer, "_accept_sample_weight"):  # one of scikit-learn's
        return bool(scorer._accept_sample_weight())
    try:
        return "sample_weight" in signature(scorer).parameters
    except (TypeError, ValueError):  # it has none that Python could tell
        return False
