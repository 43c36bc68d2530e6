"""`BackendChoice`: the backend of another process, which computes with the same bits."""

from __future__ import annotations

from typing import NamedTuple, cast

from gpubp.backends.protocol import Backend
from gpubp.backends.select import device_count, get_backend
from gpubp.kernels.cublas.gemm import Precision


class BackendChoice(NamedTuple):
    """The backend of another process: with it, the same training has the same bits.

    name, engine, precision : see `gpubp.backends.protocol.Backend`.
    """

    name: str
    engine: str
    precision: str

    @classmethod
    def like(cls, backend: Backend) -> BackendChoice:
        """Return the choice of a backend like ``backend``."""
        return cls(backend.name, backend.engine, backend.precision)

    def on_rank(self, local_rank: int) -> BackendChoice:
        """Return the choice of a process of an MPI job: on CUDA, each takes the next device.

        local_rank : the number of the process among those of its machine.
        """
        if self.name == "cpu":
            return self
        return self._replace(name=f"cuda:{local_rank % max(1, device_count())}")

    def backend(self) -> Backend:
        """Return the backend; raise BackendUnavailableError if this machine lacks it."""
        precision = cast(Precision, self.precision)
        return get_backend(self.name, precision=precision, compiled=self.engine == "compiled")
