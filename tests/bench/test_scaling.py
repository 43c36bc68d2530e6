"""`python -m gpubp.bench.scaling`: the model of several devices next to measured steps."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from gpubp.backends.select import get_backend
from gpubp.backprop.network import Network
from gpubp.bench import scaling
from gpubp.training.step_timing import new_trainer
from tests.mpi_ranks import find_mpiexec


def test_the_model_of_two_ranks_by_hand() -> None:
    steps = [(64, 1e-3 + 64e-6), (256, 1e-3 + 256e-6)]
    gradient = 4 * (65 * 100 + 101 * 10)
    found = scaling.modelled("S", steps, [(8, 1e-5), (gradient, 5e-4)])
    assert found == pytest.approx(1e-3 + 128e-6 + 5e-4)


def test_the_ranks_meet_after_each_step() -> None:
    backend, met = get_backend("cpu"), []
    with backend.in_use(1, 0):
        trainer = new_trainer(backend, Network((4, 3, 2), ("relu",)), 8, scaling.SummedBatches)
        trainer.batches.after_step = lambda: met.append(trainer.gradient.copy())
        trainer.epoch(range(trainer.batches.n_rows))
    assert len(met) == trainer.batches.steps > 1
    assert (met[0] != met[1]).any()


def test_a_row_for_each_case() -> None:
    find_mpiexec()
    done = CliRunner().invoke(
        scaling.main, ["--cases", "S", "--rounds", "1"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    _, _, row = [line.strip("| ").split(" | ") for line in done.output.splitlines()]
    assert row[:3] == ["64-100-10", "256", "0.03 MB"]
    assert all(float(cell) > 0 for cell in row[4:8])
