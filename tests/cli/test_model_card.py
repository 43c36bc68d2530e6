"""The model card: what the file says of the model, as Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.models.description import describe
from gpubp.reports.markdown import code, table, text
from gpubp.reports.model_card import model_card
from tests.cli.running import FAST, LABELS, Run, X, Y, features, one_line, write_csv

SECTIONS = [
    *("Model", "Training data", "Evaluation", "Intended use and limits", "Training"),
    *("How to use", "Versions"),
]


def _rows(card: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line begins with ``head``."""
    lines = card.partition(f"| {head} |")[2].splitlines()[2:]
    cells = []
    for line in lines:
        if not line.startswith("| "):
            break
        cells.append(re.split(r" (?<!\\)\| ", line[2:-2]))
    return cells


@pytest.fixture
def trained(run: Run) -> Run:
    others = {"note": ["x"] * 40, "co|or": ["red", "blue"] * 20, "kind": LABELS}
    write_csv("t.csv", **features(), **others)
    run("train", "t.csv", *FAST, "--quiet", "-o", "m")
    return run


def test_a_classification(trained: Run) -> None:
    told = trained("inspect", "m", "--card", "-").out
    model = describe("m")
    assert told == model_card(model)
    assert re.findall(r"(?m)^## (.+)$", told) == SECTIONS
    assert told.startswith("---\nlibrary_name: gpubp\npipeline_tag: tabular-classification\n")
    assert "# Classification of kind\n" in told
    assert "This model predicts `kind` of a row of a table from 4 columns.\n" in told
    assert "- Classes: `may, be` (10 training rows), `no` (11 training rows), `yes` (11" in told
    assert "40 rows, 6 columns; 32 to train, 8 to test (random, seed 0)." in told
    columns = {row[0]: row[1:] for row in _rows(told, "column")}
    assert columns["`a`"] == ["number", "0", "standardised"]
    assert columns["`note`"] == ["constant", "0", "left out: 'x' in every row"]
    assert columns["`co\\|or`"] == ["category", "0", "one-hot, 2 values"]
    assert "- Columns that are not used: `note`.\n" in told
    assert "gpubp predict m new_rows.csv -o predictions.csv\n" in told
    assert f"- gpubp {gpubp.__version__}\n- numpy {np.__version__}\n" in told


def test_the_scores_are_those_of_the_file(trained: Run) -> None:
    model = describe("m")
    card = model_card(model)
    (head,) = re.findall(r"(?m)^\| score \| (.+) \|$", card)
    assert head.split(" | ")[:2] == ["test rows", "training rows"]
    scores = {row[0]: row[1:] for row in _rows(card, "score")}
    for name, title in (("accuracy", "accuracy"), ("log_loss", "log loss")):
        for part, place in (("test", 0), ("train", 1)):
            assert float(scores[title][place]) == pytest.approx(
                model["scores"][part][name], abs=1e-4
            )
    classes = {row[0]: row[1:] for row in _rows(card, "class")}
    assert list(classes) == ["`may, be`", "`no`", "`yes`"]
    assert sum(int(row[0]) for row in classes.values()) == 8
    assert f"Verdict: {model['verdict']}.\n" in card.replace("\\", "")


def test_the_python_of_a_card_runs(trained: Run) -> None:
    write_csv("new_rows.csv", **features(), **{"co|or": ["red", "green"] * 20})
    (block,) = re.findall(r"```python\n(.*?)```", trained("inspect", "m", "--card", "-").out, re.S)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["model"].target_names_ == ("kind",)


def test_a_regression_of_two_targets(run: Run) -> None:
    write_csv("t.csv", **features(), p=Y, q=-Y)
    run("train", "t.csv", "--target", "p,q", *FAST, "--quiet", "-o", "m")
    card = run("inspect", "m", "--card", "-").out
    assert "# Regression of p, q\n" in card
    scores = [row[0] for row in _rows(card, "score")]
    assert scores[:3] == ["R²", "RMSE", "mean absolute error"]
    assert {"R² of `p`", "RMSE of `q`"} <= set(scores)


def test_a_network_of_arrays(run: Run) -> None:
    model = gpubp.MLPRegressor(hidden_layer_sizes=(5,), random_state=3)
    gpubp.save(model.partial_fit(X, Y), "m")
    card = run("inspect", "m", "--card", "-").out
    assert "# A MLPRegressor of gpubp\n" in card
    assert "This model has 3 inputs without names.\n" in card
    assert "The file has no scores.\n" in card
    assert "pipeline_tag" not in card
    assert "gpubp predict" not in card


def test_the_card_is_a_file(trained: Run) -> None:
    told = trained("inspect", "m", "--card", "card.md")
    assert told.out.startswith("model       m, a TableClassifier")
    assert Path("card.md").read_text(encoding="utf-8") == model_card(describe("m"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--card", "card.html"), "--card card.html has the suffix '.html', but Markdown is"),
        (("--card", "-", "--json"), "--card - and --json both write to standard output"),
        (("--card", "m"), "--card m is also an input file"),
    ],
)
def test_wrong_arguments(trained: Run, args: tuple[str, ...], message: str) -> None:
    before = Path("m").read_bytes()
    assert message in one_line(trained("inspect", "m", *args, code=2))
    assert Path("m").read_bytes() == before


def test_names_have_no_meaning_in_markdown() -> None:
    assert text("a_b*c|d<e>\n") == r"a\_b\*c\|d\<e\>\\n"
    assert code("a|b") == r"`a\|b`"
    assert code("a`b") == "`` a`b ``"
    assert code("") == '`""`'
    assert code("a\nb") == r"`a\nb`"
    assert list(table(["x", "y"], [["1", "2"]])) == ["| x | y |", "| --- | --- |", "| 1 | 2 |"]
