from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpubp
from gpubp.__main__ import main
from gpubp.cli import COMMANDS
from gpubp.training.trainer import Trainer
from tests.cuda_stand_in.kernels import skip_without_compiler

ROOT = Path(__file__).parents[2]
FAST = ("--hidden", "6", "--epochs", "3")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)) * [1.0, 50.0, 1e-3] + [0.0, 1e3, 2.0]
Z = (X - X.mean(axis=0)) / X.std(axis=0)
Y = 500 + Z @ [100.0, -50.0, 30.0]
LABELS = np.array(["no", "yes", "may, be"])[np.arange(40) % 3]


@dataclass
class Result:
    """What one call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines of stdout, every one of which must be a JSON object."""
        return [json.loads(line, parse_constant=pytest.fail) for line in self.out.splitlines()]

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.out)))

    def column(self, name: str = "prediction") -> np.ndarray:
        return np.array([float(row[name]) for row in self.rows])


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: str = "", code: int = 0) -> Result:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        found = main([str(arg) for arg in args])
        captured = capsys.readouterr()
        assert found == code, captured.err
        return Result(found, captured.out, captured.err)

    return run


def _csv(path: str, **columns: Any) -> str:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def _features(X: np.ndarray = X) -> dict[str, Any]:
    return {name: X[:, j] for j, name in enumerate("abc")}


# From a table to a model, to predictions, to a score.


def test_regression_from_csv(run: Run) -> None:
    _csv("data.csv", **_features(), y=Y)
    run("train", "data.csv", "--hidden", "16", "--epochs", "200", "--lr", "0.01")
    assert Path("model.safetensors").stat().st_size > 0
    model = gpubp.load("model.safetensors")
    predicted = run("predict", "model.safetensors", "data.csv")
    assert predicted.out.startswith("prediction\n")
    assert_array_equal(predicted.column(), model.predict(X))
    assert np.sqrt(np.mean((predicted.column() - Y) ** 2)) < 30  # the target's deviation is 119
    score = run("evaluate", "model.safetensors", "data.csv", "--json").events[0]
    assert score["rows"] == 40
    assert_allclose(score["rmse"], np.sqrt(np.mean((predicted.column() - Y) ** 2)), rtol=1e-9)
    assert score["r2"] > 0.9
    told = run("evaluate", "model.safetensors", "data.csv").out
    expected = f"40 rows: R2 {score['r2']:.4f}, RMSE {score['rmse']:.4f}, mean absolute error"
    assert told.startswith(expected)


def test_text_labels_and_a_target_in_the_middle(run: Run) -> None:
    a, b, c = X.T
    _csv("data.csv", a=a, kind=LABELS, b=b, **{"c, quoted": c})
    run("train", "data.csv", "--target", "kind", "-o", "m", *FAST)
    model = gpubp.load("m")
    assert model.schema.features == ("a", "b", "c, quoted")
    assert list(model.classes_) == ["may, be", "no", "yes"]
    predicted = run("predict", "m", "data.csv", "--proba")
    assert predicted.out.splitlines()[0] == 'prediction,"proba_may, be",proba_no,proba_yes'
    P = np.stack([predicted.column(f"proba_{label}") for label in model.classes_], axis=1)
    assert_array_equal(P.astype(np.float32), model.predict_proba(X))
    labels = [row["prediction"] for row in predicted.rows]
    assert labels == model.predict(X).tolist() == model.classes_[P.argmax(axis=1)].tolist()
    score = run("evaluate", "m", "data.csv", "--target", "kind", "--json").events[0]
    assert score["accuracy"] == np.mean(labels == LABELS)


def test_whole_number_labels_come_back_as_such(run: Run) -> None:
    _csv("data.csv", **_features(), y=np.arange(40) % 2 + 7)
    run("train", "data.csv", *FAST)
    predicted = run("predict", "model.safetensors", "data.csv")
    assert {row["prediction"] for row in predicted.rows} <= {"7", "8"}


def test_several_targets(run: Run) -> None:
    _csv("data.csv", y0=Y, **_features(), y1=-Y / 1e6)
    trained = run("train", "data.csv", "--target", "y1, y0", "--json", *FAST)
    assert trained.events[-1]["task"] == "regression"
    assert trained.events[-1]["layers"] == [3, 6, 2]
    predicted = run("predict", "model.safetensors", "data.csv")
    assert predicted.out.startswith("prediction_y1,prediction_y0\n")
    found = gpubp.load("model.safetensors").predict(X)
    assert_array_equal(predicted.column("prediction_y1"), found[:, 0])
    assert_array_equal(predicted.column("prediction_y0"), found[:, 1])
    # In the units of each target: 500 and -0.0005.
    assert_allclose(found.mean(axis=0), [-Y.mean() / 1e6, Y.mean()], rtol=0.5)
    run("evaluate", "model.safetensors", "data.csv", "--target", "y1,y0")


def test_labels_that_training_had_not_have_no_log_loss(run: Run) -> None:
    _csv("data.csv", **_features(), y=LABELS)
    run("train", "data.csv", *FAST)
    assert run("evaluate", "model.safetensors", "data.csv").err == ""
    _csv("more.csv", **_features(), y=["perhaps", "never", *LABELS[2:]])
    told = run("evaluate", "model.safetensors", "more.csv")
    assert "log loss" not in told.out
    assert told.err.startswith(
        "no log loss: column 'y' has labels that training had not, 'never', 'perhaps'; leave"
    )
    told = run("evaluate", "model.safetensors", "more.csv", "--json")
    assert set(told.events[0]) == {"event", "rows", "accuracy"}
    assert told.err.count("\n") == 1


def test_npz(run: Run) -> None:
    np.savez("data.npz", X=X.astype(np.float32), y=LABELS, feature_names=np.array(["a", "b", "c"]))
    trained = run("train", "data.npz", "--json", *FAST).events[-1]
    assert trained["task"] == "classification"
    predicted = run("predict", "model.safetensors", "data.npz").out
    _csv("data.csv", **_features(X.astype(np.float32)))
    assert run("predict", "model.safetensors", "data.csv").out == predicted
    run("evaluate", "model.safetensors", "data.npz", "--target", "y")


def test_npy(run: Run) -> None:
    np.save("X.npy", X)
    np.save("y.npy", Y)
    run("train", "X.npy", "--target-file", "y.npy", *FAST)
    predicted = run("predict", "model.safetensors", "X.npy")
    assert_array_equal(predicted.column(), gpubp.load("model.safetensors").predict(X))
    score = run("evaluate", "model.safetensors", "X.npy", "--target-file", "y.npy", "--json")
    assert_allclose(score.events[0]["mae"], np.abs(predicted.column() - Y).mean(), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "task", "features"),
    [
        ("digits", "classification", 64),
        ("breast_cancer", "classification", 30),
        ("wine", "classification", 13),
        ("iris", "classification", 4),
        ("diabetes", "regression", 10),
    ],
)
def test_built_in_data(run: Run, name: str, task: str, features: int) -> None:
    Path(name).mkdir()  # which is no data that could be meant
    args = () if name == "digits" else (name,)
    result = run("train", *args, "--json", *FAST).events[-1]
    assert (result["task"], result["features"]) == (task, features)
    lines = run("predict", "model.safetensors", name).out.splitlines()
    test_rows = -(-len(lines[1:]) // 5)
    assert len(lines) == 1 + result["rows"] + test_rows
    run("evaluate", "model.safetensors", name)


def test_standard_input(run: Run) -> None:
    _csv("data.csv", **_features(), y=LABELS)
    run("train", "data.csv", *FAST)
    expected = run("predict", "model.safetensors", "data.csv").out
    got = run("predict", "model.safetensors", "-", stdin=Path("data.csv").read_text())
    assert got.out == expected
    assert len(got.rows) == 40


def test_columns_are_matched_by_name(run: Run) -> None:
    _csv("data.csv", **_features(), y=LABELS)
    run("train", "data.csv", *FAST)
    expected = run("predict", "model.safetensors", "data.csv").out
    a, b, c = X.T
    _csv("other.csv", remark=["ü, x"] * 40, c=c, a=a, b=b)
    assert run("predict", "model.safetensors", "other.csv").out == expected


def test_predictions_into_a_file(run: Run) -> None:
    _csv("data.csv", **_features(), y=LABELS)
    run("train", "data.csv", *FAST)
    expected = run("predict", "model.safetensors", "data.csv").out
    assert run("predict", "model.safetensors", "data.csv", "-o", "out.csv").out == ""
    assert Path("out.csv").read_text() == expected
    Path("out.csv").write_text("of before")
    run("predict", "model.safetensors", "data.csv", "-o", "out.csv")
    assert Path("out.csv").read_text() == expected


@pytest.mark.parametrize("kind", ["csv", "npz", "stdin"])
@pytest.mark.parametrize("options", [(), ("--proba",)])
def test_chunks_equal_the_whole(
    run: Run, kind: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("data.npz", X=X, y=LABELS, feature_names=np.array(["a", "b", "c"]))
    _csv("data.csv", **_features(), y=LABELS)
    run("train", "data.csv", "--dtype", "float64", *FAST)
    data = {"csv": "data.csv", "npz": "data.npz", "stdin": "-"}[kind]
    args = ("predict", "model.safetensors", data, *options)
    whole = run(*args, stdin=Path("data.csv").read_text())
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", 7)
    chunks = run(*args, stdin=Path("data.csv").read_text())
    assert len(chunks.rows) == 40
    for one, other in zip(chunks.rows, whole.rows, strict=True):
        assert one["prediction"] == other["prediction"]
        for name in list(one)[1:]:
            assert_allclose(float(one[name]), float(other[name]), rtol=1e-12)


def test_a_target_far_from_zero_keeps_its_digits(run: Run) -> None:
    _csv("data.csv", **_features(), y=Y + 1e10)
    run("train", "data.csv", *FAST)
    predicted = run("predict", "model.safetensors", "data.csv")
    assert_array_equal(predicted.column(), gpubp.load("model.safetensors").predict(X))
    assert len(set(predicted.column())) == 40


# What is printed.

RESULT_KEYS = {
    "event",
    "task",
    "device",
    "dtype",
    "precision",
    "rows",
    "features",
    "layers",
    "parameters",
    "seed",
    "solver",
    "epochs",
    "stopped_by",
    "train",
    "test",
    "seconds",
    "rows_per_second",
    "model",
}


def test_json_lines(run: Run) -> None:
    trained = run("train", "iris", "--json", "--seed", "3", "--device", "cpu", *FAST)
    *epochs, result = trained.events
    assert [event["event"] for event in epochs] == ["epoch"] * 3
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    keys = {"event", "epoch", "loss", "best", "learning_rate", "seconds"}
    assert all(set(event) == keys for event in epochs)
    assert set(result) == RESULT_KEYS
    assert result["event"] == "result"
    assert result["task"] == "classification"
    assert (result["device"], result["dtype"], result["seed"]) == ("cpu", "float32", 3)
    assert (result["rows"], result["features"], result["epochs"]) == (120, 4, 3)
    assert result["layers"] == [4, 6, 3]
    assert result["parameters"] == 4 * 6 + 6 + 6 * 3 + 3
    assert set(result["train"]) == {"loss", "accuracy", "log_loss"}
    assert set(result["test"]) == {"accuracy", "log_loss"}
    assert result["train"]["loss"] == epochs[-1]["loss"]
    assert result["rows_per_second"] == pytest.approx(360 / result["seconds"])
    assert result["model"] == "model.safetensors"
    assert "classification: target 'target' is text" in trained.err
    model = gpubp.load("model.safetensors")
    assert model.estimator.loss_curve_ == [event["loss"] for event in epochs]


def test_json_lines_of_a_regression_with_validation(run: Run) -> None:
    args = ("--json", "--validation-size", "0.2", "--test-size", "0", *FAST)
    *epochs, result = run("train", "diabetes", *args).events
    assert all(-10 < event["validation"] < 1 for event in epochs)
    assert result["test"] is None
    assert result["rows"] == 442
    assert set(result["train"]) == {"loss", "r2", "rmse", "mae"}
    assert result["train"]["rmse"] > 10


def test_json_has_no_nan(run: Run) -> None:
    _csv("data.csv", **_features(), y=Y)
    result = run("train", "data.csv", "--test-size", "0.001", "--json", *FAST).events[-1]
    assert result["test"]["r2"] is None  # of one row
    _csv("row.csv", **_features(X[:1]), y=Y[:1])
    assert run("evaluate", "model.safetensors", "row.csv", "--json").events[0]["r2"] is None


def test_text_in_a_pipe(run: Run) -> None:
    out = Path("a" * 60, "b" * 60, "model.safetensors")
    out.parent.mkdir(parents=True)
    trained = run("train", "iris", "--validation-size", "0.2", "-o", out, *FAST)
    notes, epochs, summary = trained.out[:0], [], {}
    for line in trained.out.splitlines():
        if line.startswith("epoch"):
            epochs.append(line)
        elif epochs:
            summary[line[:12].strip()] = line[12:]
        else:
            notes += line
    assert "classification: target 'target' is text" in notes
    assert "training on cpu in float32: " in notes
    assert len(epochs) == 3
    form = r"epoch 1/3  loss \d\.\d{6}  validation \d\.\d{4}  [\d,]+ rows/s  \d+ s left  best"
    assert re.fullmatch(form, epochs[0])
    names = ["task", "network", "training", "stopped by", "train", "test", "model"]
    assert list(summary) == names
    assert summary["network"] == "4-6-3, 51 parameters, float32"
    assert re.fullmatch(r"accuracy \d\.\d{4}, log loss \d\.\d{4}", summary["test"])
    assert summary["model"] == str(out)
    assert trained.err == ""


def test_quiet(run: Run) -> None:
    quiet = run("train", "iris", "--quiet", *FAST)
    assert quiet.out.startswith("task ")
    assert "epoch 1" not in quiet.out
    assert quiet.err == ""
    quiet = run("train", "iris", "--quiet", "--json", "-o", "second", *FAST)
    assert [event["event"] for event in quiet.events] == ["result"]
    assert quiet.err == ""


def test_a_terminal_has_one_live_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    shown = run("train", "iris", *FAST).out
    assert "epoch 3/3" in shown
    assert shown.count("\nepoch") == 0
    assert "\x1b[?25h" in shown  # the cursor is back


# Options.


@pytest.mark.filterwarnings("ignore:The number of unique classes is greater:UserWarning")
def test_a_forced_task(run: Run) -> None:
    _csv("data.csv", **_features(), y=np.arange(40) % 3)
    inferred = run("train", "data.csv", "--json", *FAST).events[-1]
    assert inferred["task"] == "classification"
    forced = run("train", "data.csv", "--task", "regression", "--json", *FAST).events[-1]
    assert forced["task"] == "regression"
    _csv("data.csv", **_features(), y=np.arange(40))
    assert run("train", "data.csv", "--json", *FAST).events[-1]["task"] == "regression"
    args = ("--task", "classification", "--test-size", "0", "--json", *FAST)
    assert run("train", "data.csv", *args).events[-1]["layers"][-1] == 40


@pytest.mark.parametrize(("size", "rows"), [(0, 150), (0.2, 120), (0.5, 75), (0.9, 15)])
def test_test_size(run: Run, size: float, rows: int) -> None:
    result = run("train", "iris", "--test-size", size, "--json", *FAST).events[-1]
    assert result["rows"] == rows
    assert (result["test"] is None) == (size == 0)


def test_validation_decides_when_to_stop(run: Run) -> None:
    args = ("--validation-size", "0.3", "--patience", "2", "--epochs", "500", "--lr", "0.05")
    *epochs, result = run("train", "iris", "--json", *args).events
    assert result["stopped_by"] == "no_improvement"
    assert len(epochs) == result["epochs"] < 500
    best = max(event["validation"] for event in epochs)
    assert gpubp.load("model.safetensors").estimator.best_validation_score_ == best


@pytest.mark.parametrize("size", ["0.05", "0.4", "0.95"])
def test_a_validation_that_leaves_less_than_a_batch(run: Run, size: str) -> None:
    _csv("data.csv", **_features(), y=Y)
    args = ("--validation-size", size, "--test-size", "0")
    assert run("train", "data.csv", *args, *FAST).err == ""
    assert run("train", "data.csv", *args, "--batch-size", "40", "-o", "second", *FAST).err == ""


def test_the_options_reach_the_estimator(run: Run) -> None:
    options = "--hidden 5,4 --activation tanh --solver sgd --lr 0.02 --epochs 2 --batch-size 10"
    options += " --alpha 0.5 --seed 9 --dtype float64 --patience 3 --threads 1 --device cpu"
    options += " --dropout 0.25"
    run("train", "iris", *options.split())
    found = gpubp.load("model.safetensors").estimator.get_params()
    expected = {
        "hidden_layer_sizes": (5, 4),
        "activation": "tanh",
        "solver": "sgd",
        "learning_rate_init": 0.02,
        "max_iter": 2,
        "batch_size": 10,
        "alpha": 0.5,
        "dropout": 0.25,
        "random_state": 9,
        "dtype": "float64",
        "n_iter_no_change": 3,
        "threads": 1,
    }
    assert {name: found[name] for name in expected} == expected
    run("train", "iris", "--hidden", "none", "--epochs", "1")
    assert gpubp.load("model.safetensors").estimator.hidden_layer_sizes == ()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--no-record", "--no-record has no effect on the CPU, where the network was trained; "),
        ("--precision tf32 --quiet", "--precision has no effect on the CPU"),
        ("--precision tf32 --no-record --json --quiet", "--precision and --no-record have no"),
    ],
)
def test_options_of_cuda_are_told_to_have_no_effect_on_the_cpu(
    run: Run, options: str, told: str
) -> None:
    trained = run("train", "iris", "--device", "cpu", *options.split(), *FAST)
    assert trained.err.startswith(told)
    assert trained.err.count("\n") == 1


def test_options_of_cuda_are_not_told_of_on_cuda(run: Run, host_cupy: Any) -> None:
    options = ("--precision", "tf32", "--no-record", "--device", "cuda")
    assert run("train", "iris", *options, *FAST).err == ""


def test_compiled_steps(run: Run) -> None:
    skip_without_compiler()
    curves = []
    for options in ((), ("--compiled",)):
        *epochs, _ = run("train", "iris", "--dtype", "float64", "--json", *options, *FAST).events
        curves.append([epoch["loss"] for epoch in epochs])
    assert curves[1] == pytest.approx(curves[0], rel=1e-9)
    assert gpubp.load("model.safetensors").estimator.compiled


def test_config(run: Run) -> None:
    Path("run.toml").write_text(
        'data = "iris"\nhidden = [5, 4]\ntarget = ["target"]\nepochs = 4\nlr = 1e-2\n'
        'batch-size = 10\ntest_size = 0.5\njson = true\nout = "m"\nquiet = false\n'
    )
    *epochs, result = run("train", "--config", "run.toml", "--epochs", "2").events
    assert len(epochs) == 2  # flags win
    assert result["layers"] == [4, 5, 4, 3]
    assert (result["rows"], result["model"]) == (75, "m")
    parameters = gpubp.load("m").estimator.get_params()
    assert parameters["learning_rate_init"] == 0.01
    assert parameters["batch_size"] == 10
    run("train", "wine", "--config", "run.toml", "--target", "target")
    assert gpubp.load("m").estimator.n_features_in_ == 13  # and so do arguments


@pytest.mark.parametrize(
    ("line", "option", "expected"),
    [
        ("hidden = []", "hidden_layer_sizes", ()),
        ("hidden = 7", "hidden_layer_sizes", (7,)),
        ('hidden = "7,6"', "hidden_layer_sizes", (7, 6)),
        ("alpha = 1", "alpha", 1.0),
        ('lr = "0.5"', "learning_rate_init", 0.5),
        ("threads = 2", "threads", 2),
        ('batch_size = "8"', "batch_size", 8),
    ],
)
def test_values_of_a_config(run: Run, line: str, option: str, expected: Any) -> None:
    Path("run.toml").write_text(line)
    run("train", "iris", "--config", "run.toml", "--epochs", "1")
    assert gpubp.load("model.safetensors").estimator.get_params()[option] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr = 1", "unknown key 'lrr'; did you mean 'lr'"),
        ("batchsize = 1", "unknown key 'batchsize'; did you mean 'batch-size'"),
        ("qqqq = 1", "unknown key 'qqqq'; it may be one of ['activation', 'alpha', 'batch-size'"),
        ("config = 'x'", "unknown key 'config'"),
        ("[train]\nlr = 1", "unknown key 'train'"),
        ("lr", "run.toml is not TOML"),
        ("\x00", "run.toml is not TOML"),
        ("lr = [0.1]", "'lr' is [0.1]; give one value"),
        ("lr = {a = 1}", "'lr' is {'a': 1}; give one value"),
        ("hidden = {}", "'hidden' is {}; give one value"),
        ("lr = 'x'", "'--lr': 'x' is not a valid float"),
        ("lr = nan", "'--lr': 'nan' is not a finite number"),
        ("lr = 1979-05-27", "'--lr': '1979-05-27' is not a valid float"),
        ("lr = true", "'--lr': 'True' is not a valid float"),
        ("epochs = 1.5", "'--epochs': '1.5' is not a valid integer"),
        ("seed = [1]", "'seed' is [1]; give one value"),
        ("activation = 3", "'--activation': '3' is not one of"),
        ("hidden = [1.5]", "'--hidden': ['1.5'] is not a list of layer sizes"),
        ("hidden = [[3]]", "'--hidden': ['[3]'] is not a list of layer sizes"),
        ("target = 3", "iris has no column '3'"),
        ("target = ['']", "'--target': [''] has an empty name"),
        ("quiet = 'perhaps'", "'--quiet': 'perhaps' is not a valid boolean"),
        ("device = 'gpu'", "'--device': must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("data = 'irsi'", "irsi: no such file; did you mean the data set 'iris'?"),
    ],
)
def test_wrong_configs(run: Run, text: str, message: str) -> None:
    Path("run.toml").write_text(text)
    data = () if text.startswith("data") else ("iris",)
    failed = run("train", *data, "--config", "run.toml", code=1 if "iris" in message else 2)
    assert message in _one_line(failed)


# Reproducibility.


def test_one_seed_gives_one_file(run: Run) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        args = ("--validation-size", "0.2", "--seed", seed, "-o", name)
        run("train", "wine", *args, "--threads", "1", *FAST)
    assert Path("a").read_bytes() == Path("b").read_bytes()
    assert Path("a").read_bytes() != Path("c").read_bytes()
    a, c = gpubp.load("a"), gpubp.load("c")
    assert not np.array_equal(a.estimator.coefs_[0], c.estimator.coefs_[0])
    # The rows kept for the test differ as well.
    assert not np.array_equal(a.schema.feature_scaling.mean, c.schema.feature_scaling.mean)


# Interruption and divergence.


def _raise_at_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def epoch(self: Any, epoch: Any) -> None:
        if epoch.number == number:
            raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.reports.terminal.TextReport.epoch", epoch)


def test_an_interrupt_keeps_the_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise_at_epoch(monkeypatch, 2)
    stopped = run("train", "iris", "--hidden", "6", "--epochs", "1000", code=130)
    assert re.search(r"stopped by  interrupt\n", stopped.out)
    model = gpubp.load("model.safetensors")
    assert model.estimator.n_iter_ == 2
    assert model.estimator.stopped_by_ == "interrupt"


def test_an_interrupt_before_the_first_epoch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.training.loop.Trainer.epoch", interrupt)
    Path("model.safetensors").write_text("old")
    stopped = run("train", "iris", *FAST, code=130)
    assert stopped.err == "Interrupted.\n"
    assert Path("model.safetensors").read_text() == "old"


def test_an_interrupt_while_reading(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.tables.read.load_dataset", interrupt)
    assert run("train", "iris", code=130).err.strip() == "Interrupted."
    assert os.listdir() == []  # noqa: PTH208


def test_divergence_from_the_start(run: Run) -> None:
    Path("model.safetensors").write_text("old")
    failed = run("train", "iris", "--solver", "sgd", "--lr", "1e6", code=1)
    message = _one_line(failed)
    assert "training diverged in epoch 1 at learning rate 1e+06" in message
    assert "no model was saved" in message
    assert "try --lr 100000" in message
    assert Path("model.safetensors").read_text() == "old"


@pytest.mark.parametrize("validation", [(), ("--validation-size", "0.2")])
def test_divergence_leaves_the_best_finite_epoch(
    run: Run, monkeypatch: pytest.MonkeyPatch, validation: tuple[str, ...]
) -> None:
    diverges, read_loss = iter([0.0, 0.0, np.nan]), Trainer.read_loss
    args = ("--hidden", "6", "--lr", "0.01", "--test-size", "0", *validation)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "read_loss", lambda self: read_loss(self) + next(diverges))
        failed = run("train", "iris", *args, "--epochs", "9", "--json", code=1)
    message = _one_line(failed)
    assert "diverged in epoch 3 at learning rate 0.01" in message
    assert "is saved in model.diverged.safetensors; try --lr 0.001" in message
    assert [event["event"] for event in failed.events] == ["epoch", "epoch"]
    assert not Path("model.safetensors").exists()
    diverged = gpubp.load("model.diverged.safetensors")
    run("train", "iris", *args, "--epochs", "2", "-o", "two")
    two = gpubp.load("two")
    assert diverged.estimator.n_iter_ == 2
    assert_array_equal(diverged.estimator.coefs_[0], two.estimator.coefs_[0], strict=True)


# Bad input gets one red line that says what is wrong, and nothing is lost.


def _one_line(result: Result) -> str:
    """The one line of an error."""
    assert "Traceback" not in result.err
    lines = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.err
    assert result.err.endswith(f"{lines[0]}\n")
    return lines[0]


def test_errors_are_red(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *args, **options: False)
    for args, code in (
        (("train", "missing.csv"), 1),
        (("train", "--lr", "x"), 2),
        (("train", "iris", "--solver", "sgd", "--lr", "1e6", "--quiet"), 1),
    ):
        error = run(*args, code=code).err
        assert error.startswith("\x1b[31mError: ")
        assert error.endswith("\x1b[0m\n")
        assert error.count("\n") == 1


def _lines(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


GOOD = [f"{j},{j * j},{'pq'[j % 2]}" for j in range(30)]
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "bad.csv is empty; give a header line and rows"),
    "blank lines": (b"\n\n \n", "bad.csv is empty"),
    "header only": (b"a,b,y\n", "bad.csv has a header but no rows"),
    "text": (
        _lines("a,b,y", *GOOD[:9], "7,abc,p", *GOOD),
        "bad.csv, line 11, column 'b': 'abc' is not a number; fill in or remove the row",
    ),
    "blank": (
        _lines("a,b,y", *GOOD, "7,,p", *GOOD),
        "bad.csv, line 32, column 'b': '' is not a number",
    ),
    "blank after a quoted line break": (
        _lines('a,b,"y\nz"', *GOOD, "7,,p"),
        "bad.csv, line 33, column 'b': '' is not a number",
    ),
    "column of text": (
        _lines("a,b,y", *(f"x{j},{row[2:]}" for j, row in enumerate(GOOD[:9]))),
        "bad.csv, line 2, column 'a': 'x0' is not a number; encode the column as numbers or",
    ),
    "nan": (
        _lines("a,b,y", *GOOD, "nan,3,p"),
        "bad.csv, line 32, column 'a': nan is not a finite number; fill in or remove the row",
    ),
    "infinity": (_lines("a,b,y", "-inf,3,p", *GOOD), "line 2, column 'a': -inf is not a finite"),
    "blank label": (_lines("a,b,y", *GOOD, "1,2, "), "bad.csv, line 32, column 'y' is blank"),
    "nan in the target": (
        _lines("a,b,y", *(f"1,{j},{j}.5" for j in range(30)), "1,2,nan"),
        "bad.csv, line 32, column 'y': nan is not a finite number",
    ),
    "text in the target": (
        _lines("a,b,y", *(f"1,{j},{j}.5" for j in range(60)), "1,2,n/a"),
        "bad.csv, line 62, column 'y': 'n/a' is not a number",
    ),
    "one class": (_lines("a,y", "1,p", "2,p", "3,p"), "the target has one class only, 'p'"),
    "constant": (_lines("a,y", *["1,2.5"] * 30), "column 'y'"),
    "no features": (_lines("y", *"pqpq"), "bad.csv has no column besides the target 'y'"),
    "ragged": (_lines("a,b,y", *GOOD, "1,2"), "line 32: got 2 fields, but the header has 3"),
    "two of one name": (_lines("a,a,y", *GOOD), "bad.csv, line 1 has two columns named 'a'"),
    "no name": (_lines("a,,y", *GOOD), "bad.csv, line 1: column 2 has no name"),
    "no header": (_lines("1,2,3", "4,5,6"), "bad.csv, line 1 holds only numbers; put a header"),
    "open quote": (_lines("a,b,y", *GOOD, '1,"2,p'), "bad.csv, line 32: unexpected end of data"),
    "binary": (bytes(range(256)) * 8, "bad.csv is not a UTF-8 text file"),
    "zip": (b"PK\x03\x04\x14\x00\x06\x00" + bytes(500), "bad.csv is not a UTF-8 text file"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "bad.csv is not a UTF-8 text file"),
    "Latin-1": ("größe,y\n1,p\n2,q\n".encode("latin-1"), "bad.csv is not a UTF-8 text file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_bad_csv_files(run: Run, kind: str) -> None:
    content, message = FILES[kind]
    Path("bad.csv").write_bytes(content)
    Path("model.safetensors").write_text("old")
    assert message in _one_line(run("train", "bad.csv", *FAST, code=1))
    assert Path("model.safetensors").read_text() == "old"
    assert sorted(os.listdir()) == ["bad.csv", "model.safetensors"]  # noqa: PTH208


@pytest.mark.parametrize("seed", range(6))
def test_a_bad_cell_is_found_before_training_wherever_the_split_puts_it(
    run: Run, seed: int
) -> None:
    Path("bad.csv").write_bytes(_lines("a,b,y", *GOOD, "nan,3,p"))
    failed = run("train", "bad.csv", "--seed", seed, *FAST, code=1)
    assert "line 32, column 'a'" in _one_line(failed)
    assert failed.out == ""


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ("missing.csv", 1, "missing.csv: no such file; check the path"),
        ("digit", 1, "digit: no such file; did you mean the data set 'digits'?"),
        ("folder", 1, "folder is a directory; give a file"),
        ("folder.csv", 1, "folder.csv is a directory; give a file"),
        ("notes.txt", 1, "notes.txt has suffix '.txt'; give one of .csv, .npz, .npy"),
        ("bad.npz", 1, "bad.npz is not a readable .npz file"),
        ("bad.npy", 1, "bad.npy is not a readable .npy file"),
        ("X.npy", 1, "X.npy has no target"),
        ("X.npy --target-file missing.npy", 1, "missing.npy: no such file"),
        ("X.npy --target-file short.npy", 1, "X.npy: X has 40 rows and y 3; give equal numbers"),
        ("X.npy --target-file bad.npy", 1, "bad.npy is not a readable .npy file"),
        ("data.csv --target-file short.npy", 1, "a target file goes with an .npy file"),
        ("iris --target-file short.npy", 2, "--target-file goes with an .npy file, not with"),
        ("data.csv --target Label", 1, "has no column 'Label'; did you mean 'label'?"),
        ("data.csv --target a,labl", 1, "has no column 'labl'; did you mean 'label'?"),
        ("data.csv --target zzz", 1, "has no column 'zzz'; it has 'a', 'b', 'c', 'label'"),
        ("data.csv --target a,a", 1, "targets are 'a', 'a'; name every column once"),
        ("data.csv --target a,,b", 2, "'--target': 'a,,b' has an empty name"),
        ("data.csv --target a", 1, "column 'label': 'no' is not a number; encode the column"),
        ("data.csv --target a,b --task classification", 1, "classification takes one"),
        ("data.csv --task regression", 1, "column 'label': 'no' is not a number"),
        ("diabetes --task classification --target bmi", 1, "is no class; use regression"),
        ("data.csv --test-size 0.99", 2, "--test-size 0.99 leaves 0 of 40 rows to train on"),
        ("data.csv --test-size 1", 2, "'--test-size': 1.0 is not in the range 0<=x<1"),
        ("data.csv --test-size nan", 2, "'--test-size': 'nan' is not a finite number"),
        ("data.csv --validation-size 0.01", 2, "--validation-size 0.01 splits 32 rows into 31"),
        ("data.csv --validation-size 0.99", 2, "--validation-size 0.99 splits 32 rows into 0"),
        (
            "rare.csv --test-size 0 --validation-size 0.3",
            2,
            "needs 2 rows of each class to train on",
        ),
        ("rare.csv --test-size 0.8", 2, "leaves only rows of 'p' to train on"),
        ("data.csv --hidden 0", 2, "'--hidden': '0' is not a list of layer sizes"),
        ("data.csv --hidden 8,,8", 2, "'--hidden': '8,,8' is not a list of layer sizes"),
        (
            "data.csv --hidden 1e3",
            2,
            "give whole numbers from 1 to 1,000,000, such as 128,64, or none",
        ),
        ("data.csv --hidden 999999,999999", 1, "Unable to allocate"),
        ("data.csv --lr nan", 2, "'--lr': 'nan' is not a finite number"),
        ("data.csv --lr inf", 2, "'--lr': 'inf' is not a finite number"),
        ("data.csv --lr 0", 2, "'--lr': 0.0 is not in the range x>0"),
        ("data.csv --alpha -1", 2, "'--alpha': -1.0 is not in the range x>=0"),
        ("data.csv --alpha inf", 2, "'--alpha': 'inf' is not a finite number"),
        ("data.csv --epochs 0", 2, "'--epochs': 0 is not in the range x>=1"),
        ("data.csv --batch-size 0", 2, "'--batch-size': 0 is not in the range x>=1"),
        ("data.csv --seed -1", 2, "'--seed': -1 is not in the range"),
        ("data.csv --seed 4294967296", 2, "'--seed': 4294967296 is not in the range"),
        ("data.csv --threads 0", 2, "'--threads': 0 is not in the range"),
        ("data.csv --threads 1000000000000000000000000", 2, "is not in the range"),
        ("data.csv --activation swish", 2, "'swish' is not one of 'elu', 'gelu', 'identity'"),
        ("data.csv --solver newton", 2, "'newton' is not one of 'adam', 'adamw', 'lbfgs'"),
        ("data.csv --dtype float16", 2, "'float16' is not one of"),
        ("data.csv --task cluster", 2, "'cluster' is not one of"),
        ("data.csv --device gpu", 2, "must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        ("data.csv --device cuda:99", 2, "check the package"),
        ("data.csv --patienc 3", 2, "Did you mean"),
        ("data.csv iris", 2, "unexpected extra argument"),
        ("data.csv --config missing.toml", 2, "missing.toml cannot be read: No such file"),
        ("data.csv --config folder", 2, "folder cannot be read: Is a directory"),
    ],
)
def test_bad_arguments_of_train(run: Run, args: str, code: int, message: str) -> None:
    _csv("data.csv", **_features(), label=LABELS)
    _csv("rare.csv", a=np.arange(12), label=["p"] * 11 + ["q"])
    for folder in ("folder", "folder.csv"):
        Path(folder).mkdir()
    for name in ("bad.npz", "bad.npy", "notes.txt"):
        Path(name).write_text("hello")
    np.save("X.npy", X)
    np.save("short.npy", [1, 2, 3])
    Path("model.safetensors").write_text("old")
    assert message in _one_line(run("train", *args.split(), code=code))
    assert Path("model.safetensors").read_text() == "old"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("missing/model", "cannot write 'missing/model': "),
        ("folder", "cannot write 'folder': it is a directory; add a file name"),
        ("", "it is a directory; add a file name"),
        ("data.csv/model", "is not a folder; choose another path"),
    ],
)
def test_an_unwritable_output_is_found_before_anything_else(
    run: Run, out: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _csv("data.csv", **_features(), label=LABELS)
    Path("folder").mkdir()
    run("train", "data.csv", *FAST)

    def unexpected(*args: Any, **options: Any) -> None:
        pytest.fail("data was read")

    monkeypatch.setattr("gpubp.tables.read.read_table", unexpected)
    assert message in _one_line(run("train", "data.csv", "-o", out, code=1))
    monkeypatch.setattr("gpubp.models.table_model.TableModel.predict", unexpected)
    monkeypatch.setattr("gpubp.tables.read.csv_tables", unexpected)
    assert message in _one_line(run("predict", "model.safetensors", "data.csv", "-o", out, code=1))


@pytest.mark.parametrize(
    ("command", "args", "code", "message"),
    [
        ("predict", "missing data.csv", 1, "missing: no such file; check the path or train"),
        ("predict", "data.csv data.csv", 1, "data.csv: not a safetensors file"),
        ("predict", "folder data.csv", 1, "folder: a directory; give the path of the model file"),
        ("predict", "cut data.csv", 1, "cut: truncated"),
        ("predict", "newer data.csv", 1, "newer: was written by a newer gpubp"),
        ("predict", "bare data.csv", 1, "bare: an estimator that was saved without its columns"),
        ("predict", "text missing.csv", 1, "missing.csv: no such file"),
        ("predict", "text empty.csv", 1, "empty.csv is empty"),
        ("predict", "text -", 1, "standard input is empty"),
        ("predict", "text fewer.csv", 1, "fewer.csv has no column 'c'; did you mean 'C'?"),
        ("predict", "text iris", 1, "iris has no 3 columns 'a', 'b', 'c'"),
        ("predict", "text hole.csv", 1, "hole.csv, line 32, column 'b': '' is not a number"),
        ("predict", "text large.csv", 1, "column 'b': 1e+300 is out of the range of float32"),
        ("predict", "number data.csv --proba", 2, "--proba is for classification, and this"),
        ("predict", "text data.csv --device gpu", 2, "must be auto, cpu, cuda or cuda:N, got"),
        ("predict", "text data.csv --device cuda:99", 2, "check the package"),
        ("predict", "text", 2, "Missing argument 'DATA'"),
        ("evaluate", "missing data.csv", 1, "missing: no such file"),
        ("evaluate", "bare data.csv", 1, "bare: an estimator that was saved without its columns"),
        ("evaluate", "text fewer.csv", 1, "fewer.csv has no column 'label'"),
        ("evaluate", "text data.csv --target lable", 1, "no column 'lable'; did you mean 'label'"),
        ("evaluate", "text data.csv --target a", 1, "column 'a' has labels such as"),
        ("evaluate", "text data.csv --target label,a", 1, "2 targets were given, but the model"),
        ("evaluate", "number data.csv --target label", 1, "'label': 'no' is not a number"),
        ("evaluate", "text data.csv --target ,", 2, "has an empty name"),
        ("evaluate", "text data.csv --device gpu", 2, "must be auto, cpu, cuda or cuda:N"),
        ("evaluate", "text data.csv --target-file y.npy", 1, "a target file goes with an .npy"),
    ],
)
def test_bad_arguments_of_predict_and_evaluate(
    run: Run, models: Path, command: str, args: str, code: int, message: str
) -> None:
    os.chdir(models)
    failed = run(command, *args.split(), code=code)
    assert message in _one_line(failed)
    assert failed.out == ""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and tables, some of them bad."""
    folder = tmp_path_factory.mktemp("models")
    hole, large = X.astype(object), X.copy()
    hole[30, 1], large[30, 1] = "", 1e300
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("folder").mkdir()
        Path("empty.csv").touch()
        _csv("data.csv", **_features(), label=LABELS)
        _csv("hole.csv", **_features(hole))
        _csv("large.csv", **_features(large))
        _csv("fewer.csv", a=X[:, 0], b=X[:, 1], C=X[:, 2])
        _csv("numbers.csv", **_features(), y=Y)
        assert main(["train", "data.csv", "--quiet", "-o", "text", *FAST]) == 0
        assert main(["train", "numbers.csv", "--quiet", "-o", "number", *FAST]) == 0
        gpubp.save(gpubp.load("text").estimator, "bare")
        Path("cut").write_bytes(Path("text").read_bytes()[:-9])
        with pytest.MonkeyPatch.context() as later:
            later.setattr("gpubp.storage.model_file.FORMAT_VERSION", 99)
            gpubp.save(gpubp.load("text"), "newer")
    return folder


def test_a_failed_prediction_leaves_the_output(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpubp.cli.predict.CHUNK_ROWS", 7)
    Path("out.csv").write_text("old")
    args = (models / "text", models / "hole.csv", "-o", "out.csv")
    assert "hole.csv, line 32, column 'b'" in _one_line(run("predict", *args, code=1))
    assert Path("out.csv").read_text() == "old"
    assert os.listdir() == ["out.csv"]  # noqa: PTH208


def test_a_failed_training_leaves_the_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    Path("model.safetensors").write_text("old")
    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    failed = run("train", "iris", *FAST, code=1)
    assert "cannot write 'model.safetensors': No space left on device" in _one_line(failed)
    assert "the trained network is lost, so then train it again" in _one_line(failed)
    assert Path("model.safetensors").read_text() == "old"
    assert os.listdir() == ["model.safetensors"]  # noqa: PTH208


@pytest.mark.parametrize(
    ("data", "size"), [("iris", 4 * (4 * 6 + 6 + 6 * 3 + 3)), ("breast_cancer", 4 * (30 * 6 + 13))]
)
def test_a_disk_without_room_for_the_model_is_found_before_training(
    run: Run, data: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = size - 1
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    Path("model.safetensors").write_text("old")
    failed = run("train", data, *FAST, code=1)
    message = f"it takes {size:,} bytes, and {free:,} are free there; free some or choose another"
    assert f"cannot write 'model.safetensors': {message}" in _one_line(failed)
    assert "epoch" not in failed.out
    assert Path("model.safetensors").read_text() == "old"
    free = size
    run("train", data, *FAST)


def test_defects_of_ours_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*args: Any, **options: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr("gpubp.tables.read.load_dataset", defect)
    with pytest.raises(KeyError):
        run("train", "iris")


# The commands themselves.


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"gpubp {gpubp.__version__}\n"
    assert run("-h").out == run("--help").out
    for command, text in COMMANDS.items():
        assert re.search(rf"  {command} +{re.escape(text)}", run("--help").out)
        assert run(command, "--help").out.startswith(f"Usage: gpubp {command}")
    assert "No such command 'trian'" in _one_line(run("trian", code=2))


def test_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) in (0, 2)  # by the version of click
    captured = capfd.readouterr()
    assert "Usage: gpubp" in captured.out + captured.err


def test_doctor(run: Run) -> None:
    lines = dict(line.split(maxsplit=1) for line in run("doctor").out.splitlines())
    assert lines["gpubp"] == gpubp.__version__
    assert f"numpy {np.__version__}" in lines["packages"]
    assert re.match(r"\d+ cores?$", lines["cpu"])
    assert "thread" in lines["blas"]
    assert "CPU" in lines["auto"]
    assert re.match(r"on request, by |there is no", lines["compiled"])


def test_doctor_counts_the_calls_of_a_step(run: Run) -> None:
    out = run("doctor", "--verbose").out
    assert re.search(
        r"^step cpu +64-128-128-10, batch 256: \d+ calls \(\d+ NumPy calls\)$", out, re.M
    )
    assert not re.search(r"\b1 (calls|NumPy calls|compiled calls|threads|cores)\b", out)


HEAVY = {"numpy", "sklearn", "cupy", "rich", "safetensors", "scipy", "threadpoolctl"}


@pytest.mark.parametrize(
    "code",
    [
        "import gpubp.__main__",
        "import gpubp.__main__; gpubp.__main__.main(['--help'])",
        "import gpubp.__main__; gpubp.__main__.main(['--version'])",
        "import gpubp.__main__; gpubp.__main__.main(['doctor', '--help'])",
    ],
)
def test_help_loads_nothing_heavy(code: str) -> None:
    code = f"import sys; {code}; print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "gpubp.cli" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_python_m_gpubp(tmp_path: Path) -> None:
    """As a process: exit code, streams, and no warning of any kind."""
    command = [sys.executable, "-W", "error", "-m", "gpubp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True}
    args = ["train", "iris", "--json", *FAST]
    done = subprocess.run([*command, *args], env=environment, **options, check=True)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "result"
    failed = subprocess.run([*command, "train", "x.csv"], env=environment, **options, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "Error: x.csv: no such file; check the path\n"
