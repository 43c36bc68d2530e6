"""Matrix products through cuBLAS: every call executed by columns on the host, or on a device."""

from __future__ import annotations

import gc
import itertools
import os
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.select import BackendUnavailableError, get_backend
from gpubp.backprop.network import Network, Workspace, backward, forward
from gpubp.kernels.cublas.gemm import UNIT_ROUNDOFF, Gemm, Precision, gemm_twin
from gpubp.kernels.cublas.library import CublasError, GemmUnavailableError, workspace_bytes
from tests.cuda_stand_in.cublas import LAYOUTS, DeviceArray, Machine, untouched

F32 = np.dtype(np.float32)
TRANSPOSES = list(itertools.product([False, True], repeat=2))
# Leading axes of A, B and out.
LEADS: dict[str, tuple[tuple[int, ...], ...]] = {
    "2-D": ((), (), ()),
    "batch": ((3,), (3,), (3,)),
    "shared A": ((), (3,), (3,)),
    "shared B": ((3,), (1,), (3,)),
    "batch of 1": ((1,), (), (1,)),
    "two axes": ((2, 3), (2, 3), (2, 3)),
    "two axes, shared B": ((2, 3), (), (2, 3)),
}
SIZES = [(2, 4, 3), (1, 1, 1), (1, 4, 3), (2, 1, 3), (2, 4, 1), (1, 5, 1), (3, 1, 1), (1, 1, 3)]


def flipped(values: np.ndarray, transpose: bool) -> np.ndarray:
    return np.ascontiguousarray(values.swapaxes(-1, -2)) if transpose else values


def layouts(size: tuple[int, int, int], lead: str) -> list[tuple[str, str, str]]:
    """Return the layouts of A, B and out to be tried: all of them where they matter most."""
    if size == SIZES[0] and lead in ("2-D", "batch", "shared A", "shared B"):
        return list(itertools.product(LAYOUTS, repeat=3))
    return [(layout, layout, layout) for layout in LAYOUTS]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_product_in_every_layout(
    machine: Machine, transpose_a: bool, transpose_b: bool, lead: str
) -> None:
    rng = np.random.default_rng(0)
    gemm, (lead_a, lead_b, lead_out) = machine.gemm(), LEADS[lead]
    for (m, k, n), dtype in [*((size, np.float32) for size in SIZES), ((4, 2, 3), np.float64)]:
        # Small whole numbers: every sum is exact, in any order.
        A = rng.integers(-8, 9, (*lead_a, m, k)).astype(dtype)
        B = rng.integers(-8, 9, (*lead_b, k, n)).astype(dtype)
        expected = np.broadcast_to(A @ B, (*lead_out, m, n))
        for case in layouts((m, k, n), lead):
            left = machine.array(flipped(A, transpose_a), case[0])
            right = machine.array(flipped(B, transpose_b), case[1])
            out = machine.array(np.full(expected.shape, np.nan, dtype), case[2])
            gemm(left, right, out, transpose_a=transpose_a, transpose_b=transpose_b)
            assert_array_equal(out, expected, err_msg=f"{(m, k, n)} {case}")
            assert untouched(out), f"{(m, k, n)} {case}"
            machine.library.memory = []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (2, 0.5), (-1, 0), (0, 2)])
def test_alpha_and_beta(machine: Machine, dtype: type, alpha: float, beta: float) -> None:
    A = machine.array(np.array([[1, 2]], dtype))
    B = machine.array(np.array([[3], [4]], dtype))
    out = machine.array(np.array([[100 if beta else np.nan]], dtype))
    machine.gemm()(A, B, out, alpha=alpha, beta=beta)
    assert out == alpha * 11 + (beta * 100 if beta else 0)


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 2, 0)])
def test_empty_product_calls_nothing(machine: Machine, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    arrays = (machine.array(np.ones(s, F32)) for s in ((m, k), (k, n), (m, n)))
    machine.gemm()(*arrays)
    batch = (machine.array(np.ones((0, 2, 2), F32)) for _ in range(3))
    machine.gemm()(*batch)
    assert machine.library.calls == []


@pytest.mark.parametrize(("beta", "value"), [(0, np.nan), (1, 6.0), (0.5, 6.0)])
def test_empty_sum_is_zero(machine: Machine, beta: float, value: float) -> None:
    A, B = machine.array(np.ones((2, 0))), machine.array(np.ones((0, 3)))
    out = machine.array(np.full((2, 3), value))
    machine.gemm()(A, B, out, beta=beta)
    assert_array_equal(out, np.full((2, 3), beta * value if beta else 0))


class Through(NumpyBackend):
    """The host's backend, with its products through the stand-in of cuBLAS."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine, self._product = machine, machine.gemm()

    def gemm(
        self,
        A: Any,
        B: Any,
        *,
        out: Any,
        bias: Any = None,
        accumulate: bool = False,
        **transposes: bool,
    ) -> None:
        A, B, result = (X.view(DeviceArray) for X in (A, B, out))
        self._product(A, B, result, beta=float(accumulate), **transposes)
        if bias is not None:
            np.add(out, bias, out=out)


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
@pytest.mark.parametrize("rows", [1, 5])
def test_every_product_of_training(machine: Machine, lead: tuple[int, ...], rows: int) -> None:
    network, dtype = Network((4, 6, 1, 3), ("tanh", "relu")), np.dtype(np.float64)
    rng = np.random.default_rng(2)
    theta = rng.normal(size=(*lead, network.theta_size(dtype)))
    X, delta = rng.normal(size=(*lead, rows, 4)), rng.normal(size=(*lead, rows, 3))

    def gradient(backend: NumpyBackend) -> tuple[np.ndarray, np.ndarray]:
        work = Workspace(backend, network, 5, dtype, lead=lead).first(rows)
        work.X[...] = X
        flat = backend.zeros(theta.shape, dtype)
        forward(backend, network, network.views(theta), work)
        logits = work.logits.copy()
        work.deltas[-1][...] = delta
        backward(backend, network, network.views(theta), network.views(flat), work)
        return logits, flat

    for ours, numpys in zip(gradient(Through(machine)), gradient(NumpyBackend()), strict=True):
        assert_allclose(ours, numpys, rtol=1e-12, atol=1e-12)
    assert len(machine.library.calls) == 3 * 3 + 2


def test_float32_strict_tf32_and_bfloat16_by_their_rounding(machine: Machine) -> None:
    rng = np.random.default_rng(3)
    A = machine.array(rng.normal(size=(20, 50)).astype(F32))
    B = machine.array(rng.normal(size=(50, 30)).astype(F32))
    out = machine.array(np.empty((20, 30), F32))
    exact = np.asarray(A, np.float64) @ np.asarray(B, np.float64)
    scale = np.abs(A) @ np.abs(B)
    errors = {}
    for precision, unit in UNIT_ROUNDOFF.items():
        machine.gemm(precision)(A, B, out)
        errors[precision] = np.abs(out - exact).max()
        assert (np.abs(out - exact) <= (2 * unit + 50 * 2.0**-24) * scale).all()
    assert errors["float32"] * 100 < errors["tf32"] < errors["bfloat16"] / 4
    # CUBLAS_COMPUTE_32F, _32F_FAST_TF32, _32F_FAST_16BF
    assert [call.compute for call in machine.library.calls] == [68, 77, 75]


@pytest.mark.parametrize(("precision", "unit"), [("tf32", 2.0**-11), ("bfloat16", 2.0**-8)])
def test_unit_roundoff_is_reached(machine: Machine, precision: Precision, unit: float) -> None:
    half_way = np.full((1, 1), 1 + unit, F32)
    out = machine.array(np.empty((1, 1), F32))
    machine.gemm(precision)(machine.array(half_way), machine.array(half_way.copy()), out)
    error = abs(out[0, 0] - (1 + unit) ** 2)
    assert 0.99 * error <= 2 * UNIT_ROUNDOFF[precision] <= error


@pytest.mark.parametrize("precision", UNIT_ROUNDOFF)
def test_float64_is_exact_under_every_precision(machine: Machine, precision: Precision) -> None:
    A, B = machine.array(np.full((1, 2), 1 + 2.0**-50)), machine.array(np.ones((2, 1)))
    out = machine.array(np.empty((1, 1)))
    machine.gemm(precision)(A, B, out)
    assert out == 2 + 2.0**-49


class Dtype(NamedTuple):
    """What gpubp reads of a dtype; NumPy alone has none for bfloat16."""

    name: str
    itemsize: int


def bfloat16(machine: Machine, values: np.ndarray) -> Any:
    bits = machine.library.array((values.astype(F32).view(np.uint32) >> 16).astype(np.uint16))
    return SimpleNamespace(
        shape=bits.shape,
        strides=bits.strides,
        dtype=Dtype("bfloat16", 2),
        data=bits.data,
        bits=bits,
    )


@pytest.mark.parametrize("precision", UNIT_ROUNDOFF)
def test_bfloat16_operands(machine: Machine, precision: Precision) -> None:
    A, B = np.array([[1.5, -2]]), np.array([[3], [0.25]])  # in 7 bits of mantissa without error
    left, right, out = (bfloat16(machine, X) for X in (A, B, np.zeros((1, 1))))
    wide = machine.array(np.zeros((1, 1), F32))
    gemm = machine.gemm(precision)
    gemm(left, right, wide)
    assert wide == 4.0
    gemm(left, right, out)
    assert (out.bits.astype(np.uint32) << 16).view(np.float32) == 4.0


def test_handle_is_set_up_and_given_back_once(machine: Machine) -> None:
    gemm = machine.gemm()
    (state,) = machine.library.handles.values()
    assert state == {
        "stream": machine.stream.ptr,
        "workspace": (machine.workspace.data.ptr, 1024),
        "pointers": 0,
        "atomics": 0,
        "math": 16,
    }
    gemm.close()
    assert machine.library.handles == {}
    gemm.close()
    with pytest.raises(CublasError, match="NOT_INITIALIZED"):
        gemm(*(machine.array(np.ones((1, 1))) for _ in range(3)))


def test_handle_goes_with_its_gemm(machine: Machine) -> None:
    first, second = machine.gemm(), machine.gemm()
    assert len(machine.library.handles) == 2
    del first
    gc.collect()
    assert len(machine.library.handles) == 1
    second.close()


@pytest.mark.parametrize(
    "function",
    [
        "cublasCreate_v2",
        "cublasSetStream_v2",
        "cublasSetWorkspace_v2",
        "cublasSetPointerMode_v2",
        "cublasSetAtomicsMode",
        "cublasSetMathMode",
    ],
)
def test_failing_start_leaves_no_handle(machine: Machine, function: str) -> None:
    machine.library.failing[function] = 14
    with pytest.raises(CublasError, match=f"{function} returned CUBLAS_STATUS_INTERNAL_ERROR"):
        machine.gemm()
    gc.collect()
    assert machine.library.handles == {}


def test_failing_product_is_an_error(machine: Machine) -> None:
    gemm = machine.gemm("bfloat16")
    machine.library.failing["cublasGemmStridedBatchedEx"] = 15
    with pytest.raises(CublasError, match=r"NOT_SUPPORTED .* use precision 'float32'"):
        gemm(*(machine.array(np.ones((1, 1), F32)) for _ in range(3)))


def test_unknown_precision(machine: Machine) -> None:
    with pytest.raises(ValueError, match=r"one of .'float32', 'tf32', 'bfloat16'., got 'half'"):
        machine.gemm("half")  # type: ignore[arg-type]
    assert machine.library.created == 0


@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_twin(transpose_a: bool, transpose_b: bool) -> None:
    A, B = np.arange(6.0).reshape(1, 2, 3), np.arange(24.0).reshape(2, 3, 4)
    out = np.full((2, 2, 4), np.nan)
    twin = partial(
        gemm_twin, np, flipped(A, transpose_a), flipped(B, transpose_b), out,
        transpose_a=transpose_a, transpose_b=transpose_b,
    )  # fmt: skip
    expected = np.einsum("ij,bjk->bik", A[0], B)
    twin()
    assert_array_equal(out, expected)
    twin(alpha=2.0, beta=-1.0)
    assert_array_equal(out, expected)


def test_without_a_device_the_real_library_says_so() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    if cupy.is_available():
        pytest.skip("a device answers")
    with pytest.raises((CublasError, GemmUnavailableError), match=r"nvidia-smi|cuBLAS library"):
        Gemm(None, None)  # fails before it looks at either


class OnDevice:
    """A stream, a workspace and arrays of a CUDA device."""

    def __init__(self) -> None:
        import cupy

        self.cupy, self.stream = cupy, cupy.cuda.Stream(non_blocking=True)
        size = workspace_bytes(cupy.cuda.Device().compute_capability)
        self.workspace = cupy.empty(size, np.uint8)

    def gemm(self, precision: Precision = "float32") -> Gemm:
        return Gemm(self.stream, self.workspace, precision)

    def normal(self, seed: int, *shape: int) -> Any:
        return self.cupy.asarray(np.random.default_rng(seed).normal(size=shape).astype(F32))


@pytest.fixture
def device() -> OnDevice:
    try:
        get_backend("cuda")
    except BackendUnavailableError as error:
        if os.environ.get("GPUBP_REQUIRE_GPU") == "1":
            raise
        pytest.skip(str(error))
    return OnDevice()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", UNIT_ROUNDOFF)
@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_product_on_a_device(
    device: OnDevice, transpose_a: bool, transpose_b: bool, lead: str, precision: Precision
) -> None:
    lead_a, lead_b, lead_out = LEADS[lead]
    k = 100
    A = device.normal(4, *lead_a, *((k, 33) if transpose_a else (33, k)))
    B = device.normal(5, *lead_b, *((65, k) if transpose_b else (k, 65)))
    out = device.normal(6, *lead_out, 33, 65)
    host = [X.get().astype(np.float64) for X in (A, B, out)]
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "alpha": 0.5, "beta": 2.0}
    scale = [np.abs(X) for X in host]
    gemm_twin(np, *host, **options)
    gemm_twin(np, *scale, **options)
    device.cupy.cuda.Device().synchronize()
    device.gemm(precision)(A, B, out, **options)
    device.stream.synchronize()
    bound = (2 * UNIT_ROUNDOFF[precision] + (k + 3) * 2.0**-24) * scale[2]
    assert (np.abs(out.get() - host[2]) <= bound).all()


@pytest.mark.gpu
def test_captured_product_reads_what_its_arrays_hold_then(device: OnDevice) -> None:
    A, B, gemm = device.normal(7, 300, 200), device.normal(8, 200, 100), device.gemm()
    out = device.cupy.zeros((300, 100), np.float32)
    device.cupy.cuda.Device().synchronize()
    with device.stream:
        gemm(A, B, out)  # loads cuBLAS's kernels, which a capture forbids
        device.stream.begin_capture()
        gemm(A, B, out)
        graph = device.stream.end_capture()
        A *= 2
        graph.launch(device.stream)
        first = out.get()
        graph.launch(device.stream)
        assert_array_equal(first, out.get())
    assert_allclose(first, (A.get() @ B.get()), rtol=1e-3, atol=1e-3)
