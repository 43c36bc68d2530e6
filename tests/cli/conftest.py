"""The fixture that all tests of the command line share."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gpubp.__main__ import main
from tests.cli.running import Result, Run, plain


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty folder.

    Trainings have preset plain unless the test gives another: the tuned one takes longer.
    """
    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: str = "", code: int = 0) -> Result:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        found = main(plain(args))
        captured = capsys.readouterr()
        assert found == code, captured.err
        return Result(found, captured.out, captured.err)

    return run
