"""`connect`: the communicator between the processes that a launcher started."""

from __future__ import annotations

import warnings

from gpubp.distributed.communicator import SINGLE, Single
from gpubp.distributed.environment import launched


class LaunchError(RuntimeError):
    """Several processes were started, but they cannot train together.

    is_first : whether this process is the one that reports it.
    """

    def __init__(self, message: str, is_first: bool) -> None:
        super().__init__(message)
        self.is_first = is_first


def connect() -> Single:
    """Return the communicator between the processes that a launcher started.

    Raises LaunchError if there are several that cannot reach each other. Without it, each would
    train alone and overwrite the model of the others.
    """
    found = launched()
    if found is None:
        return SINGLE
    name, size, rank = found
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mpi4py warns of another mpiexec, which raises below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no MPI library
        reason = "mpi4py is not installed" if _is_missing(error) else f"mpi4py fails: {error}"
        raise LaunchError(
            f"{name} started {size} processes, but {reason}, so they cannot train together; "
            "pip install 'gpubp[mpi]', or start one process",
            rank == 0,
        ) from error
    if MPI.COMM_WORLD.size != size:
        library = MPI.Get_library_version().split("\n")[0].split(",")[0].strip("\0 ")
        raise LaunchError(
            f"{name} started {size} processes, but mpi4py, which uses {' '.join(library.split())}, "
            f"sees {MPI.COMM_WORLD.size}; use the mpiexec of that library (that of "
            "'gpubp[mpi]' is next to the python command), or start one process",
            rank == 0,
        )
    from gpubp.distributed.mpi import Mpi

    return Mpi(MPI.COMM_WORLD)


def _is_missing(error: Exception) -> bool:
    return isinstance(error, ModuleNotFoundError) and error.name == "mpi4py"
