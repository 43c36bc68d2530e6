"""What `gpubp train` prints: JSON lines, lines in a pipe, a live line; files of one seed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import gpubp
from tests.cli.running import FAST, Run, X, Y, features, write_csv

METRICS = {
    *("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "average_precision", "f1"),
}
RESULT_KEYS = {
    "ensemble",
    "event",
    "task",
    "targets",
    "device",
    "dtype",
    "engine",
    "precision",
    "rows",
    "features",
    "layers",
    "parameters",
    "seed",
    "solver",
    "epochs",
    "best_epoch",
    "stopped_by",
    "train",
    "test",
    "seconds",
    "rows_per_second",
    "model",
    *("preset", "periodic", "time_limit", "started_from", "memory"),
    *("data", "test_rows", "baselines", "classes", "positive_class", "remarks", "verdict"),
}


def test_json_lines(run: Run) -> None:
    trained = run("train", "iris", "--json", "--seed", "3", "--device", "cpu", *FAST)
    columns, *epochs, result = trained.events
    assert columns["event"] == "columns"
    assert columns["inputs"] == 4
    assert 5 < columns["columns"][0].pop("fill") < 7
    assert columns["columns"][0] == {
        "column": "sepal length (cm)",
        "type": "number",
        "encoding": "standardised",
        "outputs": 1,
        "gaps": 0,
        "categories": None,
        "reason": None,
        "remarks": [],
        "used": True,
        "inputs": 1,
    }
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
    assert set(result["train"]) == {"loss", *METRICS}
    assert set(result["test"]) == METRICS
    assert set(result["baselines"]) == {"trivial", "linear"}
    assert all(set(of["scores"]) == METRICS for of in result["baselines"].values())
    assert [of["label"] for of in result["classes"]] == ["setosa", "versicolor", "virginica"]
    assert sum(of["rows"] for of in result["classes"]) == result["test_rows"] == 30
    assert result["train"]["loss"] == epochs[-1]["loss"]
    assert result["best_epoch"] is None
    assert result["rows_per_second"] == pytest.approx(360 / result["seconds"])
    assert result["model"] == "model.safetensors"
    assert "classification: target 'target' is text" in trained.err
    model = gpubp.load("model.safetensors")
    assert model.network_.loss_curve_ == [event["loss"] for event in epochs]


def test_json_lines_of_a_regression_with_validation(run: Run) -> None:
    args = ("--json", "--validation-size", "0.2", "--test-size", "0", *FAST)
    trained = run("train", "diabetes", *args)
    result = trained.events[-1]
    assert len(trained.epochs) == 3
    assert all(-10 < event["validation"] < 1 for event in trained.epochs)
    assert result["test"] is None
    assert result["rows"] == 442
    assert set(result["train"]) == {"loss", "r2", "rmse", "mae"}
    assert result["train"]["rmse"] > 10


def test_json_has_no_nan(run: Run) -> None:
    write_csv("data.csv", **features(), y=Y)
    result = run("train", "data.csv", "--test-size", "0.001", "--json", *FAST).events[-1]
    assert set(result["test"]) == {"rmse", "mae"}  # one row has no R2
    write_csv("row.csv", **features(X[:1]), y=Y[:1])
    assert "r2" not in run("evaluate", "model.safetensors", "row.csv", "--json").events[0]


def test_text_in_a_pipe(run: Run) -> None:
    out = Path("a" * 60, "b" * 60, "model.safetensors")
    out.parent.mkdir(parents=True)
    trained = run("train", "iris", "--validation-size", "0.2", "-o", out, *FAST)
    notes, epochs, name = trained.out[:0], [], ""
    summary: dict[str, str] = {}
    head, _, rest = trained.out.partition("\n\n")
    for line in head.splitlines():
        if line.startswith("epoch"):
            epochs.append(line)
        elif epochs:
            name = line[:12].strip() or name
            summary[name] = f"{summary.get(name, '')} {line[12:]}".strip()
        else:
            notes += line
    assert "classification: target 'target' is text" in notes
    assert "training on cpu in float32: " in notes
    assert len(epochs) == 3
    form = r"epoch 1/3  loss \d\.\d{6}  validation \d\.\d{4}  [\d,]+ rows/s(  \d+ s left)?  best"
    assert re.fullmatch(form, epochs[0])
    names = ["data", "columns", "task", "network", "training", "loss", "validation"]
    assert list(summary) == names
    assert re.fullmatch(r"\d\.\d{3} [▁▂▃▄▅▆▇█]{3} \d\.\d{3}", summary["validation"])
    assert summary["data"] == (
        "iris: 150 rows, 5 columns; 99 to train, 21 to validate, 30 to test (random, seed 0)"
    )
    assert summary["columns"] == "4 of 4 used, as 4 inputs"
    assert summary["network"] == "4-6-3, 51 parameters, float32"
    assert re.match(r"all 3 epochs done (\(weights of epoch \d kept\) )?in ", summary["training"])
    title = "Scores on 30 test rows (train: the network on the 120 rows it learned from)\n"
    assert rest.startswith(title)
    assert re.search(r"^ +train +network +always 'setosa' +logistic$", rest, re.M)
    assert re.search(r"^  balanced accuracy( +\d\.\d{4}){4}$", rest, re.M)
    assert re.search(r"^  F1, mean of classes( +\d\.\d{4}){4}$", rest, re.M)
    assert rest.endswith(f"\nmodel       {out}\n")
    verdict = rest.partition("\nverdict     ")[2].partition("\nmodel ")[0]
    assert verdict.startswith("worse than logistic regression on all 6 scores ")
    assert len(rest.splitlines()[-2]) <= 80
    assert re.search(r"^  class +rows +predicted +precision +recall +F1$", rest, re.M)
    assert re.search(r"^  virginica +10 ", rest, re.M)
    assert trained.err == (
        "column             type    inputs  gaps  encoded as\n"
        "sepal length (cm)  number       1        standardised\n"
        "sepal width (cm)   number       1        standardised\n"
        "petal length (cm)  number       1        standardised\n"
        "petal width (cm)   number       1        standardised\n"
        "4 columns as 4 inputs of the network\n"
    )


def test_quiet(run: Run) -> None:
    quiet = run("train", "iris", "--quiet", *FAST)
    assert quiet.out.startswith("data ")
    assert "\ncolumns     4 of 4 used, as 4 inputs\n" in quiet.out
    assert "epoch 1" not in quiet.out
    assert quiet.err == ""
    quiet = run("train", "iris", "--quiet", "--json", "-o", "second", *FAST)
    assert [event["event"] for event in quiet.events] == ["result"]
    assert quiet.err == ""


@pytest.mark.parametrize(("epochs", "shown"), [(3, [1, 2, 3]), (40, [1, *range(4, 41, 4)])])
def test_a_pipe_has_few_of_many_epochs(run: Run, epochs: int, shown: list[int]) -> None:
    out = run("train", "iris", "--hidden", "6", "--epochs", epochs).out
    assert [int(n) for n in re.findall(r"^epoch +(\d+)/", out, re.M)] == shown
    out = run("train", "iris", "--hidden", "6", "--epochs", "41").out
    assert re.findall(r"^epoch +(\d+)/", out, re.M)[-1] == "41"
    assert " 0 s left" not in out


def test_several_targets_are_scored_one_by_one(run: Run) -> None:
    write_csv("data.csv", **features(), y=Y, z=Y / 100)
    args = ("train", "data.csv", "--target", "y,z", *FAST)
    out = run(*args).out
    assert out.count("\n    z ") == out.count("\n    y ") == 3
    assert "mean of 2 targets" in out
    assert run("inspect", "model.safetensors").out.count("\n    z ") == 3
    result = run(*args, "--json").events[-1]
    for scores in (result["train"], result["test"], result["baselines"]["linear"]["scores"]):
        assert list(scores["per_target"]) == ["y", "z"]
        assert list(scores["per_target"].values()) == scores["per_output"]
    told = run("evaluate", "model.safetensors", "data.csv").out
    assert told.startswith("40 rows of data.csv\n\nR²\n  y ")


def test_f1_is_of_the_rarer_label(run: Run) -> None:
    labels = np.where(np.arange(40) % 4 == 0, "alarm", "ok")
    write_csv("data.csv", **features(), y=labels)
    assert "\n  F1 of 'alarm'  " in run("train", "data.csv", *FAST).out
    assert "no (" not in (told := run("inspect", "model.safetensors").out)
    assert "2 classes (training rows): alarm (8), ok (24)" in told
    assert "\n  F1 of 'alarm'  " in told
    assert "\nF1 of 'alarm'  " in run("evaluate", "model.safetensors", "data.csv").out
    for event in (
        run("evaluate", "model.safetensors", "data.csv", "--json").events[0],
        run("train", "data.csv", "--json", *FAST).events[-1],
    ):
        assert event["positive_class"] == "alarm"
        assert isinstance(event["classes"], list)


def test_no_test_rows_have_a_verdict_too(run: Run) -> None:
    out = run("train", "iris", "--test-size", "0", *FAST).out
    assert "\nScores on the 150 training rows\n" in out
    assert "\nverdict     no rows were kept for the test, so the scores say" in out


def test_a_terminal_has_one_live_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    shown = run("train", "iris", *FAST).out
    assert "epoch 3/3" in shown
    assert shown.count("\nepoch") == 0
    assert "\x1b[?25h" in shown  # the cursor is back


def test_one_seed_gives_one_file(run: Run) -> None:
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        args = ("--validation-size", "0.2", "--seed", seed, "-o", name)
        run("train", "wine", *args, "--threads", "1", *FAST)
    assert Path("a").read_bytes() == Path("b").read_bytes()
    assert Path("a").read_bytes() != Path("c").read_bytes()
    a, c = gpubp.load("a"), gpubp.load("c")
    assert not np.array_equal(a.network_.coefs_[0], c.network_.coefs_[0])
    # The rows kept for the test differ as well.
    assert not np.array_equal(
        a.encoder_.tensors()["encoder.statistics"], c.encoder_.tensors()["encoder.statistics"]
    )
