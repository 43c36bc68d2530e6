"""`gpubp explain` says what is standardised, and shows the row in the units of the table."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from gpubp import MLPRegressor
from gpubp.__main__ import main
from gpubp.explain.curves import curves
from gpubp.explain.example import Example
from gpubp.explain.examples import EXAMPLES
from gpubp.explain.page import explain_page
from gpubp.explain.text import sections
from gpubp.explain.trace import StepTrace, trace_steps
from gpubp.explain.trained_model import of_model
from gpubp.models.save_load import save
from gpubp.models.table_estimators import TableClassifier, TableRegressor
from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.table import Table

OPTIONS = {
    "preset": "plain",
    "hidden_layer_sizes": (4,),
    "max_iter": 3,
    "random_state": 0,
    "device": "cpu",
}


@pytest.fixture
def table(tmp_path) -> Table:
    rng = np.random.default_rng(0)
    area, year = rng.normal(90, 30, 40).round(1), rng.integers(1900, 2020, 40)
    price = (3000 * area + 500 * (year - 1900)).round()
    columns = {"area": area, "built": year, "price": price}
    numbers = {name: NumberColumn(values) for name, values in columns.items()}
    return Table(numbers, 40, "houses.csv", ("price",))


def values_of(table: Table, *names: str) -> np.ndarray:
    return np.stack([table.columns[name].values for name in names], axis=1)


def regression(table: Table) -> TableRegressor:
    model = TableRegressor(**OPTIONS)
    model.fit_table(table, ("price",))
    return model


def steps(example: Example, count: int = 3) -> list[StepTrace]:
    return list(trace_steps(example, count))


def stages_of(text: str) -> dict[str, str]:
    """What a reader sees of each stage, and of the head as stage "0"."""
    parts = re.split(r'<section class="stage[^"]*" data-key="([^"]*)">', text.split("</nav>")[1])
    stages = dict(zip(parts[1::2], parts[2::2], strict=True))
    stages["0"] = text.split("<main>")[1].split("<nav")[0]
    return {
        key: html.unescape(re.sub("<[^>]*>", " ", markup)).replace("−", "-")
        for key, markup in stages.items()
    }


def cells(text: str) -> list[str]:
    return text.split()


def test_the_head_names_model_row_and_what_is_standardised(table) -> None:
    example = of_model(regression(table), table, 7, model_name="m.safetensors")
    head = stages_of(explain_page(example, steps(example)))["0"]
    assert "model m.safetensors (TableRegressor)" in head
    assert "row 7 of houses.csv" in head
    assert "Inputs, target and prediction are standardised" in head
    assert "in the training data" in head
    unnamed = of_model(regression(table), table, 7)
    assert "model TableRegressor ·" in stages_of(explain_page(unnamed, steps(unnamed)))["0"]


def test_the_row_is_shown_in_the_units_of_the_table(table) -> None:
    example = of_model(regression(table), table, 7)
    stages = stages_of(explain_page(example, steps(example)))
    assert "In the table" in stages["1"]
    area, built, price = values_of(table, "area", "built", "price")[7]
    for value, scaled in zip((area, built), example.X[0], strict=True):
        at = cells(stages["1"]).index(f"{value:.12g}")
        assert float(cells(stages["1"])[at + 1]) == pytest.approx(scaled, rel=1e-9)
    at = cells(stages["1"]).index(f"{price:.12g}")
    assert float(cells(stages["1"])[at + 1]) == pytest.approx(example.Y[0, 0], rel=1e-9)
    for key, words in stages.items():
        if key != "0":
            assert "Inputs, target and prediction: standardised." in words
            assert "standardised" in words.split("inputs")[1][:20]  # the head of the drawing


def test_the_prediction_is_shown_in_the_units_of_the_table(table) -> None:
    model = regression(table)
    example, row = of_model(model, table, 7), table.take(np.array([7]))
    stages = stages_of(explain_page(example, steps(example)))
    words = cells(stages["3"].split("In the units of the table")[1])
    prediction, target, difference = map(float, words[4:7])
    assert prediction == pytest.approx(float(model.predict(row)[0]), rel=1e-5)
    assert target == float(values_of(table, "price")[7, 0])
    assert difference == pytest.approx(prediction - target, rel=1e-6)
    before, after = map(float, cells(stages["8"].split("in the units of the table")[1])[:2])
    assert before == pytest.approx(prediction)
    assert abs(after - target) < abs(before - target)
    curve = curves(example, steps(example))[1]
    assert curve.points[0].before == pytest.approx(prediction)
    assert curve.points[0].goal == pytest.approx(target)
    assert "The prediction is in the units of the table" in stages["8"]


def test_nothing_is_called_standardised_that_is_not(table) -> None:
    X, y = values_of(table, "area", "built"), values_of(table, "price").ravel()
    own = {name: value for name, value in OPTIONS.items() if name != "preset"}
    estimator = MLPRegressor(**own).partial_fit(X, y)
    alone = of_model(estimator, replace(table, targets=("price",)), 2)
    text = explain_page(alone, steps(alone))
    assert "andardised" not in text
    assert "row 2 of houses.csv" in text
    assert "andardised" not in explain_page(EXAMPLES["xor"](), steps(EXAMPLES["xor"]()))


def test_a_classifier_has_its_inputs_standardised_alone(table) -> None:
    table = replace(table, columns={**table.columns, "kind": TextColumn.of(["a", "b"] * 20)})
    model = TableClassifier(**OPTIONS)
    model.fit_table(table, ("kind",))
    example = of_model(model, table, 3)
    assert example.origin.scaled == {"standardised": "inputs"}
    assert example.origin.mean is None
    assert "model TableClassifier" in example.origin.facts


def test_the_built_in_flowers_are_shown_in_centimetres_row_by_row() -> None:
    example = EXAMPLES["iris"]()
    text = explain_page(example, steps(example, 3))
    stages = stages_of(text)
    assert "Inputs are standardised" in stages["0"]
    assert "in the data set" in stages["0"]
    assert "5.1" in cells(stages["1"])
    found = re.search(r'id="trace">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    place = data["quantities"].index("table_input.0")
    assert [step["values"][place] for step in data["steps"]] == [5.1, 5.4, 5.4]


def test_the_terminal_says_the_same(table) -> None:
    example = of_model(regression(table), table, 7)
    found = {s.title: "\n".join(s.lines) for s in sections(example, steps(example)[0])}
    assert "model TableRegressor, row 7 of houses.csv" in found["The network"]
    assert "standardised: inputs, target and prediction" in found["The network"]
    area, built, price = values_of(table, "area", "built", "price")[7]
    assert f"in the table: area {area:g}, built {built:g}" in found["The network"]
    assert f"target {price:.6g}" in found["The cost C, or loss"].split("price in the table")[1]


def test_json_holds_the_row_as_it_is_in_the_table(table, tmp_path, capsys) -> None:
    save(regression(table), tmp_path / "m.safetensors")
    names = ("area", "built", "price")
    lines = [",".join(map(str, row)) for row in values_of(table, *names).tolist()]
    (tmp_path / "houses.csv").write_text("\n".join([",".join(names), *lines]) + "\n")
    data = str(tmp_path / "houses.csv")
    call = ["explain", str(tmp_path / "m.safetensors"), data, "--row", "7", "--json"]
    assert main(call) == 0
    origin = json.loads(capsys.readouterr().out)["origin"]
    assert (origin["table"], origin["row"]) == ("houses.csv", 7)
    np.testing.assert_array_equal(origin["X"], values_of(table, "area", "built")[[7]])
    assert origin["mean"][0] == pytest.approx(values_of(table, "price").mean(), rel=0.1)


def test_encoded_columns_have_names_and_the_numbers_of_the_network(table) -> None:
    area = table.columns["area"].values.copy()
    area[3] = np.nan
    columns = {
        "area": NumberColumn(area),
        "color": TextColumn.of(["red", "blue", "green", "red"] * 10),
        "price": table.columns["price"],
    }
    table = replace(table, columns=columns)
    example = of_model(regression(table), table, 3)
    names = ("area", "area is missing", "color=blue", "color=green", "color=red")
    assert example.names[0] == names
    assert example.X[0, 1:].tolist() == [1, 0, 0, 1]
    # A gap is the median of the 39 others, in the units of the table.
    assert example.origin.X is not None
    assert example.origin.X[0].tolist() == [np.nanmedian(area), 1, 0, 0, 1]
    assert "color=red" in explain_page(example, steps(example))


def test_parts_of_dates_are_in_their_units(table) -> None:
    days = [f"{2001 + k % 5}-{k % 12 + 1:02}-{k % 28 + 1:02}" for k in range(40)]
    columns = {"day": TextColumn.of(days), "price": table.columns["price"]}
    table = replace(table, columns=columns)
    example = of_model(regression(table), table, 3)
    assert example.origin.X is not None
    raw = dict(zip(example.names[0], example.origin.X[0].tolist(), strict=True))
    assert (raw["day year"], raw["day day"]) == (2004, 4)
    assert raw["day month sine"] == pytest.approx(1)  # April is a quarter of the year


def test_robust_inputs_are_not_called_standardised(table) -> None:
    numbers = table.columns["area"].values.copy()
    numbers[:2] = 1e6, -1e5  # heavy tails
    table = replace(table, columns={**table.columns, "area": NumberColumn(numbers)})
    model = TableRegressor(**OPTIONS, scaling="robust")
    model.fit_table(table, ("price",))
    example = of_model(model, table, 7)
    assert example.names[0] == ("area", "area tails", "built")
    assert example.origin.scaled == {
        "robust, clipped": "inputs",
        "standardised": "target and prediction",
    }
    area, built = values_of(table, "area", "built")[7]
    assert example.origin.X.tolist() == [[area, area, built]]
    stages = stages_of(explain_page(example, steps(example)))
    assert "Inputs are robust, clipped: z / √(1 + z²/9) for z = (value - median)" in stages["0"]
    assert "range, then standardised: minus its mean, over its standard deviation" in stages["0"]
    assert "Target and prediction are standardised: (value - mean)" in stages["0"]
    at = cells(stages["1"]).index("Scaled")
    assert cells(stages["1"])[at - 3 : at] == ["In", "the", "table"]
    assert "Inputs: robust, clipped. Target and prediction: standardised." in stages["2.1"]
    found = {s.title: "\n".join(s.lines) for s in sections(example, steps(example)[0])}
    assert "robust, clipped: inputs\n" in found["The network"]
    assert "standardised: target and prediction" in found["The network"]


def test_a_classifier_with_robust_inputs(table) -> None:
    table = replace(table, columns={**table.columns, "kind": TextColumn.of(["a", "b"] * 20)})
    model = TableClassifier(**OPTIONS, scaling="robust")
    model.fit_table(table, ("kind",))
    example = of_model(model, table, 3)
    assert example.origin.scaled == {"robust, clipped": "inputs"}
    # The formula in the head alone mentions it.
    assert explain_page(example, steps(example)).count("andardised") == 1
