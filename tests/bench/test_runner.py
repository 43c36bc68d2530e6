"""Runs of a suite: rounds, processes that fail, resuming, ratios, the report and its page."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gpubp.bench import runner
from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.machine import KERNEL_VARIABLES
from gpubp.bench.page import bench_page
from gpubp.bench.ratios import different_work, with_figures
from gpubp.bench.report import below, heading, progress_line, table, to_csv
from gpubp.bench.results import Part, Row, load
from gpubp.bench.runner import Plan, Progress, ResumeError, Run
from gpubp.bench.suite import Suite
from tests.bench import child

CASE = Case("a", (6, 8, 3), 16, 40, "gpubp", epochs=2, seconds=1e-9)
PEER = replace(CASE, peer="sklearn_mlp")
MadePlan = Callable[..., Plan]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadePlan:
    """Plans whose cases are measured at once, by a process that measures nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "CHILD", child.QUICK)

    def plan(*cases: Case, rounds: int = 2, threads: int = 1) -> Plan:
        return Plan(Suite("my", cases, rounds, 60.0), threads)

    return plan


def run(plan: Plan, stop_after: int = 0) -> tuple[Part, list[Progress]]:
    found, told = Run(plan, Path("r.json")), []
    for progress in found.measure():
        told.append(progress)
        if len(told) == stop_after:
            break
    return found.part(), told


def order() -> list[str]:
    return Path("order.txt").read_text().splitlines()


# ---- rounds ------------------------------------------------------------------------------------


def test_cases_take_turns_in_rounds(plan: MadePlan) -> None:
    part, told = run(plan(CASE, PEER, replace(CASE, network="b"), rounds=2))
    assert order() == ["a gpubp 1", "a sklearn_mlp 1", "b gpubp 1"] * 2
    assert [(p.done, p.total, p.round) for p in told] == [(n + 1, 6, n // 3 + 1) for n in range(6)]
    assert [p.left > 0 for p in told] == [True] * 5 + [False]
    assert [len(row.rounds) for row in part.rows] == [2, 2, 2]
    assert load(Path("r.json"))["my"].rows == part.rows
    row = part.rows[0]
    assert row.timing is not None
    assert row.timing.median == pytest.approx(sum(row.rounds) / 2)
    assert row.figures["us_per_step"] == pytest.approx(1e6 * row.timing.median / 6)
    assert row.figures["rows_per_second"] == pytest.approx(80 / row.timing.median)


def test_the_file_is_whole_after_every_measurement(plan: MadePlan) -> None:
    for progress in Run(plan(CASE, PEER, rounds=1), Path("r.json")).measure():
        assert len(load(Path("r.json"))["my"].rows) == progress.done


def test_a_run_goes_on_where_it_stopped(plan: MadePlan) -> None:
    made = plan(CASE, PEER, replace(CASE, peer="jax_scan"), rounds=3)
    part, _ = run(made, stop_after=5)
    resumed = Run(made, Path("r.json"))
    assert resumed.resume() == 4  # two of each; what was skipped may be there by now
    told = list(resumed.measure())
    assert len(told) == 3
    rows = {row.peer: row for row in resumed.part().rows}
    assert rows["gpubp"].rounds[:2] == part.rows[0].rounds[:2]
    assert [len(rows[p].rounds) for p in ("gpubp", "sklearn_mlp", "jax_scan")] == [3, 3, 0]
    assert list(resumed.measure()) == []


def test_more_rounds_are_added_to_a_finished_run(plan: MadePlan) -> None:
    run(plan(CASE, rounds=1))
    more = Run(plan(CASE, rounds=3), Path("r.json"))
    assert more.resume() == 1
    assert len(list(more.measure())) == 2


def test_another_plan_or_machine_is_not_gone_on_with(
    plan: MadePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(plan(CASE))
    for other in (plan(PEER), plan(CASE, threads=2), plan(replace(CASE, seed=1))):
        with pytest.raises(ResumeError, match="results of another plan"):
            Run(other, Path("r.json")).resume()
    with pytest.raises(ResumeError, match="another plan: threads 1, and now 2; make it the same"):
        Run(plan(CASE, threads=2), Path("r.json")).resume()
    here = runner.machine("cpu")
    for other, why in (
        ({"cpu": "other"}, "results of another machine: cpu .*, and now other;"),
        ({"gpubp": "0.0"}, "another version: gpubp .*, and now 0.0;"),
        ({"packages": {}}, "another version: numpy .*, and now not installed;"),
    ):
        monkeypatch.setattr(runner, "machine", lambda device, other=other: here | other)
        with pytest.raises(ResumeError, match=why):
            Run(plan(CASE), Path("r.json")).resume()


def test_no_file_is_gone_on_with_from_the_beginning(plan: MadePlan) -> None:
    assert Run(plan(CASE), Path("none.json")).resume() == 0


# ---- what goes wrong ---------------------------------------------------------------------------


def test_a_case_that_breaks_is_a_row(plan: MadePlan) -> None:
    part, _ = run(plan(replace(CASE, network="breaks"), PEER, rounds=3))
    assert [row.status for row in part.rows] == ["failed", "ok"]
    assert part.rows[0].reason == "round 2: its process ended with code 1: it broke"
    assert order().count("breaks gpubp 1") == 2
    assert len(part.rows[1].rounds) == 3


def test_a_peer_that_is_not_there_is_asked_once(plan: MadePlan) -> None:
    jax = [replace(CASE, peer="jax_scan", batch=batch) for batch in (16, 8)]
    part, _ = run(plan(*jax, CASE, replace(jax[0], mode="epochs"), rounds=2))  # perhaps there
    assert order() == ["a jax_scan 1", "a gpubp 1", "a jax_scan 1", "a gpubp 1"]
    assert [(row.status, row.reason) for row in part.rows[:2]] == [
        ("skipped", "jax is not installed")
    ] * 2
    assert table(part).count("jax_scan skipped: jax is not installed") == 1


def test_crash_time_out_and_want_of_memory_are_rows(
    plan: MadePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHILD", child.REAL)
    peers = ("torch_compile", "torch_eager", FLOOR)
    made = plan(*(replace(CASE, peer=peer) for peer in peers), rounds=1)
    rows = {row.peer: row for row in run(made)[0].rows}
    assert rows["torch_compile"].reason.endswith("3: some words of a library | the last words")
    assert rows["torch_eager"].reason == "out of memory: no room for 5 TB"
    assert rows[FLOOR].status == "ok"
    hanging = plan(replace(CASE, peer="jax_scan"), rounds=1)
    hanging = replace(hanging, suite=replace(hanging.suite, timeout=0.5))
    assert run(hanging)[0].rows[0].reason.startswith("took longer than")


# ---- the environment of a measurement ----------------------------------------------------------


def test_threads_are_pinned_and_kernels_left_to_the_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = runner.environment(3, keep_env=False)
    assert not set(KERNEL_VARIABLES) & set(found)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        assert found[name] == "3"
    assert runner.unset_variables(keep_env=False)["OPENBLAS_CORETYPE"] == "Haswell"
    assert runner.environment(3, keep_env=True)["OPENBLAS_CORETYPE"] == "Haswell"
    assert runner.unset_variables(keep_env=True) == {}


def test_the_heading_names_variables_threads_and_versions(
    plan: MadePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    lines = "\n".join(heading(Run(plan(CASE), Path("r.json")).part()))
    assert re.search("unset for every peer: .*OPENBLAS_CORETYPE=Haswell", lines)
    assert "BLAS threads: 1 for every peer" in lines
    assert "numpy 2" in lines
    kept = Run(replace(plan(CASE), keep_env=True), Path("r.json")).part()
    assert re.search("set: .*OPENBLAS_CORETYPE=Haswell", "\n".join(heading(kept)))


# ---- ratios ------------------------------------------------------------------------------------


def rows_of(*rows: tuple[Case, Row]) -> list[Row]:
    return with_figures([case for case, _ in rows], {c.key: row for c, row in rows}, "sklearn_mlp")


def a_row(case: Case, *rounds: float, **more: object) -> Row:
    return replace(Row(case.name, case.peer, rounds=rounds, losses=(1.0, 0.5)), **more)  # type: ignore[arg-type]


def test_a_ratio_is_that_within_the_rounds() -> None:
    # The machine drifts by 4 from round to round: medians alone would say 2.
    ours, theirs = a_row(CASE, 1.0, 4.0, 2.0), a_row(PEER, 3.0, 8.0, 4.0)
    ours, theirs = rows_of((CASE, ours), (PEER, theirs))
    assert ours.figures["ratio"] == 2.0
    more = a_row(PEER, 3.0, 13.0, 6.2, 99.0)
    assert rows_of((CASE, a_row(CASE, 1.0, 4.0, 2.0)), (PEER, more))[0].figures["ratio"] == 3.1
    assert "ratio" not in theirs.figures


def test_the_floor_is_that_within_the_rounds() -> None:
    floor = replace(CASE, peer=FLOOR)
    base = Row(CASE.name, FLOOR, rounds=(1.0, 2.0, 0.5), figures={"bytes_us": 2e5})
    ours = rows_of((CASE, a_row(CASE, 2.0, 3.0, 1.0)), (floor, base))[0]
    assert ours.figures["of_products"] == 0.5
    assert ours.figures["of_bytes"] == pytest.approx(2e5 / (2e6 / 6))


@pytest.mark.parametrize(
    ("losses", "why"),
    [
        ((1.0005, 0.4), ""),
        ((1.002, 0.5), "first loss 1.002 is not sklearn_mlp's 1 within 0.001"),
        ((float("nan"), 0.5), "first loss nan"),
        ((1.0, 1.6), "last loss 1.6, but sklearn_mlp's is 0.5"),
        ((1.0, 0.1), "last loss 0.1, but"),
        ((1.0, float("nan")), "last loss nan"),
        ((), "a loss is missing"),
    ],
)
def test_different_work_is_not_compared(losses: tuple[float, ...], why: str) -> None:
    ours, theirs = a_row(CASE, 1.0, losses=losses), a_row(PEER, 2.0)
    assert different_work(CASE, ours, theirs).removeprefix("different work: ").startswith(why)
    got = rows_of((CASE, ours), (PEER, theirs))[0]
    assert bool(got.not_compared) == bool(why) == ("ratio" not in got.figures)


def test_a_gpu_is_set_beside_the_baseline_on_the_cpu() -> None:
    cuda = CASE.on("cuda")
    got = rows_of((cuda, a_row(cuda, 0.5)), (PEER, a_row(PEER, 2.0)))[0]
    assert got.figures["ratio"] == 4.0
    assert got.device == "cuda"


def test_a_baseline_that_failed_gives_no_ratio() -> None:
    broken = Row(PEER.name, PEER.peer, "failed", "it broke")
    assert rows_of((CASE, a_row(CASE, 0.5)), (PEER, broken))[0].not_compared == (
        "sklearn_mlp has no figure"
    )


# ---- the report --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    """A run of two batches by everybody; JAX is missing, and one case breaks."""
    cases = [
        replace(CASE, peer=peer, batch=batch, vary="batch")
        for batch in (8, 16)
        for peer in ("gpubp", "sklearn_mlp", "jax_scan", FLOOR)
    ]
    suite = Suite("my", (*cases, replace(CASE, network="breaks")), 3, 60.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        patch.setattr(runner, "CHILD", child.QUICK)
        return run(Plan(suite, 1))[0]


def test_the_table_has_every_row(part: Part) -> None:
    text = table(part)
    head, ours, theirs, missing, floor = text.splitlines()[2:7]
    assert head.split()[:4] == ["us/step", "spread", "rows/s", "x"]
    assert ours.split()[0] == "gpubp"
    assert 1.9 < float(ours.split()[4]) < 2.1
    assert theirs.split()[4] == "-"
    assert missing.split() == ["jax_scan", "skipped"]
    assert floor.split()[5] == "100%"
    assert "gpubp failed: round 2: its process ended with code 1: it broke (breaks)" in text
    assert max(map(len, text.splitlines())) <= 120


def test_csv_has_a_line_for_each_row(part: Part) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(part))))
    assert len(rows) == len(part.rows) == 9
    first = rows[0]
    assert (first["sizes"], first["batch"], first["peer"]) == ("6-8-3", "8", "gpubp")
    assert float(first["ratio"]) == part.rows[0].figures["ratio"]
    assert (first["rounds"], first["last_loss"], first["status"]) == ("3", "0.5", "ok")
    assert rows[8]["reason"].startswith("round 2: its process")


def test_a_disturbed_round_is_marked(part: Part) -> None:
    row = replace(part.rows[0], figures=part.rows[0].figures | {"disturbed_rounds": 1.0})
    text = table(replace(part, rows=(row, *part.rows[1:])))
    assert text.splitlines()[3].endswith("*")
    assert "* other processes kept cores busy" in text
    assert "*" not in table(part)


def test_load_beside_a_measurement_disturbs_its_round() -> None:
    quiet, loud = (Row("c", rounds=(1.0,), figures={"other_cores": load}) for load in (0.1, 0.9))
    merged = runner._merged(runner._merged(None, quiet, 1), loud, 2)
    assert merged.figures == {"other_cores": 0.9, "disturbed_rounds": 1.0}
    assert merged.rounds == (1.0, 1.0)


def test_progress_tells_the_time_that_is_left() -> None:
    row = Row("case", "gpubp", rounds=(0.25,))
    assert progress_line(Progress(3, 12, 2, row, 75.4), 5) == (
        "[ 3/12] round 2/5, 1 min 15 s left: case, gpubp: 0.250 s"
    )


def test_a_ratio_below_what_is_asked_for_is_named(part: Part) -> None:
    ok = replace(part, rows=tuple(row for row in part.rows if row.status == "ok"))
    assert below(ok, 1.5) == []
    problems = below(ok, 3)
    assert len(problems) == 2
    assert re.fullmatch(r"a 6-8-3 b8 .*: [12]\.\d\d times sklearn_mlp, below 3", problems[0])
    assert "it broke" in below(part, 1.5)[0]
    alone = replace(ok, rows=ok.rows[1:2])
    assert below(alone, 1.5) == ["gpubp was not measured"]


def test_the_page_has_a_chart_over_batches_bars_and_every_row(part: Part) -> None:
    text = bench_page(part)
    body = re.search("<main>.*</main>", text, re.DOTALL)
    assert body is not None
    tree = ElementTree.fromstring(body[0])
    labels = [svg.get("aria-label") for svg in tree.iter("svg")]
    assert "rows/s over rows of a batch" in labels
    assert "Speed over that of sklearn_mlp" in labels
    chart, bars = (figure.find("svg") for figure in tree.iter("figure"))
    assert chart is not None
    curves = [p.get("d") for p in chart.iter("path") if "curve" in p.get("class", "")]
    assert len(curves) == 2
    # gpubp takes half the time: its curve lies above.
    heights = [float(re.findall(r" ([\d.]+)", d or "")[-1]) for d in curves]
    assert heights[0] < heights[1]
    assert bars is not None
    widths = [float(rect.get("width", 0)) for rect in bars.iter("rect")]
    ratios = [row.figures["ratio"] for row in part.rows if "ratio" in row.figures]
    assert len(widths) == len(ratios) == 2
    logs = [abs(math.log(ratio)) for ratio in ratios]
    assert widths[0] / widths[1] == pytest.approx(logs[0] / logs[1], rel=2e-2)
    assert "failed: round 2: its process ended with code 1: it broke" in text


def test_names_are_escaped_in_the_page(part: Part) -> None:
    rows = (replace(part.rows[0], reason="<script>"), *part.rows[1:])
    assert "<script>" not in bench_page(replace(part, rows=rows))
