"""A run that fails costs nothing that was there."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.models.table_estimators import NonFiniteOutputError, TableClassifier
from gpubp.training.lbfgs import Objective
from gpubp.training.trainer import Trainer

FAST = ("--hidden", "6", "--epochs", "3", "--quiet", "--preset", "plain")


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What is in the file m, a model that was trained before; data.csv is its table."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    lines = [f"{a:.3f},{b:.3f},{'no' if a < b else 'yes'}" for a, b in X]
    Path("data.csv").write_text("\n".join(["a,b,y", *lines, ""]), encoding="utf-8")
    assert main(["train", "data.csv", *FAST, "-o", "m"]) == 0
    return Path("m").read_bytes()


def _error(capsys: pytest.CaptureFixture[str], *args: object, code: int = 1) -> str:
    """The one line that a failing command prints on stderr."""
    capsys.readouterr()
    assert main([str(arg) for arg in args]) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error.strip()


def _diverge_at(monkeypatch: pytest.MonkeyPatch, *losses: float) -> None:
    """Let the epochs have these losses."""
    given = iter(losses)
    monkeypatch.setattr(Trainer, "read_loss", lambda self: next(given))


def test_a_training_that_diverges_replaces_no_model(
    good: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    # Gradients are clipped to a norm of 0.1, so that it takes a large rate to diverge.
    args = ("train", "diabetes", "--solver", "sgd", "--lr", "1e4", "--schedule", "constant")
    args = (*args, "--hidden", "128,64", "--dropout", "0", "--quiet", "-o", "m")
    error = _error(capsys, *args)
    assert Path("m").read_bytes() == good
    found = re.search(
        r"the best finite epoch \(R² (-\S+), .*\) is saved in m.diverged, and m is "
        r"unchanged; try --lr 1000$",
        error,
    )
    assert found, error
    kept = gpubp.load("m.diverged")
    assert kept.network_.n_iter_ >= 1
    assert float(found[1].replace(",", "")) < -1
    # A rate that the user gave is what to change, also of the tuned recipe.
    tuned = ("train", "iris", "--preset", "tuned", "--lr", "1e30", "--quiet", "-o", "t")
    assert _error(capsys, *tuned).endswith("no model was saved; try --lr 1e+29")
    # Nor does the next one replace what the first has left.
    left = Path("m.diverged").read_bytes()
    assert "is saved in m.diverged-2, and m is unchanged" in _error(capsys, *args)
    assert Path("m.diverged").read_bytes() == left


def test_the_best_finite_epoch_is_kept_and_not_the_last(
    good: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("train", "data.csv", "--hidden", "6", "--lr", "0.01", "--schedule", "constant")
    args = (*args, "--quiet")
    with monkeypatch.context() as patch:
        _diverge_at(patch, 0.7, 0.5, 800.0, np.nan)
        error = _error(capsys, *args, "--epochs", "9", "-o", "new.safetensors")
    assert "diverged in epoch 4" in error
    assert "is saved in new.diverged.safetensors; try" in error
    assert not Path("new.safetensors").exists()
    assert main([*args, "--epochs", "2", "-o", "two"]) == 0
    kept, two = gpubp.load("new.diverged.safetensors"), gpubp.load("two")
    assert np.array_equal(kept.network_.coefs_[0], two.network_.coefs_[0])


def test_a_training_that_ends_in_useless_weights_is_not_saved(
    good: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    # In the second run the loss of the only epoch is finite, and so are the weights.
    for epochs, message in (("100", "diverged in epoch 2"), ("1", "diverged by epoch 1")):
        args = ("train", "data.csv", "--lr", "1e30", "--epochs", epochs, "--quiet", "-o", "m")
        args += ("--batch-size", "32", "--hidden", "128,64", "--dropout", "0")
        error = _error(capsys, *args)
        assert f"training {message} at learning rate 1e+30" in error
        assert error.endswith("; no model was saved; try --lr 1e+29")
        assert Path("m").read_bytes() == good
        assert {path.name for path in Path().iterdir()} == {"m", "data.csv"}


def test_an_interrupt_amid_an_epoch_that_diverges_keeps_finite_weights(
    good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, calls = Trainer.epoch, iter(range(9))

    def interrupted(self: Trainer, *args: Any) -> float:
        if next(calls) == 2:
            self.theta[...] = np.nan
            raise KeyboardInterrupt
        return epoch(self, *args)

    args = ("train", "data.csv", *FAST, "--schedule", "constant")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "epoch", interrupted)
        assert main([*args, "-o", "stopped"]) == 130
    assert main([*args, "--epochs", "2", "-o", "two"]) == 0
    stopped, two = gpubp.load("stopped"), gpubp.load("two")
    assert np.array_equal(stopped.network_.coefs_[0], two.network_.coefs_[0])


def test_an_interrupt_of_lbfgs_before_its_first_iteration(
    good: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "__call__", interrupt)
    args = ("train", "data.csv", "--solver", "lbfgs", "--quiet", "-o", "m")
    assert _error(capsys, *args, code=130) == "Interrupted."
    assert Path("m").read_bytes() == good


@pytest.mark.parametrize(("start", "expected"), [(0, "no model was saved"), (8, "m.diverged, and")])
def test_lbfgs_that_diverges_replaces_no_model(
    good: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    start: int,
    expected: str,
) -> None:
    call, calls = Objective.__call__, iter(range(10**6))

    def diverging(self: Objective, x: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = call(self, x)
        return (loss, gradient) if next(calls) < start else (np.nan, gradient * np.nan)

    monkeypatch.setattr(Objective, "__call__", diverging)
    error = _error(capsys, "train", "data.csv", "--solver", "lbfgs", "--quiet", "-o", "m")
    assert "training diverged" in error
    assert expected in error
    assert Path("m").read_bytes() == good


def test_an_interrupt_after_training_saves_the_model(
    good: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(TableClassifier, "evaluate", interrupt)
    assert main(["train", "data.csv", *FAST, "-o", "new"]) == 130
    assert gpubp.load("new").network_.n_iter_ == 3


def test_a_test_row_that_overflows_the_network_fails_the_run(
    good: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, calls = TableClassifier.evaluate, iter([0, 1])

    def overflow(self: TableClassifier, table: Any) -> dict[str, float]:
        if next(calls):
            raise NonFiniteOutputError("data.csv, row 8, column 'b': far")
        return evaluate(self, table)

    monkeypatch.setattr(TableClassifier, "evaluate", overflow)
    error = _error(capsys, "train", "data.csv", *FAST, "-o", "m")
    assert "row 8, column 'b': far; the best finite epoch (accuracy" in error
    assert "is saved in m.diverged, and m is unchanged" in error
    assert Path("m").read_bytes() == good


# What a run that succeeds replaces is said in a line.


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_model_that_is_replaced_is_told_of(
    good: bytes, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    os.utime("m", (0, datetime(2024, 3, 5, 16, 7).timestamp()))
    Path("m").rename("model.safetensors")  # the default
    capsys.readouterr()
    assert main(["train", "data.csv", *FAST, *flags]) == 0
    assert capsys.readouterr().err == (
        "model.safetensors replaces a model of 2024-03-05 16:07, a classification of 'y' from 2 "
        "columns\n"
    )
    assert main(["train", "data.csv", *FAST, "-o", "new"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("text", r"m replaces a file of \S+ \S+ that this gpubp cannot read as a model\n"),
        ("estimator", r"m replaces a model of \S+ \S+, an estimator saved in Python\n"),
    ],
)
def test_another_file_that_is_replaced_is_told_of(
    good: bytes, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    if content == "text":
        Path("m").write_text("my notes", encoding="utf-8")
    else:
        gpubp.save(gpubp.load("m").network_, "m")
    capsys.readouterr()
    assert main(["train", "data.csv", *FAST, "-o", "m"]) == 0
    assert re.fullmatch(expected, capsys.readouterr().err)


def test_an_interrupted_training_tells_what_it_replaces(
    good: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    epoch, calls = Trainer.epoch, iter([0, 1])

    def interrupted(self: Trainer, *args: Any) -> float:
        if next(calls):
            raise KeyboardInterrupt
        return epoch(self, *args)

    monkeypatch.setattr(Trainer, "epoch", interrupted)
    capsys.readouterr()
    assert main(["train", "data.csv", *FAST, "-o", "m"]) == 130
    assert "m replaces a model of" in capsys.readouterr().err


def test_a_test_of_unknown_classes_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("three.csv").write_text("a,t\n1,x\n2,y\n3,z\n")
    error = _error(capsys, "train", "three.csv", "--quiet", code=2)
    assert "so the network does not know it; add rows, or use --test-size 0" in error
    assert not Path("model.safetensors").exists()
    command = ("train", "three.csv", "--test-size", "0", "--epochs", "1")
    assert main([*command, "--quiet"]) == 0
    capsys.readouterr()
    assert main([*command]) == 0
    assert "of 't' from 1 column\n" in capsys.readouterr().err
