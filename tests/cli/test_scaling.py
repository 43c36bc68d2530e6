"""`gpubp doctor --scaling`: its table, its JSON, its errors, and two ranks."""

from __future__ import annotations

import json
import re
import sys

import pytest

from gpubp.backprop.network import Network
from gpubp.reports.scaling import _time, scaling_lines, sentence
from gpubp.training.scaling import LINKS, Compute, Link, Scaling
from gpubp.training.step_timing import Measured
from tests.cli.running import Run, one_line
from tests.distributed.launching import LAUNCHER, on_ranks

SMALL = ("--network", "8-4-2", "--batch", "64", "--device", "cpu")


@pytest.fixture(autouse=True)
def _as_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler, no launcher, and measurements of a millisecond."""
    monkeypatch.setenv("GPUBP_COMPILED", "0")
    monkeypatch.setattr("gpubp.training.step_timing.SECONDS", 0.001)
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)


def test_the_table(run: Run) -> None:
    out = run("doctor", "--scaling", *SMALL).out
    assert "8-4-2, 46 parameters, batch 64" in out
    assert re.search(
        r"measured on cpu, 1 thread \(numpy\): 4 rows [\d.]+ .?s, 16 rows .*, 64 rows", out
    )
    assert "assumed, not measured: 25 Gbit/s Ethernet, TCP (ethernet)" in out
    rows = re.findall(r"^ *([\d,]+) +([\d,]+) +([\d.]+) .* (\d+) %$", out, re.M)
    assert [int(row[0].replace(",", "")) for row in rows] == [1 << k for k in range(11)]
    assert rows[0][1] == "64"
    assert rows[0][3] == "100"
    assert "All figures of the table are computed by the model, not measured." in out


def test_json(run: Run) -> None:
    options = ("--devices", "4,1,2", "--latency", "5", "--bandwidth", "2", "--threads", "1")
    (found,) = run("doctor", "--scaling", *SMALL, *options, "--json").events
    assert found["network"] == [8, 4, 2]
    assert [step["devices"] for step in found["steps"]] == [1, 2, 4]
    assert found["link"]["latency_seconds"] == pytest.approx(5e-6)
    assert found["link"]["bytes_per_second"] == 2e9
    assert (found["link"]["measured"], found["link"]["samples"]) == (False, [])
    assert [each["rows"] for each in found["compute"]["samples"]] == [4, 16, 64]
    two = found["steps"][1]
    assert two["seconds"] == pytest.approx(two["compute_seconds"] + two["allreduce_seconds"])
    assert two["allreduce_seconds"] == pytest.approx(5e-6 + 46 * 4 / 2e9)


def test_the_sentence() -> None:
    scaling = Scaling(1024, 4_000_000, Compute(1e-3, 1e-5), Link(1e-5, 1e9, ""), table_rows=1024)
    assert sentence(scaling, [1, 2, 4]) == (
        "4 or more devices do not pay: the efficiency of 4 is 29%, below 50%; they need a batch of "
        f"about {2_700:,} rows to pay."
    )
    assert sentence(scaling, [1, 2]).startswith("All of these numbers of devices pay")
    constant = Scaling(1024, 4_000_000, Compute(1e-3, 0.0), LINKS["nvlink"])
    assert "no batch makes them pay" in sentence(constant, [1, 2])


def test_figures_of_a_gpu_are_called_measured_only_if_they_are() -> None:
    """The link of two ranks: its samples are shown, and the table is still that of the model."""
    measured = Measured("cuda:0", "cuda", 1, [(16, 1e-3), (64, 2e-3)], 1e-4, 2, [(8, 1e-5)])
    compute = Compute.fitted(measured.steps, measured.copies)
    scaling = Scaling(64, 8, compute, Link.fitted(measured.allreduces, 8, 2))
    text = "\n".join(scaling_lines(Network((1, 1), ()), scaling, measured, [scaling.step(2)]))
    assert "measured on cuda:0 (cuda): 16 rows 1 ms, 64 rows 2 ms" in text
    assert "copies to the host and back 100 us, measured" in text
    assert "measured over 2 ranks: 8 B 10 us" in text
    assert "not measured" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (1.45e-3, "1.45 ms"), (4.26e-5, "42.6 us")],
)
def test_times_have_units(seconds: float, text: str) -> None:
    assert _time(seconds) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--network", "784-x"), "'784-x' is not a network; give the units per layer"),
        (("--network", "784"), "'784' is not a network"),
        (("--network", "8-0-2"), "'8-0-2' is not a network"),
        (("--batch", "0"), "0 is not in the range"),
        (("--batch", "many"), "'many' is not a whole number"),
        (("--devices", "1,0"), "'1,0' is not a list of numbers of devices"),
        (("--latency", "0"), "0.0 is not in the range"),
        (("--bandwidth", "nan"), "nan"),
        (("--link", "string"), "'string' is not one of"),
        (("--device", "gpu"), "must be auto, cpu, cuda or cuda:N, got 'gpu'"),
    ],
)
def test_wrong_options(run: Run, options: tuple[str, ...], message: str) -> None:
    assert message in one_line(run("doctor", "--scaling", *options, code=2))


def test_options_without_scaling(run: Run) -> None:
    assert "--batch needs --scaling" in one_line(run("doctor", "--batch", "5", code=2))
    assert "--json needs --scaling" in one_line(run("doctor", "--json", code=2))


def test_ranks_without_mpi4py(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    error = one_line(run("doctor", "--scaling", *SMALL, code=2))
    assert "started 4 processes, but mpi4py is not installed" in error


def test_two_ranks_measure_the_allreduce_and_print_once() -> None:
    options = ("--scaling", *SMALL, "--devices", "1,2", "--json")
    (line,) = on_ranks(2, "-m", "gpubp", "doctor", *options).stdout.splitlines()
    found = json.loads(line)
    link = found["link"]
    assert (link["measured"], link["ranks"]) == (True, 2)
    samples = {each["bytes"]: each["seconds"] for each in link["samples"]}
    assert set(samples) == {8, 184, 4096, 1 << 16, 1 << 20}
    assert found["steps"][1]["allreduce_seconds"] == pytest.approx(samples[184], rel=0.5)
