"""`gpubp bench`: what it lists, measures, writes, refuses, and goes on with after Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gpubp.__main__ import main
from gpubp.bench import runner
from gpubp.bench.available import reason_for_none
from gpubp.bench.results import load
from gpubp.settings import MOST_THREADS
from tests.bench import child

ROOT = Path(__file__).parents[2]
MEASUREMENT = runner.CHILD
SUITE = """
rounds = 3
peers = ["gpubp", "sklearn_mlp"]

[[networks]]
name = "a"
sizes = [6, 8, 3]
batches = [8, 16]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "CHILD", child.QUICK)
    Path("s.toml").write_text(SUITE, encoding="utf-8")


def bench(*arguments: object, code: int = 0) -> None:
    assert main(["bench", *map(str, arguments)]) == code


def test_a_suite_becomes_a_table_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    bench("s.toml", "-o", "r.json", "--html", "p.html", "--csv", "t.csv", "--threads", 1)
    out, err = capsys.readouterr()
    assert "results in r.json" in out
    assert out.count("gpubp   ") == 2
    assert "[12/12] round 3/3, 0 s left" in err
    assert "<h1>gpubp bench s</h1>" in Path("p.html").read_text(encoding="utf-8")
    lines = Path("t.csv").read_text(encoding="utf-8").splitlines()
    assert [len(cells) for cells in csv.reader(lines)] == [32] * 5
    part = load(Path("r.json"))["s"]
    assert part.settings["threads"] == 1
    assert part.machine["packages"]["numpy"]
    assert [row.seed for row in part.rows] == [0] * 4
    assert [row.losses for row in part.rows] == [(1.0, 0.5)] * 4


def test_results_go_to_a_file_of_suite_and_machine() -> None:
    bench("s.toml", "--rounds", 1, "--peers", "gpubp", "--json")
    (path,) = Path("bench-results").iterdir()
    assert path.name.startswith("s-")
    assert path.suffix == ".json"
    assert [len(row.rounds) for row in load(path)["s"].rows] == [1, 1]


def test_rows_are_json_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    bench("s.toml", "--rounds", 1, "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["peer"] for row in rows] == ["gpubp", "sklearn_mlp"] * 2


def test_a_dry_run_lists_the_cases_and_measures_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench("s.toml", "--dry-run", "--threads", 1)
    assert capsys.readouterr().out.splitlines() == [
        "a 6-8-3 b8 adam float32 cpu: drawn from seed 0, 400 rows, 10 epochs, 500 steps per fit",
        "  gpubp, sklearn_mlp",
        "a 6-8-3 b16 adam float32 cpu: drawn from seed 0, 800 rows, 10 epochs, 500 steps per fit",
        "  gpubp, sklearn_mlp",
        "4 cases in 3 rounds: 12 processes of 1 threads",
    ]
    assert sorted(path.name for path in Path().iterdir()) == ["s.toml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quikc",), "did you mean 'quick'?"),
        (("s.toml", "--peers", "torch"), "--peers: 'torch' is not in the suite; it has gpubp, skl"),
        (
            ("s.toml", "--baseline", "x"),
            "--baseline: 'x' is not in the suite; give one of gpubp, sk",
        ),
        (("s.toml", "--baseline", "torch_graph"), "'torch_graph' is not in the suite; give one"),
        (("s.toml", "--html", "x", "--csv", "./x"), "--html and --csv are both x; give two files"),
        (("s.toml", "-o", "x", "--html", "x"), "-o and --html are both x; give two files"),
        (("s.toml", "--threads", "4000"), "--threads 4000: there are"),
        (("s.toml", "--rounds", "0"), "--rounds"),
        (("compare", "s.toml", "none.json"), "is not"),
        (("compare", ".", "s.toml"), "'.' cannot be read: Is a directory; give a file of gpubp be"),
        (("compare", "none.json", "s.toml"), "'none.json' does not exist"),
    ],
)
def test_a_wrong_call_is_one_line_and_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments == ("compare", "s.toml", "none.json"):
        message = "does not hold results of schema"
    bench(*arguments, code=2)
    out, err = capsys.readouterr()
    assert message in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_a_typo_in_a_suite_is_named_with_line_and_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.toml").write_text(SUITE.replace("batches", "bathces"), encoding="utf-8")
    bench("s.toml", code=2)
    assert capsys.readouterr().err == (
        "Error: s.toml, line 8: unknown key 'bathces'; did you mean 'batches'?\n"
    )


def test_a_file_that_cannot_be_written_is_refused_before_measuring(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench("s.toml", "-o", "none/r.json", code=1)
    bench("s.toml", "--html", "none/p.html", code=1)
    assert capsys.readouterr().err.count("none' does not exist; create it") == 2
    assert not Path("order.txt").exists()


def test_a_suite_without_its_device_is_code_2_and_no_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = SUITE.replace('"sklearn_mlp"', '"floor"') + 'devices = ["cuda:99"]\n'
    Path("s.toml").write_text(text, encoding="utf-8")
    bench("s.toml", code=2)
    out, err = capsys.readouterr()
    assert re.fullmatch(r"Error: .*; .*\n", err)
    assert out == ""
    assert sorted(path.name for path in Path().iterdir()) == ["s.toml"]


def test_cases_of_which_one_can_run_are_not_refused() -> None:
    assert reason_for_none([("gpubp", "cuda:99"), ("sklearn_mlp", "cpu")]) == ""
    assert reason_for_none([("sklearn_mlp", "cuda:99")]) == "scikit-learn has no GPU"


def test_the_folder_of_results_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    monkeypatch.setattr("gpubp.cli.bench_run.FOLDER", Path("file/results"))
    bench("s.toml", code=1)
    assert "Not a directory; check the folder and the disk or choose" in capsys.readouterr().err


@pytest.mark.parametrize("threads", [4097, MOST_THREADS])
def test_threads_have_one_maximum(threads: int, capsys: pytest.CaptureFixture[str]) -> None:
    bench("s.toml", "--threads", threads, code=2)
    assert "cores; give at most that" in capsys.readouterr().err
    bench("s.toml", "--threads", MOST_THREADS + 1, code=2)
    assert "is not in the range" in capsys.readouterr().err


def test_another_file_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    bench("s.toml", "-o", "s.toml", code=2)
    assert Path("s.toml").read_text(encoding="utf-8") == SUITE
    bench("s.toml", "-o", "r.json", "--rounds", 1)
    Path("s.toml").rename("other.toml")
    capsys.readouterr()
    bench("other.toml", "-o", "r.json", code=2)
    assert "'r.json' has the results of s; give another file" in capsys.readouterr().err
    assert list(load(Path("r.json"))) == ["s"]


def test_a_table_without_its_baseline_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    bench("s.toml", "--peers", "gpubp", "--rounds", 1)
    assert "no ratios: sklearn_mlp is not in the table; --baseline" in capsys.readouterr().out
    bench("s.toml", "-o", "r.json", "--rounds", 1)
    assert "no ratios" not in capsys.readouterr().out


def test_fail_below_is_for_ci(capsys: pytest.CaptureFixture[str]) -> None:
    bench("s.toml", "--rounds", 1, "--fail-below", 1.5)
    bench("s.toml", "--rounds", 1, "--fail-below", 3, code=1)
    err = capsys.readouterr().err
    assert err.count("times sklearn_mlp, below 3") == 2
    bench("s.toml", "--rounds", 1, "--peers", "sklearn_mlp", "--fail-below", 1, code=1)


def test_a_case_that_fails_is_code_1_and_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    text = SUITE + SUITE[SUITE.index("[[") :].replace('"a"', '"breaks"')
    Path("s.toml").write_text(text, encoding="utf-8")
    bench("s.toml", "--peers", "gpubp", code=1)
    out, err = capsys.readouterr()
    assert out.count("\n  gpubp") == 4
    assert "it broke" in err


def test_two_runs_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("old.json", "new.json"):
        bench("s.toml", "-o", name)
    capsys.readouterr()
    bench("compare", "old.json", "new.json")
    out = capsys.readouterr().out
    assert out.count("same, against sklearn_mlp in the same rounds") == 2
    content = Path("new.json").read_text(encoding="utf-8")
    values = json.loads(content)
    for row in values["parts"]["s"]["rows"]:
        if row["peer"] == "gpubp":
            row["rounds"] = [3 * seconds for seconds in row["rounds"]]
    Path("new.json").write_text(json.dumps(values), encoding="utf-8")
    bench("compare", "old.json", "new.json", code=1)
    assert capsys.readouterr().out.count("slower, against sklearn_mlp") == 2
    bench("compare", "--threshold", 9, "old.json", "new.json")


def test_the_help_names_suites_and_compare(capsys: pytest.CaptureFixture[str]) -> None:
    bench("--help")
    out = capsys.readouterr().out
    assert "gpubp bench compare OLD.json NEW.json" in out
    for name in ("quick", "cpu", "gpu", "gpu-steps", "batch", "inference", "scaling", "population"):
        assert name in out
    bench("compare", "--help")
    assert "bench compare [OPTIONS] OLD NEW" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_keeps_what_was_measured_and_resume_goes_on(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("s.toml").write_text(SUITE.replace('"a"', '"slow"'), encoding="utf-8")
    program = (
        # A shell without job control has what it starts in the background ignore SIGINT.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from gpubp.bench import runner; from gpubp.__main__ import main;"
        f"runner.CHILD = {child.QUICK!r}; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "bench", "s.toml", "-o", "r.json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for _ in range(3):
        process.stderr.readline()
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + getattr(signal, name), err
    assert err.splitlines()[-1] == "Interrupted; continue with --resume."
    assert "Traceback" not in err
    assert "us/step" in out  # what was measured so far
    before = load(Path("r.json"))["s"].rows
    measured = sum(len(row.rounds) for row in before)
    assert 3 <= measured < 12
    bench("s.toml", "-o", "r.json", "--resume")
    assert f"{measured} measurements are already in the results file" in capsys.readouterr().err
    after = load(Path("r.json"))["s"].rows
    assert [len(row.rounds) for row in after] == [3] * 4
    for old, new in zip(before, after, strict=False):
        assert new.rounds[: len(old.rounds)] == old.rounds
    bench("s.toml", "-o", "r.json", "--resume", "--threads", 1, "--keep-env", code=2)
    assert "results of another plan" in capsys.readouterr().err


def test_quick_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "CHILD", MEASUREMENT)
    # What is installed goes before the folder that the command is called in.
    Path("numpy.py").write_text("raise RuntimeError('not NumPy')", encoding="utf-8")
    started = monotonic()
    # One thread: two would fight with whatever else runs beside the tests.
    bench("quick", "--rounds", 1, "--threads", 1)
    (path,) = Path("bench-results").iterdir()
    (part,) = load(path).values()
    ours = [row for row in part.rows if row.peer == "gpubp"]
    assert len(ours) == 2
    for row in ours:
        assert row.not_compared == ""
        assert row.figures["ratio"] > 0
        assert row.figures["of_products"] > 0
    assert [row.status for row in part.rows] == ["ok"] * 6
    assert part.seconds <= monotonic() - started
    assert "x sklearn_mlp" in capsys.readouterr().out


def _without(*names: str) -> Callable[[Any], None]:
    """Return what removes the entry of these names from the results of a suite."""

    def remove(part: Any) -> None:
        for name in names[:-1]:
            part = part[name]
        del part[names[-1]]

    return remove


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("machine", "cpu"), "(no 'cpu')"),
        (_without("settings", "threads"), "(no 'threads')"),
        (_without("settings", "suite", "cases"), "(no 'cases')"),
        (lambda part: part.update(seconds="x"), "(seconds is 'x')"),
        (lambda part: part["settings"]["suite"].update(cases=[]), "which is not a case of it)"),
        (lambda part: part["rows"][0].update(rounds=[0.0]), "(seconds of a round are 0.0)"),
        (lambda part: part["rows"][0].update(rounds=["x"]), "(seconds of a round is 'x')"),
        (lambda part: part["rows"][0].update(rounds=[]), "(no seconds in the row of "),
        (lambda part: part["rows"][0].update(figures={}), "(no 'peak_bytes')"),
        (lambda part: part["rows"][0].update(status="fine"), "(status 'fine')"),
        (lambda part: part["rows"].append(3), "does not hold results of schema 1"),
        (_without("settings"), "r.json"),
    ],
)
def test_damaged_results_are_one_line_wherever_they_are_read(
    damage: Callable[[Any], None], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bench("s.toml", "-o", "r.json", "--rounds", 1)
    bench("s.toml", "-o", "whole.json", "--rounds", 1)
    content = json.loads(Path("r.json").read_text(encoding="utf-8"))
    damage(content["parts"]["s"])
    Path("r.json").write_text(json.dumps(content), encoding="utf-8")
    for arguments in (
        ("s.toml", "-o", "r.json", "--resume"),
        ("s.toml", "-o", "r.json"),
        ("compare", "r.json", "whole.json"),
        ("compare", "whole.json", "r.json"),
    ):
        capsys.readouterr()
        bench(*arguments, code=2)
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
