"""`python -m gpubp.bench.scaling`: the model of several devices next to measured steps."""

from __future__ import annotations

from click.testing import CliRunner

from gpubp.bench import scaling
from tests.distributed.launching import mpiexec


def test_the_model_of_two_ranks_by_hand() -> None:
    steps = [(64, 1e-3 + 64e-6), (256, 1e-3 + 256e-6)]
    gradient = 4 * (65 * 100 + 101 * 10)
    found = scaling.modelled("S", steps, [(8, 1e-5), (gradient, 5e-4)])
    # The slowest of two ranks has some rows more than half.
    assert 1e-3 + 128e-6 + 5e-4 < found < 1e-3 + 140e-6 + 5e-4


def test_a_row_for_each_case() -> None:
    mpiexec()
    done = CliRunner().invoke(
        scaling.main, ["--cases", "S", "--rounds", "1"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    _, _, row = [line.strip("| ").split(" | ") for line in done.output.splitlines()]
    assert row[:3] == ["64-100-10", "256", "0.03 MB"]
    assert all(float(cell) > 0 for cell in row[4:8])
