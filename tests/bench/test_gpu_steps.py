"""The parts "speed" and "peers" of `python -m gpubp.bench.gpu`, which are cases of a suite."""

from __future__ import annotations

import re
from pathlib import Path
from time import monotonic

import pytest

from gpubp.bench import gpu, runner
from gpubp.bench.report import table
from gpubp.bench.results import Part, Row, find, load, save
from gpubp.bench.saved_runs import is_run, load_runs
from gpubp.bench.workloads import floor_us
from tests.bench import child


def test_speed_is_that_of_gpubp_alone_and_peers_come_in_turn() -> None:
    speed, peers = (gpu.steps_suite(name, "cuda:1") for name in ("speed", "peers"))
    assert [(case.mode, case.peer) for case in speed.cases] == [
        *[("epochs", "gpubp")] * 4,
        *[("forward", "gpubp")] * 2,
    ]
    assert {case.rows for case in speed.cases if case.mode == "forward"} == {10_000_000}
    assert {case.device for case in (*speed.cases, *peers.cases)} == {"cuda:1"}
    names = list(dict.fromkeys(case.peer for case in peers.cases))
    assert names == ["gpubp", "torch_eager", "torch_graph", "jax_scan", "torch_compile"]
    assert peers.cases[:6] == speed.cases
    assert (speed.name, peers.baseline, peers.rounds) == ("speed", "gpubp", 1)


def test_a_rehearsal_is_short_and_without_what_only_cuda_computes() -> None:
    cases = gpu.steps_suite("peers", "cpu").cases
    assert {case.precision for case in cases} == {"float32"}
    assert {case.mode for case in cases} == {"epochs", "forward"}
    assert {(case.device, case.epochs) for case in cases} == {("cpu", 2)}
    assert all(case.batch <= case.rows <= 100_000 for case in cases)


def quick_run(path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[str]:
    """Run "peers" with the processes that measure nothing; return its lines."""
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(runner, "CHILD", child.QUICK)
    product = Row("product float32", figures={"flop_per_second": 5e13})
    ceilings = Part({}, "", 1.5, (Row("copy", figures={"bytes_per_second": 3e12}), product))
    results = {"ceilings": ceilings, "train": Part({}, "", 1.5, (Row("digits"),))}
    save(results, path)
    lines: list[str] = []
    run = gpu.Run("cpu", {}, path, results, lines.append)
    run.cases("peers", monotonic() + seconds)
    assert run.results == load(path)
    assert set(run.results) == {"ceilings", "train", "peers"}
    return lines


def test_cases_are_measured_as_by_gpubp_bench_and_have_floors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.json"
    lines = quick_run(path, monkeypatch, 60)
    part = load(path)["peers"]
    small = [case for case in gpu.steps_suite("peers", "cpu").cases if case.network == "small"]
    ours, theirs = (find(part.rows, small[0].name, peer) for peer in ("gpubp", "torch_eager"))
    assert ours is not None
    assert theirs is not None
    floor = floor_us(small[0].phases, 5e13, 3e12)
    assert ours.figures["us_per_step"] == pytest.approx(1e6 * ours.rounds[0] / 50)
    assert ours.figures["of_floor"] == pytest.approx(floor / ours.figures["us_per_step"])
    assert theirs.figures["ratio"] == pytest.approx(ours.rounds[0] / theirs.rounds[0])
    assert len(lines) == len(part.rows) + 2
    assert re.search(r"% of the floor; gpubp is (0\.99|1\.0[01]) times as fast", "".join(lines))
    text = table(part)
    assert "x gpubp" in text
    assert "of floor" in text
    assert is_run(load_runs(path)["peers"])


def test_cases_without_time_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_run(tmp_path / "r.json", monkeypatch, 0)
    rows = load(tmp_path / "r.json")["peers"].rows
    assert len(rows) == len(gpu.steps_suite("peers", "cpu").cases)
    assert {(row.status, row.reason) for row in rows} == {("failed", "no time was left for it")}
