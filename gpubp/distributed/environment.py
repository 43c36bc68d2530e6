"""Finds out whether mpiexec or srun started this process as one of several.

This file imports only the standard library, so that `gpubp --help` stays fast.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Launcher -> its variables for the number of processes and for the number of this one. They are
# set in the processes of a job step only, not in the batch script of Slurm.
_VARIABLES = {
    "MPICH's mpiexec": ("PMI_SIZE", "PMI_RANK"),
    "Open MPI's mpiexec": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
}


def launched() -> tuple[str, int, int] | None:
    """Return the launcher, the number of processes and that of this one; None for one process.

    It reads environment variables only, so it costs nothing without a launcher.
    """
    for name, variables in _VARIABLES.items():
        size, rank = (os.environ.get(variable, "") for variable in variables)
        if size.isdecimal() and rank.isdecimal() and int(size) > 1:
            return name, int(size), int(rank)
    return None


@contextmanager
def hidden_launcher() -> Iterator[None]:
    """Return a context whose new processes do not count as those of the launcher.

    They have no place in its job, and MPI would end them.
    """
    names = [name for pair in _VARIABLES.values() for name in pair if name in os.environ]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)
