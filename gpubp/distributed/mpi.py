"""`Mpi`: processes started by mpiexec, which exchange arrays by MPI."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.distributed.communicator import Ended, Single

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

# Waiting in MPI keeps a core busy. A process that waits for a value polls instead: without a pause
# for the first seconds of SPIN, since an epoch may take less than a millisecond, then with pauses.
SPIN, SHORTEST_PAUSE, LONGEST_PAUSE = 2e-3, 1e-4, 5e-3
TELLING = 0.2  # seconds in which mpiexec passes on the last lines; an abort discards the others
_VALUES = 1  # the tag of pickled values


class Mpi(Single):
    """The processes of ``comm``, an intracommunicator of mpi4py."""

    def __init__(self, comm: Comm) -> None:
        from mpi4py import MPI

        self._mpi, self.comm = MPI, comm
        self.rank, self.size = comm.rank, comm.size
        local = comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = local.rank, local.size
        local.Free()
        self._staging: dict[int, np.ndarray] = {}

    def sum_gradient(self, backend: Backend, gradient: Array) -> None:
        if isinstance(gradient, np.ndarray):
            function = partial(self._sum_on_host, gradient)
        else:
            function = partial(self._sum_staged, backend, gradient)
        backend.call_on_host(function, [gradient])

    def _sum_staged(self, backend: Backend, gradient: Array) -> None:
        """Sum an array on a device in pinned host memory: MPI wheels cannot read a device's."""
        host = self._staging.get(gradient.nbytes)
        if host is None or host.dtype != gradient.dtype:
            host = self._staging[gradient.nbytes] = backend.pinned(gradient.shape, gradient.dtype)
        gradient.get(out=host)
        self._sum_on_host(host)
        gradient.set(host)

    def _sum_on_host(self, gradient: np.ndarray) -> None:
        self.comm.Allreduce(self._mpi.IN_PLACE, gradient)

    def sum(self, values: np.ndarray) -> np.ndarray:
        total = np.empty_like(values)
        self.comm.Allreduce(values, total)
        return total

    def broadcast(self, array: np.ndarray) -> None:
        self.comm.Bcast(array)

    def send(self, value: Any, rank: int) -> None:
        # Functions of the main script, such as a loss, are pickled with their code.
        import cloudpickle

        buffers: list[pickle.PickleBuffer] = []
        data = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        self.comm.send((data, [array.nbytes for array in arrays]), rank, tag=_VALUES)
        for array in arrays:  # apart, without a copy
            self.comm.Send([array, self._mpi.BYTE], rank, tag=_VALUES)

    def receive(self, rank: int = 0) -> Any:
        began, pause = perf_counter(), SHORTEST_PAUSE
        while not self.senders([rank]):
            if perf_counter() - began > SPIN:
                sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        data, sizes = self.comm.recv(source=rank, tag=_VALUES)
        arrays = [np.empty(size, np.uint8) for size in sizes]
        for array in arrays:
            self.comm.Recv([array, self._mpi.BYTE], rank, tag=_VALUES)
        value = pickle.loads(data, buffers=arrays)
        if isinstance(value, Ended):
            raise value
        return value

    def senders(self, ranks: Sequence[int]) -> list[int]:
        return [rank for rank in ranks if self.comm.Iprobe(source=rank, tag=_VALUES)]

    def barrier(self) -> None:
        self.comm.Barrier()

    def abort(self, code: int) -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the disk may be full, or the stream closed
                stream.flush()
        sleep(TELLING)
        try:
            self.comm.Abort(code)
        finally:  # it may return before mpiexec ends this process, which must not go on
            os._exit(code)


class MpiInOrder(Mpi):
    """Processes whose number is a power of 2; gradients are added up in the order of `fold`."""

    def _sum_on_host(self, gradient: np.ndarray) -> None:
        other, distance = np.empty_like(gradient), self.size // 2
        while distance:
            partner = self.rank ^ distance
            self.comm.Sendrecv(gradient, partner, recvbuf=other, source=partner)
            gradient += other
            distance //= 2
