"""The model of steps on several devices: worked by hand, against draws, and fits of its numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gpubp.cli.scaling_options import ASSUMED, LINK_NAMES
from gpubp.training.scaling import (
    LINKS,
    PAYS,
    Compute,
    Link,
    Scaling,
    given_link,
    slowest_rows,
)

SLOW = Link(10e-6, 1e9, "")
# A step of 1,024 rows takes 1 ms + 10.24 ms; the gradient is 4 MB.
SCALING = Scaling(1024, 4_000_000, Compute(1e-3, 1e-5), SLOW, table_rows=1024)


@pytest.mark.parametrize(
    ("n_bytes", "devices", "microseconds"),
    [
        (8, 1, 0),
        (1000, 2, 10 + 1),  # one message
        (1000, 4, 2 * (10 + 1)),  # doubling: two messages of all bytes
        (100_000, 4, 2 * 2 * 10 + 2 * 3 / 4 * 100),  # halves, then quarters, there and back
        (100_000, 3, 2 * 2 * 10 + 2 * 2 / 3 * 100),  # rounded up to two halvings
        (1_000_000, 1024, 2 * 10 * 10 + 2 * 1023 / 1024 * 1000),
    ],
)
def test_an_allreduce_by_hand(n_bytes: int, devices: int, microseconds: float) -> None:
    assert SLOW.seconds(n_bytes, devices) == pytest.approx(microseconds * 1e-6)


@pytest.mark.parametrize("devices", [2, 3, 4, 16])
@pytest.mark.parametrize("n_bytes", [8, 4096, 1 << 20])
def test_a_fitted_link_has_the_measured_times(devices: int, n_bytes: int) -> None:
    true = Link(7e-6, 3e9, "")
    sizes = sorted({8, 4096, 1 << 20, n_bytes})
    link = Link.fitted([(size, true.seconds(size, devices)) for size in sizes], n_bytes, devices)
    assert link.measured
    assert link.seconds(n_bytes, devices) == pytest.approx(true.seconds(n_bytes, devices), rel=5e-3)
    assert link.latency == pytest.approx(7e-6, rel=5e-3)
    if n_bytes > 8:
        assert link.bandwidth == pytest.approx(3e9, rel=0.02)


def test_a_measured_time_below_the_latency_gives_a_link() -> None:
    link = Link.fitted([(8, 5e-6), (4096, 4e-6)], 4096, 2)
    assert 0 < link.seconds(4096, 2) < 6e-6


def test_a_line_is_fitted_to_steps() -> None:
    line = Compute(2e-3, 3e-6)
    fitted = Compute.fitted([(rows, line.seconds(rows)) for rows in (64, 256, 1024)])
    assert fitted.fixed == pytest.approx(2e-3)
    assert fitted.per_row == pytest.approx(3e-6)
    assert Compute.fitted([(1, 2.0)]) == Compute(2.0, 0.0)


def test_no_fitted_number_is_negative() -> None:
    assert Compute.fitted([(10, 1e-3), (1000, 0.5)]).fixed == 0
    assert Compute.fitted([(10, 2e-3), (1000, 1e-3)]).per_row == 0


@pytest.mark.parametrize("devices", [2, 8, 64])
@pytest.mark.parametrize("batch", [256, 2048])
def test_the_slowest_rows_agree_with_draws(devices: int, batch: int) -> None:
    n, rng = 4096, np.random.default_rng(0)
    rows = rng.multivariate_hypergeometric([n // devices] * devices, batch, size=2000)
    mean, drawn = batch / devices, rows.max(axis=1).mean()
    modelled = slowest_rows(batch, devices, n)
    assert mean < drawn < 1.02 * modelled
    sigma = math.sqrt(mean * (1 - 1 / devices) * (n - batch) / (n - 1))
    assert rows.std() == pytest.approx(sigma, rel=0.05)
    assert modelled - drawn < 0.6 * sigma


def test_the_slowest_rows_have_limits() -> None:
    assert slowest_rows(1024, 1) == 1024
    assert slowest_rows(1024, 4, table_rows=1024) == 256  # each device has an equal part
    assert slowest_rows(4, 1024) == 1
    assert slowest_rows(1, 2) == 1
    assert slowest_rows(1024, 4, table_rows=1e9) == pytest.approx(slowest_rows(1024, 4), rel=1e-6)


def test_a_step_by_hand() -> None:
    step = SCALING.step(4)
    assert (step.devices, step.rows) == (4, 256)
    assert step.compute_seconds == pytest.approx(1e-3 + 2.56e-3)
    assert step.allreduce_seconds == pytest.approx(40e-6 + 6e-3)
    assert step.seconds == pytest.approx(9.6e-3)
    assert step.rows_per_second == pytest.approx(1024 / 9.6e-3)
    assert step.speedup == pytest.approx(11.24 / 9.6)
    assert step.efficiency == pytest.approx(11.24 / 9.6 / 4)
    assert SCALING.step(1).speedup == 1


def test_copies_count_where_the_gradient_goes_through_the_host() -> None:
    on_gpu = replace(SCALING, compute=replace(SCALING.compute, copies=1e-3))
    direct = replace(on_gpu, link=replace(SLOW, staged=False))
    assert on_gpu.step(4).seconds == pytest.approx(SCALING.step(4).seconds + 1e-3)
    assert direct.step(4) == SCALING.step(4)
    assert on_gpu.step(1) == SCALING.step(1)


def test_from_which_number_of_devices_more_do_not_pay() -> None:
    # 2 devices: 11.24 / (2 * (6.12 + 4.01)) = 0.555, 4 devices: 0.29.
    assert SCALING.first_that_does_not_pay([1, 2, 4, 8]) == 4
    assert SCALING.first_that_does_not_pay([1, 2]) is None


@pytest.mark.parametrize("devices", [2, 4, 64])
def test_the_batch_is_the_least_that_pays(devices: int) -> None:
    scaling = replace(SCALING, table_rows=math.inf)
    batch = scaling.batch_for(devices)
    assert batch is not None
    assert replace(scaling, batch=batch).step(devices).efficiency >= PAYS
    assert replace(scaling, batch=batch - 1).step(devices).efficiency < PAYS


def test_no_batch_pays_if_rows_cost_nothing() -> None:
    assert replace(SCALING, compute=Compute(1e-3, 0.0)).batch_for(4) is None


def test_links_say_where_their_numbers_come_from() -> None:
    assert tuple(LINKS) == LINK_NAMES
    assert ASSUMED in LINKS
    assert not any(link.measured for link in LINKS.values())
    assert given_link("nvlink", None, None).text.startswith("assumed, not measured: NVLink")
    link = given_link("ethernet", 5, None)
    assert (link.latency, link.bandwidth) == (pytest.approx(5e-6), LINKS["ethernet"].bandwidth)
    assert link.text.startswith("latency given, the rest assumed, not measured: 25 Gbit/s")
    both = given_link("ethernet", 5, 2)
    assert (both.bandwidth, both.text) == (2e9, "latency given, bandwidth given")
