"""Where commands write: standard output by the name -, devices and pipes, parts of a run."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import gpubp
from gpubp.__main__ import main
from gpubp.storage.model_file import ModelFileError
from tests.cli.running import Run

ROOT = Path(gpubp.__file__).parents[1]
FAST = ("--hidden", "4", "--epochs", "2", "--quiet", "--preset", "plain")
SUITE = (
    'rounds = 2\nseconds = 0.01\npeers = ["gpubp"]\nbaseline = "gpubp"\n'
    '[[networks]]\nname = "N"\nsizes = [2, 2, 1]\nbatches = [4]\nrows = 8\nepochs = 1\n'
)
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the model m of data.csv."""
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{k},{k * k % 7},{'ab'[k % 2]}" for k in range(40))
    Path("data.csv").write_text(f"x,y,kind\n{rows}\n", encoding="utf-8")
    Path("tiny.toml").write_text(SUITE, encoding="utf-8")
    assert main(["train", "data.csv", *FAST, "-o", "m"]) == 0
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], command: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    found = main(command.split())
    captured = capsys.readouterr()
    assert found == code, captured.err
    return captured.out, captured.err


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_predictions_to_standard_output(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = _run(capsys, "predict m data.csv")
    assert expected[0].startswith("prediction\n")
    assert _run(capsys, f"predict m data.csv -o {name}") == expected
    assert not Path("-").exists()


def test_a_file_of_the_name_minus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "predict m data.csv -o ./-") == ("", "")
    assert Path("./-").read_text(encoding="utf-8").startswith("prediction\n")


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout here")
def test_standard_output_that_is_appended_to_is_not_cut(folder: Path) -> None:
    Path("log").write_text("before\n", encoding="utf-8")
    with Path("log").open("a", encoding="utf-8") as log:
        subprocess.run(
            [sys.executable, "-m", "gpubp", "predict", "m", "data.csv", "-o", "/dev/stdout"],
            stdout=log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
        )
    assert Path("log").read_text(encoding="utf-8").startswith("before\nprediction\n")


@pytest.mark.skipif(not Path("/dev/stderr").exists(), reason="no /dev/stderr here")
@pytest.mark.parametrize("name", ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "link"])
def test_a_file_that_is_open_is_appended_to(folder: Path, name: str) -> None:
    Path("log").write_text("before\n", encoding="utf-8")
    Path("link").symlink_to("/dev/stderr")
    with Path("log").open("a", encoding="utf-8") as log:
        subprocess.run(
            [sys.executable, "-m", "gpubp", "predict", "m", "data.csv", "-o", name],
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
        )
    assert Path("log").read_text(encoding="utf-8").startswith("before\nprediction\n")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no /dev/fd here")
def test_a_descriptor_that_is_not_open(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = _run(capsys, "predict m data.csv -o /dev/fd/987", code=1)
    assert err.startswith("Error: cannot write '/dev/fd/987': Bad file descriptor; choose")


@pytest.mark.parametrize("command", ["explain", "search --budget 50", "bench tiny.toml -o r.json"])
def test_a_page_to_standard_output(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = _run(capsys, f"{command} --html -")
    assert out.startswith("<!DOCTYPE html>")
    assert out.rstrip().endswith("</html>")
    assert len(err.splitlines()) > 3  # the lines for a person
    assert "The page is" not in err
    assert not Path("-").exists()
    _, err = _run(capsys, f"{command} --html - --json", code=2)
    assert "--html - and --json both write to standard output; give a file" in err


def test_a_table_to_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = _run(capsys, "bench tiny.toml -o r.json --csv -")
    assert out.startswith("network,")
    _, err = _run(capsys, "bench tiny.toml -o r2.json --csv - --html -", code=2)
    assert "--html and --csv are both -; give two files" in err


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no /dev/stdout here")
def test_a_link_to_standard_output_is_standard_output(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").symlink_to("/dev/stdout")
    Path("loop").symlink_to("loop")
    expected = _run(capsys, "predict m data.csv")
    assert _run(capsys, "predict m data.csv -o out") == expected
    assert "-o out is standard output" in _run(capsys, "train data.csv -o out", code=2)[1]
    assert "cannot write 'loop'" in _run(capsys, "predict m data.csv -o loop", code=1)[1]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize(
    ("csv", "html"),
    [
        ("-", "/dev/stdout"),
        ("/dev/fd/1", "-"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("to-stdout", "-"),
        ("new", "./new"),
        ("new", "{folder}/new"),
        ("new", "sub/../new"),
        ("link", "data.csv"),
        ("hard-link", "data.csv"),
        ("to-new", "new"),
        ("{folder}/folder-link/new", "sub/new"),
    ],
)
def test_two_outputs_are_two_files(
    folder: Path, csv: str, html: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sub").mkdir()
    Path("link").symlink_to("data.csv")
    Path("to-new").symlink_to("new")
    Path("to-stdout").symlink_to("/dev/stdout")
    Path("folder-link").symlink_to("sub")
    Path("hard-link").hardlink_to("data.csv")
    options = f"--csv {csv} --html {html}".format(folder=folder)
    _, err = _run(capsys, f"bench tiny.toml -o r.json {options}", code=2)
    assert "--html and --csv are both" in err
    _, err = _run(capsys, f"bench tiny.toml {options.replace('--csv', '-o')}", code=2)
    assert "-o and --html are both" in err or "is standard output" in err
    assert not Path("r.json").exists()


def test_standard_output_and_a_file_of_the_name_minus_are_two(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = _run(capsys, "bench tiny.toml -o r.json --csv - --html ./-")
    assert out.startswith("network,")
    assert Path("./-").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train data.csv -o -", "-o - is standard output, but a model file is binary; give"),
        ("train data.csv -o /dev/stdout", "-o /dev/stdout is standard output, but a model file"),
        ("bench tiny.toml -o -", "-o - is standard output, but --resume has to read the results"),
        (f"bench tiny.toml -o {os.devnull}", "is a device or pipe, but --resume has to read"),
    ],
)
def test_what_standard_output_cannot_take(
    folder: Path, command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _run(capsys, command, code=2)[1]
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "command",
    [
        "train data.csv --epochs 1 -o",
        "predict m data.csv -o",
        "explain --html",
        "search --budget 50 --html",
        "bench tiny.toml -o r.json --csv",
    ],
)
def test_a_device_is_written_to(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(os.devnull).stat()
    _run(capsys, f"{command} {os.devnull}")
    after = Path(os.devnull).stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


@needs_full
@pytest.mark.parametrize(
    "command",
    [
        "train data.csv --quiet -o",
        "predict m data.csv -o",
        "explain --html",
        "explain m data.csv --html",
    ],
)
def test_a_full_disk_is_told_of_in_one_line(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = _run(capsys, f"{command} /dev/full", code=1)
    assert err.splitlines()[-1].startswith("Error: cannot write '/dev/full': No space left on dev")


@needs_pipes
@pytest.mark.parametrize("command", ["predict m data.csv -o", "train data.csv --quiet -o"])
def test_a_pipe_is_written_to(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    _run(capsys, f"{command} pipe")
    reader.join(10)
    assert Path("pipe").is_fifo()
    if command.startswith("predict"):
        assert found[0].startswith(b"prediction\n")
    else:
        Path("copy").write_bytes(found[0])
        assert gpubp.load("copy").network_.n_iter_ > 0


@needs_full
def test_a_model_to_a_device_that_is_full() -> None:
    with pytest.raises(ModelFileError, match="cannot write '/dev/full': No space left"):
        gpubp.save(
            gpubp.MLPRegressor(hidden_layer_sizes=(2,)).partial_fit([[0.0], [1]], [0, 1]),
            "/dev/full",
        )


# A part of a run does not replace what a whole one has left.


def test_an_interrupted_search_replaces_no_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpubp.explain.search.report import TextSearchReport

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    Path("page.html").write_text("old", encoding="utf-8")
    monkeypatch.setattr(TextSearchReport, "progress", interrupt)
    out, _ = _run(capsys, "search --budget 0.2s --html page.html", code=130)
    assert Path("page.html").read_text(encoding="utf-8") == "old"
    assert "The page is page.part.html." in out
    assert Path("page.part.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_interrupted_bench_keeps_what_was_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpubp.bench.runner import Run

    command = "bench tiny.toml -o r.json --html page.html --csv table.csv"
    _, err = _run(capsys, command)
    assert "earlier results" not in err
    names = ("r.json", "page.html", "table.csv")
    whole = {name: Path(name).read_bytes() for name in names}
    measured, calls = Run._measured, iter([0, 1])

    def interrupted(self: Run, case: Any, number: int) -> Any:
        if next(calls):
            raise KeyboardInterrupt
        return measured(self, case, number)

    monkeypatch.setattr(Run, "_measured", interrupted)
    _, err = _run(capsys, command, code=130)
    assert "earlier results of this suite are kept in r.previous.json" in err
    assert Path("r.previous.json").read_bytes() == whole["r.json"]
    (part,) = json.loads(Path("r.json").read_text(encoding="utf-8"))["parts"].values()
    assert len(part["rows"][0]["rounds"]) == 1
    for name in names[1:]:
        assert Path(name).read_bytes() == whole[name]
    assert Path("page.part.html").exists()
    assert Path("table.part.csv").exists()


def test_results_without_a_measurement_are_not_kept(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(capsys, "bench tiny.toml -o r.json")
    shutil.copy("r.json", "r.previous.json")
    content = json.loads(Path("r.json").read_text(encoding="utf-8"))
    (part,) = content["parts"].values()
    for row in part["rows"]:
        row |= {"status": "failed", "rounds": [], "timing": None}
    Path("r.json").write_text(json.dumps(content), encoding="utf-8")
    kept = Path("r.previous.json").read_bytes()
    _run(capsys, "bench tiny.toml -o r.json")
    assert Path("r.previous.json").read_bytes() == kept


def test_a_full_disk_behind_standard_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run("train", "iris", *FAST)
    monkeypatch.setattr("gpubp.tables.write.write_csv", full)
    failed = run("predict", "model.safetensors", "iris", code=1)
    assert "cannot write standard output or a temporary file: No space left" in failed.err
