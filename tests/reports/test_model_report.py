"""The page of a model: every section, its text, its drawings, and what is left out."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gpubp.models.confusion_matrix import confusion_matrix
from gpubp.models.diagnostics import Diagnostics
from gpubp.models.learning_curves import LearningCurve
from gpubp.models.permutation_importance import ColumnImportance, Importance
from gpubp.models.residuals import residuals
from gpubp.models.roc_curves import roc_curves
from gpubp.reports.chart import WIDTH, frame, scales
from gpubp.reports.labels import amount, label_text
from gpubp.reports.model_report.columns import columns_table
from gpubp.reports.model_report.confusion_matrix import confusion_section
from gpubp.reports.model_report.learning_curves import constant_rate, curve_figures
from gpubp.reports.model_report.page import model_page
from gpubp.reports.model_report.permutation_importance import (
    importance_figure,
    importance_sentence,
)
from gpubp.reports.model_report.residuals import residual_figures
from gpubp.reports.model_report.roc_curves import roc_figure
from gpubp.reports.model_report.scores import MOST_CLASSES, classes_table
from gpubp.reports.model_report.sentences import summary
from gpubp.reports.model_report.sweep_page import sweep_report_page
from tests.reports.models import EVIL, N, made
from tests.reports.pages import main_of, page_of
from tests.reports.sweeps import made as swept

REPORTS = ("classes", "numbers")


def drawings(markup: str) -> Iterator[ElementTree.Element]:
    for text in re.findall(r"<svg.*?</svg>", markup, re.DOTALL):
        yield ElementTree.fromstring(text)


def curve(member: int | None = None, **values: Any) -> LearningCurve:
    losses = values.pop("losses", [1.0, 0.5, 0.4])
    epochs = list(range(1, len(losses) + 1))
    return LearningCurve(member, len(losses), epochs, losses, **values)


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_stands_alone(name: str) -> None:
    text = page_of(name)
    assert "<script" not in text
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)|@import|url\(""", text)
    assert len(text) < 60_000
    assert "nan" not in re.findall(r' d="([^"]*)"', text)
    for part in main_of(name).iter("a"):
        assert f'id="{part.attrib["href"][1:]}"' in text


@pytest.mark.parametrize("name", REPORTS)
def test_drawings_have_names_descriptions_and_labels_inside(name: str) -> None:
    figures = [svg for svg in drawings(page_of(name)) if svg.get("aria-label")]
    assert len(figures) >= 4
    for svg in figures:
        assert [child.tag for child in svg][:2] == ["title", "desc"]
        assert all(child.text for child in list(svg)[:2])
        for text in svg.iter("text"):
            if text.get("x"):
                assert 0 <= float(text.attrib["x"]) <= WIDTH


@pytest.mark.parametrize("name", REPORTS)
def test_each_chart_has_its_numbers(name: str) -> None:
    for figure in main_of(name).iter("figure"):
        assert figure.find("details//table") is not None
        assert "".join((figure.find("figcaption") or figure).itertext())


def test_names_of_the_data_cannot_become_markup_or_turn_the_text() -> None:
    for name in REPORTS:
        shown = page_of(name).partition('<pre class="json"')[0]
        assert "\u202e" not in shown.partition("<pre>")[0]
        assert html.escape("<script>&amp;\\u202e") in shown


def test_the_json_is_strict_and_has_the_scores() -> None:
    (text,) = re.findall(r'<pre class="json"[^>]*>(.*?)</pre>', page_of("numbers"), re.S)
    values = json.loads(html.unescape(text), parse_constant=pytest.fail)
    assert values["schema"] == 1
    assert values["diagnostics"]["coverage"][0]["level"] == 0.1
    assert values["command"] == f"gpubp train '{EVIL}.csv'"


def test_the_summary_of_a_classifier() -> None:
    report = made("classes")
    first, second, *_ = summary(report)
    assert first.startswith("The network predicts the column 'y' (one of 3 classes: 3, <script>")
    assert first.endswith("from 2 other columns of <script>&amp;\u202e.csv.")
    accuracy = report.evaluated.scores["accuracy"]
    assert second.startswith(f"On {N} rows of {EVIL}.csv, {100 * accuracy:.1f} % of the labels are")


def test_the_summary_of_test_rows() -> None:
    other = {"model": "logistic regression", "label": "logistic", "scores": {"accuracy": 0.9}}
    most = {"model": "the most", "label": "always 'no'", "scores": {"accuracy": 0.61}}
    evaluated = replace(
        made().evaluated,
        kind="test",
        rows=1,
        scores={"accuracy": 0.9995},
        baselines={"trivial": most, "linear": other},
    )
    result = {
        "verdict": "better than logistic regression: x",
        "remarks": ["class 'a' is never predicted"],
        "stopped_by": "interrupt",
        "epochs": 3,
    }
    sentences = list(summary(made(evaluated=evaluated, result=result)))
    assert sentences[1:5] == [
        "On 1 test row that was not used for the training, 99.95 % of the labels are right. Always "
        "answering 'no' would be right for 61.0 %, and logistic regression for 90.0 %.",
        "Next to simple models, the network is better than logistic regression: x.",
        "Note: class 'a' is never predicted.",
        "The training was interrupted after 3 epochs, so the network may be worse than a complete "
        "training makes it.",
    ]


def test_the_summary_of_another_table_has_the_most_frequent_label() -> None:
    classes = [{"label": "no", "rows": 90}, {"label": "yes", "rows": 10}]
    given = made().evaluated
    evaluated = replace(given, kind="table", rows=100, baselines=None, classes=classes)
    text = " ".join(summary(made(evaluated=evaluated)))
    assert "Always answering 'no' would be right for 90.0 %." in text
    assert "Always" not in " ".join(summary(made(evaluated=replace(evaluated, kind="training"))))


def test_the_summary_of_a_training_from_a_model_warns_of_its_rows() -> None:
    report = made(evaluated=replace(made().evaluated, kind="test"))
    assert "The training started from" not in " ".join(summary(report))
    start = {"model": "a.safetensors", "epochs": 16}
    begun = replace(report, model=report.model | {"started_from": start})
    assert (
        "The training started from the weights of a.safetensors, after 16 epochs. If that model "
        "has learned from some of the test rows, the figures are too good."
    ) in list(summary(begun))


def test_large_numbers_of_an_axis_are_short() -> None:
    x, y = scales((0, 1.6e6), (-25_000, 30_000))
    drawn = "".join(frame(x, y, "true", "error"))
    for text in ("500k", "1M", "1.5M", "−20k", "0"):
        assert f">{text}<" in drawn
    assert ">2000<" in "".join(frame(*scales((0, 9000), (0, 1)), "", ""))


def test_labels_of_an_axis_do_not_touch() -> None:
    drawn = "".join(frame(*scales((-350_000, 290_000), (0, 1)), "", ""))
    texts = ("−300k", "−200k", "−100k", "0", "100k", "200k")
    found = [text for text in texts if f">{text}<" in drawn]
    assert found == ["−200k", "0", "200k"]


def test_the_table_of_columns_explains_its_words() -> None:
    column = {"column": "a", "type": "number", "inputs": 1, "gaps": 0, "used": True, "remarks": []}
    table = columns_table([column | {"encoding": "standardised"}], None)
    assert "Standardised: scaled to the mean 0" in table
    assert "One-hot:" not in table


def test_the_summary_without_test_rows() -> None:
    evaluated = replace(made().evaluated, kind="training")
    assert any("No rows were kept for a test" in s for s in summary(made(evaluated=evaluated)))


def test_the_summary_of_a_quantile_gives_its_share() -> None:
    report = made("numbers")
    (share,) = (of.share for of in report.diagnostics.coverage if of.level == 0.1)
    text = " ".join(summary(report))
    assert "0.1 quantile: 10 % of the true values should lie at or below the prediction" in text
    assert f"{100 * share:.1f} % do." in text


def test_the_confusion_matrix_marks_the_diagonal_and_the_share() -> None:
    truth = np.repeat([0, 1], [10, 4])
    found = np.array([0] * 9 + [1] + [0] * 2 + [1] * 2)
    markup = confusion_section(confusion_matrix(["<a>", "b"], truth, found), 14)
    cells = re.findall(r"<td(?: class=\"([^\"]*)\")?>([^<]*)</td>", markup)
    assert cells == [
        *(("diagonal right-4", "9"), ("wrong-1", "1")),
        *(("wrong-3", "2"), ("diagonal right-3", "2")),
    ]
    assert "&lt;a&gt;" in markup
    many = confusion_matrix([f"k{j}" for j in range(40)], np.arange(40), np.roll(np.arange(40), 1))
    text = confusion_section(many, 40)
    assert "the most frequent of the 40 mistakes in 40 rows" in text
    assert "There are no mistakes" in confusion_section(replace(many, pairs=()), 40)


def test_a_roc_figure_says_what_it_leaves_out() -> None:
    rng = np.random.default_rng(0)
    truth, P = np.arange(70) % 7, rng.dirichlet(np.ones(7), 70)
    several = roc_figure(roc_curves(list("abcdefg"), truth, P, None), 7)
    assert "Of 7 classes, the 5 with most rows are shown." in several
    assert several.count("<li>") == 5
    one = roc_figure(roc_curves(["a", "b"], truth % 2, P[:, :2], 1), 2)
    assert "<li>" not in one
    assert "the 5 with" not in one


def test_curves_with_gaps_single_epochs_and_constant_rates() -> None:
    with_gap = "".join(curve_figures([curve(losses=[1.0, math.nan, 0.5, 0.4])], "epoch", None))
    path, _ = re.findall(r'd="([^"]*)" class="curve series-1"', with_gap)  # and the key
    assert re.sub(r"[\d. ]", "", path) == "MML"
    assert not list(curve_figures([], "epoch", None))
    assert not list(curve_figures([curve(losses=[0.5])], "epoch", None))
    assert constant_rate([curve(losses=[0.5])], "epoch") == (
        "There was one epoch, with the loss 0.5, so there are no curves."
    )
    assert constant_rate([curve(rates=[0.1] * 3)], "epoch") == (
        "The learning rate was 0.1 in every epoch."
    )
    assert constant_rate([curve(rates=[0.1, 0.2, 0.3])], "epoch") == ""
    assert not "".join(curve_figures([curve(losses=[math.nan] * 3)], "epoch", None))


def test_each_member_has_a_line_and_the_kept_epoch_a_mark() -> None:
    members = [curve(k, validation_losses=[1, 2, 3], scores=[0, 1, 2], kept=2) for k in range(3)]
    loss, score = curve_figures(members, "epoch", "accuracy")
    assert loss.count('class="curve series-1 thin"') == 3
    assert loss.count('class="curve series-2 thin"') == 3
    assert loss.count('class="mark series-3"') == 3 + 1
    assert "Each of the 3 networks has a line of its own." in loss
    assert "Accuracy of the validation rows" in score
    same = [curve(validation_losses=[1, 2, 3], scores=[-1, -2, -3])]
    assert len(list(curve_figures(same, "epoch", "loss"))) == 1


def test_errors_of_few_rows_have_no_histogram() -> None:
    true = np.arange(30.0)
    assert len(list(residual_figures(residuals("y", true, true + 1), None))) == 2
    assert len(list(residual_figures(residuals("y", true[:9], true[:9] + 1), None))) == 1
    *_, histogram = residual_figures(residuals("y", true, true + 1), 0.9)
    assert "That is meant to be so for the 0.9 quantile." in histogram


def importance(*means: float, **changes: Any) -> Importance:
    columns = [ColumnImportance(f"c{k}", mean, 0.01) for k, mean in enumerate(means)]
    return replace(Importance("r2", 0.9, 100, 5, columns, []), **changes)


def test_the_importance_names_what_matters() -> None:
    assert importance_sentence(importance(0.5, 0.2, 0.01, -0.1)) == (
        "The network relies most on 'c0' and 'c1'."
    )
    assert importance_sentence(importance(0.001, -0.1)) == ""
    uncertain = [ColumnImportance("a", 0.5, 0.4), ColumnImportance("b", 0.3, 0.4)]
    assert importance_sentence(importance(columns=uncertain)) == "The network relies most on 'a'."
    assert importance_sentence(importance()) == ""
    figure = importance_figure(importance(*[0.5] * 30, left_out=["x", "y"]), "test rows")
    assert figure.count('class="bar series-1"') == 20
    assert "20 of 30 columns have a bar; the table has more." in figure
    assert "There was no time for 2 more columns." in figure
    worse = importance_figure(replace(importance(0.5), metric="mae"), "rows of a.csv")
    assert "By how much the mean absolute error rises" in worse
    assert "5 shuffles of 100 rows of a.csv" in worse


def test_very_many_classes_are_counted() -> None:
    of = {"predicted": 1, "precision": None, "recall": 0.5, "f1": None}
    markup = classes_table([of | {"label": k, "rows": k} for k in range(MOST_CLASSES + 7)])
    assert "7 classes with fewer rows are left out." in markup
    assert markup.count("<tr>") == MOST_CLASSES + 1


def test_a_model_without_rows_still_has_a_page() -> None:
    report = made()
    empty = replace(report.evaluated, rows=0, scores={}, classes=(), training=None, baselines=None)
    page = model_page(made(evaluated=empty, diagnostics=Diagnostics(0), curves=[]))
    assert "There are no rows with a known target" in page


def test_the_page_of_a_sweep_has_both() -> None:
    page = sweep_report_page(swept(30), made())
    for heading in ("The best settings", "The best trials", "Which settings matter", "Columns"):
        assert f"<h2>{heading}</h2>" in page
    assert "The best trial has accuracy" in page


def test_labels_and_amounts() -> None:
    assert label_text("a" * 40, 11) == "aaaa...aaaa"
    assert label_text("a\nb\u202e") == "a\\nb\\u202e"
    assert label_text("") == "(empty)"
    assert label_text(3.5) == "3.5"
    texts = ["0.123", "12.3", "1,234", "−1,234", "0", "1e9", "1.23e−5"]
    values = [0.1234, 12.34, 1234.4, -1234.4, 0.0, 1e9, 1.234e-5]
    assert list(map(amount, values)) == texts
