"""Algorithms of products: timed once on streams of a stand-in, kept in a file, taken again."""

from __future__ import annotations

import gc
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import host_cuda
import numpy as np
import pytest
from host_cuda import Machine, issue
from host_launch import StreamedCublas
from numpy.testing import assert_allclose

from gpubp.kernels.cublas import declare
from gpubp.kernels.gemm import Gemm
from gpubp.kernels.gemm_choices import Choices, default_path
from gpubp.kernels.gemm_epilogues import (
    Epilogue,
    EpilogueGemm,
    epilogue_twin,
    library_version,
    mask_shape,
)
from gpubp.kernels.gemm_tuner import Tuner

N, K, M = 3, 4, 16
A, B = (np.arange(size, dtype=np.float32).reshape(size // n, n) for size, n in ((12, 4), (64, 16)))
REFUSED = "00" * 64  # an algorithm that the stand-in does not take


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "gpubp" / "products.json"


class Process:
    """A process on a device, with a library of its own as it has one."""

    def __init__(
        self,
        path: Path | None,
        device: str = "A100",
        version: int = 130100,
        workspace: int = 1024,
    ) -> None:
        import cupy

        self.cupy, self.library = cupy, declare(StreamedCublas())
        self.library.version = version
        self.stream = cupy.cuda.get_current_stream()
        room = cupy.empty((workspace,), np.uint8)
        self.choices = Choices(path, device, library_version(self.library))
        gemm = Gemm(self.stream, room, library=self.library)
        self.lt = EpilogueGemm(gemm, Tuner(self.choices))

    def multiply(
        self, rows: int = N, dtype: str = "float32", start: int = 0, **options: Any
    ) -> bool:
        """Write A B + bias, and compare it with NumPy's.

        start : elements of its memory before the first of A.
        """
        cupy, host = self.cupy, np.tile(A, (-(-rows // N), 1))[:rows].astype(dtype)
        X = cupy.empty((rows * K + start,), dtype)[start:].reshape(rows, K)
        X[...] = cupy.asarray(host)
        W, out = cupy.asarray(B.astype(dtype)), cupy.empty((rows, M), dtype)
        if options.get("transpose_b"):
            W = cupy.asarray(np.ascontiguousarray(B.T).astype(dtype))
        bias = cupy.asarray(np.full((1, M), 7, dtype))
        done = self.lt(X, W, out, **{"epilogue": Epilogue.BIAS, "bias": bias} | options)
        if done:
            assert_allclose(cupy.asnumpy(out), host @ B + 7 * ("epilogue" not in options))
        return done


@pytest.fixture(autouse=True)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine | None]:
    """The stand-in with a current stream, but where a test asks for the real CuPy."""
    if "cupy" in request.fixturenames:
        yield None
        return
    machine: Machine = request.getfixturevalue("host_cupy")
    with host_cuda.Stream(non_blocking=True) as stream:
        yield machine
        stream.synchronize()


def tuned(file: Path, **options: Any) -> Process:
    process = Process(file, **options)
    assert process.multiply()
    return process


# ---- timing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fastest", [0, 1, 2])
def test_the_fastest_is_taken_and_used(fastest: int) -> None:
    process = Process(None)
    process.library.milliseconds = [0.02 - 0.01 * (k == fastest) for k in range(3)]
    for _ in range(2):
        assert process.multiply()
    *_, before, last = process.library.chosen
    assert (before, last) == (fastest, fastest)
    assert process.library.asked == 1
    again = len(process.library.chosen)
    process.multiply()
    assert process.library.chosen[again:] == [fastest]


def test_without_a_tuner_it_is_the_heuristics_first() -> None:
    process = Process(None)
    process.lt = EpilogueGemm(process.lt._gemm)
    assert process.multiply()
    assert process.library.chosen == [0]
    for status in (15, 14):  # refused once, it is not launched again
        process.library.failing["cublasLtMatmul"] = status
        assert not process.multiply(rows=4)


def test_the_only_algorithm_is_not_timed(machine: Machine, file: Path) -> None:
    process = Process(file)
    process.library.answer = (1, 0)
    assert process.multiply()
    assert machine.launches == 0
    assert tuned(file).library.asked == 0


def test_an_algorithm_that_the_heuristic_takes_back_is_left_out() -> None:
    process = Process(None)
    process.library.answer = (3, 15)
    process.library.milliseconds = [0.01, 0.03, 0.02]
    assert process.multiply()
    assert set(process.library.chosen) == {1, 2}
    assert process.library.chosen[-1] == 2


def test_no_algorithm(file: Path) -> None:
    process = Process(file)
    process.library.answer = (0, 0)
    process.library.failing["cublasLtMatmul"] = 14  # an error, were it launched
    assert not process.multiply()
    process = Process(file)
    process.library.failing["cublasLtMatmul"] = 15
    assert not process.multiply()
    assert not file.exists()


def work(
    machine: Machine, milliseconds: dict[bytes, float], late: bytes = b""
) -> Callable[[bytes], bool]:
    """Return launches that take so long; the first of ``late`` in a graph takes longer."""
    runs: list[bytes] = []

    def run(algorithm: bytes) -> None:
        runs.append(algorithm)
        if algorithm == late and runs.count(late) == 3:  # two are launched one by one
            machine.milliseconds += 1000

    def launch(algorithm: bytes) -> bool:
        if algorithm not in milliseconds:
            return False
        took = milliseconds[algorithm]
        issue(algorithm[:1].decode(), lambda: run(algorithm), milliseconds=took)
        return True

    return launch


X, Y, Z = (name * 64 for name in (b"x", b"y", b"z"))


def fastest(
    machine: Machine, milliseconds: dict[bytes, float], late: bytes = b""
) -> tuple[bytes | None, bytes | None]:
    choices = Choices(None, "A100", 1)
    launch = work(machine, milliseconds, late)
    best = Tuner(choices).fastest("p", host_cuda.get_current_stream(), [X, Y, Z], launch)
    return best, choices.get("p")


def test_a_round_that_was_disturbed_does_not_count(machine: Machine) -> None:
    assert fastest(machine, {X: 0.02, Y: 0.01, Z: 0.02}, late=Y) == (Y, Y)


def test_what_is_refused_is_left_out(machine: Machine) -> None:
    assert fastest(machine, {X: 0.02, Z: 0.01}) == (Z, Z)
    assert fastest(machine, {Z: 0.01}) == (Z, Z)
    assert fastest(machine, {}) == (None, None)


@pytest.mark.parametrize(("milliseconds", "count"), [(0.0001, 20), (0.05, 4), (30, 1)])
def test_a_round_takes_about_as_long_for_any_product(
    machine: Machine, milliseconds: float, count: int
) -> None:
    fastest(machine, dict.fromkeys((X, Y), milliseconds))
    assert machine.issued["x"] == 2
    assert machine.captured["x"] == machine.captured["y"] == count
    assert machine.replayed["x"] == 5 * count


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_collected_during_a_capture(enabled: bool) -> None:
    stream, seen = host_cuda.get_current_stream(), set()

    def launch(algorithm: bytes) -> bool:
        issue("x", lambda: None)
        seen.add((stream.is_capturing(), gc.isenabled()))
        return True

    if not enabled:
        gc.disable()
    try:
        Tuner(Choices(None, "A100", 1)).fastest("p", stream, [X, Y], launch)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    assert seen == {(False, enabled), (True, False)}


def test_a_capture_that_fails_leaves_the_stream_and_the_collector(machine: Machine) -> None:
    stream = host_cuda.get_current_stream()

    def launch(algorithm: bytes) -> bool:
        issue("x", lambda: None)
        if stream.is_capturing():
            raise RuntimeError("planted")
        return True

    with pytest.raises(RuntimeError, match="planted"):
        Tuner(Choices(None, "A100", 1)).fastest("p", stream, [X, Y], launch)
    assert gc.isenabled()
    assert not stream.is_capturing()


# ---- in a capture ----------------------------------------------------------------------------


def captured(process: Process) -> None:
    """Multiply inside of a capture, then outside of it."""
    X, W, out = (process.cupy.empty(shape, np.float32) for shape in ((N, K), (K, M), (N, M)))
    bias = process.cupy.empty((1, M), np.float32)
    stream = process.stream
    stream.begin_capture()
    assert process.lt(X, W, out, epilogue=Epilogue.BIAS, bias=bias)
    stream.end_capture()
    assert process.lt(X, W, out, epilogue=Epilogue.BIAS, bias=bias)


def test_nothing_is_timed_inside_a_capture(machine: Machine, file: Path) -> None:
    process = Process(file)
    captured(process)
    assert machine.launches == 0
    assert process.library.chosen == [0, 0]  # and not another one than the graph has
    assert not file.exists()


def test_a_kept_choice_is_taken_inside_a_capture(machine: Machine, file: Path) -> None:
    tuned(file)
    launches, process = machine.launches, Process(file)
    captured(process)
    assert process.library.chosen == [1, 1]
    assert machine.launches == launches


# ---- the file --------------------------------------------------------------------------------


def test_a_choice_is_taken_again_without_timing(machine: Machine, file: Path) -> None:
    assert tuned(file).library.chosen[-1] == 1
    launches, process = machine.launches, Process(file)
    process.library.milliseconds = [0.01, 0.03, 0.03]
    for _ in range(2):
        assert process.multiply()
    assert process.library.chosen == [1, 1]
    assert process.library.asked == 0
    assert machine.launches == launches


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of the process, of the product
    "device": ({"device": "H100"}, {}),
    "version": ({"version": 130200}, {}),
    "workspace": ({"workspace": 2048}, {}),
    "rows": ({}, {"rows": 4}),
    "alignment": ({}, {"start": 1}),
    "type": ({}, {"dtype": "float64"}),
    "transposed": ({}, {"transpose_b": True}),
    "epilogue": ({}, {"epilogue": Epilogue.DEFAULT, "bias": None}),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_differs_is_timed_anew(file: Path, other: str) -> None:
    tuned(file)
    of_process, of_product = OTHERS[other]
    for asked in (1, 0):  # and kept beside what was there
        process = Process(file, **of_process)
        assert process.multiply(**of_product)
        assert process.library.asked == asked
    assert tuned(file).library.asked == 0


def test_what_a_choice_depends_on_is_in_its_name(file: Path) -> None:
    tuned(file)
    (name,) = json.loads(file.read_text())["A100"]["130100"]
    assert name == (
        "BIAS transa=0 transb=0 m=16 n=3 k=4 a=256 a_type=0 lda=16 stride_a=0 b=256 b_type=0 "
        "ldb=4 stride_b=0 c=256 c_type=0 ldc=16 stride_c=0 batch=1 bias=256 bias_stride=0 mask=0 "
        "mask_ld=0 mask_stride=0 compute=68 workspace=1024"
    )


GOOD = {"A100": {"130100": {"p": X.hex()}}}
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "cut": json.dumps(GOOD).encode()[:40],
    "bytes": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "list": b"[]",
    "no versions": b'{"A100": 3}',
    "no products": b'{"A100": {"130100": []}}',
    "short": b'{"A100": {"130100": {"p": "00"}}}',
    "number": b'{"A100": {"130100": {"p": 5}}}',
    "not hex": json.dumps({"H100": {"1": {"p": "z" * 128}}}).encode(),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_replaced(file: Path, damage: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(DAMAGED[damage])
    process = Process(file)
    with pytest.warns(RuntimeWarning, match=r"cannot read the algorithms .*products.json") as told:
        process.multiply()
    assert len(told) == 1
    assert process.library.chosen[-1] == 1
    assert tuned(file).library.asked == 0


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    process = Process(tmp_path / "cache" / "products.json")
    with pytest.warns(RuntimeWarning, match="make its folder writable") as told:
        done = [process.multiply(rows=rows) for rows in (3, 4)]
    assert done == [True, True]
    assert len(told) == 1
    asked = process.library.asked
    assert process.multiply()
    assert process.library.asked == asked


@pytest.mark.parametrize("fails", ["mkstemp", "replace"])
def test_a_file_that_cannot_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    Choices(file, "A100", 130100).put("p", X)
    before = file.read_bytes()

    def refuse(*arguments: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(*((tempfile, fails) if fails == "mkstemp" else (Path, fails)), refuse)
    process = Process(file)
    with pytest.warns(RuntimeWarning, match=r"cannot write .*\(Permission denied\)") as told:
        done = [process.multiply(rows=rows) for rows in (3, 4)]
    assert done == [True, True]
    assert len(told) == 1
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_a_choice_that_is_refused_is_dropped(file: Path) -> None:
    tuned(file)
    written = json.loads(file.read_text())
    products = written["A100"]["130100"]
    (name,) = products
    products |= {name: REFUSED, "p": X.hex()}
    file.write_text(json.dumps(written))
    process = Process(file)
    assert process.multiply()
    assert process.library.asked == 1
    assert process.library.chosen[-1] == 1
    launched = len(process.library.chosen)
    assert process.multiply()
    assert process.library.chosen[launched:] == [1]
    kept = json.loads(file.read_text())["A100"]["130100"]
    assert kept.keys() == {name, "p"}
    assert kept[name] != REFUSED
    assert tuned(file).library.asked == 0


def test_a_choice_that_is_refused_for_ever(file: Path) -> None:
    tuned(file)
    process = Process(file)
    process.library.failing["cublasLtMatmul"] = 15
    assert not process.multiply()
    process.library.failing["cublasLtMatmul"] = 14  # an error, were it launched once more
    assert not process.multiply()
    assert process.library.asked == 1
    assert json.loads(file.read_text()) == {"A100": {"130100": {}}}


def test_processes_that_write_at_the_same_time(file: Path) -> None:
    first, second = (Choices(file, "A100", 1) for _ in range(2))
    assert (first.get("p"), second.get("p")) == (None, None)
    first.put("p", X)
    second.put("q", Y)
    second.put("p", Z)  # later, and for this process alone
    assert (first.get("p"), second.get("p")) == (X, Z)
    later = Choices(file, "A100", 1)
    assert (later.get("p"), later.get("q")) == (X, Y)
    later.drop("p")
    assert later.get("p") is Choices(file, "A100", 1).get("p") is None
    later.put("p", Y)
    assert Choices(file, "A100", 1).get("p") == Y
    later.drop("p")
    later.put("r", Z)
    assert Choices(file, "A100", 1).get("p") is None


def test_a_choice_that_another_process_has_overwritten_comes_back(file: Path) -> None:
    choices = Choices(file, "A100", 1)
    choices.put("p", X)
    file.unlink()
    choices.put("q", Y)
    assert Choices(file, "A100", 1).get("p") == X


def test_a_file_that_is_read_once(file: Path) -> None:
    Choices(file, "A100", 1).put("p", X)
    choices = Choices(file, "A100", 1)
    assert choices.get("p") == X
    file.unlink()
    assert choices.get("p") == X


def test_an_algorithm_has_64_bytes(file: Path) -> None:
    with pytest.raises(ValueError, match="64 bytes, got 3"):
        Choices(file, "A100", 1).put("p", b"abc")


def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_path() == tmp_path / "x" / "gpubp" / "products.json"
    home = tmp_path / ".cache" / "gpubp" / "products.json"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_path() == home
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_path() == home

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert default_path() is None
    with warnings.catch_warnings(action="error"):
        Choices(None, "A100", 1).put("p", X)


# ---- results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("epilogue", Epilogue)
def test_results_are_numpys(cupy: Any, tmp_path: Path, epilogue: Epilogue) -> None:
    gradient = {
        Epilogue.DRELU_BGRAD: Epilogue.RELU_AUX_BIAS,
        Epilogue.DGELU_BGRAD: Epilogue.GELU_AUX_BIAS,
    }
    steps = [*filter(None, [gradient.get(epilogue)]), epilogue]
    rng = np.random.default_rng(0)
    sizes = {"A": (N, K), "B": (K, M), "out": (N, M), "bias": (1, M)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in sizes.items()}
    in_bits = {Epilogue.RELU_AUX_BIAS, Epilogue.DRELU_BGRAD}
    shape = mask_shape((N, M)) if epilogue in in_bits else (N, M)
    arrays["mask"] = np.zeros(shape, np.uint8 if epilogue in in_bits else np.float32)
    device = {name: cupy.asarray(values) for name, values in arrays.items()}
    for step in steps:
        epilogue_twin(np, **arrays, epilogue=step)
    room = cupy.empty((1 << 20,), np.uint8)
    for _ in range(2):  # the second time, of what the first has kept
        gemm = Gemm(cupy.cuda.get_current_stream(), room)
        choices = Choices(tmp_path / "p.json", "device", library_version(gemm.library))
        lt = EpilogueGemm(gemm, Tuner(choices))
        given = dict(device)
        given["bias"] = cupy.asarray(cupy.asnumpy(device["bias"]))
        for step in steps:
            assert lt(**given, epilogue=step)
        for name in ("out", "bias"):
            assert_allclose(cupy.asnumpy(given[name]), arrays[name], 1e-5, 1e-5, err_msg=name)


def test_a_plain_product_takes_what_a_bias_does_not(machine: Machine) -> None:
    process = Process(None)
    cupy, default = process.cupy, {"epilogue": Epilogue.DEFAULT}
    X, W = cupy.asarray(A), cupy.asarray(B)
    out = cupy.empty((M, N), np.float32).swapaxes(-1, -2)
    assert process.lt(X, W, out, **default)
    assert_allclose(cupy.asnumpy(out), A @ B)
    for rows, inner in ((0, K), (N, 0)):
        X, W, out = (cupy.zeros(s, np.float32) for s in ((rows, inner), (inner, M), (rows, M)))
        assert not process.lt(X, W, out, **default)
    with pytest.raises(ValueError, match=r"bias is None, but BIAS takes one; pass .1, 16."):
        process.multiply(epilogue=Epilogue.BIAS, bias=None)
