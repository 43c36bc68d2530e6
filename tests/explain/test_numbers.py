"""The tables behind the charts of `gpubp explain` and `gpubp search` have the charts' numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gpubp.explain.curves import curves
from gpubp.explain.examples import EXAMPLES, example_by_name
from gpubp.explain.search.comparison import Comparison, Settings, compare
from gpubp.explain.search.figure_table import chart_table, landscape_tables
from gpubp.explain.search.methods import Budget, Point, Run
from gpubp.explain.trace import trace_steps
from gpubp.reports.html import number
from tests.explain.test_page import made, stages_of


@pytest.mark.parametrize("name", [*EXAMPLES, "wide"])
def test_the_table_of_a_drawing_has_its_numbers(name: str) -> None:
    for key, markup in stages_of(made(name)[2]).items():
        drawing, _, rest = markup.partition("<details")
        table = rest.partition("</details>")[0]
        drawn = set(re.findall(r'data-[nw]="(\d+)"', drawing))
        assert len(drawn) >= 4
        assert drawn == set(re.findall(r'data-n="(\d+)"', table)), key


def test_the_headers_of_a_drawing_name_its_numbers() -> None:
    _, traces, text = made("company")
    table = stages_of(text)["5.1"].partition("<details")[2].partition("</details>")[0]
    assert re.findall("<caption>(.*?)</caption>", table) == [
        "Units",
        "Weights from the inputs to the hidden layer",
        "Shares of the blame, w δ, from the hidden layer to the output",
    ]
    assert '<th scope="col">Value</th><th scope="col">δ</th>' in table
    assert '<th scope="col">From</th><th scope="col">to CEO</th>' in table
    row = re.search(r'<th scope="row">sales manager</th>(.*?)</tr>', table.rpartition("<table")[2])
    assert row is not None
    blame = traces[0].layers[1].blame[1, 0]
    assert re.findall(">([^<>]+)<", row[1]) == [number(blame)]


def test_units_that_are_not_drawn_are_counted() -> None:
    table = stages_of(made("wide")[2])["1"].partition("<details")[2].partition("</details>")[0]
    assert "Not shown: 58 of the inputs, 122 of hidden layer 1, 58 of hidden layer 2 and" in table


@pytest.mark.parametrize("name", ["step-by-step", "iris"])
def test_the_tables_of_the_curves_are_the_steps(name: str) -> None:
    example = EXAMPLES[name]()
    traces = list(trace_steps(example, 6))
    loss, prediction = curves(example, traces)
    table = loss.numbers([0, 5])
    rows = re.findall("<tr>(.*?)</tr>", table)
    assert len(rows) == 3
    for k, row in zip((0, 5), rows[1:], strict=True):
        t = traces[k]
        several = [str(t.row)] if name == "iris" else []
        cells = [str(t.number), *several, number(t.loss), number(t.new_loss)]
        assert re.findall(">([^<>]+)<", row) == cells
    assert '<th scope="col">Target</th>' not in table
    assert '<th scope="col">Target</th>' in prediction.numbers([0])


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    settings = Settings(Budget(evaluations=2000), device="cpu", dtype="float64")
    return compare(example_by_name("two-weights"), settings)


def test_the_table_of_a_search_reads_its_curves() -> None:
    run = Run("random", "cpu", Budget(evaluations=30), evaluations=30, seconds=2.0, cost=0.125)
    run.curve = [Point(1, 0.5, 4.0, None), Point(3, 1.0, 0.25, None), Point(12, 1.5, 0.125, None)]
    longer = Run("backprop", "cpu", Budget(evaluations=90), evaluations=90, seconds=9.0, cost=0.5)
    longer.curve = [Point(2, 0.1, 8.0, None), Point(90, 9.0, 0.5, None)]
    table = chart_table("evaluations", [run, longer])
    assert table.heads == ["evaluations", "random search", "backpropagation"]
    assert table.rows == [
        ["1", "4", "-"],
        ["2", "4", "8"],
        ["5", "0.25", "8"],
        ["10", "0.25", "8"],
        ["20", "0.125", "8"],
        ["50", "-", "8"],
        ["evaluations at the end", "30", "90"],
        ["cost at the end", "0.125", "0.5"],
    ]
    seconds = chart_table("seconds", [run, longer])
    assert [row[0] for row in seconds.rows[:3]] == ["0.1", "0.2", "0.5"]
    assert seconds.rows[-2] == ["seconds at the end", "2", "9"]


def test_the_tables_of_the_landscape(comparison: Comparison) -> None:
    costs, *ways = landscape_tables(comparison)
    assert costs.caption == "Cost at values of w1 and w2"
    x = float(costs.heads[1].removeprefix("w1 = "))
    y, cost = costs.rows[-1][:2]
    example = comparison.example
    predictions = float(y.removeprefix("w2 = ")) * np.tanh(x * example.X)
    expected = 0.5 * np.square(predictions - example.Y).mean()
    assert float(cost) == pytest.approx(expected, rel=5e-3)
    for way, method in zip(ways, ("one_at_a_time", "backprop"), strict=True):
        run = comparison.run(method)  # type: ignore[arg-type]
        assert run is not None
        assert way.heads == ["evaluations", "w1", "w2", "cost"]
        assert 2 <= len(way.rows) <= 16
        assert run.weights is not None
        assert way.rows[0][0] == "1"
        assert way.rows[-1][1:3] == [f"{weight:.4g}" for weight in run.curve[-1].weights]
