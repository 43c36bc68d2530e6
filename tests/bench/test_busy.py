"""`python -m gpubp.bench.busy`: steps next to busy processes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from gpubp.bench import busy
from tests.cuda_stand_in.kernels import skip_without_compiler


def test_a_row_for_each_number_of_busy_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_compiler()
    # One way: each starts five processes.
    ways = {"compiled, 1 thread": (True, 1)}
    monkeypatch.setattr(busy, "WAYS", ways)
    options = ["--networks", "S", "--rounds", "1", "--seconds", "0.02", "--together"]
    done = CliRunner().invoke(busy.main, options, catch_exceptions=False)
    _, _, *rows = [line.strip("| ").split(" | ") for line in done.output.splitlines()]
    assert [row[:2] for row in rows] == [
        *(["S", f"{others} busy"] for others in range(3)),
        ["S", "itself"],
    ]
    assert all(float(cell.replace(",", "")) > 0 for row in rows for cell in row[2:])
    assert len(rows[0]) == 2 + len(ways)


@pytest.mark.parametrize("way", busy.WAYS)
def test_each_way_times_a_step(way: str) -> None:
    skip_without_compiler()
    assert 0 < busy.step_microseconds("S", way, 0.02) < 1e6
