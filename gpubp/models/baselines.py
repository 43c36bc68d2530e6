"""Simple models to compare a network with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from gpubp.models.scores import (
    as_columns,
    class_scores,
    indices_of,
    number_scores,
    quietly,
)

Task = Literal["classification", "regression"]

# Limits for the linear model, which is only for comparison: rows, encoded numbers times outputs,
# and iterations. Fitting takes at most a second on one core of a Xeon, 0.1 s for most tables.
LINEAR_ROWS, LINEAR_WORK, LINEAR_ITERATIONS = 50_000, 50_000_000, 100


@dataclass(frozen=True)
class Baseline:
    """A simple model of the same training rows, with its scores on the same test rows.

    name : "trivial" or "linear". text : description of the model for the user.
    rows : number of rows it was trained on. scores : on the test rows.
    outputs : of the test rows, probabilities (n, n_classes) or numbers (n, n_targets).
    label : short description, of one or two words.
    """

    name: str
    text: str
    rows: int
    scores: dict[str, Any]
    outputs: np.ndarray
    label: str = ""


def baselines(
    task: Task,
    X: Any,
    y: np.ndarray,
    X_test: Any,
    y_test: np.ndarray,
    *,
    rows: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    class_weight: Any = None,
    positive: Any = None,
    targets: Sequence[str] | None = None,
    level: float | None = None,
    seed: int = 0,
) -> list[Baseline]:
    """Return the trivial baseline and the linear one, in this order.

    The trivial one predicts the frequencies of the classes in y, the mean, or the quantile of
    ``level``. The linear one is LogisticRegression or Ridge of scikit-learn with their defaults and
    at most 100 iterations, on at most 50,000 rows drawn by ``seed``, fewer for wide tables. The
    linear one is left out if it cannot be fitted, for example with one class, and for a quantile
    other than the median.

    X, X_test : encoded rows, arrays or CSR. y, y_test : true labels or numbers.
    rows : indices in y of the rows of X, from `rows_for_linear` with the same ``seed``; None if X
    has all rows. classes : (k,), those of the network; None for those of y.
    class_weight : that of the network. positive : as for `class_scores`.
    targets : names of the targets of a regression. level : the quantile level that the network
    estimates; None for the mean. seed : of the drawn rows.
    """
    per_row = X.nnz / X.shape[0] if sparse.issparse(X) else X.shape[1]
    chosen = rows_for_linear(task, y, seed, per_row)
    at = chosen if rows is None else np.searchsorted(rows, chosen)
    part = f" on {len(chosen):,} of {len(y):,} rows" if len(chosen) < len(y) else ""
    if task == "regression":
        Y = as_columns(y)
        score = partial(number_scores, y_test, names=targets, level=level)
        found = [_constant(Y, len(y_test), level, score)]
        if level not in (None, 0.5):  # a linear regression estimates the mean
            return found
        outputs = _ridge(X[at], Y[chosen], X_test)
        if np.isfinite(outputs).all():
            text = f"linear regression{part}"
            found.append(Baseline("linear", text, len(chosen), score(outputs), outputs, "linear"))
        return found
    classes = np.unique(y) if classes is None else classes
    score = partial(class_scores, classes, y_test, positive=positive)
    priors = np.bincount(indices_of(classes, y), minlength=len(classes)) / len(y)
    P = np.broadcast_to(priors, (len(y_test), len(classes)))
    most = repr(classes[priors.argmax()].item())
    text, scores = f"the most frequent class, {most}", score(P)
    found = [Baseline("trivial", text, len(y), scores, P, f"always {most}")]
    if (priors > 0).sum() > 1:
        P = _logistic(classes, X[at], y[chosen], X_test, class_weight)
        text = f"logistic regression{part}"
        found.append(Baseline("linear", text, len(chosen), score(P), P, "logistic"))
    return found


def _constant(
    Y: np.ndarray, n: int, level: float | None, score: Callable[[np.ndarray], dict[str, Any]]
) -> Baseline:
    """Return the model that always answers the mean of Y (rows, k), or its quantile of ``level``.

    n : number of test rows. score : returns the scores of outputs (n, k).
    """
    answer = Y.mean(axis=0) if level is None else np.quantile(Y, level, axis=0)
    name = "mean" if level is None else "median" if level == 0.5 else f"{level:g} quantile"
    outputs = np.broadcast_to(answer, (n, Y.shape[1]))
    return Baseline("trivial", f"the {name}", len(Y), score(outputs), outputs, name)


def rows_for_linear(task: Task, y: np.ndarray, seed: int, per_row: float = 1) -> np.ndarray:
    """Return the indices of the rows to fit the linear model to, in ascending order.

    At least one row of each class is among them.

    per_row : numbers in an encoded row. A larger value gives a subset of the rows of a smaller one.
    """
    n = len(y)
    first = np.unique(y, return_index=True)[1] if task == "classification" else np.arange(0)
    outputs = len(first) if len(first) > 2 else 1
    most = min(LINEAR_ROWS, max(1000, int(LINEAR_WORK / (max(per_row, 1) * outputs))))
    if n <= most:
        return np.arange(n)
    others = np.setdiff1d(np.arange(n), first)
    drawn = np.random.default_rng(seed).permutation(others)[: max(0, most - len(first))]
    return np.union1d(drawn, first)


def _ridge(X: Any, Y: np.ndarray, X_test: Any) -> np.ndarray:
    """Return predictions of a ridge regression for X_test, (n, k), in the units of Y.

    The targets are standardised for the fit.
    """
    mean, scale = Y.mean(axis=0), Y.std(axis=0)
    scale[~(scale > 0)] = 1.0
    with quietly():
        model = Ridge(solver="lsqr", max_iter=LINEAR_ITERATIONS).fit(X, (Y - mean) / scale)
        found = model.predict(X_test).reshape(-1, Y.shape[1])
    outputs: np.ndarray = found.astype(np.float64) * scale + mean
    return outputs


def _logistic(
    classes: np.ndarray, X: Any, y: np.ndarray, X_test: Any, class_weight: Any
) -> np.ndarray:
    """Return the probabilities of ``classes`` by a logistic regression for X_test, (n, k)."""
    with quietly():
        model = LogisticRegression(max_iter=LINEAR_ITERATIONS, class_weight=class_weight)
        found = model.fit(X, y).predict_proba(X_test)
    P = np.zeros((X_test.shape[0], len(classes)))
    P[:, indices_of(classes, model.classes_)] = found
    return P
