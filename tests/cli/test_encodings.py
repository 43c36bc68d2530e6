"""Whatever the encoding of the terminal, a command prints what it can and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpubp

ROOT = Path(gpubp.__file__).parents[1]
HEIGHT = "高さ"
FAST = ("--hidden", "4", "--epochs", "2", "--preset", "plain")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table whose columns, labels and name are not in every encoding."""
    rows = [f"{k * 7 % 41},{k * k % 7},{('低い', 'café')[k % 2]}" for k in range(40)]
    text = "\n".join([f"größe,x,{HEIGHT}", *rows, ""])
    (tmp_path / f"{HEIGHT}.csv").write_text(text, encoding="utf-8")
    return tmp_path


def _run(folder: Path, encoding: str, *commands: list[str]) -> tuple[list[int], list[bytes], bytes]:
    """Run commands in a process of their own; return their codes, stdouts, and all of stderr."""
    program = (
        "import json, sys; from gpubp.__main__ import main\n"
        "for args in json.loads(sys.argv[1]): print('\\0', main(args), end='\\0', flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(commands)],
        cwd=folder,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(encoding, "replace")
    parts = done.stdout.split(b"\0")
    return [int(code) for code in parts[1::2]], parts[:-1:2], done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_every_command_prints_what_the_encoding_can(folder: Path, encoding: str) -> None:
    data, model = f"{HEIGHT}.csv", f"{HEIGHT}.safetensors"
    codes, outs, error = _run(
        folder,
        encoding,
        ["train", data, "-o", model, *FAST],
        ["train", data, "-o", model, "--json", *FAST],
        ["evaluate", model, data],
        ["evaluate", model, data, "--json"],
        ["explain", model, data, "--html", f"{HEIGHT}.html"],
        ["explain", model, data, "--json"],
        ["train", data, "--target", f"{HEIGHT}{HEIGHT}"],
        ["predict", model, data, "--proba", "-o", f"{HEIGHT}.out.csv"],
        ["predict", model, data, "--proba"],  # in UTF-8 everywhere, as in a file
    )
    assert codes == [0, 0, 0, 0, 0, 0, 1, 0, 0]
    escaped = HEIGHT.encode(encoding, "backslashreplace")
    assert b"target '" + escaped + b"' (the last column; " in outs[0]
    assert escaped + b".safetensors" in outs[0]
    assert (folder / model).exists()
    assert [json.loads(line) for line in outs[1].splitlines()][-1]["model"] == model
    assert json.loads(outs[3])["rows"] == 40
    assert "größe" in str(json.loads(outs[5]))
    assert error.count(b"Error: ") == 1
    assert outs[8].decode("utf-8").startswith("prediction,proba_café,proba_低い\n")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_a_file_name_that_is_no_text(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    codes, outs, _ = _run(folder, "utf-8", ["train", f"{HEIGHT}.csv", "-o", name, *FAST])
    assert codes == [0]
    assert b"\nmodel       caf\\udce9\n" in outs[0]
