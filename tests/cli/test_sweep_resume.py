"""Sweeps that are interrupted or killed, and resumed."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpubp
from gpubp.cli.sweep_journal import SweepLog
from gpubp.selection.group import Group
from tests.cli.running import LABELS, ROOT, Run, X, features, one_line, write_csv

SPACE = """
hidden_layer_sizes = [[4], [5], [6, 4]]
learning_rate_init = { low = 1e-3, high = 1e-1, log = true }
max_iter = 3
"""
ARGS = ("sweep", "table.csv", "--space", "space.toml", "--cv", "2", "--trials", "12")
JOURNAL = Path("model.sweep.jsonl")
# Kills the process in the middle of writing the sixth trial.
KILLED = """
import os, signal, sys
from gpubp.__main__ import main
from gpubp.storage import journal

append, lines = journal.Journal.append, []

def killing(self, value):
    lines.append(value)
    if len(lines) < 7:
        return append(self, value)
    os.write(self._file, b'{"params": {"hidden_layer_sizes": [4], "lear')
    os.kill(os.getpid(), signal.SIGKILL)

journal.Journal.append = killing
main(sys.argv[1:])
"""


@pytest.fixture
def folder(run: Run) -> None:
    write_csv("table.csv", **features(), y=LABELS)
    Path("space.toml").write_text(SPACE)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The parameters of every trial that is trained, also of those that are interrupted."""
    found: list[Any] = []
    run = Group.run

    def counting(self: Group, deadline: Any) -> Any:
        found.extend(self._candidates)
        return run(self, deadline)

    monkeypatch.setattr(Group, "run", counting)
    return found


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Raise KeyboardInterrupt after so many trials."""
    finished, calls = SweepLog.finished, count(1)

    def interrupting(self: SweepLog, *args: Any) -> None:
        finished(self, *args)
        if next(calls) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(SweepLog, "finished", interrupting)


def rows_without_times(path: str) -> Iterator[dict[str, str]]:
    with Path(path).open(newline="") as file:
        for row in csv.DictReader(file):
            del row["seconds"]
            yield row


def assert_same_sweep(run: Run, resumed: str, *args: object) -> None:
    """Assert that model and trials equal those of a sweep without a break."""
    run(*ARGS, *args, "-o", "whole", "--csv", "whole.csv")
    assert list(rows_without_times(resumed)) == list(rows_without_times("whole.csv"))
    models = [gpubp.load(path).network_ for path in ("model.safetensors", "whole")]
    for a, b in zip(*(model.coefs_ + model.intercepts_ for model in models), strict=True):
        assert_array_equal(a, b, strict=True)


def test_an_interrupt_keeps_the_finished_trials(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        stopped = run(*ARGS, "--csv", "t.csv", "--html", "page.html", code=130)
    assert "5 of 12 trials" in stopped.out
    assert "interrupted" in stopped.out
    assert "verdict" in stopped.out
    assert len(list(rows_without_times("t.csv"))) == 5
    assert Path("page.html").exists()
    assert gpubp.load("model.safetensors").network_.n_iter_ == 3
    refused = one_line(run(*ARGS, code=2))
    assert "model.sweep.jsonl has 5 trials of a sweep that was interrupted" in refused
    assert "--resume" in refused


def test_an_interrupted_result_replaces_no_files_but_the_model(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("t.csv").write_text("old")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        stopped = run(*ARGS, "--csv", "t.csv", code=130)
    assert Path("t.csv").read_text() == "old"
    assert "t.part.csv" in stopped.out


def test_an_interrupt_before_the_first_trial(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Group, "run", interrupt)
        assert run(*ARGS, code=130).err.endswith("Interrupted.\n")
    assert not Path("model.safetensors").exists()
    run(*ARGS)  # nothing is lost, so that nothing is refused


def test_a_resumed_sweep_trains_only_the_missing_trials(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch, trained: list[Any]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        run(*ARGS, code=130)
    assert len(trained) == 12
    trained.clear()
    resumed = run(*ARGS, "--resume", "--csv", "t.csv")
    assert len(trained) == 7
    assert "12 of 12 trials" in resumed.out
    assert "5 from the journal" in resumed.out
    assert_same_sweep(run, "t.csv")


@pytest.mark.parametrize("sampler", ["halving", "tpe"])
def test_other_samplers_resume(
    run: Run, folder: None, monkeypatch: pytest.MonkeyPatch, trained: list[Any], sampler: str
) -> None:
    if sampler == "tpe":
        pytest.importorskip("optuna")
    args = (*ARGS, "--sampler", sampler)
    write_csv("table.csv", **features(np.tile(X, (4, 1))), y=np.tile(LABELS, 4))
    with monkeypatch.context() as patch:
        interrupt_at(patch, 11 if sampler == "tpe" else 13)
        run(*args, code=130)
    before = len(trained)
    run(*args, "--resume", "--csv", "t.csv")
    assert len(trained) - before < 8
    assert_same_sweep(run, "t.csv", "--sampler", sampler)


def test_more_trials_and_time_continue_a_sweep(run: Run, folder: None, trained: list[Any]) -> None:
    run(*ARGS[:-1], "4", "--time-limit", "1h")
    run(*ARGS, "--resume", "--csv", "t.csv")
    assert len(trained) == 12
    assert_same_sweep(run, "t.csv")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
def test_kill_9_in_the_middle_of_a_line(run: Run, folder: None, trained: list[Any]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, *ARGS]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not Path("model.safetensors").exists()
    assert JOURNAL.read_bytes().endswith(b'"lear')
    run(*ARGS, "--resume", "--csv", "t.csv")
    assert len(trained) == 7
    assert_same_sweep(run, "t.csv")
    trained.clear()
    run(*ARGS, "--resume", "--csv", "again.csv")  # the torn line is gone
    assert trained == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--seed", "1"), "--seed was 0, now 1"),
        (("--cv", "3"), "--cv was 2, now 3"),
        (("--scoring", "neg_log_loss"), "--scoring was null, now neg_log_loss"),
        (("--drop", "a"), '--drop was [], now ["a"]'),
        (("--test-size", "0.3"), "--test-size was 0.2, now 0.3"),
    ],
)
def test_other_options_are_refused(
    run: Run, folder: None, change: tuple[str, ...], message: str
) -> None:
    run(*ARGS)
    refused = one_line(run(*ARGS, *change, "--resume", code=2))
    assert f"model.sweep.jsonl is of another sweep: {message}; give the same" in refused


def test_another_table_or_space_is_refused(run: Run, folder: None) -> None:
    run(*ARGS)
    changed = features() | {"b": np.arange(40)}
    write_csv("table.csv", **changed, y=LABELS)
    assert "the table had other cells" in one_line(run(*ARGS, "--resume", code=2))
    write_csv("table.csv", **features(), d=LABELS, y=LABELS)
    assert "the table had other columns" in one_line(run(*ARGS, "--resume", code=2))
    write_csv("table.csv", **{n: v[:39] for n, v in features().items()}, y=LABELS[:39])
    assert "the table had 40 rows, now 39" in one_line(run(*ARGS, "--resume", code=2))
    write_csv("table.csv", **features(), y=LABELS)
    Path("space.toml").write_text(SPACE.replace("1e-1", "1e-2"))
    refused = one_line(run(*ARGS, "--resume", code=2))
    assert "learning_rate_init of the space was" in refused
    Path("space.toml").write_text(SPACE + "# the same\n")
    run(*ARGS, "--resume")


def test_a_damaged_journal(run: Run, folder: None) -> None:
    run(*ARGS)
    lines = JOURNAL.read_text().splitlines(keepends=True)
    JOURNAL.write_text("".join([lines[0], "nonsense\n", *lines[1:]]))
    for resume in ((), ("--resume",)):
        message = one_line(run(*ARGS, *resume, code=1))
        assert "model.sweep.jsonl, line 2, is damaged; restore or delete the file" in message
    JOURNAL.write_text('{"a": 1}\n')
    message = one_line(run(*ARGS, "--resume", code=1))
    assert "model.sweep.jsonl is not a journal that this gpubp reads" in message


def test_a_finished_sweep_is_replaced(run: Run, folder: None, trained: list[Any]) -> None:
    run(*ARGS)
    run(*ARGS, "--seed", "1")
    assert len(trained) == 24


def test_a_kill_in_the_last_training_loses_no_trials(
    run: Run, folder: None, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*args: Any) -> None:
        raise SystemExit(9)  # no command handles it, as none handles SIGKILL

    with monkeypatch.context() as patch:
        patch.setattr("gpubp.cli.train_result.saved_result", kill)
        with pytest.raises(SystemExit):
            run(*ARGS)
    assert "has 12 trials of a sweep that was interrupted" in one_line(run(*ARGS, code=2))
    run(*ARGS, "--resume")
    assert len(trained) == 12
    run(*ARGS)
    assert len(trained) == 24


def test_a_signal_in_the_last_training_goes_on_with_resume(
    run: Run, folder: None, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def epoch(self: Any, epoch: Any) -> None:
        if epoch.number == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("gpubp.reports.terminal.TextReport.epoch", epoch)
        stopped = run(*ARGS, code=143)
    checkpoint = "model.safetensors.checkpoint"
    assert f"the same command with --resume goes on from {checkpoint}" in stopped.err
    assert "12 trials of a sweep that was interrupted" in one_line(run(*ARGS, code=2))
    run(*ARGS, "--resume", "--csv", "t.csv")
    assert len(trained) == 12
    assert not Path(checkpoint).exists()
    assert_same_sweep(run, "t.csv")
