"""What `gpubp doctor` says of CuPy and of a device that cannot be used."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.cli.running import Run

BROKEN = """
try:
    import gpubp_has_no_such_library
except ImportError as error:
    raise ImportError("a page\\nof advice") from error
"""


@pytest.fixture(autouse=True)
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv("GPUBP_COMPILED", "0")
    monkeypatch.delenv("GPUBP_DEVICE", raising=False)


def packages(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have these packages installed, all in version 14.2.0."""
    doctor = import_module("gpubp.cli.doctor")
    monkeypatch.setattr(doctor, "installed", lambda name: "14.2.0" if name in names else None)


def lines_of(run: Run) -> dict[str, str]:
    """The lines of doctor, by name; its exit code is 0."""
    return dict(line.split(maxsplit=1) for line in run("doctor").out.splitlines())


def test_two_cupy_packages_are_one_too_many(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    packages(monkeypatch, "cupy-cuda12x", "cupy-cuda13x")
    assert lines_of(run)["cupy"] == (
        "cupy-cuda13x 14.2.0, cupy-cuda12x 14.2.0: two CuPy packages; uninstall them all "
        "(pip uninstall cupy-cuda13x cupy-cuda12x), then install one"
    )
    packages(monkeypatch, "cupy-cuda13x")
    assert lines_of(run)["cupy"] == "cupy-cuda13x 14.2.0"


def test_a_cupy_that_fails_to_import_is_not_called_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cupy.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.syspath_prepend(tmp_path / "broken")
    packages(monkeypatch, "cupy-cuda13x")
    monkeypatch.setenv("GPUBP_DEVICE", "cuda")
    lines = lines_of(run)
    problem = (
        "cupy-cuda13x is installed but cannot be imported: "
        "No module named 'gpubp_has_no_such_library'"
    )
    assert lines["cuda"] == f"{problem}; pip install --force-reinstall cupy-cuda13x"
    assert lines["auto"] == f"cuda, by GPUBP_DEVICE, but it cannot be used: {problem}"


@pytest.mark.usefixtures("host_cupy")
def test_a_device_that_can_be_used_is_described(run: Run) -> None:
    lines = lines_of(run)
    assert re.fullmatch(
        r"Stand-in, compute capability 8\.0, \d+\.\d of \d+\.\d GiB free", lines["cuda:0"]
    )
    assert lines["auto"] == "CUDA from batch rows x parameters = 10,000,000, else the CPU"


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_a_device_of_the_variable_that_cannot_be_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    packages(monkeypatch)
    assert lines_of(run)["auto"] == "everything runs on the CPU"
    monkeypatch.setenv("GPUBP_DEVICE", device)
    assert lines_of(run)["auto"] == (
        f"{device}, by GPUBP_DEVICE, but it cannot be used: CuPy is not installed"
    )


def test_a_wrong_device_of_the_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBP_DEVICE", "gpu")
    assert "GPUBP_DEVICE must be auto, cpu, cuda or cuda:N, got 'gpu'" in lines_of(run)["auto"]
    monkeypatch.setenv("GPUBP_DEVICE", "cpu")
    monkeypatch.setenv("GPUBP_COMPILED", "wrong")
    assert lines_of(run)["auto"] == "cpu, by GPUBP_DEVICE"
