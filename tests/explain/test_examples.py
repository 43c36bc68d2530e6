from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpubp import MLPRegressor, save
from gpubp.__main__ import main
from gpubp.backprop.optimizers import SGD
from gpubp.backprop.solvers import SOLVERS, STEPWISE, make_optimizer
from gpubp.explain.examples import EXAMPLES, ExampleError, read_example, step_by_step
from gpubp.explain.trace import trace_step
from gpubp.explain.trained_model import of_model
from gpubp.models.save_load import load
from gpubp.tables.read import load_dataset

WORKED = """
layers = [2, 2, 1]
activation = "identity"
loss = "squared_error"
weights = [[[0.11, 0.12], [0.21, 0.08]], [[0.14], [0.15]]]
inputs = [2, 3]
targets = [1]
learning_rate = 0.05
"""


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "net.toml"
        path.write_text(text)
        return path

    return write


def test_a_toml_network_is_the_built_in_one(toml):
    example = read_example(toml(WORKED))
    assert example.name == "net"
    np.testing.assert_array_equal(
        trace_step(example).new_theta, trace_step(step_by_step()).new_theta
    )


@pytest.mark.parametrize("solver", STEPWISE)
def test_a_toml_network_learns_by_every_solver(toml, solver, capsys):
    numbers = {p.name: 0.25 for p in SOLVERS[solver].parameters if p.kind is float}
    lines = "".join(f"{name} = {value}\n" for name, value in numbers.items())
    path = toml(f'{WORKED}solver = "{solver}"\n{lines}')
    plain = {"nesterovs_momentum": False} if solver == "sgd" else {}
    optimizer = read_example(path).optimizer
    assert optimizer == make_optimizer(solver, **numbers, **plain)
    assert main(["explain", "--example", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"the step of {type(optimizer).__name__} at rate 0.05" in out
    for line in SOLVERS[solver].formula:
        assert line in out


def test_a_toml_network_takes_plain_gradient_descent(toml):
    assert read_example(toml(WORKED)).optimizer == SGD(0.0, nesterov=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers = [2, 2, 1]", "layers = [2, 3, 1]", r"weights of layer 1 must be .* \(2, 3\)"),
        ("layers = [2, 2, 1]", "layers = [2]", "layers must be a list of two or more whole"),
        ("layers = [2, 2, 1]", 'layers = "2-2-1"', "layers must be a list of two or more whole"),
        ("layers = [2, 2, 1]", "layers = [2, 0, 1]", "whole numbers from 1 on"),
        ("layers = [2, 2, 1]", "", "'layers' is missing"),
        ("0.14], [0.15", "0.14, 0.15", r"weights of layer 2 must be numbers of shape \(2, 1\)"),
        ("[0.14]", '["a"]', "weights of layer 2 must be numbers"),
        ("[0.14]", "[nan]", "weights of layer 2 must be finite"),
        (", [[0.14], [0.15]]]", "]", "weights must have one list per layer, 2 for .* got 1"),
        ("inputs = [2, 3]", "inputs = [2, 3, 4]", "a row of inputs must have 2 numbers, got 3"),
        ("targets = [1]", "targets = [1, 2]", "1 row of inputs, but 2 targets"),
        ('"identity"', '"no_such_one"', "activation must be one of .*, got 'no_such_one'"),
        ('"squared_error"', '"absolute"', "loss must be one of .*, got 'absolute'"),
        ('"squared_error"', '"softmax_cross_entropy"', "must be one class per row, .* 0 to 0"),
        (
            "learning_rate",
            "leaning_rate",
            "unknown key 'leaning_rate'; did you mean 'learning_rate'",
        ),
        ("layers = [2, 2, 1]", "layers = [2, 2,, 1]", "is not TOML"),
        ("targets = [1]", 'targets = [1]\nnames = [["a"]]', "names must have one list per"),
        (
            "targets = [1]",
            'targets = [1]\nsolver = "lbfgs"',
            "solver must be one of .*'lbfgs'",
        ),
        ("targets = [1]", "targets = [1]\nbeta_1 = 0.5", "'sgd' has no parameter 'beta_1'"),
        ("targets = [1]", "targets = [1]\nmomentum = 2", "momentum must be a number from 0 to 1"),
    ],
)
def test_a_toml_network_that_does_not_hold_together(toml, old, new, message, capsys):
    assert old in WORKED
    path = toml(WORKED.replace(old, new, 1))
    with pytest.raises(ExampleError, match=message) as caught:
        read_example(path)
    assert str(path) in str(caught.value)
    assert main(["explain", "--example", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("activation", ["3", '[["tanh"]]', "true"], "activation must be one of"),
        ("activation", ['"sigmoid"'], "did you mean 'logistic'"),
        ("activation", ['["tanh", "tanh"]', "[]"], "of the outputs follows from loss"),
        ("loss", ["3", '["squared_error"]'], "loss must be one of"),
        (
            "weights",
            ["3", "true", '"random"'],
            "weights must be lists",
        ),
        ("biases", ["true", "false", "3", '"rand"'], 'biases must be "random" or lists'),
        ("biases", ["[1]", "[]", "[[1, 2, 3]]"], "biases must have one list per layer, 2 for"),
        ("biases", ["[[1], [2]]"], r"of layer 1 must be numbers of shape \(2,\), \[unit\], got"),
        ("inputs", ['[["1", "2"]]', "[[1, 2], [3]]", "[[nan, 1]]", "[[[1, 2]]]"], "finite numbers"),
        ("inputs", ["[[1, 2], [3, 4]]"], "2 rows of inputs, but 1 target; give one per row"),
        ("inputs", ["[]", "3"], "a row of inputs must have 2 numbers"),
        ("targets", ["[]"], "1 row of inputs, but 0 targets"),
        ("targets", ["[[1, 2]]"], "a row of targets must have 1 number, got 2"),
        ("targets", ['"a"', "[inf]", "[true]"], "targets must be finite numbers"),
        ("learning_rate", ['"0.1"', "true", "0", "nan", "[1]"], "must be a finite number above 0"),
        ("alpha", ['"0.1"', "-1", "[1]"], "alpha must be a finite number of 0 or more"),
        ("seed", ['"1"', "1.5", "-1", "true", "[1]"], "seed must be a whole number from 0"),
        ("names", ["3", "[1, 2, 3]", '["ab", "cd", "e"]'], "names must have one list per layer"),
        ("name", ["3"], "name must be text"),
    ],
)
def test_a_key_of_the_wrong_type_or_length(toml, key, values, message):
    settings = dict(line.split(" = ", 1) for line in WORKED.strip().splitlines())
    for value in values:
        path = toml("\n".join(f"{k} = {v}" for k, v in (settings | {key: value}).items()))
        with pytest.raises(ExampleError, match=message):
            read_example(path)


def test_explain_prints_the_worked_step(capsys):
    assert main(["explain", "--steps", "5", "--vary", "w1", "--check"]) == 0
    out = capsys.readouterr().out
    for shown in ("h1 = 0.923619", "0.276957171393", "0.608313962126", "6 of 6 agree", "<- now"):
        assert shown in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "\x1b" not in out


@pytest.mark.parametrize("name", EXAMPLES)
def test_explain_fits_80_columns(name, capsys):
    assert main(["explain", "--example", name, "--check", "--steps", "3"]) == 0
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80


def test_json_has_every_quantity_in_full(capsys):
    assert main(["explain", "--steps", "2", "--check", "--vary", "w6", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    first = values["steps"][0]
    assert first["parameters"]["w6"] == {
        "layer": 2,
        "value": 0.15,
        "gradient": pytest.approx(-0.38832, rel=1e-14),
        "new": pytest.approx(0.169416, rel=1e-14),
    }
    assert first["layers"][0]["blame"] is not None
    assert first["layers"][1]["W"] == [[0.14], [0.15]]
    assert first["new_loss"] == values["steps"][1]["loss"]
    assert [check["agrees"] for check in values["check"]] == [True] * 6
    assert values["vary"]["parameter"] == "w6"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--example", "nothing"], 1, "no example is called 'nothing'; give one of step-by-step"),
        (["--example", "no.toml"], 1, "no.toml cannot be read"),
        (["--row", "1"], 2, "--row 1: give a row from 0 to 0"),
        (["--vary", "w9"], 2, "'w9' is unknown"),
        (["model.safetensors"], 2, "explaining a model needs data"),
        (["net.toml"], 2, "did you mean gpubp explain --example net.toml?"),
        (["net.toml", "xor.csv"], 2, "did you mean gpubp explain --example net.toml?"),
        (["company"], 2, "did you mean gpubp explain --example company?"),
        (["--html", "step.png"], 2, "has the suffix '.png'"),
        (["--steps", "ten"], 2, "'ten' is not a whole number"),
        (["missing.safetensors", "digits"], 1, "no such file"),
        (["--html", "no/such/folder.html"], 1, "does not exist"),
    ],
)
def test_bad_input_gets_one_line(args, code, message, capsys):
    assert main(["explain", *args]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("data", ["iris", "diabetes", "breast_cancer"])
def test_a_row_of_a_trained_model(data, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    train = [
        "train",
        data,
        "--epochs",
        "2",
        "--hidden",
        "6,4",
        "--preset",
        "plain",
        "--quiet",
        "-o",
        str(path),
    ]
    assert main([*train, "--activation", "tanh"]) == 0
    capsys.readouterr()
    assert main(["explain", str(path), data, "--row", "5", "--check", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    table = load_dataset(data)
    model = load(path)
    row = table.take(np.array([5]))
    want = model.predict(row) if data == "diabetes" else model.predict_proba(row)[:, 1:]
    found = np.array(values["steps"][0]["prediction"])
    if data == "diabetes":
        found = found * model.network_.target_scale_ + model.network_.target_mean_
    if data == "iris":
        found = found[1:]
    np.testing.assert_allclose(found, want.ravel(), rtol=1e-4)
    assert all(check["agrees"] for check in values["check"])
    assert main(["explain", str(path), data, "--row", "99999"]) == 1
    assert "row 99999 was asked for" in capsys.readouterr().err
    assert main(["explain", str(path), "wine"]) == 1


def test_an_estimator_that_was_saved_alone(tmp_path, capsys):
    table = load_dataset("diabetes")
    X, y = np.split(np.stack([c.values for c in table.columns.values()], axis=1), [-1], axis=1)
    y = y.ravel()
    model = MLPRegressor(hidden_layer_sizes=(3,), max_iter=1, random_state=0, device="cpu")
    model.partial_fit(X, y)
    save(model, tmp_path / "m.safetensors")
    assert main(["explain", str(tmp_path / "m.safetensors"), "diabetes", "--row", "7"]) == 0
    note = "m.safetensors is a model of arrays, which takes the columns of diabetes as they are"
    assert note in capsys.readouterr().err
    trace = trace_step(of_model(model, table, 7))
    np.testing.assert_allclose(trace.prediction, model.predict(X[7:8]), rtol=1e-9)
    assert trace.target[0] == y[7]


@pytest.mark.parametrize(
    ("loss", "options"), [("quantile", {"quantile": 0.2}), ("huber", {"huber_delta": 3.0})]
)
def test_the_step_of_a_model_is_that_of_its_own_loss(loss, options):
    table = load_dataset("diabetes")
    X, y = np.split(np.stack([c.values for c in table.columns.values()], axis=1), [-1], axis=1)
    y = y.ravel()
    model = MLPRegressor(loss, (3,), max_iter=1, random_state=0, device="cpu", **options)
    model.partial_fit(X, y)
    error = model.predict(X[2:3])[0] - y[2]
    assert abs(error) > 3  # beyond huber's delta
    wanted = max(-0.2 * error, 0.8 * error) if loss == "quantile" else 3 * (abs(error) - 1.5)
    found = trace_step(of_model(model, table, 2)).loss
    np.testing.assert_allclose(found, wanted, rtol=1e-3)  # with the penalty


def test_json_of_steps_that_diverge_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "far.toml"
    path.write_text(
        "layers = [1, 1]\ninputs = [1]\ntargets = [1]\n"
        "learning_rate = 1e200\nweights = [[[0.5]]]\n",
        encoding="utf-8",
    )
    with np.errstate(all="ignore"):
        assert main(["explain", "--example", str(path), "--steps", "5", "--json"]) == 0
    values = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert values["steps"][-1]["loss"] is None
