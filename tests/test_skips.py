"""The end of a test run says why tests were skipped, in one line per reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SKIPPING = """
import pytest

@pytest.mark.parametrize("k", range(3))
def test_two_places(k):
    if k:
        pytest.skip("no reason")
    pytest.skip("no reason")

@pytest.mark.skip(reason="another")
def test_by_mark():
    pass

def test_that_fails():
    assert False
"""


@pytest.mark.parametrize("shown", ["-ra", "-rf"])
def test_one_line_per_reason(tmp_path: Path, shown: str) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPING)
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", shown, "test_it.py"]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    lines = run.stdout.splitlines()
    assert "FAILED test_it.py::test_that_fails - assert False" in lines
    told = [line for line in lines if line.endswith((": no reason", ": another"))]
    expected = ["3 (test_it.py): no reason", "1 (test_it.py): another"]
    assert told == (expected if shown == "-ra" else [])
