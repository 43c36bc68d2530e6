"""`gpubp train`: from a table to a saved model, by its options."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpubp
from tests.cli.running import FAST, LABELS, Run, X, Y, features, write_csv
from tests.cuda_stand_in.kernels import skip_without_compiler


def test_regression_from_csv(run: Run) -> None:
    write_csv("data.csv", **features(), y=Y)
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
    lines = ["40 rows of data.csv", "", f"R²                   {score['r2']:.4f}"]
    assert told.splitlines()[:3] == lines


def test_text_labels_and_a_target_in_the_middle(run: Run) -> None:
    a, b, c = X.T
    write_csv("data.csv", a=a, kind=LABELS, b=b, **{"c, quoted": c})
    run("train", "data.csv", "--target", "kind", "-o", "m", *FAST)
    model = gpubp.load("m")
    assert list(model.feature_names_in_) == ["a", "b", "c, quoted"]
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
    write_csv("data.csv", **features(), y=np.arange(40) % 2 + 7)
    run("train", "data.csv", *FAST)
    predicted = run("predict", "model.safetensors", "data.csv")
    assert {row["prediction"] for row in predicted.rows} <= {"7", "8"}


def test_several_targets(run: Run) -> None:
    write_csv("data.csv", y0=Y, **features(), y1=-Y / 1e6)
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
    scored = run("evaluate", "model.safetensors", "data.csv", "--target", "y1,y0")
    assert [line.split()[0] for line in scored.out.splitlines()[2:5]] == ["R²", "y1", "y0"]


def test_labels_that_training_had_not_have_no_log_loss(run: Run) -> None:
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", *FAST)
    assert run("evaluate", "model.safetensors", "data.csv").err == ""
    write_csv("more.csv", **features(), y=["perhaps", "never", *LABELS[2:]])
    told = run("evaluate", "model.safetensors", "more.csv")
    assert "log loss" not in told.out
    assert told.err.startswith(
        "no log loss: column 'y' has labels that were not in the training rows, 'never', "
        "'perhaps'; leave"
    )
    told = run("evaluate", "model.safetensors", "more.csv", "--json")
    found = told.events[0]
    assert not {"log_loss", "roc_auc", "average_precision"} & set(found)
    assert [of["label"] for of in found["classes"]][-2:] == ["never", "perhaps"]
    assert told.err.count("\n") == 1


def test_npz(run: Run) -> None:
    np.savez("data.npz", X=X.astype(np.float32), y=LABELS, feature_names=np.array(["a", "b", "c"]))
    trained = run("train", "data.npz", "--json", *FAST).events[-1]
    assert trained["task"] == "classification"
    predicted = run("predict", "model.safetensors", "data.npz").out
    write_csv("data.csv", **features(X.astype(np.float32)))
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
        ("digits", "classification", 60),  # four pixels are the same in each image
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


def test_a_target_far_from_zero_keeps_its_digits(run: Run) -> None:
    write_csv("data.csv", **features(), y=Y + 1e10)
    run("train", "data.csv", *FAST)
    predicted = run("predict", "model.safetensors", "data.csv")
    assert_array_equal(predicted.column(), gpubp.load("model.safetensors").predict(X))
    assert len(set(predicted.column())) == 40


@pytest.mark.filterwarnings("ignore:The number of unique classes is greater:UserWarning")
def test_a_forced_task(run: Run) -> None:
    write_csv("data.csv", **features(), y=np.arange(40) % 2)
    inferred = run("train", "data.csv", "--json", *FAST).events[-1]
    assert inferred["task"] == "classification"
    forced = run("train", "data.csv", "--task", "regression", "--json", *FAST).events[-1]
    assert forced["task"] == "regression"
    write_csv("data.csv", **features(), y=np.arange(40) // 2)
    assert run("train", "data.csv", "--json", *FAST).events[-1]["task"] == "regression"
    args = ("--task", "classification", "--test-size", "0", "--json", *FAST)
    assert run("train", "data.csv", *args).events[-1]["layers"][-1] == 20


@pytest.mark.parametrize(("size", "rows"), [(0, 150), (0.2, 120), (0.5, 75), (0.9, 15)])
def test_test_size(run: Run, size: float, rows: int) -> None:
    result = run("train", "iris", "--test-size", size, "--json", *FAST).events[-1]
    assert result["rows"] == rows
    assert (result["test"] is None) == (size == 0)


def test_validation_decides_when_to_stop(run: Run) -> None:
    args = ("--validation-size", "0.3", "--patience", "2", "--epochs", "500", "--lr", "0.05")
    trained = run("train", "iris", "--json", *args)
    result = trained.events[-1]
    assert result["stopped_by"] == "no_improvement"
    assert len(trained.epochs) == result["epochs"] < 500
    best = max(trained.epochs, key=lambda event: event["validation"])
    network = gpubp.load("model.safetensors").network_
    assert network.best_validation_score_ == best["validation"]
    assert result["best_epoch"] == network.best_epoch_ == best["epoch"] < result["epochs"]
    assert result["train"]["loss"] == best["loss"]
    found = json.loads(run("inspect", "model.safetensors", "--json").out)["training"]
    assert (found["best_epoch"], found["loss"]) == (best["epoch"], best["loss"])
    text = f"{result['epochs']} epochs (weights of epoch {best['epoch']} kept)"
    for told in (run("train", "iris", *args).out, run("inspect", "model.safetensors").out):
        assert re.search(rf"^training +{re.escape(text)}[ ,]", told, re.M)


@pytest.mark.parametrize("size", ["0.05", "0.4", "0.95"])
def test_a_validation_that_leaves_less_than_a_batch(run: Run, size: str) -> None:
    write_csv("data.csv", **features(), y=Y)
    args = ("--validation-size", size, "--test-size", "0")
    assert run("train", "data.csv", *args, "--quiet", *FAST).err == ""
    args = (*args, "--quiet", "--batch-size", "40", "-o", "second")
    assert run("train", "data.csv", *args, *FAST).err == ""


def test_the_options_reach_the_estimator(run: Run) -> None:
    options = "--hidden 5,4 --activation tanh --solver sgd --lr 0.02 --epochs 2 --batch-size 10"
    options += " --alpha 0.5 --seed 9 --dtype float64 --patience 3 --threads 1 --device cpu"
    options += " --dropout 0.25 --class-weight setosa=2,virginica=0.5"
    run("train", "iris", *options.split())
    found = gpubp.load("model.safetensors").network_.get_params()
    expected = {
        "hidden_layer_sizes": (5, 4),
        "activation": "tanh",
        "solver": "sgd",
        "learning_rate_init": 0.02,
        "max_iter": 2,
        "batch_size": 10,
        "alpha": 0.5,
        "dropout": 0.25,
        "class_weight": {"setosa": 2.0, "virginica": 0.5},
        "random_state": 9,
        "dtype": "float64",
        "n_iter_no_change": 3,
        "threads": 1,
    }
    assert {name: found[name] for name in expected} == expected
    run("train", "iris", "--hidden", "none", "--epochs", "1", "--class-weight", "balanced")
    model = gpubp.load("model.safetensors")
    assert model.network_.hidden_layer_sizes == ()
    assert model.class_weight == "balanced"
    options = "--loss huber --huber-delta 20 --scoring neg_mean_absolute_error"
    options += " --validation-size 0.2 --epochs 1"
    run("train", "diabetes", *options.split())
    found = gpubp.load("model.safetensors").network_.get_params()
    assert (found["loss"], found["huber_delta"]) == ("huber", 20)
    assert (found["scoring"], found["validation_fraction"]) == ("neg_mean_absolute_error", 0.2)


def test_a_quantile_is_judged_as_a_quantile(run: Run) -> None:
    args = ("train", "diabetes", "--loss", "quantile", "--quantile", "0.9", "--json")
    result = run(*args, "--validation-size", "0.2").events[-1]
    (trivial,) = result["baselines"].values()
    assert trivial["label"] == "0.9 quantile"
    assert result["test"]["pinball_loss"] < trivial["scores"]["pinball_loss"]
    assert result["verdict"].startswith("better than always answering the 0.9 quantile: pinball")
    assert gpubp.load("model.safetensors").network_.scoring == "loss"
    assert "pinball loss" in run("evaluate", "model.safetensors", "diabetes").out
    run(*args, *FAST)
    assert "scoring" not in json.loads(run("inspect", "model.safetensors", "--json").out)["recipe"]


def test_a_metric_without_rows_to_validate_on_is_told_of(run: Run) -> None:
    told = run("train", "iris", "--scoring", "f1_macro", *FAST).out
    assert "--scoring has no effect, as no rows are held out" in told
    told = run("train", "iris", "--scoring", "f1_macro", "--validation-size", "0.2", *FAST).out
    assert "no effect" not in told


def test_a_label_with_a_comma_has_a_weight(run: Run) -> None:
    write_csv("data.csv", **features(), y=LABELS)
    run("train", "data.csv", "--class-weight", '"may, be=2",no=3', *FAST)
    assert gpubp.load("model.safetensors").class_weight == {"may, be": 2.0, "no": 3.0}


def test_labels_that_are_numbers_have_weights_too(run: Run) -> None:
    write_csv("data.csv", **features(), y=np.arange(40) % 2 + 7)
    run("train", "data.csv", "--class-weight", "7=3", *FAST)
    assert gpubp.load("model.safetensors").class_weight == {7: 3.0}


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
    assert trained.err.splitlines()[-1].startswith(told)
    assert trained.err.count("no effect on the CPU") == 1


def test_options_of_cuda_are_not_told_of_on_cuda(run: Run, host_cupy: Any) -> None:
    options = ("--precision", "tf32", "--no-record", "--device", "cuda")
    assert run("train", "iris", "--quiet", *options, *FAST).err == ""


def test_compiled_steps(run: Run) -> None:
    skip_without_compiler()
    curves = []
    for options in ((), ("--compiled",)):
        trained = run("train", "iris", "--dtype", "float64", "--json", *options, *FAST)
        curves.append([epoch["loss"] for epoch in trained.epochs])
    assert curves[1] == pytest.approx(curves[0], rel=1e-9)
    assert gpubp.load("model.safetensors").network_.compiled
