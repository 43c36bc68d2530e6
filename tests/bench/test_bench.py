"""The benchmarks: results and their file, floors, timing, peers that do the same work."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.bench.cases import Case
from gpubp.bench.peers import PEERS
from gpubp.bench.peers.ours import clock_of
from gpubp.bench.results import (
    Part,
    Row,
    Timing,
    find,
    load,
    merge,
    row_from_json,
    row_to_json,
    save,
)
from gpubp.bench.suite import read_suite
from gpubp.bench.timing import EventClock, summary, time_calls
from gpubp.bench.workloads import Phase, Workload, floor_us, phases, repeated_normals

TINY = Workload((12, 16, 8, 5), 32, 224)
TIMING = Timing(2.0, 1.5, 2.5, 20, "host clock")


# ---- results -----------------------------------------------------------------------------------


def a_part(*rows: Row) -> Part:
    return Part({"cpu": "some", "packages": {"numpy": "2"}}, "2030-01-02T03:04:05+00:00", 1.5, rows)


def test_results_survive_the_file(tmp_path: Path) -> None:
    row = Row(
        "a case",
        "torch_eager",
        device="cuda",
        precision="tf32",
        seed=3,
        timing=TIMING,
        losses=(0.5, math.nan),
        figures={"us_per_step": 12.5, "worst": math.inf},
        notes={"driver": "13000"},
        log="two\nlines",
    )
    path = tmp_path / "made" / "results.json"
    save({"train": a_part(row, Row("other", status="failed", reason="why"))}, path)
    got = load(path)["train"]
    assert got.rows[0].losses[0] == 0.5
    assert math.isnan(got.rows[0].losses[1])
    assert math.isnan(got.rows[0].figures["worst"])  # JSON has no infinity
    assert replace(got.rows[0], losses=(), figures={}) == replace(row, losses=(), figures={})
    assert got.rows[1] == Row("other", status="failed", reason="why")
    assert (got.machine, got.started, got.seconds) == (a_part().machine, a_part().started, 1.5)


def test_rows_of_older_files_have_no_notes() -> None:
    values = json.loads(row_to_json(Row("case")))
    del values["notes"], values["log"]
    assert row_from_json(json.dumps(values)) == Row("case")


def test_row_is_one_line_of_json() -> None:
    row = Row("a\nb", timing=TIMING, losses=(1.0,), figures={"x": 1.0})
    text = row_to_json(row)
    assert "\n" not in text
    assert row_from_json(text) == row


def test_merge_replaces_a_part_whole() -> None:
    old = {"kernels": a_part(Row("relu"), Row("gone")), "train": a_part(Row("digits"))}
    new = {"kernels": a_part(Row("relu", status="failed", reason="wrong"))}
    got = merge(old, new)
    assert [row.case for row in got["kernels"].rows] == ["relu"]
    assert got["kernels"].rows[0].status == "failed"
    assert got["train"] == old["train"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 99, "parts": {}}', '{"schema": 1, "parts": {"a": {}}}']
)
def test_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"results\.json' does not hold results of schema 1"):
        load(path)


def test_no_file_holds_no_results(tmp_path: Path) -> None:
    assert load(tmp_path / "none.json") == {}


def test_find_passes_over_what_failed() -> None:
    rows = [Row("a", status="failed"), Row("b", "jax_scan"), Row("b")]
    assert find(rows, "a") is None
    assert find(rows, "b") is rows[2]
    assert find(rows, "b", "jax_scan") is rows[1]


# ---- floors ------------------------------------------------------------------------------------


def test_phases_of_a_network_worked_by_hand() -> None:
    assert phases(Workload((3, 4, 2), 5, 5)) == [
        Phase("gather", 0, 5 * (3 * 4 * 2 + 4 + 4 + 8)),  # X, y in and out; the order in
        Phase("forward 0", 2 * 5 * 3 * 4, 4 * (5 * 3 + 3 * 4 + 4 + 5 * 4)),  # X, W, b; A
        Phase("forward 1", 2 * 5 * 4 * 2, 4 * (5 * 4 + 4 * 2 + 2 + 5 * 2)),  # A, W, b; Z
        Phase("loss", 0, 4 * (5 * 2 + 5 + 5 * 2)),  # Z, y; delta
        Phase("gradient 1", 2 * 5 * 4 * 2, 4 * (5 * 4 + 5 * 2 + 4 * 2 + 2)),  # A, delta; dW, db
        Phase("delta 1", 2 * 5 * 4 * 2, 4 * (5 * 2 + 4 * 2 + 5 * 4 + 5 * 4)),  # delta, W, A; delta
        Phase("gradient 0", 2 * 5 * 3 * 4, 4 * (5 * 3 + 5 * 4 + 3 * 4 + 4)),  # X, delta; dW, db
        Phase("Adam", 0, 4 * 7 * (3 * 4 + 4 + 4 * 2 + 2)),  # theta, m, v in and out; g in
    ]


def test_floor_takes_the_longer_time_of_each_phase() -> None:
    workload = Workload((3, 4, 2), 5, 5)
    found = phases(workload)
    moved = sum(phase.bytes for phase in found)
    assert floor_us(found, 1e30, 1e6) == pytest.approx(moved)
    assert floor_us(found, 1e6, 1e30) == pytest.approx(2 * 5 * (2 * 3 * 4 + 3 * 4 * 2))
    # 1 byte as long as 1 operation: the gather, the loss and Adam move; forward 0 moves 204 and
    # does 120, forward 1 160 and 80, gradient 1 160 and 80, delta 1 232 and 80, gradient 0 204
    # and 120. 200 + 100 + 728 = 1028 bytes in the others.
    assert floor_us(found, 1e6, 1e6) == pytest.approx(1028 + 204 + 160 + 160 + 232 + 204)
    # 4 bytes as long as 1 operation, so that products bind: 257 + 120 + 80 + 80 + 80 + 120.
    assert floor_us(found, 1e6, 4e6) == pytest.approx(257 + 120 + 80 + 80 + 80 + 120)


@pytest.mark.parametrize(
    "case", [c for c in read_suite("gpu-steps").cases if c.peer == "gpubp"], ids=lambda c: c.name
)
def test_operations_are_three_products_a_layer_less_one(case: Case) -> None:
    weights = [d * h for d, h in zip(case.sizes, case.sizes[1:], strict=False)]
    expected = 3 * sum(weights) - weights[0] if case.trains else sum(weights)
    assert sum(phase.flop for phase in case.phases) == 2 * case.batch * expected


def test_bfloat16_moves_less_but_not_half() -> None:
    wide, narrow = (
        sum(p.bytes for p in phases(Workload((64, 64, 64), 64, 64, precision)))
        for precision in ("float32", "bfloat16")
    )
    assert wide / 2 < narrow < wide


# ---- timing ------------------------------------------------------------------------------------


class FakeEvent:
    """An event on a device whose time passes by itself with each call."""

    now = 0.0

    def record(self) -> None:
        self.at: float | None = None
        self._noted = FakeEvent.now

    def synchronize(self) -> None:
        self.at = self._noted


def _milliseconds(start: FakeEvent, end: FakeEvent) -> float:
    assert end.at is not None
    return end.at - start._noted


def test_calls_are_timed_by_events_after_a_warm_up() -> None:
    calls: list[float] = []

    def call() -> None:
        calls.append(100.0 if len(calls) < 2 else 4.0 + len(calls) % 3)  # ms
        FakeEvent.now += calls[-1]

    clock = EventClock(FakeEvent, _milliseconds)
    timing, wall = time_calls(call, clock, lambda: None, samples=20, seconds=0)
    assert len(calls) == 2 + 20
    assert timing.median == pytest.approx(5e-3)
    assert timing.samples == 20
    assert timing.clock == "device events"
    assert 0 < wall < 1


def test_short_calls_are_repeated_until_the_time_is_up() -> None:
    backend = NumpyBackend()
    timing, wall = time_calls(
        lambda: None, clock_of(backend), backend.synchronize, samples=2, seconds=0.01
    )
    assert timing.samples > 10
    assert timing.clock == "host clock"
    assert wall * timing.samples >= 0.01


def test_summary_is_median_and_quartiles() -> None:
    timing = summary([5.0, 1.0, 2.0, 4.0, 3.0], "host clock")
    assert (timing.low, timing.median, timing.high, timing.samples) == (2, 3, 4, 5)
    assert timing.spread == pytest.approx(2 / 3)
    assert summary([7.0], "host clock").median == 7


# ---- workloads and peers -----------------------------------------------------------------------


def test_workload_follows_from_its_seed() -> None:
    (X, y), (again, _), (other, _) = (w.data() for w in (TINY, TINY, replace(TINY, seed=1)))
    np.testing.assert_array_equal(X, again)
    assert (other != X).all()
    np.testing.assert_array_equal(y, X[:, :5].argmax(axis=1))
    assert set(y) == set(range(5))
    orders = TINY.orders()
    assert all(sorted(order) == list(range(TINY.rows)) for order in orders)
    assert (orders[0] != orders[1]).any()


def test_rows_of_large_data_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.bench.workloads.DISTINCT_VALUES", 12)
    X = repeated_normals(np.random.default_rng(0), 7, 4)
    assert X.shape == (7, 4)
    np.testing.assert_array_equal(X[3:6], X[:3])
    assert len(np.unique(X)) == 12


def test_a_session_that_diverges_does_not_warn() -> None:
    with PEERS["gpubp"].session(replace(TINY, rate=1e30), "cpu") as session:
        for _ in range(2):
            session.epoch()
        assert not math.isfinite(session.loss())
    assert np.geterr()["over"] == "warn"


@pytest.mark.parametrize("change", [{"seed": 1}, {"rate": 1.1e-3}, {"rows": 192}])
def test_other_work_has_other_losses(change: dict[str, Any]) -> None:
    losses = []
    for workload in (TINY, replace(TINY, **change)):
        with PEERS["gpubp"].session(workload, "cpu") as session:
            session.epoch()
            losses.append(session.loss())
    assert abs(losses[1] / losses[0] - 1) > 1e-4
