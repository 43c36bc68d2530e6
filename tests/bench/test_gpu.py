"""Rows in processes of their own, and the command `python -m gpubp.bench.gpu`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from gpubp.bench import first_device, gpu, isolation, runner
from gpubp.bench.isolation import isolated_rows, logged_rows
from gpubp.bench.results import Part, Results, Row, find, load, row_name, save

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
    return {maker.__name__: maker for maker in makers}
"""


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A part of a benchmark, to be imported by this process and by its children."""
    (tmp_path / "some_part.py").write_text(PART)
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), root]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_part", raising=False)
    return "some_part"


def test_row_that_fails_or_dies_hides_no_other(part: str) -> None:
    names = ["fails", "dies", "good", "also"]
    rows = list(isolated_rows(part, "cpu", names, row_seconds=60, until=monotonic() + 60))
    assert [row_name(row) for row in rows] == names
    assert [row.status for row in rows] == ["failed"] * 2 + ["ok"] * 2
    assert rows[0].reason == "ArithmeticError: too large"
    assert rows[1].reason == "its process ended with code 3: last words"
    assert rows[2].figures["pid"] == rows[3].figures["pid"]


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


# ---- a run -------------------------------------------------------------------------------------

NOWHERE = {"cpu": "this", "device": {"name": "some"}}


def a_run(path: Path, results: Results | None = None) -> tuple[gpu.Run, list[str]]:
    lines: list[str] = []
    return gpu.Run("cuda", NOWHERE, path, results or {}, lines.append), lines


def part_of(device: str, *rows: Row) -> Part:
    return Part({"device": {"name": device}}, "2030-01-02T03:04:05+00:00", 1.5, rows)


def test_part_is_saved_beside_the_others(part: str, tmp_path: Path) -> None:
    path, old = tmp_path / "results.json", {"train": part_of("other", Row("digits"))}
    run, lines = a_run(path, old)
    run.rows("kernels", gpu.Measurement(part), monotonic() + 60)
    assert load(path) == run.results
    assert run.results["train"] == old["train"]
    assert [row.status for row in run.results["kernels"].rows] == ["failed", "ok"]
    assert run.results["kernels"].machine == NOWHERE
    assert run.measured == ["kernels"]
    assert "ArithmeticError: too large" in "\n".join(lines)


def test_every_row_is_saved_before_the_next(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(gpu, "save", lambda results, path: saved.append(len(results["x"].rows)))
    run, _ = a_run(tmp_path / "results.json")
    run.rows("x", gpu.Measurement(part), monotonic() + 60)
    assert saved == [1, 2]


def test_a_long_log_goes_to_a_file_beside_the_results(tmp_path: Path) -> None:
    path, text = tmp_path / "made" / "gpu-first.log", "".join(map(str, range(1000)))
    short = Row("short", log="x" * gpu.LOG_CHARACTERS)
    assert gpu.with_short_log(short, path) is short
    assert not path.exists()
    got = [gpu.with_short_log(Row(case, log=text), path) for case in ("a", "b")]
    end = text[-gpu.LOG_CHARACTERS :]
    assert [row.log for row in got] == [f"[full log in gpu-first.log] {end}"] * 2
    assert path.read_text(encoding="utf-8") == f"==== a\n{text}\n==== b\n{text}\n"


CEILINGS = Row("copy", figures={"bytes_per_second": 3e12})


@pytest.mark.parametrize(
    ("known", "measured"),
    [
        (part_of("some", CEILINGS), ["speed"]),
        (part_of("other", CEILINGS), ["ceilings", "speed"]),
        (part_of("some", CEILINGS, Row("product", status="failed")), ["ceilings", "speed"]),
        (None, ["ceilings", "speed"]),
    ],
)
def test_speed_takes_the_ceilings_of_the_same_device(
    known: Part | None, measured: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, lines = a_run(tmp_path / "r.json", {"ceilings": known} if known else {})
    for rows in ("rows", "cases"):
        monkeypatch.setattr(gpu.Run, rows, lambda run, name, *a: run.measured.append(name))
    run.measure("speed", 0)
    assert run.measured == measured
    assert len(lines) == ("ceilings" not in measured)


def test_ceilings_that_failed_are_not_measured_again_in_the_same_run(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "ceilings"):
        monkeypatch.setitem(gpu.MEASUREMENTS, name, gpu.Measurement(part))
    monkeypatch.setattr(runner, "machine", lambda device: NOWHERE)
    run, _ = a_run(tmp_path / "r.json", {"ceilings": part_of("some", CEILINGS)})
    for name in ("first", "speed", "peers"):
        run.measure(name, monotonic())  # no time for any row
    assert run.measured == ["first", "ceilings", "speed", "peers"]


def test_minutes_are_those_of_all_parts_together() -> None:
    assert gpu.deadlines("first", None, 1000) == {"first": 1000 + 60 * 2.0}
    assert gpu.deadlines("peers", 0.5, 1000) == {"peers": 1030}
    ends = gpu.deadlines("all", 10, 1000)
    assert list(ends) == ["first", "kernels", "train", "speed", "peers"]
    assert ends["peers"] == pytest.approx(1600)
    assert ends["first"] == pytest.approx(1000 + 600 * 2 / 18.75)
    assert ends["kernels"] == pytest.approx(1000 + 600 * 4 / 18.75)


def test_the_first_three_parts_take_under_6_minutes() -> None:
    assert sum(gpu.PARTS[name].minutes for name in ("first", "kernels", "train")) < 6
    assert all(part.minutes < 10 for part in gpu.PARTS.values())


def test_rows_of_first_are_logged() -> None:
    assert gpu.MEASUREMENTS["first"].isolated is logged_rows


def test_ceilings_come_before_speeds() -> None:
    for name in ("speed", "peers"):
        assert gpu.PARTS[name].names == ("ceilings", name)
    names = [name for part in gpu.PARTS.values() for name in part.names]
    assert set(names) == {*gpu.MEASUREMENTS, *gpu.PEERS_OF}


# ---- the command -------------------------------------------------------------------------------


def test_line_has_figures_notes_and_reason_but_no_log() -> None:
    row = Row("facts", reason="why", figures={"free_bytes": 1e9}, notes={"NVRTC": "13.1"}, log="L")
    assert gpu.line(row).split("ok", 1)[1].strip() == "free bytes 1e+09; NVRTC 13.1; why"


def test_without_a_device_nothing_is_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpubp.bench.gpu", "all", "--out", str(tmp_path / "none")]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
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


@pytest.mark.parametrize("args", [["nothing"], ["--minutes", "0"], ["--merge", "none.json"]])
def test_wrong_usage_has_code_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(args) == 2
    assert capsys.readouterr().err.startswith("Error: Invalid value")


@pytest.mark.parametrize("how", ["measure", "merge"])
def test_a_folder_that_cannot_be_made_is_one_line_with_a_remedy(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    args = ["first", "--device", "cpu", "--out", str(tmp_path / "file" / "out")]
    if how == "merge":
        save({"train": part_of("x", Row("a"))}, tmp_path / "other.json")
        args += ["--merge", str(tmp_path / "other.json")]
    assert gpu.main(args) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Not a directory; check the folder and the disk or choose another path" in line


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.mark.usefixtures("checkout")
def test_first_is_rehearsed_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["first", "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    assert "This is a rehearsal on the CPU; no figure is from a GPU." in capsys.readouterr().out
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "rehearsal-cpu.json"
    results = load(path)
    assert {row.case: row.status for row in results["first"].rows} == {
        "facts": "skipped",
        **{name: "ok" for name in first_device.rows("cpu") if name != "facts"},
    }
    assert find(results["ceilings"].rows, "product float32") is not None


@pytest.mark.usefixtures("checkout")
def test_without_time_every_part_has_its_rows(tmp_path: Path) -> None:
    started = monotonic()
    args = ["all", "--device", "cpu", "--out", str(tmp_path), "--minutes", "0.0001"]
    assert gpu.main(args) == 1
    assert monotonic() - started < 10
    results = load(tmp_path / "rehearsal-cpu.json")
    assert set(results) == {*gpu.MEASUREMENTS, *gpu.PEERS_OF}
    rows = [row for part in results.values() for row in part.rows]
    assert {row.reason for row in rows} <= {"no time was left for it", "took longer than 0 s"}


def test_a_file_is_merged_into_that_of_its_name(tmp_path: Path) -> None:
    old, new = tmp_path / "kept" / "gpu-x.json", tmp_path / "back" / "gpu-x.json"
    before = {"first": part_of("x", Row("a")), "train": part_of("x", Row("b"))}
    after = {"train": part_of("x", Row("c"))}
    save(before, old)
    save(after, new)
    assert gpu.main(["--merge", str(new), "--out", str(old.parent)]) == 0
    assert load(old) == before | after
    assert load(new) == after
