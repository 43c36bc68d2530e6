"""Searches whose networks are trained by several ranks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.distributed.launching import LONGEST, ROOT, environment, job, on_ranks

PROGRAM = ("-m", "tests.distributed.search_networks")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scores of a search in one process."""
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, *PROGRAM, str(folder)]
    subprocess.run(command, env=environment(), cwd=ROOT, check=True, timeout=LONGEST)
    return folder


@pytest.mark.parametrize("ranks", [2, 3])
def test_scores_are_those_of_one_process(alone: Path, tmp_path: Path, ranks: int) -> None:
    run = on_ranks(ranks, *PROGRAM, str(tmp_path))
    assert run.returncode == 0, run.stderr
    with np.load(alone / "scores.npz") as wanted, np.load(tmp_path / "scores.npz") as found:
        assert np.isnan(wanted["mean_test_score"]).sum() == 1  # of the candidate that fails
        for name in wanted.files:
            assert_array_equal(found[name], wanted[name])
    tasks = [len((tmp_path / f"rank {rank}").read_text().split("\n")) - 1 for rank in range(ranks)]
    assert all(tasks)
    assert not (alone / "rank 0").exists()


def test_ctrl_c_ends_a_search_soon(tmp_path: Path) -> None:
    with job(2, *PROGRAM, str(tmp_path), "many") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        while not (tmp_path / "rank 1").exists():
            time.sleep(0.05)
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert time.perf_counter() - began < 40
    assert "rank 1: " not in err  # it does not end the job
    # Whether a candidate that can be trained has ended decides between these.
    assert "interrupt\n" in out or "KeyboardInterrupt" in err


def test_ctrl_c_before_a_rank_trains_is_no_error(tmp_path: Path) -> None:
    with job(2, *PROGRAM, str(tmp_path), "many", "slow") as process:
        assert process.stdout is not None
        while process.stdout.readline() not in ("trains soon\n", ""):
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "MPI_Abort" not in err
    assert "rank 1:" not in err


def test_a_sweep_is_written_once(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    arguments = ("iris", "--trials", "4", "--cv", "2", "--quiet", "-o", str(model))
    run = on_ranks(2, "-m", "gpubp", "sweep", *arguments)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("verdict") == 1
    journal = model.with_suffix(".sweep.jsonl").read_text().splitlines()
    assert len([line for line in journal if "params" in json.loads(line)]) == 4
