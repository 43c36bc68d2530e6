"""The environment variables of gpubp on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Run, one_line


def test_doctor_shows_the_variables(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUBP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    monkeypatch.setenv("GPUBP_THREADS", "two")
    monkeypatch.delenv("GPUBP_COMPILED", raising=False)
    lines = dict(line.split(maxsplit=1) for line in run("doctor", "--verbose").out.splitlines())
    assert lines["GPUBP_DEVICE"] == "cpu"
    assert lines["auto"] == "cpu, by GPUBP_DEVICE"
    assert "must be a whole number from 1 to 999999, got 'two'" in lines["GPUBP_THREADS"]
    assert lines["GPUBP_COMPILED"] == "(unset: compiled='auto' chooses by the size of the training)"
    assert lines["GPUBP_CACHE_DIR"] == str(tmp_path / "cache")


@pytest.mark.parametrize(
    ("value", "text"),
    [("1", "all trainings, by "), ("", "per epoch or more, by "), ("0", "forbids")],
)
def test_doctor_says_whether_steps_are_compiled(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, text: str
) -> None:
    monkeypatch.setenv("GPUBP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GPUBP_COMPILED", value)
    (line,) = (x for x in run("doctor").out.splitlines() if x.startswith("compiled"))
    assert text in line or "there is no C++ compiler" in line


@pytest.mark.parametrize("name", ["GPUBP_DEVICE", "GPUBP_THREADS", "GPUBP_COMPILED"])
def test_train_names_a_wrong_variable(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "wrong")
    line = one_line(run("train", "iris", "--epochs", "1", code=2))
    assert f"the environment variable {name} must be" in line


def test_train_follows_the_variables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    monkeypatch.setenv("GPUBP_COMPILED", "1")
    assert "GPUBP_DEVICE=cpu" in run("train", "iris", "--epochs", "1").out
    monkeypatch.setenv("GPUBP_COMPILED", "0")
    done = run("train", "iris", "--epochs", "1", "--compiled")
    assert "not compiled, since GPUBP_COMPILED=0" in done.out
    monkeypatch.setenv("GPUBP_DEVICE", "cuda:99")
    line = one_line(run("train", "iris", "--epochs", "1", code=2))
    assert line.startswith("Error: GPUBP_DEVICE=cuda:99: ")
    assert "device='cpu'" in run("train", "iris", "--epochs", "1", "--device", "cpu").out
