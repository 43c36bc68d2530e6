"""How ranks add up gradients: by MPI, or by NCCL between GPUs."""

from __future__ import annotations

from typing import Literal

from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError, device_count
from gpubp.distributed.communicator import Single
from gpubp.distributed.mpi import Mpi, MpiInOrder

Asked = Literal["auto", "nccl", "mpi"]
Gradients = Literal["nccl", "mpi", "mpi in order"]
_nccl: dict[int, Single] = {}  # one per process: a second one would take memory of the GPU


def gradients_on(
    backend: Backend, asked: Asked, communicator: Single, *, in_order: bool = False
) -> Gradients:
    """Return how to add up gradients of ``backend``; "auto" is NCCL where it works.

    NCCL needs CUDA, its library, and for each process of a machine a GPU of its own.
    in_order : whether to add them up in a fixed order, which only MPI can: "mpi in order".

    Raises BackendUnavailableError if ``asked`` is "nccl" and it does not work.
    """
    if in_order and asked != "nccl":
        return "mpi in order"
    if asked == "mpi":
        return "mpi"
    no_order = "it has no fixed order; leave out reproducible"
    reason = no_order if in_order else _lacking(backend, communicator)
    if reason is None:
        return "nccl"
    if asked == "nccl":
        raise BackendUnavailableError(f"gradients cannot be added up by NCCL: {reason}, or use mpi")
    return "mpi"


def _lacking(backend: Backend, communicator: Single) -> str | None:
    """Return why NCCL cannot be used, with the remedy; None if it can."""
    if backend.name == "cpu":
        return "training is on the CPU; use device 'cuda'"
    devices, processes = device_count(), communicator.local_size
    if processes > devices:
        return (
            f"{processes} processes share {devices} GPUs on this machine; start as many processes "
            "as there are GPUs"
        )
    from cupy.cuda import nccl

    if not nccl.available:
        return "NCCL is not installed; pip install 'gpubp[nccl12]' or 'gpubp[nccl13]'"
    return None


def with_gradients_by(communicator: Single, kind: Gradients) -> Single:
    """Return a communicator that adds up gradients as ``kind`` says; all ranks call it at once.

    kind : the result of `gradients_on`. One process gets its ``communicator`` back.
    """
    if not isinstance(communicator, Mpi) or kind == "mpi":
        return communicator
    if kind == "mpi in order":
        return MpiInOrder(communicator.comm)
    from gpubp.distributed.nccl import Nccl

    if communicator.rank not in _nccl:
        _nccl[communicator.rank] = Nccl(communicator.comm)
    return _nccl[communicator.rank]
