"""Starting processes by mpiexec in a test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Variables by which a launcher marks its processes.
LAUNCHER = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
LONGEST = 100  # seconds after which a job counts as hanging


def mpiexec() -> str:
    """The mpiexec of the MPI library that mpi4py loads; skips without them."""
    if find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed; pip install 'gpubp[mpi]'")
    found = shutil.which("mpiexec", path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("there is no mpiexec next to python; pip install 'gpubp[mpi]'")
    return found


def environment() -> dict[str, str]:
    """The environment of the ranks: one BLAS thread each, and this checkout."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}


@contextmanager
def job(ranks: int, *command: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`python *command` on so many ranks, ended with all its processes on leaving."""
    process = subprocess.Popen(
        [mpiexec(), "-n", str(ranks), sys.executable, *command],
        env=environment() | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def on_ranks(ranks: int, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python *command` on so many ranks; fail if it hangs."""
    with job(ranks, *command, **variables) as process:
        try:
            out, err = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{command} hangs on {ranks} ranks")
    return subprocess.CompletedProcess(command, process.returncode, out, err)
