"""A rank that fails ends the job, with its message and without harm to the model of before."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpubp.distributed.environment import launched
from gpubp.distributed.launcher import LaunchError, connect
from tests.distributed import kill_ranks
from tests.distributed.launching import LAUNCHER, environment, job, mpiexec, on_ranks

PROGRAM = ("-m", "tests.distributed.train_slowly")
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_a_rank_ends_all(tmp_path: Path, rank: int) -> None:
    model = tmp_path / "model"
    model.write_text("the model of before")
    run = on_ranks(2, *PROGRAM, str(model), str(rank), "3")
    assert run.returncode != 0
    assert "OSError: the disk of this rank is gone" in run.stderr
    assert ("rank 1: Traceback" in run.stderr) is (rank == 1)
    assert model.read_text() == "the model of before"


@linux
@pytest.mark.parametrize("seed", range(3))
def test_a_rank_that_ends_at_a_random_moment_ends_all(seed: int) -> None:
    mpiexec()
    kill_ranks.run(seed)


def test_ctrl_c_ends_training_and_saves(tmp_path: Path) -> None:
    model = tmp_path / "model"
    with job(2, *PROGRAM, str(model)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "interrupt" in out
    assert model.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "nofile.csv"), 1, "Error: nofile.csv: no such file"),
        (("train", "digits", "--comm", "morse"), 2, "'morse' is not one of"),
        (("train", "iris", "--device", "cpu", "--comm", "nccl"), 2, "training is on the CPU"),
    ],
)
def test_mistakes_are_reported_once(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    model = ("-o", str(tmp_path / "model")) if code == 2 else ()
    run = on_ranks(2, "-m", "gpubp", *arguments, *model)
    assert run.returncode == code
    assert run.stderr.count(message) == 1
    assert "Traceback" not in run.stderr


def test_rank_0_alone_prints_and_writes(tmp_path: Path) -> None:
    model = tmp_path / "model"
    run = on_ranks(2, "-m", "gpubp", "train", "iris", "--epochs", "3", "-o", str(model))
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("verdict") == 1
    assert run.stdout.count("shared by 2 processes; MPI adds up their gradients\n") == 1
    assert run.stdout.count("all ranks train one network together") == 1
    assert model.exists()


def test_comm_needs_several_processes(tmp_path: Path) -> None:
    run = on_ranks(1, "-m", "gpubp", "train", "iris", "--comm", "mpi", "-o", str(tmp_path / "m"))
    assert run.returncode == 2
    assert "mpiexec -n 4 gpubp train" in run.stderr


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without the variables of a launcher."""
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_batch_script_of_slurm_is_one_process(no_launcher: pytest.MonkeyPatch) -> None:
    no_launcher.setenv("SLURM_NTASKS", "4")
    no_launcher.setenv("SLURM_PROCID", "0")
    assert launched() is None
    assert connect().size == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_copies_that_cannot_reach_each_other_stop(tmp_path: Path, rank: int) -> None:
    mpiexec()
    variables = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(rank)}
    command = [sys.executable, "-m", "gpubp", "train", "iris", "-o", str(tmp_path / "model")]
    run = subprocess.run(
        command, env=environment() | variables, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stdout == ""
    message = "Error: Open MPI's mpiexec started 2 processes, but mpi4py, which uses MPICH"
    assert run.stderr.startswith(message) if rank == 0 else run.stderr == ""
    assert not (tmp_path / "model").exists()


def test_mpi4py_that_is_missing_is_named(no_launcher: pytest.MonkeyPatch) -> None:
    no_launcher.setenv("PMI_SIZE", "4")
    no_launcher.setenv("PMI_RANK", "0")
    no_launcher.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(LaunchError, match=r"mpi4py is not installed.*gpubp\[mpi\]"):
        connect()
