"""Whole trainings by gpubp and its peers: the same work, and what a case's process measures."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.bench import measurement
from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.datasets import DATASETS, load_dataset
from gpubp.bench.peers import PEERS, jax_scan, ours, torch_parts
from gpubp.bench.peers.protocol import PopulationPeer
from gpubp.bench.ratios import with_figures
from gpubp.bench.results import SkippedError
from gpubp.bench.workloads import Workload

WORKLOADS = {
    "classes, a last batch of 5 rows": Workload((12, 16, 5), 32, 101),
    "two classes, SGD, float64": Workload(
        (4, 6, 1), 16, 80, precision="float64", solver="sgd", rate=0.01
    ),
    "two targets": Workload((6, 8, 2), 16, 80, loss="squared_error"),
    "xor": Workload((2, 2, 1), 4, 4, dataset="xor"),
}
OTHERS = [k for k, v in PEERS.items() if k != "gpubp" and not isinstance(v, PopulationPeer)]
CASE = Case("a", (6, 8, 3), 16, 40, "gpubp", epochs=2, seconds=1e-9)
EPOCHS = replace(CASE, mode="epochs", epochs=3)
FORWARD = replace(CASE, mode="forward", batch=15)  # passes of 15, 15 and 10 rows


@pytest.mark.filterwarnings("default")  # libraries' own
@pytest.mark.parametrize("peer", OTHERS)
@pytest.mark.parametrize("work", WORKLOADS)
def test_a_learner_does_the_same_work(peer: str, work: str) -> None:
    if why := PEERS[peer].available("cpu"):
        pytest.skip(why)
    if peer == "torch_compile" and "GPUBP_TEST_COMPILE" not in os.environ:
        pytest.skip("compiles for a minute; set GPUBP_TEST_COMPILE=1")
    workload = WORKLOADS[work]
    if peer == "sklearn_mlp" and work == "two targets":
        pytest.skip("scikit-learn's gradient is n_outputs times that of its loss")
    X = workload.data()[0][:7]
    with PEERS["gpubp"].learner(workload, "cpu") as ours:
        expected, outputs = ours.fit(1), ours.predict(X)
        assert ours.fit(3)[0] == expected[0]
    with PEERS[peer].learner(workload, "cpu") as theirs:
        first, got = theirs.fit(1), theirs.predict(X)
        again = theirs.fit(3)
        assert theirs.remark == ""
    np.testing.assert_allclose(first, expected, rtol=1e-4)
    np.testing.assert_allclose(got.reshape(outputs.shape), outputs, rtol=1e-3, atol=1e-4)
    assert again[0] == pytest.approx(first[0], rel=1e-6)
    assert len(again) == 3
    assert again[2] < again[0]
    if peer not in ("sklearn_mlp", "gpubp_numpy"):  # whose later row orders are their own
        with PEERS["gpubp"].session(workload, "cpu") as session:
            two = [measurement._loss_of_epoch(session) for _ in range(2)]
        np.testing.assert_allclose(again[:2], two, rtol=1e-4)


def test_a_precision_that_a_library_has_not_is_skipped() -> None:
    for case in (CASE, EPOCHS, replace(CASE, peer="sklearn_mlp")):
        with pytest.raises(SkippedError, match="bfloat16"):
            measurement.measure(replace(case, precision="bfloat16"))
    with pytest.raises(SkippedError, match="bfloat16"):
        measurement.measure(replace(CASE, peer=FLOOR, precision="bfloat16"))


@pytest.mark.parametrize("name", DATASETS)
def test_what_is_known_of_a_data_set_is_true(name: str) -> None:
    known = DATASETS[name]
    X, y = load_dataset(name, known.rows + 2)
    assert X.shape == (known.rows + 2, known.features)
    np.testing.assert_array_equal(X[-2:], X[:2])
    if known.loss == "cross_entropy":
        assert sorted(set(y)) == list(range(max(known.outputs, 2)))
    else:
        assert abs(y[:-2].mean()) < 1e-9
    if name not in ("xor", "digits"):
        np.testing.assert_allclose(X[:-2].std(axis=0), 1)
    workload = Workload((known.features, known.outputs), 3, known.rows, dataset=name)
    assert len(workload.data()[0]) == known.rows


def test_a_measurement_has_seconds_losses_and_use() -> None:
    row = measurement.measure(CASE)
    assert row.case == CASE.name
    assert len(row.rounds) == 1
    assert 0 < row.rounds[0] < 10
    with PEERS["gpubp"].learner(CASE.workload, "cpu") as learner:
        assert row.losses == tuple(learner.fit(2))
    assert row.figures["peak_bytes"] >= 0
    assert set(row.figures) == {"peak_bytes", "other_cores", "prepare_seconds"}


def test_fits_are_repeated_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = []

    class Learner:
        remark = "a remark"

        def fit(self, n: int) -> list[float]:
            epochs.append(n)
            return [1.0] * n

    row = measurement._training(replace(CASE, seconds=0.01), Learner())  # type: ignore[arg-type]
    assert epochs[0] == 1
    assert set(epochs[1:]) == {2}
    assert len(epochs) > 3
    assert 0 < row.rounds[0] < 0.01
    assert row.losses == (1.0, 1.0)


def test_memory_that_a_fit_takes_is_seen() -> None:
    """In a process of its own: this one may have room from earlier tests."""
    code = (
        "import numpy as np; from gpubp.bench.usage import PeakMemory; memory = PeakMemory(); "
        "np.ones(4_000_000).sum(); print(memory.above())"
    )
    command = [sys.executable, "-c", code]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert 30e6 < float(done.stdout) < 60e6


def test_a_learner_begins_with_the_weights_and_the_order_of_a_session() -> None:
    workload = Workload((12, 16, 5), 32, 224, seed=3)
    with PEERS["gpubp"].session(workload, "cpu") as session:
        session.epoch()
        expected = session.loss()
    for peer in ("gpubp", "sklearn_mlp"):
        with PEERS[peer].learner(workload, "cpu") as learner:
            assert learner.fit(1) == [pytest.approx(expected, rel=1e-5)]


def test_inference_covers_the_rows_in_calls_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, mode="inference", rows=50)
    calls = []

    class Learner:
        remark = ""

        def fit(self, n: int) -> list[float]:
            return [3.0] * n

        def predict(self, X: np.ndarray) -> np.ndarray:
            calls.append(len(X))
            return np.full((len(X), 3), [0.2, 0.3, 0.5])

    times = count()
    with monkeypatch.context() as patch:
        patch.setattr(measurement, "perf_counter", lambda: float(next(times)))
        row = measurement._inference(case, Learner())  # type: ignore[arg-type]
    assert row.rounds == (50 / 64,)  # of the four calls' second
    assert calls == [16] * 5  # one to look at, then four for 50 rows
    y = case.workload.data()[1][:16]
    assert row.losses == (3.0, pytest.approx(-np.log(np.array([0.2, 0.3, 0.5])[y]).mean()))
    real, other = (measurement.measure(replace(case, peer=p)) for p in ("gpubp", "sklearn_mlp"))
    np.testing.assert_allclose(real.losses, other.losses, rtol=1e-4)


def test_epochs_have_losses_time_and_figures() -> None:
    row = measurement.measure(EPOCHS)
    timing = row.timing
    assert timing is not None
    assert (timing.samples, timing.clock) == (3, "host clock")
    assert row.rounds == (timing.median,)
    with PEERS["gpubp"].session(EPOCHS.workload, "cpu") as session:
        assert row.losses == tuple(measurement._loss_of_epoch(session) for _ in range(2))
    assert set(row.figures) == {
        *("peak_bytes", "other_cores", "prepare_seconds"),
        *("first_epoch_seconds", "wall_us_per_step"),
    }
    got = with_figures([EPOCHS], {EPOCHS.key: row}, "gpubp")[0]
    assert got.timing == timing  # not of the one round
    assert got.figures["us_per_step"] == pytest.approx(1e6 * timing.median / 3)
    assert got.figures["rows_per_second"] == pytest.approx(40 / timing.median)
    rounds = replace(row, rounds=(1.0, 3.0), timing=replace(timing, clock="device events"))
    several = with_figures([EPOCHS], {EPOCHS.key: rounds}, "gpubp")[0].timing
    assert several is not None
    assert (several.median, several.clock) == (2.0, "device events")


@pytest.mark.filterwarnings("default")  # libraries' own
@pytest.mark.parametrize("peer", ["gpubp", "torch_eager", "jax_scan"])
@pytest.mark.parametrize(
    "change", [{}, {"sizes": (6, 8, 1)}, {"loss": "squared_error", "precision": "float64"}]
)
def test_a_forward_pass_is_held_to_float64(peer: str, change: dict[str, Any]) -> None:
    if why := PEERS[peer].available("cpu"):
        pytest.skip(why)
    row = measurement.measure(replace(FORWARD, peer=peer, **change))
    assert row.figures["relative_error"] < 1e-6
    assert row.timing is not None
    assert row.losses[0] == row.losses[1] > 0


def test_a_forward_pass_that_leaves_rows_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ours.infer_into

    def all_but_the_last(outputs: Any, backend: Any, *more: Any) -> None:
        whole(outputs, backend, *more)
        if len(outputs) == 10:
            outputs[-1] = np.nan

    monkeypatch.setattr(ours, "infer_into", all_but_the_last)
    with pytest.raises(ArithmeticError, match="differ from float64's by nan"):
        measurement.measure(FORWARD)


def test_jax_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    jax = pytest.importorskip("jax")
    waited: list[Any] = []
    with PEERS["jax_scan"].session(FORWARD.workload, "cpu") as session:
        outputs = [session.forward(session.place(FORWARD.workload.data()[0])) for _ in range(2)]
        monkeypatch.setattr(jax, "block_until_ready", lambda tree: waited.extend(tree[-1]))
        session.clock.mark()
    assert [got is given for got, given in zip(waited, outputs, strict=True)] == [True, True]


def test_a_wrong_row_is_found_in_any_block() -> None:
    expected, outputs = np.ones((4, 2)), np.ones((10, 2))
    assert measurement._error(outputs, expected) == 0
    outputs[9, 0] = 3
    assert measurement._error(outputs, expected) == pytest.approx(2 / np.sqrt(8))


def test_a_peer_that_is_not_installed_is_skipped_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (torch_parts, jax_scan):
        monkeypatch.setattr(module, "missing", lambda package: f"{package} is not installed")
    for name, package in [("torch_eager", "torch"), ("jax_scan", "jax"), ("torch_graph", "torch")]:
        with pytest.raises(SkippedError, match=f"^{package} is not installed$"):
            measurement.measure(replace(EPOCHS, peer=name, device="cuda"))


def test_the_floor_is_below_the_whole() -> None:
    case = replace(CASE, sizes=(64, 128, 3), batch=64, rows=200)
    whole, floor = (measurement.measure(replace(case, peer=p)) for p in ("gpubp", FLOOR))
    assert 0 < floor.rounds[0] < whole.rounds[0]
    assert floor.figures["bytes_us"] > 0


def test_the_floor_multiplies_every_product_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpubp.backends.numpy_backend import NumpyBackend
    from gpubp.bench import floor
    from gpubp.bench.workloads import phases

    flop = []

    class Counting(NumpyBackend):
        def gemm(self, A, B, *, out, transpose_a=False, **more):  # type: ignore[no-untyped-def]
            flop.append(2 * out.size * A.shape[0 if transpose_a else 1])
            super().gemm(A, B, out=out, transpose_a=transpose_a, **more)

    floor._Products(Counting(), replace(CASE, sizes=(6, 8, 7, 3)))()
    expected = [p.flop for p in phases(Workload((6, 8, 7, 3), 16, 16)) if p.flop]
    assert flop == expected
    flop.clear()
    floor._Products(Counting(), replace(CASE, sizes=(6, 8, 7, 3), mode="inference"))()
    assert flop == expected[:3]
