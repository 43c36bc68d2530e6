"""Data-parallel training: the number of ranks does not change the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import MLPClassifier, run_on_ranks
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.distributed.launching import LONGEST, ROOT, environment, on_ranks
from tests.distributed.train_networks import REPRODUCIBLE, SETTINGS

PROGRAM = ("-m", "tests.distributed.train_networks")
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


def trained_alone(folder: Path, *arguments: str) -> Path:
    """Let one process train, without mpiexec; return ``folder``."""
    skip_without_compiler()
    command = [sys.executable, *PROGRAM, str(folder), *arguments]
    subprocess.run(command, env=environment(), cwd=ROOT, check=True, timeout=LONGEST)
    return folder


def trained_on(ranks: int, folder: Path, *arguments: str) -> Path:
    """Let several ranks train; return ``folder``."""
    skip_without_compiler()
    run = on_ranks(ranks, *PROGRAM, str(folder), *arguments)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of one process."""
    return trained_alone(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module", params=[2, 3])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of several ranks."""
    return trained_on(request.param, tmp_path_factory.mktemp("shared"))


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


@pytest.fixture(scope="module")
def reproducible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The networks of one process with reproducible sums."""
    return trained_alone(tmp_path_factory.mktemp("alone"), "reproducible")


@pytest.mark.parametrize("ranks", [2, 4])
def test_reproducible_networks_have_the_same_bits(
    reproducible: Path, tmp_path: Path, ranks: int
) -> None:
    trained_on(ranks, tmp_path, "reproducible")
    files = sorted(reproducible.glob("*.npz"))
    assert len(files) == 2 * len(REPRODUCIBLE)
    for file in files:
        with np.load(file) as wanted, np.load(tmp_path / file.name) as found:
            for key in wanted.files:
                assert_array_equal(found[key], wanted[key], err_msg=f"{file.name}: {key}")


def test_reproducible_sums_differ_from_those_of_one_batch(alone: Path, reproducible: Path) -> None:
    with (
        np.load(alone / "adam float64.npz") as one,
        np.load(reproducible / "adam float64.npz") as tiles,
    ):
        assert_allclose(tiles["a0"], one["a0"], atol=1e-9)
        assert not np.array_equal(tiles["a0"], one["a0"])


def test_how_rows_are_shared_is_logged_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def main() -> None:
        MLPClassifier((3,), max_iter=500, tol=1.0, random_state=0).fit(np.eye(8), [0, 1] * 4)

    with caplog.at_level("INFO", "gpubp"):
        run_on_ranks(main, reproducible=True)
    assert "the gradients of 4 tiles of each batch are added up in a fixed order" in caplog.text


def test_reproducible_training_needs_a_power_of_two(tmp_path: Path) -> None:
    arguments = ("train", "iris", "--reproducible", "-o", str(tmp_path / "model"))
    run = on_ranks(3, "-m", "gpubp", *arguments)
    assert run.returncode == 2
    assert "reproducible training needs 1, 2 or 4 processes, got 3" in run.stderr
