"""Starting MPI ranks in tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Variables by which a launcher tells a process that it is a rank.
LAUNCHER = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS")


def find_mpiexec() -> str:
    """Return the path of mpiexec; skip without MPI."""
    beside = str(Path(sys.executable).parent)
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if mpiexec is None or importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py or mpiexec is missing: pip install 'gpubp[mpi]'")
    return mpiexec


def run_ranks(ranks: int, *arguments: str, timeout: float = 120) -> str:
    """Return what ``mpiexec -n ranks python *arguments`` prints; skip without MPI."""
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "GPUBP_COMPILED": "0"}
    done = subprocess.run(
        [find_mpiexec(), "-n", str(ranks), sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **threads, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
