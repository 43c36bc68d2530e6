"""Tables of the scores: next to simpler models, target by target, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpubp.models.score_text import METRICS, metric_name, numbers_text
from gpubp.reports.html import element, escape
from gpubp.reports.labels import label_text
from gpubp.reports.model_report.report import ModelReport
from gpubp.reports.tables import scroll_box

MOST_CLASSES = 60
MOST_TARGETS = 30
_MEANING = {
    "accuracy": "share of the rows with the right label",
    "balanced_accuracy": "the share of right rows within each class, then the mean of the classes: "
    "a rare class counts as much as a frequent one",
    "log_loss": "0 if the right label always has the probability 1; smaller is better, and sure "
    "mistakes cost most",
    "roc_auc": "how often a row of the class gets a higher probability of it than another row: 0.5 "
    "is guessing, 1 is perfect",
    "average_precision": "precision, averaged over all ways to choose how sure a yes must be",
    "f1": "one number for precision and recall: high only if both are",
    "r2": "share of the variation of the target that is predicted: 1 is perfect, 0 is no better "
    "than the mean",
    "rmse": "typical error in the units of the target; large errors count more; smaller is better",
    "mae": "mean error in the units of the target, without its sign; smaller is better",
    "pinball_loss": "error of a quantile: too low and too high count by its level; smaller is "
    "better",
}
_PER_CLASS = ("precision", "recall", "f1")
CLASSES_NOTE = (
    "Precision: of the rows that get this label, the share that has it. Recall: of the rows that "
    "have this label, the share that gets it. F1 is high only if both are."
)


def scores_table(report: ModelReport) -> str:
    """Return the scores of the network and of simpler models, each with its meaning."""
    evaluated, model = report.evaluated, report.model
    models = {"network": evaluated.scores}
    models |= {
        str(of["label"] or name): of["scores"] for name, of in (evaluated.baselines or {}).items()
    }
    if evaluated.training is not None:
        models["network, training rows"] = evaluated.training
    classes = len(model["classes"] or ())
    names = dict.fromkeys(name for of in models.values() for name in of)
    lines = []
    for name in (name for name in names if name in _MEANING):
        cells = numbers_text([of.get(name) for of in models.values()], name)
        text = metric_name(name, model["positive_class"], classes)
        lines.append([text, *cells, _MEANING[name]])
    mean = ", mean of the targets" if len(model["targets"]) > 1 else ""
    heads = [f"score{mean}", *map(label_text, models), "meaning"]
    return _stacked(heads, lines, "Scores", words=(len(heads) - 1,))


def targets_table(report: ModelReport) -> str:
    """Return the scores of each target; "" for one target."""
    per_target: Mapping[str, Mapping[str, float]] = report.evaluated.scores.get("per_target", {})
    if not per_target:
        return ""
    names = [name for name in METRICS if name in next(iter(per_target.values()))]
    lines = [
        [label_text(target), *(numbers_text([of.get(name)], name)[0] for name in names)]
        for target, of in list(per_target.items())[:MOST_TARGETS]
    ]
    more = len(per_target) - MOST_TARGETS
    rest = element("p", f"{more:,} more targets are left out.") if more > 0 else ""
    heads = ["target", *(METRICS[name] for name in names)]
    return _stacked(heads, lines, "Scores of each target") + rest


def classes_table(classes: Sequence[Mapping[str, Any]]) -> str:
    """Return the scores of each class, those with most rows first if there are very many."""
    shown = list(classes)
    if len(shown) > MOST_CLASSES:
        shown = sorted(shown, key=lambda of: -of["rows"])[:MOST_CLASSES]
    lines = [
        [
            label_text(of["label"]),
            f"{of['rows']:,}",
            f"{of['predicted']:,}",
            *(numbers_text([of[name]], name, 3)[0] for name in _PER_CLASS),
        ]
        for of in shown
    ]
    heads = ["class", "rows with it", "rows predicted", "precision", "recall", "F1"]
    more = len(classes) - len(shown)
    rest = f"{more:,} classes with fewer rows are left out."
    table = scroll_box(text_table(heads, lines, stacked=False), "Scores of each class")
    return table + (element("p", rest, class_="quiet") if more else "")


def _stacked(
    heads: Sequence[str], rows: Sequence[Sequence[str]], label: str, words: Sequence[int] = ()
) -> str:
    """Return a table whose rows become blocks on a phone.

    words : the columns with text instead of numbers, other than the first.
    """
    return scroll_box(text_table(heads, rows, words), label)


def text_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    words: Sequence[int] = (),
    *,
    stacked: bool = True,
) -> str:
    """Return a table of plain text.

    words : the columns with text instead of numbers, other than the first.
    stacked : whether the rows become blocks on a phone.
    """
    kinds = [None if k == 0 or k in words else "number" for k in range(len(heads))]
    titles = "".join(
        element("th", escape(head), scope="col", class_=kind)
        for head, kind in zip(heads, kinds, strict=True)
    )
    lines = "".join(element("tr", "".join(_cells(heads, kinds, row))) for row in rows)
    whole = element("thead", element("tr", titles)) + element("tbody", lines)
    return element("table", whole, class_="stacked" if stacked else None)


def _cells(heads: Sequence[str], kinds: Sequence[str | None], row: Sequence[str]) -> Iterator[str]:
    for k, (head, kind, text) in enumerate(zip(heads, kinds, row, strict=True)):
        inner = element("span", escape(text))
        if k == 0:
            yield element("th", inner, scope="row", data_label=head)
        elif text:
            yield element("td", inner, class_=kind, data_label=head)
        else:
            yield element("td", "", class_="nothing")
