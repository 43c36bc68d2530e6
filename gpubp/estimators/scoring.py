"""Scoring the parameters of an epoch with a scikit-learn scorer."""

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
    """Calls a scikit-learn scorer with an estimator that has the current parameters.

    scoring : the name of a scikit-learn scorer, or a callable scorer(estimator, X, y). If it takes
        sample_weight, it also gets the weights of the rows.
    estimator : the estimator that is being fitted. rows : the validation rows.
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
        """Raise ValueError if the scorer cannot be called as scorer(estimator, X, y)."""
        try:
            takes = signature(self._scorer)
        except (TypeError, ValueError):  # some callables have no signature
            return
        try:
            takes.bind(self._estimator, self._X, self._y, **self._weights)
        except TypeError as error:
            raise ValueError(
                "scoring must be a scorer, which is called as scorer(estimator, X, y), got "
                f"{self._scorer!r} ({error}); sklearn.metrics.make_scorer makes a scorer from a "
                "metric"
            ) from None

    def begin(self, snapshot: Snapshot) -> None:
        """Set the function that returns the `Fitted` of the current parameters."""
        self._snapshot = snapshot

    def __call__(self, outputs: np.ndarray, loss: float) -> float:
        """Return the score of the current parameters; NaN if an output is not finite.

        outputs : (n, n_outputs), the outputs of the network for the rows. loss : not used.

        Raises ValueError if the scorer does not return a number.
        """
        if not np.isfinite(outputs).all():
            return float("nan")
        view = self._view()
        # For these rows, predict returns the known outputs; for other rows, or after a scorer has
        # fitted the estimator again, it computes them.
        view._known = self._X, view.coefs_, outputs
        score = self._scorer(view, self._X, self._y, **self._weights)
        view._known = None
        score = score.item() if getattr(score, "shape", None) == () else score
        if not isinstance(score, Real):
            raise ValueError(f"scoring must return a number, got {score!r} from {self._scorer!r}")
        return float(score)

    def _view(self) -> Any:
        """Return a shallow copy of the estimator, fitted with the current parameters."""
        view: Any = object.__new__(type(self._estimator))
        vars(view).update(vars(self._estimator))
        # The rows have no column names.
        vars(view).pop("feature_names_in_", None)
        set_fitted(view, self._snapshot(), view._loss().output)
        return view


def _takes_weights(scorer: Any) -> bool:
    if hasattr(scorer, "_accept_sample_weight"):  # one of scikit-learn's
        return bool(scorer._accept_sample_weight())
    try:
        return "sample_weight" in signature(scorer).parameters
    except (TypeError, ValueError):  # some callables have no signature
        return False
