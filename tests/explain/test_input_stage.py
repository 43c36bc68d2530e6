"""`gpubp explain` of a model with an input stage: its numbers, gradients, and new parameters."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpubp import MLPClassifier, MLPRegressor, save
from gpubp.__main__ import main
from gpubp.backprop.input_stage import InputStage
from gpubp.explain.example import Example
from gpubp.explain.gradient_check import check_gradients
from gpubp.explain.input_stage import feature_names
from gpubp.explain.loss_landscape import losses_of, vary
from gpubp.explain.page import explain_page
from gpubp.explain.parameters import parameters_of, stage_parameters
from gpubp.explain.quantities import shown_units
from gpubp.explain.text import sections
from gpubp.explain.trace import StageTrace, StepTrace, trace_step, trace_steps
from gpubp.explain.trained_model import of_model
from gpubp.tables.column import NumberColumn
from gpubp.tables.table import Table

N, LEVELS = 40, 3
RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (N, 4))
X[:, 2] = RNG.randint(LEVELS, size=N)
Y = np.sin(4 * X[:, 0]) + X[:, 2] % 2
NAMES = ("height", "age", "colour", "weight")
STAGES: dict[str, dict[str, Any]] = {
    "both": {"periodic": [0, 3], "tables": {2: LEVELS}},
    "periodic": {"periodic": "all"},
    "tables": {"tables": {2: LEVELS}},
    "scale": {},
}
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def fitted(stage: str = "both", kind: Any = MLPRegressor, **options: Any) -> Any:
    chosen = {"hidden_layer_sizes": (3,), "activation": "tanh", "max_iter": 3, "random_state": 0}
    model = kind(**{**chosen, "device": "cpu", "input_stage": STAGES[stage], **options})
    return model.fit(X, Y if kind is MLPRegressor else (Y > 0.5).astype(int))


def table_of(model: Any) -> Table:
    columns: dict[str, Any] = {n: NumberColumn(x) for n, x in zip(NAMES, X.T, strict=True)}
    y = Y if isinstance(model, MLPRegressor) else (Y > 0.5).astype(float)
    columns["y"] = NumberColumn(y)
    return Table(columns, N, "rows.csv", ("y",))


def example_of(model: Any, row: int = 5, **options: Any) -> Example:
    return of_model(model, table_of(model), row, **options)


def stage_of(trace: StepTrace) -> StageTrace:
    assert trace.stage is not None
    return trace.stage


@pytest.mark.parametrize("kind", [MLPRegressor, MLPClassifier])
@pytest.mark.parametrize("stage", STAGES)
def test_the_prediction_is_that_of_the_model(stage: str, kind: Any) -> None:
    model = fitted(stage, kind)
    trace = trace_step(example_of(model))
    wanted = model.predict(X[5:6])[0]
    if kind is MLPClassifier:
        wanted = model.predict_proba(X[5:6])[0, 1]
    assert_allclose(trace.prediction[0], wanted, rtol=1e-12)
    assert_allclose(trace.inputs, X[5])
    assert len(trace.layers[0].inputs) == model.coefs_[0].shape[0]


def test_the_numbers_of_the_stage_follow_its_formulas() -> None:
    example = example_of(fitted())
    trace = trace_step(example)
    stage, first = stage_of(trace), trace.layers[0]
    assert_allclose(stage.outputs, stage.scale * stage.features)
    assert_allclose(first.inputs, stage.outputs)
    assert_allclose(stage.g, first.W @ first.delta, rtol=1e-12)
    assert_allclose(stage.dscale, stage.g * stage.features, rtol=1e-12)
    assert_allclose(stage.delta, stage.g * stage.scale, rtol=1e-12)
    (table,) = stage.tables
    assert (table.column, table.levels, table.level) == (2, LEVELS, X[5, 2])
    assert_allclose(table.vectors[table.level], stage.features[:8])
    assert_allclose(table.gradients[table.level], stage.delta[:8])
    assert not np.delete(table.gradients, table.level, axis=0).any()
    assert table.changed == [table.level]
    for k, (column, place) in enumerate(zip(stage.periodic, (0, 3), strict=True)):
        g = stage.delta[8 + 3 * k :][:3]
        u = 2 * np.pi * column.w * X[5, place] + column.b
        gu = -(g @ column.V) * np.sin(u)
        assert (column.column, column.x) == (place, X[5, place])
        assert_allclose(column.u, u)
        assert_allclose(column.e, column.V @ np.cos(u) + column.v)
        assert_allclose(column.e, stage.features[8 + 3 * k :][:3])
        assert_allclose(column.dV, np.outer(g, np.cos(u)), atol=1e-12)
        assert_allclose(column.dv, g)
        assert_allclose(column.db, gu, atol=1e-12)
        assert_allclose(column.dw, 2 * np.pi * X[5, place] * gu, atol=1e-12)
        new = column.new_V @ np.cos(2 * np.pi * column.new_w * column.x + column.new_b)
        assert_allclose(column.new_e, new + column.new_v)
        assert column.sizes.V[0] == pytest.approx(np.linalg.norm(column.dV))
        assert column.sizes.w[1] == pytest.approx(np.linalg.norm(column.new_w - column.w))
    after = trace_step(replace(example, theta=trace.new_theta))
    assert_allclose(stage_of(after).outputs, stage.new_outputs)
    assert_allclose(stage_of(after).scale, stage.new_scale)
    assert after.loss == trace.new_loss


@pytest.mark.parametrize("stage", STAGES)
def test_the_check_covers_every_parameter(stage: str) -> None:
    example = example_of(fitted(stage))
    checks = check_gradients(example)
    assert len(checks) == example.network.n_parameters
    names = [check.parameter.name for check in checks]
    assert len(set(names)) == len(names)
    assert len({check.parameter.place for check in checks}) == len(names)
    assert all(check.agrees for check in checks)


def test_the_check_holds_for_columns_of_large_numbers() -> None:
    example = example_of(fitted("periodic"))
    checks = check_gradients(replace(example, X=300 * example.X))
    assert all(check.agrees for check in checks)


def test_a_wrong_gradient_of_the_stage_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    example = example_of(fitted())
    places = [p.place for p in stage_parameters(example.network)]

    def wrong(example: Example, row: int = 0) -> StepTrace:
        trace = trace_step(example, row)
        trace.gradient[places] *= 1.01
        return trace

    monkeypatch.setattr("gpubp.explain.gradient_check.trace_step", wrong)
    differ = [check.parameter.name for check in check_gradients(example) if not check.agrees]
    assert {name[0] for name in differ} == {"s", "p", "t"}


def test_the_parameters_have_names() -> None:
    example = example_of(fitted())
    parameters = {p.name: p for p in stage_parameters(example.network)}
    stage = stage_of(trace_step(example))
    for name, value in {
        "s3": stage.scale[2],
        "p2.w16": stage.periodic[1].w[15],
        "p1.b1": stage.periodic[0].b[0],
        "p1.V3.2": stage.periodic[0].V[2, 1],
        "p2.v3": stage.periodic[1].v[2],
        "t1.2.8": stage.tables[0].vectors[2, 7],
    }.items():
        assert example.theta[parameters[name].place] == value
    plain = example_of(fitted(input_stage=None))
    assert stage_parameters(plain.network) == []
    names = {p.name for p in parameters_of(example.network)}
    assert not names & set(parameters)


def test_a_parameter_of_the_stage_is_varied() -> None:
    example = example_of(fitted())
    varied = vary(example, "p1.w2", span=0.5, n=11)
    assert varied.losses[5] == pytest.approx(trace_step(example).loss)
    assert varied.losses.min() < varied.losses.max()
    theta = example.theta.copy()
    theta[varied.parameter.place] = varied.values[0]
    assert losses_of(example, theta[None])[0] == pytest.approx(varied.losses[0])
    with pytest.raises(ValueError, match=r"parameter 'p3.w1' is unknown"):
        vary(example, "p3.w1")


def text_of(example: Example) -> dict[str, str]:
    trace = trace_step(example)
    return {section.title: "\n".join(section.lines) for section in sections(example, trace)}


def test_the_text_shows_the_stage_before_the_first_layer() -> None:
    model = fitted()
    text = text_of(example_of(model))
    titles = list(text)
    assert titles.index("Input stage") == titles.index("Forward: inputs flow to the prediction") - 1
    assert "input stage: 4 columns to 17 features, 207 of the parameters" in text["The network"]
    shown = text["Input stage"]
    assert f"height {X[5, 0]:.6g}" in shown
    assert f"colour: the features are the vector of level {X[5, 2]:.0f} (of 0 to 2)" in shown
    assert shown.count("e = V cos(u) + v with u = 2 pi w x + b of 16 frequencies") == 2
    for part in "wbVv":
        assert shown.count(f"    {part}: gradient of norm") == 2
    assert "(8 of 17 features: those with the largest product)" in shown
    assert re.search(r"dC/ds\d+ = g f = .*\n +new s\d+ = .*; .* becomes ", shown)
    assert "colour.1" in "".join(text.values())
    for stage in ("periodic", "tables", "scale"):
        assert "Input stage" in text_of(example_of(fitted(stage)))
    assert "Input stage" not in text_of(example_of(fitted(input_stage=None)))


def test_later_steps_count_the_levels_that_change() -> None:
    """The optimizer's state moves the levels of the rows before."""
    example = example_of(fitted())
    rows = X[[0, 1, 2, 3]].copy()
    rows[:, 2] = [0, 1, 2, 0]
    several = replace(example, X=rows, Y=np.repeat(example.Y, 4, axis=0))
    changed = [stage_of(trace).tables[0].changed for trace in trace_steps(several, 4)]
    assert changed == [[0], [0, 1], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("stage", STAGES)
def test_the_page_has_a_stage_of_it(stage: str) -> None:
    example = example_of(fitted(stage))
    traces = list(trace_steps(example, 3))
    page = explain_page(example, traces)
    assert re.findall(r'data-key="([^"]*)"', page)[:3] == ["1", "2.0", "2.1"]
    assert "input stage of 4 columns" in page
    assert "weights, biases and parameters of the input stage are all that" in page
    data = json.loads(re.search(r'id="trace"[^>]*>(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    values = dict(zip(data["quantities"], data["steps"][2]["values"], strict=True))
    record = stage_of(traces[2])
    k = shown_units(traces)[0].units[0]
    assert values[f"stage.dscale.{k}"] == record.dscale[k]
    if record.periodic:
        assert values["stage.periodic.0.new_e.1"] == record.periodic[0].new_e[1]
        assert values["stage.periodic.0.sizes.V.0"] == record.periodic[0].sizes.V[0]
    if record.tables:
        assert values["stage.tables.0.row.1.3"] == record.tables[0].row[1, 3]


def test_a_page_without_a_stage_has_no_such_stage() -> None:
    example = example_of(fitted(input_stage=None))
    page = explain_page(example, [trace_step(example)])
    assert "The input stage" not in page
    assert 'data-key="2.0"' not in page


def test_a_member_of_an_ensemble_has_its_own_stage() -> None:
    model = fitted(n_members=2)
    for k in range(2):
        trace = trace_step(example_of(model, member=k))
        assert_allclose(stage_of(trace).scale, model.input_stage_["scale"][k])
        assert_allclose(trace.prediction, model.members_[k].predict(X[5:6]), rtol=1e-12)


def test_the_command_prints_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    model = fitted("both")
    save(model, tmp_path / "model")
    lines = [",".join((*NAMES, "y"))]
    lines += [",".join(map(str, (*x, y))) for x, y in zip(X, Y, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    command = ["explain", str(tmp_path / "model"), str(tmp_path / "rows.csv"), "--row", "5"]
    assert main([*command, "--check", "--html", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr().out
    assert "Input stage" in printed
    assert re.search(r"(\d+) of \1 agree", printed)
    assert "The input stage" in (tmp_path / "page.html").read_text()
    assert main([*command, "--check", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["columns"] == list(NAMES)
    assert values["names"][0][:2] == ["colour.1", "colour.2"]
    step = values["steps"][0]
    assert step["inputs"] == X[5].tolist()
    stage, wanted = step["input_stage"], stage_of(trace_step(example_of(model)))
    assert stage["dscale"] == wanted.dscale.tolist()
    assert stage["outputs"] == step["layers"][0]["inputs"]
    assert stage["periodic"][1]["name"] == "weight"
    assert stage["periodic"][1]["dV"] == wanted.periodic[1].dV.tolist()
    assert stage["tables"][0]["name"] == "colour"
    assert stage["tables"][0]["changed"] == [X[5, 2]]
    assert {check["parameter"][0] for check in values["check"]} == {"w", "b", "s", "p", "t"}


def test_names_of_features() -> None:
    names = feature_names(InputStage(4, (0, 3), ((2, LEVELS),)), NAMES)
    assert names[7:15] == (
        *("colour.8", "height~1", "height~2", "height~3", "weight~1", "weight~2", "weight~3"),
        "height",
    )
    assert names[-2:] == ("age", "weight")
