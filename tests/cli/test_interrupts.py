"""Interrupted and diverged trainings."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpubp
from gpubp.training.trainer import Trainer
from tests.cli.running import FAST, Run, Y, features, one_line, write_csv


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
    assert model.network_.n_iter_ == 2
    assert model.network_.stopped_by_ == "interrupt"


def test_an_interrupt_before_the_first_epoch(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.training.loop.Trainer.epoch", interrupt)
    Path("model.safetensors").write_text("old")
    stopped = run("train", "iris", *FAST, code=130)
    assert stopped.err.endswith("\nInterrupted.\n")
    assert Path("model.safetensors").read_text() == "old"


def test_an_interrupt_while_reading(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gpubp.tables.read.load_dataset", interrupt)
    assert run("train", "iris", code=130).err.strip() == "Interrupted."
    assert os.listdir() == []  # noqa: PTH208


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_the_end_of_a_job_while_reading_leaves_no_copies(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    write_csv("data.csv", **features(), y=Y)
    run("train", "data.csv", *FAST)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def end(*args: Any) -> None:
        assert list(folder.iterdir())
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("gpubp.tables.files.open_relation.find_csv", end)
    args = ("data.csv",) if command == "train" else ("model.safetensors", "data.csv")
    assert run(command, *args, code=143).err.strip() == "Interrupted."
    assert not list(folder.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize(
    "step", ["gpubp.models.baselines.baselines", "gpubp.cli.train_result._description"]
)
def test_the_end_of_a_job_after_the_last_epoch_leaves_the_model(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str, step: str
) -> None:
    module, attribute = step.rsplit(".", 1)
    whole = getattr(import_module(module), attribute)

    def end(*args: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return whole(*args, **options)

    monkeypatch.setattr(step, end)
    options = ("--trials", "2", "--cv", "2") if command == "sweep" else FAST
    assert "Interrupted." in run(command, "iris", *options, "--quiet", code=143).err
    assert gpubp.load("model.safetensors").network_.stopped_by_ != "interrupt"


def test_an_interrupt_while_an_extension_module_loads(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: Any, **options: Any) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise ImportError("initialization failed") from interrupt

    monkeypatch.setattr("gpubp.tables.read.load_dataset", load)
    assert run("train", "iris", code=130).err.strip() == "Interrupted."


def test_divergence_from_the_start(run: Run) -> None:
    Path("model.safetensors").write_text("old")
    failed = run("train", "iris", "--solver", "sgd", "--lr", "1e12", code=1)
    message = one_line(failed)
    assert "training diverged in epoch 1 at learning rate 1e+12" in message
    assert "no model was saved" in message
    assert "try --lr 1e+11" in message
    assert Path("model.safetensors").read_text() == "old"


@pytest.mark.parametrize("validation", [(), ("--validation-size", "0.2")])
def test_divergence_leaves_the_best_finite_epoch(
    run: Run, monkeypatch: pytest.MonkeyPatch, validation: tuple[str, ...]
) -> None:
    diverges, read_loss = iter([0.0, 0.0, np.nan]), Trainer.read_loss
    args = ("--hidden", "6", "--lr", "0.01", "--schedule", "constant", "--test-size", "0")
    args = (*args, *validation)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "read_loss", lambda self: read_loss(self) + next(diverges))
        failed = run("train", "iris", *args, "--epochs", "9", "--json", code=1)
    message = one_line(failed)
    assert "diverged in epoch 3 at learning rate 0.01" in message
    assert "is saved in model.diverged.safetensors; try --lr 0.001" in message
    assert [event["event"] for event in failed.events] == ["columns", "epoch", "epoch"]
    assert not Path("model.safetensors").exists()
    diverged = gpubp.load("model.diverged.safetensors")
    run("train", "iris", *args, "--epochs", "2", "-o", "two")
    two = gpubp.load("two")
    assert diverged.network_.n_iter_ == 2
    assert_array_equal(diverged.network_.coefs_[0], two.network_.coefs_[0], strict=True)
