"""`Nccl`: processes started by mpiexec, whose GPUs add up gradients by NCCL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpubp.backends.protocol import Array, Backend
from gpubp.distributed.mpi import Mpi

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


class Nccl(Mpi):
    """The processes of ``comm``, each with a GPU of its own; MPI moves all but the gradients.

    Make it with the GPU as the current device, in all processes at the same time.
    """

    def __init__(self, comm: Comm) -> None:
        from cupyx.distributed import init_process_group

        super().__init__(comm)
        self._group = init_process_group(self.size, self.rank, use_mpi=True)

    def sum_gradient(self, backend: Backend, gradient: Array) -> None:
        # On the stream of the step, so that a CUDA graph records it.
        self._group.all_reduce(gradient, gradient, "sum")
