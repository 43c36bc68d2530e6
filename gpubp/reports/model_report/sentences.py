"""The summary of a report, in sentences for people who know nothing of neural networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gpubp.models.score_text import numbers_text
from gpubp.models.verdict import NO_TEST
from gpubp.reports.labels import amount, label_text
from gpubp.reports.model_report.permutation_importance import importance_sentence
from gpubp.reports.model_report.report import Evaluated, ModelReport
from gpubp.reports.summary import started_text

MOST_CLASSES = 6  # that are named
MOST_TARGETS = 3
FEW = 10  # rows; of fewer, quantiles of the errors mean nothing


def summary(report: ModelReport) -> Iterator[str]:
    """Yield the sentences at the top of the page."""
    yield _task(report)
    yield from _scores(report)
    result = report.result
    if (verdict := result.get("verdict")) and verdict != NO_TEST:
        text = (
            verdict if verdict[0].isdigit() else f"Next to simple models, the network is {verdict}"
        )
        yield f"{text}."
    for remark in result.get("remarks", ()):
        if verdict not in remark:
            yield f"Note: {remark}."
    if result.get("stopped_by") == "interrupt":
        count = result["epochs"]
        yield (
            f"The training was interrupted after {count:,} {report.unit}{'s' * (count != 1)}, so "
            "the network may be worse than a complete training makes it."
        )
    importance = report.diagnostics.importance
    if importance and math.isfinite(importance.score) and (text := importance_sentence(importance)):
        yield text


def _task(report: ModelReport) -> str:
    model = report.model
    columns = model["columns"] or ()
    used = sum(bool(column["used"]) for column in columns)
    names = [repr(label_text(name)) for name in model["targets"]]
    more = len(names) - MOST_TARGETS
    listed = ", ".join(names[:MOST_TARGETS]) + (f" and {more:,} more" if more > 0 else "")
    what = f"the column{'s' * (len(names) > 1)} {listed}"
    if (classes := model["classes"]) is not None:
        labels = ", ".join(map(label_text, classes[:MOST_CLASSES]))
        labels += ", ..." if len(classes) > MOST_CLASSES else ""
        what += f" (one of {len(classes):,} classes: {labels})"
    else:
        what += f" ({'a number' if len(names) == 1 else 'numbers'})"
    data = model["data"] or {}
    learned = data.get("train", 0) + data.get("validation", 0)
    source = report.result.get("data", {}).get("source", "")
    rows = f" It has learned from {learned:,} rows." if learned else ""
    plural = "s" * (used != 1)
    table = source or "a table"
    return f"The network predicts {what} from {used:,} other column{plural} of {table}.{rows}"


def _scores(report: ModelReport) -> Iterator[str]:
    evaluated, model = report.evaluated, report.model
    if evaluated.kind == "training":
        yield (
            "No rows were kept for a test: all figures are of the rows that the network has "
            "learned from, so they say nothing about new rows."
        )
    if not evaluated.rows or not evaluated.scores:
        return
    yield _right(report) if model["task"] == "classification" else _errors(report)
    if evaluated.kind == "table":
        yield "If the network was trained on some of these rows, the figures are too good."
    elif evaluated.kind == "test" and model["started_from"]:
        yield (
            f"The training started from {started_text(model['started_from'])}. If that model has "
            "learned from some of the test rows, the figures are too good."
        )


def _where(evaluated: Evaluated) -> str:
    one = evaluated.rows == 1
    noun = evaluated.noun.replace("rows", "row", 1) if one else evaluated.noun
    unused = f" that {'was' if one else 'were'} not used for the training"
    return f"On {evaluated.rows:,} {noun}{unused if evaluated.kind == 'test' else ''}"


def _right(report: ModelReport) -> str:
    evaluated = report.evaluated
    text = f"{_where(evaluated)}, {_percent(evaluated.scores['accuracy'])} of the labels are right."
    others = [
        f"{_name(name, of)} {'would be right for' if k == 0 else 'for'} "
        f"{_percent(of['scores']['accuracy'])}"
        for k, (name, of) in enumerate((evaluated.baselines or {}).items())
        if "accuracy" in of["scores"]
    ]
    return f"{text} {_joined(others)}." if others else text + _most_frequent(evaluated)


def _most_frequent(evaluated: Evaluated) -> str:
    """Return how often the most frequent label would be right, where no other model is known."""
    most = max(evaluated.classes or (), key=lambda of: of["rows"], default=None)
    if most is None or evaluated.kind != "table":
        return ""
    share = _percent(most["rows"] / evaluated.rows)
    return f" Always answering {label_text(most['label'])!r} would be right for {share}."


def _errors(report: ModelReport) -> str:
    evaluated, found = report.evaluated, report.diagnostics.residuals
    text, level = _where(evaluated), report.diagnostics.level
    if level not in (None, 0.5):
        wanted = [each for each in report.diagnostics.coverage if each.level == level]
        shares = ", ".join(f"{100 * each.share:.1f} %" for each in wanted[:MOST_TARGETS])
        return (
            f"The network does not predict the middle of what is possible, but the {level:g} "
            f"quantile: {100 * level:.4g} % of the true values should lie at or below the "
            f"prediction. {text}, {shares} do."
        )
    parts = []
    for each in found[:MOST_TARGETS]:
        of = f" of {label_text(each.target)!r}" if len(found) > 1 else ""
        if each.rows < FEW:
            parts.append(f"the predictions{of} are off by at most {amount(each.largest)}")
            continue
        parts.append(
            f"half of the predictions{of} are off by at most {amount(each.median_error)}, nine in "
            f"ten by at most {amount(each.largest_of_nine)}"
        )
    text += f", {'; '.join(parts)}."
    if "r2" not in evaluated.scores:
        return text
    r2 = numbers_text([evaluated.scores["r2"]], "r2", 3)[0]
    mean = "The mean R²" if len(found) > 1 else "R²"
    text += f" {mean} is {r2} (1 is perfect, 0 is no better than always answering the mean"
    others = [
        f"{of['model']} has {numbers_text([of['scores']['r2']], 'r2', 3)[0]}"
        for name, of in (evaluated.baselines or {}).items()
        if name != "trivial" and "r2" in of["scores"]
    ]
    return text + (f"); {_joined(others)}." if others else ").")


def _name(name: str, of: Mapping[str, Any]) -> str:
    return (
        f"Always answering {of['label'].removeprefix('always ')}"
        if name == "trivial"
        else str(of["model"])
    )


def _percent(share: float) -> str:
    """Return a share in percent: 93.1 %, but 99.97 % near 0 and 1."""
    digits = 1 if 0.01 <= share <= 0.99 or share in (0, 1) else 2
    return f"{100 * share:.{digits}f} %"


def _joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"
