"""cuBLASLt's stand-in on streams: when it computes, with what, and what it finds out."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.kernels.cublas.gemm import Gemm
from gpubp.kernels.cublas.library import CublasError
from tests.cuda_stand_in.cublas_lt import RESULT, gelu, gelu_slope
from tests.cuda_stand_in.cuda import Machine, machine, start
from tests.cuda_stand_in.launch import StreamedCublas

BIAS, RELU_BIAS, RELU_AUX_BIAS, DRELU_BGRAD = 4, 6, 134, 152
GELU_AUX_BIAS, DGELU_BGRAD, BGRADA = 164, 208, 256
EPILOGUES = (BIAS, RELU_BIAS, RELU_AUX_BIAS, DRELU_BGRAD, *(164, 208, 256))
N, K, M = 3, 4, 5
LD = {RELU_AUX_BIAS: 128, DRELU_BGRAD: 128, GELU_AUX_BIAS: 8, DGELU_BGRAD: 8}


class Call:
    """out (N, M) = A (N, K) B (K, M), all by rows, as bare calls of C with an epilogue.

    sizes : N, K, M.
    """

    def __init__(
        self,
        cupy: Any,
        library: StreamedCublas,
        epilogue: int,
        asked: int = 4,
        sizes: tuple[int, int, int] = (N, K, M),
    ) -> None:
        self.cupy, self.library, self.epilogue = cupy, library, epilogue
        N, K, M = self.sizes = sizes
        rng = np.random.default_rng(0)
        host = {"A": (N, K), "B": (K, M), "out": (N, M), "bias": (1, M), "aux": (N, 32)}
        arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in host.items()}
        if epilogue == DRELU_BGRAD:
            arrays["aux"].view(np.uint8)[:] = 0b10110000
        self.host = arrays
        self.device = {name: cupy.asarray(values) for name, values in arrays.items()}
        self.stream = cupy.cuda.get_current_stream()
        self.workspace = cupy.empty((1024,), np.uint8)
        self.gemm = Gemm(self.stream, self.workspace, library=library)
        self.objects = self._made("MatmulDesc", 68, 0), *self._layouts()
        self._set("MatmulDesc", self.objects[0], 7, ctypes.c_uint32(epilogue))
        self.point("bias", self.device["bias"])
        if epilogue in LD:
            self._set("MatmulDesc", self.objects[0], 12, ctypes.c_int64(LD[epilogue]))
            self.point("aux", self.device["aux"])
        self.found = self._heuristic(asked)

    def _made(self, kind: str, *arguments: int) -> ctypes.c_void_p:
        made = ctypes.c_void_p()
        assert (
            getattr(self.library, f"cublasLt{kind}Create")(ctypes.addressof(made), *arguments) == 0
        )
        return made

    def _layouts(self) -> tuple[ctypes.c_void_p, ...]:
        N, K, M = self.sizes
        shapes = ((M, K, M), (K, N, K), (M, N, M))  # of B^T, A^T and out^T, by columns
        return tuple(self._made("MatrixLayout", 0, *shape) for shape in shapes)

    def _set(self, kind: str, made: ctypes.c_void_p, number: int, value: Any) -> None:
        set_ = getattr(self.library, f"cublasLt{kind}SetAttribute")
        assert set_(made, number, ctypes.addressof(value), ctypes.sizeof(value)) == 0

    def point(self, name: str, array: Any) -> None:
        value = ctypes.c_void_p(array.data.ptr)
        self._set("MatmulDesc", self.objects[0], {"bias": 8, "aux": 11}[name], value)

    def _heuristic(self, asked: int) -> list[bytes]:
        preference = self._made("MatmulPreference")
        self._set("MatmulPreference", preference, 1, ctypes.c_uint64(1024))
        self._set("MatmulPreference", preference, 3, ctypes.c_uint32(2))
        results, found = (ctypes.c_ubyte * (RESULT * asked))(), ctypes.c_int()
        product, b, a, d = self.objects
        self.status = self.library.cublasLtMatmulAlgoGetHeuristic(
            *(self.gemm.handle, product, b, a, d, d, preference, asked),
            *(ctypes.addressof(results), ctypes.addressof(found)),
        )
        return [bytes(results[k * RESULT :][:64]) for k in range(found.value)]

    def __call__(self, stream: Any = None, algorithm: int = 0, workspace: Any = None) -> int:
        product, b, a, d = self.objects
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        A, B, out = (self.device[name].data.ptr for name in ("A", "B", "out"))
        chosen = ctypes.create_string_buffer(self.found[algorithm], 64)
        work = self.workspace if workspace is None else workspace
        status: int = self.library.cublasLtMatmul(
            *(self.gemm.handle, product, ctypes.addressof(one), B, b, A, a),
            *(ctypes.addressof(zero), out, d, out, d, ctypes.addressof(chosen)),
            *(work.data.ptr, work.nbytes, (self.stream if stream is None else stream).ptr),
        )
        one.value = zero.value = np.nan  # both are frozen by now
        chosen.raw = bytes(64)
        return status

    def got(self, name: str) -> np.ndarray:
        return self.cupy.asnumpy(self.device[name])  # type: ignore[no-any-return]

    def expected(self) -> dict[str, np.ndarray]:
        """Return out, bias and aux, of the last what lies in the columns of out."""
        A, B, _, bias, aux = self.host.values()
        Z = (A @ B).astype(np.float64)
        Z = Z + bias if self.epilogue & BIAS else Z
        out, aux = Z, aux[:, :M]
        if self.epilogue in (RELU_BIAS, RELU_AUX_BIAS):
            out = np.maximum(Z, 0)
        if self.epilogue == GELU_AUX_BIAS:
            out, aux = gelu(Z), Z
        if self.epilogue == DRELU_BGRAD:
            out = Z * [1, 0, 1, 1, 0]
        if self.epilogue == DGELU_BGRAD:
            out = Z * gelu_slope(self.aux_rows(self.host["aux"]))
        summed = {DRELU_BGRAD: out, DGELU_BGRAD: out, BGRADA: B}.get(self.epilogue)
        bias = bias if summed is None else summed.sum(0, keepdims=True)
        return {"out": out, "bias": bias, "aux": aux}

    @staticmethod
    def aux_rows(aux: np.ndarray) -> np.ndarray:
        return aux.reshape(-1)[: 8 * N].reshape(N, 8)[:, :M]


@pytest.fixture
def device(host_cublas: StreamedCublas) -> Any:
    """CuPy's stand-in with a current stream."""
    import cupy

    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        yield cupy
        stream.synchronize()


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_an_epilogue(
    device: Any, host_cublas: StreamedCublas, epilogue: int, captured: bool
) -> None:
    call, other = Call(device, host_cublas, epilogue), device.zeros((1, M), np.float32)
    if captured:
        call.stream.begin_capture()
    assert call() == 0
    call.point("bias", other)  # for the next call, and not for this one
    if captured:
        graph = call.stream.end_capture()
        assert_array_equal(call.got("out"), call.host["out"])
        graph.launch()
    expected = call.expected()
    assert_allclose(call.got("out"), expected["out"], 1e-5, 1e-6)
    assert_allclose(call.got("bias"), expected["bias"], 1e-5, 1e-6)
    if epilogue == GELU_AUX_BIAS:
        assert_allclose(call.aux_rows(call.got("aux")), expected["aux"], 1e-5, 1e-6)
    assert not device.asnumpy(other).any()


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("sizes", [(3, 1, 5), (3, 4, 1), (1, 4, 5), (3, 4, 5)])
def test_a_product_that_the_library_faults_on(
    device: Any, host_cublas: StreamedCublas, sizes: tuple[int, int, int], epilogue: int
) -> None:
    """(rows, inner size, columns) by rows: cuBLAS's n, k and m."""
    _, inner, columns = sizes
    faults = (inner == 1 and epilogue in (DRELU_BGRAD, DGELU_BGRAD, BGRADA)) or (
        columns == 1 and epilogue == BGRADA
    )
    call = Call(device, host_cublas, epilogue, sizes=sizes)
    assert (call() == 0) is not faults
    told, machine().faults = machine().faults, []
    assert told == (["an illegal memory access by cublasLtMatmul"] if faults else [])


def test_gelu_has_its_slope() -> None:
    Z, h = np.linspace(-4, 4, 81), 1e-6
    assert_allclose(gelu_slope(Z), (gelu(Z + h) - gelu(Z - h)) / (2 * h), 1e-6, 1e-9)


USES = {  # what the epilogue reads beside A and B, and writes beside out
    BIAS: ("bias", ""),
    RELU_BIAS: ("bias", ""),
    RELU_AUX_BIAS: ("bias", "aux"),
    DRELU_BGRAD: ("aux", "bias"),
    GELU_AUX_BIAS: ("bias", "aux"),
    DGELU_BGRAD: ("aux", "bias"),
    BGRADA: ("", "bias"),
}


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("name", ["A", "B", "out", "bias", "aux"])
def test_memory_that_another_stream_uses(
    device: Any, host_cublas: StreamedCublas, host_cupy: Machine, epilogue: int, name: str
) -> None:
    call, other = Call(device, host_cublas, epilogue), device.cuda.Stream(non_blocking=True)
    reads, writes = (
        f"AB {reads}" if k == 0 else f"out {reads}" for k, reads in enumerate(USES[epilogue])
    )
    call.stream.synchronize()
    statuses = []
    for touch in (lambda x: x.copy(), lambda x: x.fill(0)):
        with other:
            kept = touch(call.device[name])
        statuses.append(call())
        other.synchronize()
        call.stream.synchronize()
        del kept
    expected = [14 if name in writes else 0, 14 if name in writes + reads else 0]
    assert statuses == expected
    assert len(host_cupy.faults) == sum(map(bool, expected))
    assert all("gemm_lt" in f and "does not wait for" in f for f in host_cupy.faults)
    host_cupy.faults.clear()


def test_a_workspace_of_two_streams(
    device: Any, host_cublas: StreamedCublas, host_cupy: Machine
) -> None:
    call, other = Call(device, host_cublas, BIAS), device.cuda.Stream(non_blocking=True)
    own, out = device.empty((1024,), np.uint8), call.device["out"]
    other.wait_event(call.stream.record())
    assert call() == 0
    call.device["out"] = device.empty((N, M), np.float32)
    other.wait_event(call.stream.record())
    assert call(algorithm=1) == 0
    call.device["out"] = out
    assert call(other, 2) == 14  # at the same time as the second
    assert call(other, 0, own) == 0
    other.synchronize()
    assert len(host_cupy.faults) == 1
    assert "gemm_lt on" in host_cupy.faults.pop()


def test_memory_that_is_too_short(
    device: Any, host_cublas: StreamedCublas, host_cupy: Machine
) -> None:
    call = Call(device, host_cublas, BIAS)
    for name, array in (("bias", device.zeros((M - 1,), np.float32)), ("out", None)):
        if array is not None:
            call.point(name, array)
        else:
            call.point("bias", call.device["bias"])
            call.device["out"] = device.zeros((N * M - 1,), np.float32)
        assert call() == 14
        assert "go beyond their array's memory" in host_cupy.faults.pop()


def test_a_stream_and_an_address_that_are_none(
    device: Any, host_cublas: StreamedCublas, host_cupy: Machine
) -> None:
    call = Call(device, host_cublas, BIAS)
    stream = device.cuda.Stream(non_blocking=True)
    stream.ptr += 1
    assert call(stream) == 14
    assert "is of no stream" in host_cupy.faults.pop()
    call.device["bias"] = call.device["bias"].copy()  # and frees what the product points at
    assert call(algorithm=1) == 14
    assert "is of no array" in host_cupy.faults.pop()
    assert call(device.cuda.Stream.null, 2) == 14
    assert "is of no array" in host_cupy.faults.pop()


def test_what_the_heuristic_offers(device: Any, host_cublas: StreamedCublas) -> None:
    assert len(Call(device, host_cublas, RELU_BIAS).found) == 3
    assert len(Call(device, host_cublas, RELU_BIAS, asked=2).found) == 2
    host_cublas.answer = (1, 0)
    assert len(Call(device, host_cublas, RELU_BIAS).found) == 1
    host_cublas.refused = {(RELU_BIAS, 1)}
    assert Call(device, host_cublas, RELU_BIAS).status == 0
    host_cublas.refused = {(RELU_BIAS, 0)}
    assert Call(device, host_cublas, RELU_BIAS).status == 15
    host_cublas.refused, host_cublas.offered = set(), {BIAS}
    assert Call(device, host_cublas, RELU_BIAS).status == 15
    assert Call(device, host_cublas, BIAS).status == 0
    assert host_cublas.cublasLtGetVersion() == 130100


@pytest.mark.parametrize("epilogue", LD)
def test_leading_dimensions_that_lt_refuses(
    device: Any, host_cublas: StreamedCublas, epilogue: int
) -> None:
    call = Call(device, host_cublas, epilogue)
    for ld in (LD[epilogue] + 4, 0):
        call._set("MatmulDesc", call.objects[0], 12, ctypes.c_int64(ld))
        assert call() == 7


def test_a_race_inside_a_capture(
    device: Any, host_cublas: StreamedCublas, host_cupy: Machine
) -> None:
    call, other = Call(device, host_cublas, BIAS), device.cuda.Stream(non_blocking=True)
    call.stream.synchronize()
    call.stream.begin_capture()
    other.wait_event(call.stream.record())
    with other:
        call.device["bias"].fill(1)
    assert call() == 14
    assert "in its capture" in host_cupy.faults.pop()
    call.stream.wait_event(other.record())
    assert call(algorithm=1) == 0
    call.stream.end_capture().launch()


def test_a_handle_of_an_earlier_machine(host_cublas: StreamedCublas) -> None:
    import cupy

    def new() -> tuple[Any, Gemm]:
        with cupy.cuda.Stream(non_blocking=True) as stream:
            return stream, Gemm(stream, cupy.empty((1024,), np.uint8))

    (_, earlier), machine = new(), start()
    stream, mine = new()
    stream.begin_capture()
    earlier.close()  # as the collector may, at any time
    assert machine.faults == []
    mine.close()
    assert machine.faults == ["a cuBLAS handle is destroyed inside of a capture"]
    machine.faults.clear()


def test_gemm_beyond_its_arrays(
    device: Any, host_cublas: StreamedCublas, host_cupy: Machine
) -> None:
    gemm = Gemm(device.cuda.get_current_stream(), device.empty((1024,), np.uint8))
    A, out = device.zeros((3, 3), np.float32), device.zeros((3, 3), np.float32)
    gemm(A, A, out)
    out._view = np.lib.stride_tricks.as_strided(out._view, (3, 3), (16, 4))  # one row too long
    with pytest.raises(CublasError, match="INTERNAL_ERROR"):
        gemm(A, A, out)
    assert "go beyond" in host_cupy.faults.pop()
