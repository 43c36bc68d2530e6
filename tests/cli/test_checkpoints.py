"""Checkpoints of `gpubp train`: saved after a signal, and gone on from by the same command."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.estimators import checkpoint_run
from gpubp.storage.model_file import ModelFileError
from tests.cli.running import Run, one_line, write_csv

MODEL, CHECKPOINT = Path("model.safetensors"), Path("model.safetensors.checkpoint")
TRAIN = ("train", "iris", "--hidden", "6", "--epochs", "8", "--threads", "1")
ENSEMBLE = (*TRAIN, "--members", "2", "--validation-size", "0.2")


def trained(run: Run, *args: str) -> bytes:
    """Return the model of a run that is not interrupted, and remove it."""
    run(*args)
    data = MODEL.read_bytes()
    MODEL.unlink()
    assert not CHECKPOINT.exists()
    return data


@pytest.mark.parametrize("args", [TRAIN, ENSEMBLE], ids=["network", "ensemble"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_same_command_goes_on_after_a_signal(
    run: Run, signal_at_epoch: Any, args: tuple[str, ...], number: int, code: int
) -> None:
    expected = trained(run, *args)
    signal_at_epoch(number)
    stopped = run(*args, code=code)
    assert f"the same command goes on from {CHECKPOINT}" in stopped.err
    assert MODEL.exists()
    assert CHECKPOINT.exists()
    resumed = run(*args)
    assert f"the training goes on in epoch 4, from the checkpoint {CHECKPOINT}" in resumed.out
    assert MODEL.read_bytes() == expected
    assert not CHECKPOINT.exists()


def test_history_and_report_of_a_run_that_goes_on(run: Run, signal_at_epoch: Any) -> None:
    args = (*TRAIN, "--history", "h.jsonl", "--report", "r.html")
    signal_at_epoch(signal.SIGTERM)
    run(*args, code=143)
    run(*args)
    lines = [json.loads(line) for line in Path("h.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["event"] == "epoch"] == [*range(1, 9)]
    assert [line["event"] for line in lines if line["event"] != "epoch"] == [*("start",) * 2, "end"]
    assert "training" in Path("r.html").read_text(encoding="utf-8")


def test_other_options_begin_anew(run: Run, signal_at_epoch: Any) -> None:
    other = (*TRAIN, "--dropout", "0.1")
    expected = trained(run, *other)
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, code=143)
    resumed = run(*other)
    assert "--dropout was not given, now 0.1; the training begins anew" in resumed.out
    assert MODEL.read_bytes() == expected
    assert not CHECKPOINT.exists()
    kept = Path(f"{CHECKPOINT}.old")
    assert f"that checkpoint is kept as {kept}" in resumed.out
    again = run(*other, "--resume", kept, code=2)
    assert f"{kept} is of another training" in one_line(again)
    kept.rename(CHECKPOINT)
    assert "--dropout was not given, now 0.1; the training begins" in run(*other, "--quiet").err
    assert "goes on in epoch 4" in run(*TRAIN, "--resume", kept).out


def test_other_cells_begin_anew(run: Run, signal_at_epoch: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=60), np.tile(["a", "b"], 30)
    args = ("train", "data.csv", *TRAIN[2:])
    write_csv("data.csv", x=x, y=y)
    signal_at_epoch(signal.SIGTERM)
    run(*args, code=143)
    x[::2] += 0.5  # also in rows that are not for the test
    write_csv("data.csv", x=x, y=y)
    assert "the values of the rows differ; the training begins anew" in run(*args).out


def test_resume_never(run: Run, signal_at_epoch: Any) -> None:
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, code=143)
    assert "goes on" not in run(*TRAIN, "--resume", "never").out
    assert not CHECKPOINT.exists()


def test_an_explicit_checkpoint(run: Run, signal_at_epoch: Any) -> None:
    expected = trained(run, *TRAIN)
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, code=143)
    CHECKPOINT.rename("kept.safetensors")
    refused = run(*TRAIN[:-2], "--seed", "1", "--resume", "kept.safetensors", code=2)
    assert one_line(refused).startswith(
        "Error: kept.safetensors is of another training: --seed was 0, now 1; give the same data"
    )
    run(*TRAIN, "--resume", "kept.safetensors")
    assert MODEL.read_bytes() == expected
    assert Path("kept.safetensors").exists()


def test_never_saves_nothing(run: Run, signal_at_epoch: Any) -> None:
    signal_at_epoch(signal.SIGTERM)
    never = ("--checkpoint-every", "never", "--resume", "never")
    run(*TRAIN, *never, code=143)
    assert not CHECKPOINT.exists()


def test_a_damaged_checkpoint_begins_anew(run: Run) -> None:
    expected = trained(run, *TRAIN)
    said = (
        f"the checkpoint {CHECKPOINT} is damaged, or of a newer gpubp; the training begins anew, "
        f"and that checkpoint is kept as {CHECKPOINT}.old\n"
    )
    CHECKPOINT.write_bytes(expected[:-9])
    found = run(*TRAIN)
    assert said in found.out
    assert MODEL.read_bytes() == expected
    assert Path(f"{CHECKPOINT}.old").read_bytes() == expected[:-9]
    CHECKPOINT.write_bytes(b"")
    assert said.replace(".old", ".old2") in run(*TRAIN, "--quiet").err
    CHECKPOINT.write_bytes(expected[:-9])
    refused = run(*TRAIN, "--resume", str(CHECKPOINT), code=2)
    assert "damaged, or of a newer gpubp; give another one, or begin anew" in one_line(refused)
    assert CHECKPOINT.read_bytes() == expected[:-9]


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_a_file_of_the_user_with_the_name_of_a_checkpoint_stays(run: Run, resume: str) -> None:
    CHECKPOINT.write_text("x,y\n1,2\n")
    refused = one_line(run(*TRAIN, "--quiet", "--resume", resume, code=2))
    assert refused == (
        f"Error: {CHECKPOINT} is not a checkpoint of gpubp; a checkpoint would replace it, so move "
        "it or choose another --out"
    )
    refused = one_line(run("sweep", "iris", "--trials", "1", code=2))  # before the search
    assert f"{CHECKPOINT} is not a checkpoint of gpubp" in refused
    assert list(Path().iterdir()) == [CHECKPOINT]
    assert CHECKPOINT.read_text() == "x,y\n1,2\n"


@pytest.mark.parametrize(
    "more",
    [
        *("--report r.html", "--history h.jsonl", "--memory 4GB", "--quiet", "--json"),
        *("--no-record", "--checkpoint-every 1epochs", "--device cpu"),
    ],
)
def test_options_that_change_no_number(run: Run, signal_at_epoch: Any, more: str) -> None:
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, *(() if "json" in more else more.split()), code=143)
    other = run(*TRAIN, *(more.split() if "json" in more else ()))
    assert "the training goes on in epoch 4" in other.out + other.err


def test_nothing_is_left_of_a_checkpoint_behind_a_link(run: Run) -> None:
    expected, before = trained(run, *TRAIN), set(Path().iterdir())
    CHECKPOINT.symlink_to("on-another-disk")
    assert trained(run, *TRAIN, "--checkpoint-every", "1epochs") == expected
    assert set(Path().iterdir()) == before


def test_a_full_disk_does_not_end_the_training(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, calls = trained(run, *TRAIN), []

    def full(*args: Any) -> None:
        calls.append(args)
        raise ModelFileError("cannot write: No space left on device")

    monkeypatch.setattr(checkpoint_run, "write_checkpoint", full)
    found = run(*TRAIN, "--checkpoint-every", "1epochs")
    assert found.out.count("no checkpoint was saved: cannot write: No space left") == 1
    assert calls
    assert MODEL.read_bytes() == expected


def test_a_time_limit_goes_on_with_the_epochs_that_it_chose(
    run: Run, signal_at_epoch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubp.models import time_limit

    args = (*TRAIN, "--time-limit", "1h")
    monkeypatch.setattr(time_limit, "within", lambda *_: {"max_iter": 5})
    expected = trained(run, *args)
    signal_at_epoch(signal.SIGTERM)
    run(*args, code=143)
    monkeypatch.setattr(time_limit, "within", lambda *_: {"max_iter": 4})
    assert "5 epochs of 8" in run(*args).out
    assert MODEL.read_bytes() == expected


def test_a_checkpoint_is_not_a_model(run: Run, signal_at_epoch: Any) -> None:
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, code=143)
    for command in (("inspect", CHECKPOINT), ("predict", CHECKPOINT, "iris")):
        assert "the checkpoint of a training that has not ended" in run(*command, code=1).err
    refused = run(*TRAIN, "--resume", MODEL, code=2)
    assert "a model, not a checkpoint" in one_line(refused)
    assert "the same data" not in refused.err


def test_files_of_killed_runs_are_removed(run: Run) -> None:
    import platform

    dead = 2**22 + 1  # above the largest process id of Linux
    stale = [Path(f".{name}.{platform.node()}.{dead}.tmp") for name in (CHECKPOINT, MODEL)]
    for path in stale:
        path.write_text("half")
    run(*TRAIN)
    assert not any(path.exists() for path in stale)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--checkpoint-every", "5x"), "such as 5epochs; got '5x'; or never"),
        (("--checkpoint-every", "0s"), "a time above 0"),
        (("--checkpoint-every", "1.5epochs"), "a number of epochs"),
        (("--resume", "nothing"), "there is no checkpoint 'nothing'"),
        (("--solver", "lbfgs", "--checkpoint-every", "5s"), "leave the option out"),
        (("--solver", "lbfgs", "--resume", "auto"), "leave out --resume"),
        (("-o", "/dev/null", "--resume", "auto"), "-o /dev/null is not a file"),
    ],
)
def test_wrong_options(run: Run, args: tuple[str, ...], said: str) -> None:
    assert said in one_line(run(*TRAIN, *args, code=2))


def test_models_with_one_stem_have_checkpoints_of_their_own(run: Run, signal_at_epoch: Any) -> None:
    expected = trained(run, *TRAIN)
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, code=143)
    signal_at_epoch(signal.SIGTERM)
    other = run(*TRAIN, "--seed", "1", "-o", "model.st", code=143)
    assert "begins anew" not in other.out
    run(*TRAIN, "--seed", "1", "-o", "model.st")
    run(*TRAIN)
    assert MODEL.read_bytes() == expected


def test_a_model_with_the_name_of_a_checkpoint_stays(run: Run) -> None:
    run(*TRAIN, "-o", str(CHECKPOINT))
    before = CHECKPOINT.read_bytes()
    refused = one_line(run(*TRAIN, code=2))
    assert f"{CHECKPOINT} is a model; a checkpoint would replace it" in refused
    assert CHECKPOINT.read_bytes() == before


@pytest.mark.parametrize("resume", ["never", "kept"])
def test_how_to_go_on_is_told_as_it_is(run: Run, signal_at_epoch: Any, resume: str) -> None:
    expected = trained(run, *TRAIN)
    signal_at_epoch(signal.SIGTERM)
    run(*TRAIN, code=143)
    CHECKPOINT.rename("kept")
    signal_at_epoch(signal.SIGTERM, 5)
    stopped = run(*TRAIN, "--resume", resume, code=143)
    assert f"the same command with --resume auto goes on from {CHECKPOINT}" in stopped.err
    assert "goes on in epoch 6" in run(*TRAIN, "--resume", "auto").out
    assert MODEL.read_bytes() == expected


def test_a_time_limit_of_other_rows_is_not_used_up(
    run: Run, signal_at_epoch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubp.models import time_limit

    args = ("train", "data.csv", *TRAIN[2:], "--time-limit", "1h")
    monkeypatch.setattr(time_limit, "within", lambda *_: {})
    x, y = np.random.default_rng(0).normal(size=60), np.tile(["a", "b"], 30)
    write_csv("data.csv", x=x, y=y)
    signal_at_epoch(signal.SIGTERM)
    with monkeypatch.context() as patch:
        clock = iter(range(0, 10**9, 2000))  # more than half an hour between two looks
        patch.setattr(time_limit, "monotonic", lambda: next(clock))
        run(*args, code=143)
    x[::2] += 0.5
    write_csv("data.csv", x=x, y=y)
    assert "the values of the rows differ; the training begins anew" in run(*args).out
    assert gpubp.load(MODEL).network_.n_iter_ == 8


def test_nohup(run: Run, signal_at_epoch: Any) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_at_epoch(signal.SIGHUP)
        run(*TRAIN)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert gpubp.load(MODEL).network_.n_iter_ == 8


def test_a_model_that_is_trained_on_in_place(run: Run, signal_at_epoch: Any) -> None:
    run(*TRAIN)
    args = ("train", "iris", "--from", str(MODEL), "--epochs", "8", "--threads", "1", "-o")
    run(*args, "whole.safetensors")
    signal_at_epoch(signal.SIGTERM)
    stopped = run(*args, str(MODEL), code=143)
    assert "model.part.safetensors" in stopped.out
    assert "goes on in epoch 4" in run(*args, str(MODEL)).out
    assert MODEL.read_bytes() == Path("whole.safetensors").read_bytes()
