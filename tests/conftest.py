"""Fixtures that all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gpubp.backends import cuda_streams, cupy_backend
from gpubp.backends.protocol import Backend
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.kernels.cublas import library as cublas
from gpubp.training.inference import free_all_device_parameters
from tests.cuda_stand_in import cublas as on_host
from tests.cuda_stand_in import cuda as host_cuda
from tests.cuda_stand_in.cublas_lt import HostCublasLt
from tests.cuda_stand_in.cupy import modules
from tests.cuda_stand_in.kernels import skip_without_compiler
from tests.cuda_stand_in.launch import StreamedCublas, steps

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


@pytest.fixture(params=["cpu", "compiled", CUDA, "cuda-on-host"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each backend in turn, in use; the CPU's with compiled steps too, and CUDA's on its stand-in.

    A device that this machine lacks skips, unless GPUBP_REQUIRE_GPU=1.
    """
    name = request.param
    if name == "compiled":
        skip_without_compiler()
        name = "cpu"
    if name == "cuda-on-host":
        name = "cuda"
        request.getfixturevalue("host_cupy")
    try:
        chosen = get_backend(name, compiled=request.param == "compiled")
    except BackendUnavailableError as error:
        if os.environ.get("GPUBP_REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
    with chosen.in_use(None, 0):
        yield chosen


@pytest.fixture
def host_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[host_cuda.Machine]:
    """A machine with a CUDA device and CuPy, both of them stand-ins; see tests/cuda_stand_in/."""
    skip_without_compiler()
    machine = host_cuda.start()
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    machine.cublas = library = cublas.declare(StreamedCublas())

    def load_cublas() -> StreamedCublas:
        host_cuda.machine().require("cublas", cublas.GemmUnavailableError)
        return library

    monkeypatch.setattr(cublas, "load_cublas", load_cublas)
    monkeypatch.setattr(cuda_streams, "_ENGINES", {})
    _forget()
    yield machine
    _forget()
    for used in {machine, host_cuda.machine()}:  # a test may have started one of its own
        assert not used.settle()


@pytest.fixture
def host_cublas(host_cupy: host_cuda.Machine) -> StreamedCublas:
    """The library of ``host_cupy``: say here what this device's cuBLASLt offers."""
    return host_cupy.cublas


@pytest.fixture
def small(
    host_cupy: host_cuda.Machine, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., host_cuda.Machine]:
    """What starts another machine, with so many bytes beside those that an engine takes."""
    cupy_backend.CupyBackend(0)
    engine, library = host_cupy.used[0], host_cupy.cublas

    def start(memory: int, **options: Any) -> host_cuda.Machine:
        monkeypatch.setattr(cuda_streams, "_ENGINES", {})
        machine = host_cuda.start(memory=engine + memory, **options)
        machine.cublas = library
        return machine

    return start


@pytest.fixture
def machine() -> on_host.Machine:
    """Arrays on the host, with stand-ins for cuBLAS and cuBLASLt that are called one by one."""
    return on_host.Machine(HostCublasLt())


@pytest.fixture(params=["stand-in", pytest.param("cupy", marks=pytest.mark.gpu)])
def cupy(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The stand-in, and the real CuPy on a device, on a stream of its own."""
    if request.param == "stand-in":
        request.getfixturevalue("host_cupy")
        import cupy
    else:
        cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
        if not cupy.cuda.is_available():
            if os.environ.get("GPUBP_REQUIRE_GPU") == "1":
                raise RuntimeError("no CUDA device answers")
            pytest.skip("no CUDA device answers")
    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        yield cupy
        stream.synchronize()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line per reason to skip, where pytest's own -rs prints one per place and reason."""
    if "s" not in terminalreporter.reportchars:
        return
    terminalreporter.reportchars = terminalreporter.reportchars.replace("s", "")
    files: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        files.setdefault(reason, []).append(report.nodeid.partition("::")[0])
    if files:
        terminalreporter.section("skipped")
    for reason, skipped in sorted(files.items(), key=lambda item: -len(item[1])):
        terminalreporter.write_line(f"{len(skipped)} ({skipped[0]}): {reason}")


def _forget() -> None:
    """Drop the probe's answer, uploaded weights, and kernels, which belong to one CuPy."""
    cupy_backend.probe.cache_clear()
    free_all_device_parameters()
    for step in steps().values():
        vars(step).pop("kernel", None)
