"""The command line and its files: nothing that is read is replaced, nothing learned is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.tables.read import read_table

ROOT = Path(gpubp.__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{k},{k * k % 7},{'ab'[k % 2]}" for k in range(40))
    Path("data.csv").write_text(f"x,y,kind\n{rows}\n", encoding="utf-8")
    Path("options.toml").write_text("epochs = 2\n", encoding="utf-8")
    assert main(["train", "data.csv", "--epochs", "2", "-o", "model"]) == 0
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "train data.csv --epochs 1 -o data.csv",
        "train data.csv --config options.toml -o options.toml",
        "train data.csv --epochs 1 -o link.csv",
        "predict model data.csv -o data.csv",
        "predict model data.csv -o model",
        "explain model data.csv --html data.csv",
        "explain model data.csv --html model",
        "explain --example options.toml --html options.toml",
        "search --example xor.toml --budget 50 --html xor.toml",
    ],
)
def test_what_is_read_is_not_replaced(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link.csv").symlink_to("data.csv")
    network = "layers = [1, 1]\ninputs = [1]\ntargets = [1]\n"
    Path("xor.toml").write_text(network, encoding="utf-8")
    kept = {
        name: Path(name).read_bytes() for name in ("data.csv", "options.toml", "xor.toml", "model")
    }
    assert main(command.split()) == 2
    assert "is also an input file; give another path" in capsys.readouterr().err
    assert {name: Path(name).read_bytes() for name in kept} == kept


def start(*args: str, **options: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "gpubp", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_the_end_of_a_job_saves_what_was_learned(folder: Path, name: str) -> None:
    endless = "--preset", "plain", "--epochs", "1000000", "--patience", "1000000"
    child = start("train", "data.csv", *endless, "-o", "new")
    assert child.stdout is not None
    while line := child.stdout.readline():
        if line.startswith("epoch"):
            break
    child.send_signal(getattr(signal, name))
    out, err = child.communicate(timeout=60)
    assert child.returncode == 128 + getattr(signal, name), err
    assert "stopped by  interrupt" in out
    assert gpubp.load("new").predict(read_table("data.csv")).shape == (40,)


def test_an_interrupt_while_the_program_loads_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "gpubp", "train", "iris"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


def test_training_outlives_the_reader_of_its_lines(folder: Path) -> None:
    child = start("train", "data.csv", "--epochs", "300", "-o", "new")
    assert child.stderr is not None
    while child.stderr.readline().rstrip()[-7:] != "network":  # the columns
        pass
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(timeout=60) == 0
    assert child.stderr.read() == ""
    child.stderr.close()
    assert gpubp.load("new").network_.n_iter_ > 1


def test_predictions_on_standard_output_are_utf8_everywhere(folder: Path) -> None:
    text = Path("data.csv").read_text(encoding="utf-8").replace(",a\n", ",ü\n")
    Path("data.csv").write_text(text, encoding="utf-8")
    assert main(["train", "data.csv", "--epochs", "2", "-o", "umlaut"]) == 0
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "gpubp", "predict", "umlaut", "data.csv"],
        capture_output=True,
        env=environment,
        check=True,
    )
    assert set(done.stdout.decode().split()) <= {"prediction", "ü", "b"}


def test_a_table_of_very_many_columns_is_read(folder: Path) -> None:
    names = [f"{'gene' * 16}_{k}" for k in range(3_000)]  # a header of 200,000 characters
    rng = np.random.default_rng(0)
    with Path("wide.csv").open("w", encoding="utf-8") as file:
        file.write(",".join([*names, "y"]) + "\n")
        for k in range(12):
            file.write(",".join(map(str, [*rng.integers(0, 9, len(names)), "ab"[k % 2]])) + "\n")
    options = ["--hidden", "2", "--epochs", "1", "-o", "wide", "--test-size", "0"]
    assert main(["train", "wide.csv", *options]) == 0


def test_a_layer_of_impossible_size_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "iris", "--hidden", "9999999999999999999"]) == 2
    assert "whole numbers from 1 to 1,000,000" in capsys.readouterr().err


def test_a_run_that_was_interrupted_is_not_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tiny.toml").write_text(
        'rounds = 2\nseconds = 0.01\npeers = ["gpubp"]\nbaseline = "gpubp"\n'
        '[[networks]]\nname = "N"\nsizes = [2, 2, 1]\nbatches = [4]\nrows = 8\nepochs = 1\n',
        encoding="utf-8",
    )
    assert main(["bench", "tiny.toml", "-o", "r.json"]) == 0, capsys.readouterr().err
    whole = Path("r.json").read_text(encoding="utf-8")
    content = json.loads(whole)
    (part,) = content["parts"].values()
    for row in part["rows"]:
        row["rounds"] = row["rounds"][:1]
    Path("r.json").write_text(json.dumps(content), encoding="utf-8")
    shutil.copy("r.json", "kept.json")
    assert main(["bench", "tiny.toml", "-o", "r.json"]) == 2
    assert "continue with --resume" in capsys.readouterr().err
    assert Path("r.json").read_bytes() == Path("kept.json").read_bytes()
    assert main(["bench", "tiny.toml", "-o", "r.json", "--resume"]) == 0


def test_signals_are_given_back(folder: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["train", "data.csv", "--epochs", "1", "-o", "new"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
