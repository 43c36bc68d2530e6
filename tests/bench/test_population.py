"""Populations: the same work by every peer, what is measured, and what is printed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpubp.bench import measurement
from gpubp.bench.cases import FLOOR, Case
from gpubp.bench.page import bench_page
from gpubp.bench.peers import PEERS, jax_scan, torch_parts
from gpubp.bench.peers.one_by_one import OneByOne
from gpubp.bench.peers.ours import training_data
from gpubp.bench.peers.protocol import PopulationPeer
from gpubp.bench.ratios import different_work, with_figures
from gpubp.bench.report import below, table
from gpubp.bench.results import Part, Row, SkippedError
from gpubp.bench.workloads import SAMPLE, Workload

POPULATION_PEERS = [name for name in PEERS if isinstance(PEERS[name], PopulationPeer)]
PEERS_OF_POPULATIONS = [*POPULATION_PEERS, "sklearn_mlp"]
WORKLOADS = {
    "classes, a last batch of 5 rows": Workload((12, 16, 5), 32, 101, population=3),
    "two targets": Workload((6, 8, 2), 16, 80, loss="squared_error", population=2, seed=5),
    "xor": Workload((2, 8, 1), 4, 4, dataset="xor", population=SAMPLE + 2),
}
CASE = Case("a", (6, 8, 3), 16, 40, "gpubp_population", epochs=2, seconds=1e-9, population=3)
ROW = Row(CASE.name, CASE.peer, losses=(1.0, 0.5), rounds=(2.0,))
FIGURES = {"peak_bytes": 1e6, "other_cores": 0.0}


def test_members_share_the_data_and_have_consecutive_seeds() -> None:
    workload = Workload((12, 16, 5), 32, 101, population=3, seed=7)
    members = workload.members()
    assert [one.seed for one in members] == [7, 8, 9]
    assert {one.population for one in members} == {1}
    thetas, orders = ([getattr(one, of)() for one in members] for of in ("initial_theta", "orders"))
    assert (thetas[0] != thetas[1]).any()
    assert (orders[1] != orders[2]).any()


@pytest.mark.filterwarnings("default")  # libraries' own
@pytest.mark.parametrize("peer", PEERS_OF_POPULATIONS)
@pytest.mark.parametrize("work", WORKLOADS)
def test_every_network_does_the_work_of_one_alone(peer: str, work: str) -> None:
    if why := PEERS[peer].available("cpu"):
        pytest.skip(why)
    if peer == "sklearn_mlp" and work == "two targets":
        pytest.skip("scikit-learn's gradient is n_outputs times that of its loss")
    workload = WORKLOADS[work]
    with PEERS["gpubp_one_by_one_numpy"].population(workload, "cpu") as ours:
        expected = ours.fit(2)
    with PEERS[peer].population(workload, "cpu") as theirs:
        losses, again = theirs.fit(2), theirs.fit(1)
        assert losses.shape == (2, theirs.networks)
    few = min(workload.population, SAMPLE)
    one_by_one = "one_by_one" in peer or peer == "sklearn_mlp"
    assert theirs.networks == (few if one_by_one else workload.population)
    np.testing.assert_allclose(losses[0, :few], expected[0], rtol=1e-4)
    later = 0.02 if peer in ("jax_vmap", "torch_func") else 1e-4  # they have other row orders
    np.testing.assert_allclose(losses[1, :few], expected[1], rtol=later)
    np.testing.assert_allclose(again[0], losses[0], rtol=1e-6)
    assert len(set(losses[0])) == theirs.networks  # each has a seed of its own


@pytest.mark.parametrize("peer", ["gpubp_population_numpy", "gpubp_one_by_one_numpy"])
def test_all_networks_train_on_the_data_of_the_population(peer: str) -> None:
    workload = Workload((12, 16, 5), 32, 101, population=2, seed=3)
    X = training_data(workload).X
    alone = workload.members()[1]
    assert not np.array_equal(X, training_data(alone).X)  # a seed draws data, too
    with PEERS[peer].population(workload, "cpu") as learner:
        losses = learner.fit(1)[0]
    with PEERS["gpubp_numpy"].session(alone, "cpu") as session:
        session.epoch()
        assert abs(session.loss() / losses[1] - 1) > 1e-3


def test_a_measurement_has_mean_losses_and_the_time_of_all_networks() -> None:
    row = measurement.measure(CASE)
    assert row.reason == ""
    with PEERS[CASE.peer].population(CASE.workload, "cpu") as learner:
        losses = learner.fit(2)
    assert row.losses == pytest.approx(tuple(losses.mean(axis=1)))
    (got,) = with_figures([CASE], {CASE.key: row}, "sklearn_mlp")
    assert CASE.steps == 2 * 3 * 3
    assert got.figures["network_steps_per_second"] == pytest.approx(CASE.steps / row.rounds[0])
    assert got.figures["us_per_step"] == pytest.approx(1e6 * row.rounds[0] / CASE.steps)


def test_the_time_of_some_networks_is_scaled_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, population=5 * SAMPLE)
    learner = OneByOne(lambda one, epochs: [float(one.seed)] * epochs, case.workload)
    assert learner.networks == SAMPLE
    assert learner.remark == f"{SAMPLE} networks are timed, and the time scaled to all"
    times = iter([0.0, 1.0])
    with monkeypatch.context() as patch:
        patch.setattr(measurement, "perf_counter", lambda: next(times))
        row = measurement._population(case, learner)
    assert row.rounds == (5.0,)
    assert row.losses == ((SAMPLE - 1) / 2,) * 2


@pytest.mark.parametrize(
    ("peer", "change"),
    [
        ("torch_func", {"solver": "sgd"}),
        ("sklearn_mlp", {"precision": "bfloat16"}),
        ("gpubp_population", {"precision": "bfloat16"}),
    ],
)
def test_what_a_peer_cannot_do_is_skipped(peer: str, change: dict[str, Any]) -> None:
    with pytest.raises(SkippedError):
        measurement.measure(replace(CASE, peer=peer, **change))


def test_peers_of_one_network_and_of_populations_say_so() -> None:
    for peer in ("gpubp", "torch_eager", "jax_scan"):
        if PEERS[peer].available("cpu") is None:
            with pytest.raises(SkippedError, match=f"^{peer} does not train populations$"):
                measurement.measure(replace(CASE, peer=peer))
    one = replace(CASE, population=1)
    for case in (one, replace(one, mode="epochs")):
        with pytest.raises(SkippedError, match="trains populations only; set population to 2"):
            measurement.measure(case)


def test_a_peer_that_is_not_installed_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (torch_parts, jax_scan):
        monkeypatch.setattr(module, "missing", lambda package: f"{package} is not installed")
    for peer, package in (("torch_func", "torch"), ("jax_vmap", "jax")):
        with pytest.raises(SkippedError, match=f"^{package} is not installed$"):
            measurement.measure(replace(CASE, peer=peer))


def test_the_floor_of_a_population_is_that_of_all_its_steps() -> None:
    floor = replace(CASE, peer=FLOOR, sizes=(64, 128, 3), batch=64, rows=64)
    one = measurement.measure(replace(floor, population=1))
    many = measurement.measure(replace(floor, population=1000))
    assert many.rounds[0] > 100 * one.rounds[0]


def test_mean_losses_are_held_to_ten_percent() -> None:
    other = replace(ROW, peer="sklearn_mlp", losses=(1.0, 0.54))
    assert different_work(CASE, ROW, other) == ""
    other = replace(other, losses=(1.0, 0.56))
    assert different_work(CASE, ROW, other).startswith("different work: last loss 0.5, but sklearn")
    assert different_work(replace(CASE, population=1), ROW, other) == ""


def a_part() -> Part:
    cases = [CASE, replace(CASE, peer="gpubp_one_by_one")]
    rows = {
        case.key: replace(ROW, peer=case.peer, rounds=(seconds,), figures=FIGURES)
        for case, seconds in zip(cases, (1.0, 3.0), strict=True)
    }
    suite = {"name": "s", "baseline": cases[1].peer, "cases": [case.values() for case in cases]}
    facts = {"packages": {}, "variables": {}, "unset": {}, "cpu": "c", "cores": 2, "system": "s"}
    machine = facts | {"gpubp": "0", "python": "3"}
    settings = {"suite": suite, "threads": 2, "keep_env": False}
    return Part(machine, "", 1.0, tuple(with_figures(cases, rows, cases[1].peer)), settings)


def test_table_and_page_have_network_steps() -> None:
    lines = table(a_part()).splitlines()
    assert "3 networks, drawn from seed 0, 40 rows, 2 epochs, 6 steps each" in lines[1]
    assert lines[2].split()[-1] == "network-steps/s"
    assert lines[3].split()[-1] == "18"
    assert "network-steps/s: training steps per second, summed over the networks" in lines
    page = bench_page(a_part())
    assert "summed over the networks" in page
    assert ">network-steps/s</th>" in page


def test_limits_hold_for_populations() -> None:
    assert below(a_part(), 2.9) == []
    assert below(a_part(), 3.1) == [f"{CASE.name}: 3.00 times gpubp_one_by_one, below 3.1"]
