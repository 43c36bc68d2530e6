"""Data-parallel training: the number of ranks does not change the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.distributed.launching import LONGEST, ROOT, environment, on_ranks
from tests.distributed.train_networks import SETTINGS

PROGRAM = ("-m", "tests.distributed.train_networks")
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks trained by one process, without mpiexec."""
    skip_without_compiler()
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, *PROGRAM, str(folder)]
    subprocess.run(command, env=environment(), cwd=ROOT, check=True, timeout=LONGEST)
    return folder


@pytest.fixture(scope="module", params=[2, 3])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks trained by several ranks."""
    skip_without_compiler()
    folder = tmp_path_factory.mktemp("shared")
    run = on_ranks(request.param, *PROGRAM, str(folder))
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", SETTINGS)
def test_ranks_train_the_network_of_one_process(
    alone: Path, shared: Path, name: str, dtype: str
) -> None:
    with (
        np.load(alone / f"{name} {dtype}.npz") as wanted,
        np.load(shared / f"{name} {dtype}.npz") as found,
    ):
        assert len(wanted["losses"]) == len(found["losses"])
        assert ("error" in wanted) is (name == "diverged")
        for key in wanted.files:
            if key == "error":
                assert_array_equal(found[key], wanted[key])
                continue
            rtol = TOLERANCE[dtype] if key == "losses" else 0
            assert_allclose(found[key], wanted[key], rtol=rtol, atol=TOLERANCE[dtype])


def test_all_ranks_have_the_same_parameters(shared: Path) -> None:
    first, *others = sorted(shared.glob("rank *"))
    hashes = first.read_text().split()
    assert others
    assert len(set(hashes)) > 100
    for other in others:
        assert_array_equal(other.read_text().split(), hashes)
