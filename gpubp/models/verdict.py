"""Compare a network with simpler models on test rows, and word the result for the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpubp.models.baselines import Baseline, Task
from gpubp.models.score_text import LOWER_IS_BETTER, METRICS, against
from gpubp.models.scores import as_columns, indices_of, main_score, per_class
from gpubp.tables.table import listed

# Differences of up to so many standard errors count as noise.
NOISE = 2.0
# With fewer than FEWEST test rows, standard errors are meaningless; with fewer than FEW, only large
# differences are significant.
FEWEST, FEW = 10, 50
RARE = 0.05  # if all other classes have a smaller share of the rows, accuracy is misleading
GAP = 0.1  # smallest gap of accuracy or R² between training and test rows that gets a remark
UNPREDICTED_LISTED = 3
NO_TEST = "no rows were kept for the test, so the scores say nothing about new rows"

Gain = tuple[float, float]  # improvement by the network, and its standard error


@dataclass(frozen=True)
class Comparison:
    """The main scores in which a network is significantly better, and worse, than another model."""

    better: tuple[str, ...]
    worse: tuple[str, ...]


def compare(
    task: Task,
    y: np.ndarray,
    outputs: np.ndarray,
    other: np.ndarray,
    classes: np.ndarray | None = None,
    level: float | None = None,
) -> Comparison:
    """Compare a network with another model by the main scores.

    The main scores are balanced accuracy and log loss; R²; or, for a quantile, the pinball loss,
    which for the median is the absolute error. A difference counts if it exceeds NOISE standard
    errors of the row-wise gains.

    y : true labels or numbers of the test rows. outputs, other : outputs of the network and of the
    other model: probabilities (n, k) of ``classes``, or numbers.
    level : the quantile level that the numbers estimate; None for the mean.
    """
    gains: dict[str, Gain] = {}
    if task == "regression" or classes is None:
        gains[main_score(level)] = _gain_in_error(y, outputs, other, level)
    else:
        truth = indices_of(classes, y)
        gains["balanced_accuracy"] = _gain_in_recall(truth, outputs, other)
        if truth.max() < len(classes):
            gains["log_loss"] = _gain_in_log_loss(truth, outputs, other)
    better = tuple(name for name, (gain, error) in gains.items() if gain > NOISE * error)
    worse = tuple(name for name, (gain, error) in gains.items() if gain < -NOISE * error)
    return Comparison(better, worse)


def verdict(
    task: Task,
    y: np.ndarray,
    outputs: np.ndarray,
    own: Mapping[str, Any],
    others: Sequence[Baseline],
    *,
    classes: np.ndarray | None = None,
    level: float | None = None,
) -> str:
    """Return a sentence such as "better than linear regression: RMSE ...".

    y : true labels or numbers of the test rows. outputs : of the network, for these rows:
    probabilities (n, k) of ``classes``, or numbers. own : the network's scores.
    others : baselines on the same rows, the trivial one first. level : as for `compare`.
    """
    if not len(y) or not others:
        return NO_TEST
    n, trivial, best = len(y), others[0], others[-1]
    words = _Words(task, own, f"on {n:,} test row{'' if n == 1 else 's'}", level)
    found = {
        id(other): compare(task, y, outputs, other.outputs, classes, level) for other in others
    }
    hurdle = best if found[id(trivial)].better else trivial
    result = found[id(hurdle)]
    if n < FEWEST or (n < FEW and not (result.better or result.worse)):
        verb = "row is" if n == 1 else "rows are"
        figures = words.figures(hurdle, ": {}")
        return f"{n} test {verb} too few to distinguish the network from {phrase(hurdle)}{figures}"
    if hurdle is not best and found[id(best)].worse and not found[id(best)].better:
        figures = words.figures(hurdle, ": {}")
        lost = words.lost(best, found[id(best)]) or words.figures(best, ": {}")
        return (
            f"{_degree(result)} {phrase(hurdle)}{figures}, and worse than {phrase(best)}"
            f"{lost} {words.rows}: use the simpler model"
        )
    exceptions = words.accuracy(trivial, hurdle) + words.targets(trivial, hurdle)
    return words.of(hurdle, result) + exceptions + words.advice(result, hurdle)


def is_better(text: str) -> bool:
    """Return whether a verdict says that the network is better, without a "but"."""
    return text.startswith("better than") and ", but worse" not in text


def phrase(other: Baseline) -> str:
    """Return the name of a baseline: "linear regression", "always answering 'no'"."""
    if other.name != "trivial":
        return other.text
    answer = other.label.removeprefix("always ")
    return f"always answering {answer if answer != other.label else other.text}"


def _degree(result: Comparison) -> str:
    return "worse than" if result.worse else "not clearly better than"


@dataclass(frozen=True)
class _Words:
    """The wording of a verdict.

    own : scores of the network. rows : the phrase "on 40 test rows". level : as for `compare`.
    """

    task: Task
    own: Mapping[str, Any]
    rows: str
    level: float | None = None

    def of(self, other: Baseline, result: Comparison) -> str:
        """Return the comparison with another model, with its scores."""
        if result.better and result.worse:
            better, worse = (
                against(self.own, other.scores, names) for names in (result.better, result.worse)
            )
            return f"better than {phrase(other)} in {better}, but worse in {worse} {self.rows}"
        if result.better:
            return f"better than {phrase(other)}{self.figures(other, ': {}')} {self.rows}"
        if result.worse and (count := self._worse_in_all(other)):
            figures = self.figures(other, " ({})")
            what = "R² of all {} targets" if "per_output" in self.own else "all {} scores"
            return f"worse than {phrase(other)} on {what.format(count)}{figures} {self.rows}"
        figures = self.lost(other, result) or self.figures(other, ": {}")
        return f"{_degree(result)} {phrase(other)}{figures} {self.rows}"

    def lost(self, other: Baseline, result: Comparison) -> str:
        """Return the scores in which a classifier is worse: the other one may be higher."""
        names = result.worse if self.task == "classification" else ()
        text = against(self.own, other.scores, names)
        return f": {text}" if text else ""

    def figures(self, other: Baseline, form: str) -> str:
        """Return the main scores of both models, inserted in ``form``; "" if one has none."""
        if self.task == "classification":
            text = against(self.own, other.scores, ("balanced_accuracy", "log_loss"))
        elif "per_output" not in self.own:
            name = "rmse" if self.level is None else main_score(self.level)
            text = against(self.own, other.scores, (name,))
        elif self.level is None:  # the units of several targets differ, so no RMSE
            text = against(self.own, other.scores, ("r2",)).replace("R²", "mean R²")
        else:
            text = ""
        return form.format(text) if text else ""

    def accuracy(self, trivial: Baseline, hurdle: Baseline) -> str:
        """Return a remark if only accuracy is no higher than that of the trivial model."""
        figures = against(self.own, trivial.scores, ("accuracy",))
        if not figures or hurdle is trivial:
            return ""
        if self.own["accuracy"] > trivial.scores["accuracy"]:
            return ""
        numbers = figures.removeprefix("accuracy ")
        return f", and no better than {phrase(trivial)} in accuracy ({numbers})"

    def targets(self, trivial: Baseline, hurdle: Baseline) -> str:
        """Return a remark on targets that are predicted no better than by the trivial model."""
        known, metric = trivial.scores.get("per_target", {}), main_score(self.level)
        sign = 1 if metric == "r2" else -1
        names = [
            name
            for name, scores in self.own.get("per_target", {}).items()
            if not sign * scores.get(metric, 0) > sign * known.get(name, {}).get(metric, -1)
        ]
        if not names or hurdle is trivial:
            return ""
        return f", and no better than {phrase(trivial)} for {listed(names, 5)}"

    def advice(self, result: Comparison, other: Baseline) -> str:
        """Return advice for a network that is not better; "" for a better one."""
        if result.better:
            return ""
        if other.name == "trivial":
            return ": the columns may say little about the target"
        return ": use the simpler model" if result.worse else ": the simpler model may be enough"

    def _worse_in_all(self, other: Baseline) -> int:
        """Return the number of common scores if the network is worse in all of them; else 0."""
        if self.level is not None:  # the other scores judge predictions of the mean
            return 0
        if "per_output" in self.own:
            pairs = zip(self.own["per_output"], other.scores["per_output"], strict=True)
            worse = [a.get("r2", 0) < b.get("r2", 0) for a, b in pairs]
            return len(worse) if all(worse) else 0
        names = [name for name in METRICS if name in self.own and name in other.scores]
        signs = [-1 if name in LOWER_IS_BETTER else 1 for name in names]
        gains = [s * (self.own[n] - other.scores[n]) for s, n in zip(signs, names, strict=True)]
        return len(names) if len(names) > 1 and max(gains) < 0 else 0


def class_remarks(
    y: np.ndarray, outputs: np.ndarray, classes: np.ndarray, class_weight: Any = None
) -> list[str]:
    """Return sentences about classes of the test rows that are never predicted, or rare.

    y : true labels. outputs : probabilities (n, k) of ``classes``. class_weight : of the network.
    """
    if not len(y):
        return []
    return _about_classes(per_class(classes, y, classes[outputs.argmax(axis=1)]), class_weight)


def overfit_remarks(
    train: Mapping[str, Any], test: Mapping[str, Any], n_test: int, advice: str
) -> list[str]:
    """Return a list with a sentence if training rows are fitted far better than test rows.

    train, test : scores on both. n_test : number of test rows. advice : added to the sentence.
    """
    name = "accuracy" if "accuracy" in test else "r2"
    if "pinball_loss" in test:  # R² says little about a quantile
        return []
    if n_test < FEWEST or name not in test or name not in train:
        return []
    error = np.sqrt(test[name] * (1 - test[name]) / n_test) if name == "accuracy" else 0.0
    gap, doubled = train[name] - test[name], 1 - test[name] > 2 * (1 - train[name])
    if gap <= max(GAP, NOISE * error) or not doubled:
        return []
    figures = against(train, test, (name,)).replace(" against", " in training against")
    return [f"training rows are fitted far better than test rows, {figures}: {advice}"]


def _gain_in_recall(truth: np.ndarray, own: np.ndarray, other: np.ndarray) -> Gain:
    """Return the gain in balanced accuracy and its standard error."""
    counts = np.bincount(truth)
    shares = 1 / (counts[truth] * np.count_nonzero(counts))
    hits = [(P.argmax(axis=1) == truth).astype(np.float64) for P in (own, other)]
    gains = shares * (hits[0] - hits[1])
    return float(gains.sum()), float(np.sqrt((gains**2).sum()))


def _gain_in_log_loss(truth: np.ndarray, own: np.ndarray, other: np.ndarray) -> Gain:
    """Return the decrease of the log loss and its standard error."""
    rows, least = np.arange(len(truth)), np.finfo(np.float32).eps
    losses = [-np.log(np.maximum(P[rows, truth].astype(np.float64), least)) for P in (own, other)]
    return _mean_and_error(losses[1] - losses[0])


def _gain_in_error(Y: np.ndarray, own: np.ndarray, other: np.ndarray, level: float | None) -> Gain:
    """Return the gain in R², or in the scaled pinball loss, and its standard error.

    It is the mean over the targets. A pinball loss is divided by the target's standard deviation.
    """
    Y = as_columns(Y)
    scale = Y.var(axis=0) if level is None else Y.std(axis=0)
    errors = [_row_errors(Y - as_columns(found), level) for found in (own, other)]
    varies = scale > 0
    if not varies.any():
        return _mean_and_error((errors[1] - errors[0]).mean(axis=1))
    return _mean_and_error(((errors[1] - errors[0])[:, varies] / scale[varies]).mean(axis=1))


def _row_errors(residuals: np.ndarray, level: float | None) -> np.ndarray:
    """Return the squared errors, or the pinball losses at ``level``."""
    if level is None:
        return residuals**2
    return np.maximum(level * residuals, (level - 1) * residuals)


def _mean_and_error(gains: np.ndarray) -> Gain:
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
