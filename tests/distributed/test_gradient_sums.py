"""Sums of gradients within a recorded step, on every backend; the other rank is simulated."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.protocol import Array, Backend
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.distributed.communicator import SINGLE, Single
from gpubp.distributed.gradient_sums import gradients_on
from gpubp.distributed.mpi import Mpi
from gpubp.distributed.nccl import Nccl
from gpubp.kernels.optimizers import ADVANCE
from tests.cuda_stand_in.cuda import Machine


class TwoEqualRanks:
    """Stands in for a communicator of mpi4py: the other rank has the same values."""

    rank, size = 0, 2

    def Split_type(self, kind: Any) -> SimpleNamespace:
        return SimpleNamespace(rank=0, size=2, Free=lambda: None)

    def Allreduce(self, source: Any, values: np.ndarray) -> None:
        values *= 2


@pytest.fixture
def mpi(monkeypatch: pytest.MonkeyPatch) -> Mpi:
    """The communicator of two equal ranks; mpi4py is simulated."""
    module: Any = ModuleType("mpi4py")
    module.MPI = SimpleNamespace(COMM_TYPE_SHARED=0, IN_PLACE=None, BYTE=None)
    monkeypatch.setitem(sys.modules, "mpi4py", module)
    return Mpi(TwoEqualRanks())  # type: ignore[arg-type]


def replayed(backend: Backend, communicator: Single, times: int) -> np.ndarray:
    """The gradient after so many recorded steps, each of which counts it up and sums it."""
    gradient, number = backend.zeros((32,), np.float32), backend.zeros((1,), np.int64)

    def step() -> None:
        gradient[...] = gradient  # work before the sum
        communicator.sum_gradient(backend, gradient)
        backend.run(ADVANCE, 1, out=number)

    recording = backend.record(step)
    gradient[...] = backend.asarray(np.arange(32, dtype=np.float32))
    recording(times)
    return np.array(backend.to_numpy(gradient))


def test_mpi_sums_in_each_recorded_step(backend: Backend, mpi: Mpi) -> None:
    assert_array_equal(replayed(backend, mpi, 3), 8 * np.arange(32))


def test_one_process_changes_nothing(backend: Backend) -> None:
    assert_array_equal(replayed(backend, SINGLE, 3), np.arange(32))


class NcclOfTwo:
    """Stands in for CuPy's NCCL group: the other GPU has the same values."""

    def __init__(self, size: int, rank: int, *, use_mpi: bool) -> None:
        assert (size, rank, use_mpi) == (2, 0, True)

    def all_reduce(self, source: Array, out: Array, op: str) -> None:
        import cupy

        assert op == "sum"
        cupy.add(source, source, out=out)


def test_nccl_sums_within_the_recorded_step(
    host_cupy: Machine, mpi: Mpi, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = ModuleType("cupyx.distributed")
    module.init_process_group = NcclOfTwo
    monkeypatch.setitem(sys.modules, "cupyx", ModuleType("cupyx"))
    monkeypatch.setitem(sys.modules, "cupyx.distributed", module)
    backend = get_backend("cuda")
    with backend.in_use(None, 0):
        communicator = Nccl(mpi.comm)
        assert_array_equal(replayed(backend, communicator, 3), 8 * np.arange(32))


def test_auto_takes_mpi_without_nccl(backend: Backend, mpi: Mpi) -> None:
    assert gradients_on(backend, "auto", mpi) == "mpi"
    assert gradients_on(backend, "mpi", mpi) == "mpi"


def test_nccl_that_cannot_be_used_says_why(host_cupy: Machine, mpi: Mpi) -> None:
    with pytest.raises(BackendUnavailableError, match="training is on the CPU"):
        gradients_on(get_backend("cpu"), "nccl", mpi)
    with pytest.raises(BackendUnavailableError, match="2 processes share 1 GPU"):
        gradients_on(get_backend("cuda"), "nccl", mpi)
    with pytest.raises(BackendUnavailableError, match="no fixed order; leave out reproducible"):
        gradients_on(get_backend("cuda"), "nccl", mpi, in_order=True)
