"""Names: the nearest to a mistyped one, and what a shell completes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

import gpubp
from gpubp.__main__ import main
from gpubp.cli import COMMANDS
from gpubp.cli import gpubp as group

ROOT = Path(gpubp.__file__).parents[1]


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ("trian", "No such command 'trian'; did you mean 'train'?"),
        ("TRAIN", "No such command 'TRAIN'; did you mean 'train'?"),
        ("evalute m iris", "did you mean 'evaluate'?"),
        ("benhc", "did you mean 'bench'?"),
        ("zzz", "No such command 'zzz'; give one of train, sweep, predict, evaluate, inspect"),
        ("bench infrence", "did you mean 'inference'?"),
        ("explain --example iriss", "no example is called 'iriss'; did you mean 'iris'?"),
    ],
)
def test_a_mistyped_name_gives_the_nearest(
    args: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args.split()) in (1, 2)
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1


def test_a_mistyped_option_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hlep"]) == 2
    assert "--hlep" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("iris_more.csv", "digits.NPZ", "notes.md", "xor_of_mine.toml", ".hidden.csv"):
        Path(name).touch()
    Path("inputs").mkdir()
    return tmp_path


def _completions(*args: str) -> list[tuple[str, str]]:
    """The type and value of what completes the last of ``args``."""
    shell = ShellComplete(group, {}, "gpubp", "_GPUBP_COMPLETE")
    items = shell.get_completions(list(args[:-1]), args[-1])
    return [(item.type, item.value) for item in items]


def _plain(*values: str) -> list[tuple[str, str]]:
    return [("plain", value) for value in values]


@pytest.mark.parametrize(
    "before", [("train",), ("sweep",), ("predict", "m"), ("evaluate", "m"), ("explain", "m")]
)
def test_data_completes_to_data_sets_and_files(folder: Path, before: tuple[str, ...]) -> None:
    assert _completions(*before, "ir") == _plain("iris", "iris_more.csv")
    assert _completions(*before, "di") == _plain("digits", "diabetes", "digits.NPZ")
    sets = ("digits", "breast_cancer", "wine", "iris", "diabetes")
    assert _completions(*before, "") == _plain(*sets, "digits.NPZ", "inputs/", "iris_more.csv")
    for path in ("inputs/", "./ir", "no"):
        assert _completions(*before, path) == [("file", path)]


@pytest.mark.parametrize("command", ["explain", "search"])
def test_examples_complete(folder: Path, command: str) -> None:
    assert _completions(command, "--example", "xo") == _plain("xor", "xor_of_mine.toml")
    assert _completions(command, "--example", "net") == [("file", "net")]


def test_suites_complete(folder: Path) -> None:
    assert _completions("bench", "gpu") == _plain("gpu", "gpu-steps")
    assert _completions("bench", "comp") == _plain("compare")
    assert _completions("bench", "mine") == [("file", "mine")]


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain"])
def test_a_model_completes_to_files(folder: Path, command: str) -> None:
    assert _completions(command, "mo") == [("file", "mo")]


def test_commands_and_options_complete() -> None:
    assert [value for _, value in _completions("")] == list(COMMANDS)
    assert _completions("tr") == _plain("train")
    assert _completions("train", "--solv") == _plain("--solver")
    assert ("plain", "halving") in _completions("sweep", "--sampler", "h")
    assert ("plain", "lbfgs") in _completions("train", "--solver", "l")


def test_bash_asks_the_program(folder: Path) -> None:
    variables = {"_GPUBP_COMPLETE": "bash_complete", "COMP_WORDS": "gpubp train ir"}
    done = subprocess.run(
        [sys.executable, "-m", "gpubp"],
        capture_output=True,
        text=True,
        env=os.environ | variables | {"COMP_CWORD": "2", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.stdout.splitlines() == ["plain,iris", "plain,iris_more.csv"]
