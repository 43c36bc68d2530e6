"""Rows in processes of their own, and the command `python -m gpubp.bench.gpu`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from gpubp.bench import gpu, isolation
from gpubp.bench.isolation import isolated_rows, logged_rows
from gpubp.bench.results import Part, Row, load, row_name

PART = """
import atexit, os, time
from gpubp.bench.results import Row

def rows(device):
    def fails(): raise ArithmeticError("too\\nlarge")
    def dies():
        print("last words", flush=True)
        os._exit(3)
    def hangs(): time.sleep(60)
    def good(): return Row("good", device=device, figures={"pid": os.getpid()})
    def also(): return Row("also", device=device, figures={"pid": os.getpid()})
    def theirs(): return Row("case", "peer", figures={"pid": os.getpid()})
    def logs(text="a product"):
        level, path = (os.environ["CUBLASLT_LOG_" + name] for name in ("LEVEL", "FILE"))
        open(path, "a").write(f"level {level}: {text}")
    def logs_and_dies():
        logs()
        os.write(2, b"one\\ntwo\\n\\nthree\\nfour\\n")
        os._exit(3)
    def logs_late():
        atexit.register(lambda: time.sleep(0.2) or logs("closed"))
        return good()
    makers = [fails, dies, hangs, good, also, logs_and_dies, logs_late]
    makers = makers if device == "cpu" else [fails, good]
    return {maker.__name__: maker for maker in makers} | {"peer/case": theirs}
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A part of a benchmark, to be imported by this process and by its children."""
    (tmp_path / "some_part.py").write_text(PART)
    root = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), root]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_part", raising=False)
    return "some_part"


def test_row_that_fails_or_dies_hides_no_other(part: str) -> None:
    names = ["fails", "dies", "good", "also", "peer/case"]
    rows = list(isolated_rows(part, "cpu", names, row_seconds=60, until=monotonic() + 60))
    assert [row_name(row) for row in rows] == names
    assert [row.status for row in rows] == ["failed"] * 2 + ["ok"] * 3
    assert rows[0].reason == "ArithmeticError: too large"
    assert rows[1].reason == "its process ended with code 3: last words"
    own, next_one, peers = (row.figures["pid"] for row in rows[2:])
    assert own == next_one
    assert peers != own


def test_row_that_hangs_hides_no_other(part: str) -> None:
    names = ["hangs", "good"]
    rows = list(isolated_rows(part, "cpu", names, row_seconds=2, until=monotonic() + 60))
    assert [row.status for row in rows] == ["failed", "ok"]
    assert rows[0].reason == "took longer than 2 s"


def test_rows_without_time_say_so(part: str) -> None:
    rows = list(isolated_rows(part, "cpu", ["good", "also"], row_seconds=9, until=monotonic()))
    assert [(row.case, row.status) for row in rows] == [("good", "failed"), ("also", "failed")]
    assert rows[0].reason == "no time was left for it"


def test_logged_rows_have_processes_of_their_own_and_what_was_logged(part: str) -> None:
    names = ["logs_and_dies", "good", "also", "logs_late"]
    got = list(logged_rows(part, "cpu", names, row_seconds=60, until=monotonic() + 60))
    assert [row.status for row in got] == ["failed", "ok", "ok", "ok"]
    assert [row.log for row in got] == ["level 2: a product", "", "", "level 2: closed"]
    assert got[0].reason == "its process ended with code 3: two | three | four"
    assert len({row.figures["pid"] for row in got[1:]}) == 3


def test_of_a_long_log_the_end_is_kept(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "LOG_BYTES", 9)
    (row,) = logged_rows(part, "cpu", ["logs_late"], row_seconds=60, until=monotonic() + 60)
    assert row.log == ": closed"[-9:].rjust(9, "2")


def test_logged_row_that_hangs_ends_with_its_time(part: str) -> None:
    names, started = ["hangs", "good", "good"], monotonic()
    got = list(logged_rows(part, "cpu", names, row_seconds=60, until=started + 2))
    assert monotonic() - started < 10
    assert got[0].reason == "took longer than 2 s"
    assert [row.reason for row in got[1:]] == ["no time was left for it"] * 2


def test_of_a_traceback_the_last_line_is_the_reason(part: str) -> None:
    (row,) = logged_rows("no_such_part", "cpu", ["x"], row_seconds=60, until=monotonic() + 60)
    why = "ModuleNotFoundError: No module named 'no_such_part'"
    assert row.reason == f"its process ended with code 1: {why}"


def part_of(device: str, *rows: Row) -> Part:
    return Part({"device": {"name": device}}, "2030-01-02T03:04:05+00:00", 1.5, rows)


def test_part_is_saved_beside_the_others(part: str, tmp_path: Path) -> None:
    path, lines = tmp_path / "results.json", []
    old = {"train": part_of("other", Row("digits"))}
    got = gpu.run_part("kernels", part, "cuda", {"cpu": "this"}, old, path, 1, lines.append)
    assert load(path) == got
    assert got["train"] == old["train"]
    assert [row.status for row in got["kernels"].rows] == ["failed", "ok", "ok"]
    assert got["kernels"].machine == {"cpu": "this"}
    assert "ArithmeticError: too large" in "\n".join(lines)


def test_table_has_each_peer_and_its_ratio() -> None:
    ours = Row("c", figures={"us_per_step": 20.0})
    peer = Row("c", "jax_scan", figures={"us_per_step": 50.0, "gpubp_speedup": 2.5})
    text = gpu.table([ours, peer, Row("c", "torch_eager", "failed")])
    assert text.split("\n")[1].split()[-2:] == ["gpubp", "jax_scan"]
    assert text.split("\n")[2].split() == ["c", "20.00", "50.00", "(2.50x)"]


def test_without_a_device_nothing_is_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpubp.bench.gpu", "all", "--out", str(tmp_path / "none")]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "cuda" in done.stderr.lower()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("args", [["nothing"], ["--device", "cpu"]])
def test_wrong_usage_has_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(args) == 2
    assert capsys.readouterr().err.startswith("Error: Invalid value")


def test_every_part_has_its_module_and_comes_after_the_ceilings() -> None:
    for names in gpu.CHOICES.values():
        assert names[0] == "ceilings"
        assert set(names) <= set(gpu.MODULES)
