"""Options of `gpubp train` from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gpubp
from tests.cli.running import Run, one_line


def test_config(run: Run) -> None:
    Path("run.toml").write_text(
        'data = "iris"\nhidden = [5, 4]\ntarget = ["target"]\nepochs = 4\nlr = 1e-2\n'
        'batch-size = 10\ntest_size = 0.5\njson = true\nout = "m"\nquiet = false\n'
    )
    trained = run("train", "--config", "run.toml", "--epochs", "2")
    result = trained.events[-1]
    assert len(trained.epochs) == 2  # flags win
    assert result["layers"] == [4, 5, 4, 3]
    assert (result["rows"], result["model"]) == (75, "m")
    parameters = gpubp.load("m").network_.get_params()
    assert parameters["learning_rate_init"] == 0.01
    assert parameters["batch_size"] == 10
    run("train", "wine", "--config", "run.toml", "--target", "target")
    assert gpubp.load("m").network_.n_features_in_ == 13  # and so do arguments


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
    assert gpubp.load("model.safetensors").network_.get_params()[option] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr = 1", "unknown key 'lrr'; did you mean 'lr'"),
        ("batchsize = 1", "unknown key 'batchsize'; did you mean 'batch-size'"),
        ("qqqq = 1", "unknown key 'qqqq'; give one of ['activation', 'alpha', 'batch-size'"),
        ("config = 'x'", "unknown key 'config'"),
        ("max_iter = 3", "unknown key 'max_iter'; did you mean 'epochs'?"),
        ("learning_rate = 3", "unknown key 'learning_rate'; did you mean 'lr' or 'schedule'?"),
        ("[train]\nlr = 1", "unknown key 'train'"),
        ("lr", "run.toml is not TOML"),
        ("\x00", "run.toml is not TOML"),
        ("lr = [0.1]", "'lr' is [0.1]; give one value"),
        ("lr = {a = 1}", "'lr' is {'a': 1}; give one value"),
        ("hidden = {}", "'hidden' is {}; give one value"),
        ("lr = 'x'", "'--lr': 'x' is not a number; give one"),
        ("lr = nan", "'--lr': 'nan' is not a finite number"),
        ("lr = 1979-05-27", "'--lr': '1979-05-27' is not a number; give one"),
        ("lr = true", "'--lr': 'True' is not a number; give one"),
        ("epochs = 1.5", "'--epochs': '1.5' is not a whole number; give one"),
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
    assert message in one_line(failed)
