"""The commands themselves: help, version, doctor, and what they load."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.cli import COMMANDS
from tests.cli.running import FAST, ROOT, Run, one_line


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"gpubp {gpubp.__version__}\n"
    assert run("-h").out == run("--help").out
    for command, text in COMMANDS.items():
        assert re.search(rf"  {command} +{re.escape(text)}", run("--help").out)
        assert run(command, "--help").out.startswith(f"Usage: gpubp {command}")
    assert "No such command 'trian'" in one_line(run("trian", code=2))


def test_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) in (0, 2)  # by the version of click
    captured = capfd.readouterr()
    assert "Usage: gpubp" in captured.out + captured.err


def test_doctor(run: Run) -> None:
    lines = dict(line.split(maxsplit=1) for line in run("doctor").out.splitlines())
    assert lines["gpubp"] == gpubp.__version__
    assert f"numpy {np.__version__}" in lines["packages"]
    assert re.match(r"\d+ cores?$", lines["cpu"])
    assert "thread" in lines["blas"]
    assert "CPU" in lines["auto"]
    assert re.match(
        r"trainings of 5,000,000 multiply-adds|all trainings, by |there is no", lines["compiled"]
    )


def test_doctor_counts_the_calls_of_a_step(run: Run) -> None:
    out = run("doctor", "--verbose").out
    assert re.search(
        r"^step cpu +64-128-128-10, batch 256: \d+ calls \(\d+ NumPy calls\)$", out, re.M
    )
    assert not re.search(r"\b1 (calls|NumPy calls|compiled calls|threads|cores)\b", out)


HEAVY = {"numpy", "sklearn", "cupy", "rich", "safetensors", "scipy", "threadpoolctl"}


@pytest.mark.parametrize(
    "code",
    [
        "import gpubp.__main__",
        "import gpubp.__main__; gpubp.__main__.main(['--help'])",
        "import gpubp.__main__; gpubp.__main__.main(['--version'])",
        "import gpubp.__main__; gpubp.__main__.main(['doctor', '--help'])",
    ],
)
def test_help_loads_nothing_heavy(code: str) -> None:
    code = f"import sys; {code}; print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "gpubp.cli" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_python_m_gpubp(tmp_path: Path) -> None:
    """As a process: exit code, streams, and no warning of any kind."""
    command = [sys.executable, "-W", "error", "-m", "gpubp"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options: dict[str, Any] = {"cwd": tmp_path, "capture_output": True, "text": True}
    args = ["train", "iris", "--json", *FAST]
    done = subprocess.run([*command, *args], env=environment, **options, check=True)
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "result"
    failed = subprocess.run([*command, "train", "x.csv"], env=environment, **options, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "Error: x.csv: no such file; check the path\n"
