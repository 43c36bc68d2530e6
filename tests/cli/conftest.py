"""The fixtures that tests of the command line share."""

from __future__ import annotations

import io
import signal
from pathlib import Path
from typing import Any

import pytest

from gpubp.__main__ import main
from gpubp.reports.terminal import TextReport
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


@pytest.fixture
def signal_at_epoch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what lets the next run get a signal after an epoch."""

    def send(number: int, at: int = 3) -> None:
        waiting = [number]

        def epoch(self: TextReport, epoch: Any) -> None:
            if epoch.number == at and waiting:
                signal.raise_signal(waiting.pop())

        monkeypatch.setattr(TextReport, "epoch", epoch)

    return send
