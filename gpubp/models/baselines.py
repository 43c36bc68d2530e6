"""Simple models to hold a network against, and remarks on how it compares with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from gpubp.models.scores import (
    as_columns,
    class_scores,
    indices_of,
    number_scores,
    per_class,
    quietly,
)

Task = Literal["classification", "regression"]

# The linear model is a yardstick, not a product: at most so many rows, and so many numbers in
# them times outputs. One core of a Xeon needs a second at most for it, and 0.1 s for most tables.
LINEAR_ROWS, LINEAR_WORK, LINEAR_ITERATIONS = 50_000, 50_000_000, 100
# Differences within so many standard errors count as noise of the test rows.
NOISE = 2.0
RARE = 0.05  # a class with less of the rows makes accuracy say little
UNPREDICTED_LISTED = 3


@dataclass(frozen=True)
class Baseline:
    """A simple model of the same training rows, with its scores on the same test rows.

    name : "trivial" or "linear". text : which model it is, for a person. rows : it was trained on.
    outputs : of the test rows, probabilities (n, n_classes) or numbers (n, n_targets).
    """

    name: str
    text: str
    rows: int
    scores: dict[str, Any]
    outputs: np.ndarray


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
    seed: int = 0,
) -> list[Baseline]:
    """Return the trivial baseline and the linear one: the scores to beat.

    X, X_test : encoded rows, arrays or CSR. rows : places in y of the rows of X, from
    `rows_for_linear` with the same ``seed``; None where X has all rows. classes : (k,), those of
    the network; those of y by default. class_weight : that of the network.

    Trivial: each class with its part of y, or the mean. Linear: LogisticRegression or Ridge of
    scikit-learn with their defaults and at most 100 iterations, on at most 50,000 rows drawn by
    ``seed``, fewer of wide tables; left out where it cannot be fitted, as with one class.
    """
    per_row = X.nnz / X.shape[0] if sparse.issparse(X) else X.shape[1]
    chosen = rows_for_linear(task, y, seed, per_row)
    at = chosen if rows is None else np.searchsorted(rows, chosen)
    part = f" on {len(chosen):,} of {len(y):,} rows" if len(chosen) < len(y) else ""
    if task == "regression":
        Y = as_columns(y)
        means = np.broadcast_to(Y.mean(axis=0), (len(y_test), Y.shape[1]))
        found = [Baseline("trivial", "the mean", len(y), number_scores(y_test, means), means)]
        outputs = _ridge(X[at], Y[chosen], X_test)
        if np.isfinite(outputs).all():
            scores = number_scores(y_test, outputs)
            found.append(
                Baseline("linear", f"linear regression{part}", len(chosen), scores, outputs)
            )
        return found
    classes = np.unique(y) if classes is None else classes
    priors = np.bincount(indices_of(classes, y), minlength=len(classes)) / len(y)
    P = np.broadcast_to(priors, (len(y_test), len(classes)))
    text = f"the most frequent class, {classes[priors.argmax()].item()!r}"
    found = [Baseline("trivial", text, len(y), class_scores(classes, y_test, P), P)]
    if (priors > 0).sum() > 1:
        P = _logistic(classes, X[at], y[chosen], X_test, class_weight)
        scores, text = class_scores(classes, y_test, P), f"logistic regression{part}"
        found.append(Baseline("linear", text, len(chosen), scores, P))
    return found


def rows_for_linear(task: Task, y: np.ndarray, seed: int, per_row: float = 1) -> np.ndarray:
    """Return the rows to fit the linear model to, one of each class among them, in order.

    per_row : numbers in an encoded row. More of them give some of the rows that fewer give.
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
    """Return what a ridge regression of the standardised targets gives, in their units."""
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
    """Return the probabilities (n, k) that a logistic regression gives to ``classes``."""
    with quietly():
        model = LogisticRegression(max_iter=LINEAR_ITERATIONS, class_weight=class_weight)
        found = model.fit(X, y).predict_proba(X_test)
    P = np.zeros((X_test.shape[0], len(classes)))
    P[:, indices_of(classes, model.classes_)] = found
    return P


def remarks(
    task: Task,
    y_test: np.ndarray,
    outputs: np.ndarray,
    others: Sequence[Baseline],
    *,
    classes: np.ndarray | None = None,
    class_weight: Any = None,
) -> list[str]:
    """Return sentences about a network that a person should know before trusting it.

    outputs : of the test rows: probabilities (n, k) of ``classes``, or numbers. others : baselines
    with the same test rows.
    """
    found: list[str] = []
    if not len(y_test):
        return found
    for other in others:
        if said := _compared(task, y_test, outputs, other, classes):
            found.append(said)
            break  # who is no better than the mean need not hear of the linear model
    if task == "classification" and classes is not None:
        labels = classes[outputs.argmax(axis=1)]
        found += _about_classes(per_class(classes, y_test, labels), class_weight)
    return found


def _compared(
    task: Task, y: np.ndarray, outputs: np.ndarray, other: Baseline, classes: np.ndarray | None
) -> str:
    """Return a sentence where the network is no better than ``other``; "" where it is."""
    if task == "regression" or classes is None:
        own = number_scores(y, outputs)
        gains, names = [_gain_in_error(y, outputs, other.outputs)], {"r2": "R²"}
    else:
        own, truth = class_scores(classes, y, outputs), indices_of(classes, y)
        gains = [_gain_in_recall(truth, outputs, other.outputs)]
        names = {"balanced_accuracy": "balanced accuracy", "log_loss": "log loss"}
        if truth.max() < len(classes):
            gains.append(_gain_in_log_loss(truth, outputs, other.outputs))
    if any(gain > NOISE * error for gain, error in gains):
        return ""
    figures = ", ".join(
        f"{text} {own[name]:.3f} against {other.scores[name]:.3f}"
        for name, text in names.items()
        if name in own and name in other.scores
    )
    is_worse = all(gain < -NOISE * error for gain, error in gains)
    verdict = "worse than" if is_worse else "not clearly better than"
    what = f"{verdict} {'always guessing ' * (other.name == 'trivial')}{other.text}"
    return f"the network is {what}{': ' * bool(figures)}{figures} on {len(y):,} test rows"


def _gain_in_recall(truth: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return by how much the balanced accuracy is higher, and the standard error of that."""
    counts = np.bincount(truth)
    shares = 1 / (counts[truth] * np.count_nonzero(counts))
    hits = [(P.argmax(axis=1) == truth).astype(np.float64) for P in (own, other)]
    gains = shares * (hits[0] - hits[1])
    return float(gains.sum()), float(np.sqrt((gains**2).sum()))


def _gain_in_log_loss(truth: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return by how much the log loss is lower, and the standard error of that."""
    rows, least = np.arange(len(truth)), np.finfo(np.float32).eps
    losses = [-np.log(np.maximum(P[rows, truth].astype(np.float64), least)) for P in (own, other)]
    return _mean_and_error(losses[1] - losses[0])


def _gain_in_error(Y: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return by how much R² is higher (by the mean over the targets), and its standard error."""
    Y = as_columns(Y)
    variance = Y.var(axis=0)
    errors = [(as_columns(found) - Y) ** 2 for found in (own, other)]
    varies = variance > 0
    if not varies.any():
        return _mean_and_error((errors[1] - errors[0]).mean(axis=1))
    return _mean_and_error(((errors[1] - errors[0])[:, varies] / variance[varies]).mean(axis=1))


def _mean_and_error(gains: np.ndarray) -> tuple[float, float]:
    return float(gains.mean()), float(gains.std() / np.sqrt(len(gains)))


def _about_classes(table: Sequence[dict[str, Any]], class_weight: Any) -> list[str]:
    """Return sentences about classes that are never predicted, or rare."""
    n = sum(entry["rows"] for entry in table)
    advice = "" if class_weight is not None else "; --class-weight balanced trains for rare classes"
    missed = [entry for entry in table if entry["rows"] and not entry["predicted"]]
    if missed:
        names = ", ".join(repr(entry["label"]) for entry in missed[:UNPREDICTED_LISTED])
        names += f" and {len(missed) - UNPREDICTED_LISTED:,} more" * (
            len(missed) > UNPREDICTED_LISTED
        )
        rows = sum(entry["rows"] for entry in missed)
        which = f"class {names} is" if len(missed) == 1 else f"classes {names} are"
        have = "has" if len(missed) == 1 else "have"
        return [f"{which} never predicted, but {have} {rows:,} of {n:,} test rows{advice}"]
    largest = max(table, key=lambda entry: entry["rows"])
    if largest["rows"] / n > 1 - RARE:
        part = f"{100 * largest['rows'] / n:.1f} % of the test rows are {largest['label']!r}"
        return [f"{part}, so accuracy says little: look at balanced accuracy{advice}"]
    return []
