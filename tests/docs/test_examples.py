"""Every script of examples/ runs, and prints something."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.docs.pages import EXAMPLES

SCRIPTS = sorted(EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_runs(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed
    if printed.rpartition("skipped: ")[1]:
        pytest.skip(printed.rpartition("skipped: ")[2].strip())


def test_there_are_eight() -> None:
    assert len(SCRIPTS) == 8
