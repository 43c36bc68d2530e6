"""What the parts of `gpubp.bench.gpu` check: on the CPU, and on the stand-in for a device."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.bench import ceilings, first_device, kernel_twins, measurement, trainings
from gpubp.bench.cases import Case
from gpubp.bench.isolation import measured
from gpubp.bench.timing import HostClock
from tests.cuda_stand_in import cublas_lt as host_cublas_lt
from tests.cuda_stand_in import cuda as host_cuda

DTYPES = ("float32", "float64")
ROOT = Path(__file__).parents[2]


class OffByOne(NumpyBackend):
    def run(self, step: Any, *inputs: Any, out: Any, rows: int = 0) -> None:
        super().run(step, *inputs, out=out)
        out[0][...] += 1


def test_kernel_rows_find_a_kernel_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    check = kernel_twins.rows("cpu")["relu"]
    assert measured("relu", check).figures["cases"] > 0
    monkeypatch.setattr(kernel_twins, "get_backend", lambda device: OffByOne())
    row = measured("relu", check)
    assert row.status == "failed"
    assert "a is wrong in" in row.reason


@pytest.mark.parametrize(("device", "status"), [("cpu", "skipped"), ("cuda", "failed")])
def test_kernel_rows_without_the_tests_say_so(
    device: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_twins, "TEST_MODULES", ("no_such_tests",))
    ((name, check),) = kernel_twins.rows(device).items()
    row = measured(name, check)
    assert (row.case, row.status) == ("all kernels", status)
    assert "No module named 'no_such_tests'" in row.reason


def test_kernel_rows_need_no_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from gpubp.bench import kernel_twins\n"
        "print(kernel_twins.rows('cpu')['relu']().status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout == "ok\n", run.stderr


def test_curves_are_held_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "EPOCHS", 2)
    rows = trainings.rows("cpu")
    assert set(rows) == {"first fit", *(f"digits {t}{n}" for t in DTYPES for n in ("", " twice"))}
    row = rows["digits float32"]()
    assert (row.status, len(row.losses)) == ("ok", 2)
    monkeypatch.setitem(trainings.LIMITS, "float32", -1.0)
    assert rows["digits float32"]().status == "failed"


def test_the_same_seed_twice_is_held_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "EPOCHS", 1)
    twice = trainings.rows("cpu")["digits float64 twice"]
    assert twice().status == "ok"
    fits = iter([trainings._fit_digits("cpu", "float64") for _ in range(2)])

    def one_bit_off(device: str, dtype: str) -> Any:
        model = next(fits)
        model.intercepts_[1][0] = np.nextafter(model.intercepts_[1][0], 1)
        monkeypatch.setattr(trainings, "_fit_digits", lambda device, dtype: next(fits))
        return model

    monkeypatch.setattr(trainings, "_fit_digits", one_bit_off)
    row = twice()
    assert row.status == "failed"
    assert row.figures["bytes_that_differ"] >= 1


def test_first_fit_is_timed_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    figures = trainings.rows("cpu")["first fit"]().figures
    assert 0 < figures["fit_seconds"] < figures["process_seconds"]


# ---- ceilings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("free", [139 << 30, 15 << 30, 7 << 30, 3 << 30, 1 << 28])
def test_ceilings_take_at_most_an_eighth_of_the_memory(free: int) -> None:
    assert 2 * ceilings.copy_rows(free) * 4 * ceilings.COPY_WIDTH <= free / 8
    for precision, item in [("float32", 4), ("bfloat16", 4), ("float64", 8)]:
        assert 3 * item * ceilings.product_size(free, precision) ** 2 <= free / 8


def test_ceilings_of_large_cards_have_one_size() -> None:
    assert ceilings.copy_rows(139 << 30) == ceilings.copy_rows(80 << 30) == (2 << 30) // 4096
    sizes = [ceilings.product_size(139 << 30, name) for name in ("tf32", "bfloat16", "float64")]
    assert sizes == [8192, 8192, 4096]
    assert ceilings.product_size(3 << 30, "float32") == 4096
    assert ceilings.copy_rows(8 << 30) == (1 << 29) // 4096


def test_the_copy_says_its_size_and_is_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Device(nullcontext[Any]):
        def __init__(self, index: int) -> None:
            super().__init__(SimpleNamespace(mem_info=(1 << 24, 1 << 25)))
            asked.append(index)

    runtime = SimpleNamespace(deviceSynchronize=lambda: None)
    cuda = SimpleNamespace(Device=Device, runtime=runtime)
    cupy = SimpleNamespace(
        cuda=cuda, asarray=np.asarray, empty_like=np.empty_like, copyto=np.copyto
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(ceilings, "cupy_clock", HostClock)
    row = ceilings.rows("cuda:1")["copy"]()
    assert asked == [1]
    assert row.figures["array_bytes"] == 1 << 20  # two of them are an eighth of 16 MiB
    assert row.timing is not None
    assert row.figures["bytes_per_second"] == pytest.approx((2 << 20) / row.timing.median)


# ---- the first questions to a device -----------------------------------------------------------

TRAINED = [name for name in first_device.rows("cuda") if name != "facts"]


@pytest.mark.parametrize("name", TRAINED)
def test_first_trainings_run_on_the_stand_in(host_cupy: host_cuda.Machine, name: str) -> None:
    row = measured(name, first_device.rows("cuda")[name])
    assert (row.status, row.reason, len(row.losses)) == ("ok", "", first_device.EPOCHS)
    assert row.figures["largest_relative_difference"] > 0  # it was not computed by NumPy


def test_the_tail_is_one_row() -> None:
    tails = {name: t.rows % first_device.BATCH for name, t in first_device.TRAININGS.items()}
    assert tails == {"one-output regressor": 0, "binary classifier": 0, "one-row tail": 1}


@pytest.mark.parametrize("name", TRAINED)
def test_first_trainings_find_an_epilogue_that_is_wrong(
    host_cupy: host_cuda.Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    finish = host_cublas_lt.Extras.finish

    def no_delta(self: Any, call: Any) -> None:
        kept = self.epilogue & (host_cublas_lt.DRELU | host_cublas_lt.DGELU)
        finish(self._replace(epilogue=self.epilogue & ~kept), call)

    monkeypatch.setattr(host_cublas_lt.Extras, "finish", no_delta)
    row = measured(name, first_device.rows("cuda")[name])
    assert (row.status, row.reason) == ("failed", "the loss curve differs from that on the CPU")


def test_first_trainings_say_what_cublas_answered(
    host_cupy: host_cuda.Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_cublas_lt.Extras, "faults", lambda self, call: True)
    row = measured(TRAINED[0], first_device.rows("cuda")[TRAINED[0]])
    assert row.status == "failed"
    assert row.reason.startswith("CublasError: cublasLtMatmul returned CUBLAS_STATUS_")
    assert set(host_cupy.faults) == {"an illegal memory access by cublasLtMatmul"}
    host_cupy.faults.clear()


def test_facts_have_an_answer_or_an_error_for_each_question(
    host_cupy: host_cuda.Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_device, "machine", lambda device: {"device": {"name": "Stand-in"}})
    row = first_device.rows("cuda")["facts"]()
    assert row.notes["name"] == "Stand-in"
    assert row.notes["cuBLASLt"].isdecimal()
    assert row.notes["NVRTC"].startswith("AttributeError: ")  # the stand-in has none
    assert row.figures["total_bytes"] == host_cuda.Device(0).mem_info[1]


def test_facts_of_the_cpu_are_skipped() -> None:
    row = measured("facts", first_device.rows("cpu")["facts"])
    assert (row.status, row.reason) == ("skipped", "needs a CUDA device to describe")


MAPS = """
7f00-7f01 r-xp 0 08:01 12 /home/me/lib/python3.12/site-packages/nvidia/cu13/lib/libcublas.so.13
7f01-7f02 r--p 0 08:01 13 /home/me/lib/python3.12/site-packages/nvidia/cu13/lib/libcublasLt.so.13
7f02-7f03 r--p 0 08:01 14 /usr/lib/x86_64-linux-gnu/libcuda.so.580.82.07
7f03-7f04 r--p 0 08:01 15 /usr/lib/x86_64-linux-gnu/libcuda_other.so.1
7f04-7f05 rw-p 0 00:00 0 [heap]
"""


def test_libraries_are_those_that_are_loaded() -> None:
    assert first_device.libraries(MAPS) == {
        "libcublas": "nvidia/cu13/lib/libcublas.so.13",
        "libcublasLt": "nvidia/cu13/lib/libcublasLt.so.13",
        "libcuda": "/usr/lib/x86_64-linux-gnu/libcuda.so.580.82.07",
    }


@pytest.mark.parametrize("mode", ["epochs", "forward"])
def test_steps_and_passes_are_timed_by_events_on_the_stand_in(
    host_cupy: host_cuda.Machine, mode: Any
) -> None:
    case = Case("a", (6, 8, 3), 16, 40, "gpubp", "cuda", mode=mode, epochs=2, seconds=1e-9)
    row = measurement.measure(case)
    assert row.timing is not None
    assert row.timing.clock == "device events"
    losses = measurement.measure(case.on("cpu")).losses
    np.testing.assert_allclose(row.losses, losses, rtol=1e-5)
