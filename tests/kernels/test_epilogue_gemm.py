"""Products with an epilogue: the descriptors, executed on the host, against NumPy."""

from __future__ import annotations

import ctypes
import gc
import itertools
import re
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.kernels.activations import ACTIVATIONS
from gpubp.kernels.cublas import epilogue_gemm
from gpubp.kernels.cublas.epilogue_gemm import Epilogue, EpilogueGemm, epilogue_twin, mask_shape
from gpubp.kernels.cublas.library import CublasError, declare
from tests.cuda_stand_in.cublas import LAYOUTS, DeviceArray, Machine
from tests.cuda_stand_in.cublas_lt import ATTRIBUTES, LT_PROTOTYPES
from tests.kernels.real_cublas import arguments_in_header, headers, kind_of, library

F32 = np.dtype(np.float32)
TRANSPOSES = list(itertools.product([False, True], repeat=2))
LEADS: dict[str, tuple[tuple[int, ...], ...]] = {  # of A, B and bias, and out
    "2-D": ((), (), ()),
    "batch": ((3,), (3,), (3,)),
    "shared A": ((), (3,), (3,)),
    "two axes": ((2, 2), (2, 2), (2, 2)),
}


@pytest.fixture
def lt(machine: Machine) -> EpilogueGemm:
    return EpilogueGemm(machine.gemm())


def gap_row(machine: Machine, values: np.ndarray) -> DeviceArray:
    """Return ``values`` (…, 1, n) with room between the rows, as in a flat vector of gradients."""
    *lead, _, n = values.shape
    flat = machine.library.array(np.full((*lead, n + 5), np.nan, values.dtype))
    flat[..., :n] = values[..., 0, :]
    return flat[..., :n][..., None, :]


def integers(seed: int, *shape: int, dtype: Any = F32) -> np.ndarray:
    return np.random.default_rng(seed).integers(-5, 6, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layer_forward_and_backward(
    machine: Machine, lt: EpilogueGemm, lead: str, layout: str, dtype: type
) -> None:
    lead_a, lead_b, lead_out = LEADS[lead]
    n, d, h = 3, 4, 130  # more units than the 128 bits that a row of the mask starts with
    X, W = integers(0, *lead_a, n, d, dtype=dtype), integers(1, *lead_b, d, h, dtype=dtype)
    b, delta = integers(2, *lead_b, 1, h, dtype=dtype), integers(3, *lead_out, n, 5, dtype=dtype)
    V = integers(4, *lead_b, h, 5, dtype=dtype)  # the weights of the layer above
    Z = X @ W + b
    A, g, db = (machine.array(np.full(s, np.nan, dtype)) for s in (Z.shape, Z.shape, b.shape))
    mask = np.full(mask_shape(Z.shape), 255, np.uint8).view(DeviceArray)
    on = {"X": X, "W": W, "V": V, "delta": delta}
    device = {name: machine.array(values, layout) for name, values in on.items()}
    bias, db = gap_row(machine, b), gap_row(machine, np.full(b.shape, np.nan, dtype))

    assert lt(device["X"], device["W"], A, epilogue=Epilogue.BIAS, bias=bias)
    assert_array_equal(A, Z)
    forward = {"epilogue": Epilogue.RELU_AUX_BIAS, "bias": bias, "mask": mask}
    assert lt(device["X"], device["W"], A, **forward)
    assert_array_equal(A, np.maximum(Z, 0))

    expected = (delta @ V.swapaxes(-1, -2)) * (Z > 0)
    backward = {"epilogue": Epilogue.DRELU_BGRAD, "bias": db, "mask": mask}
    assert lt(device["delta"], device["V"], g, **backward, transpose_b=True)
    assert_array_equal(g, expected)
    assert_array_equal(db, expected.sum(-2, keepdims=True))


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("layout", ["rows", "padded rows", "columns"])
def test_weight_and_bias_gradient_in_one(
    machine: Machine, lt: EpilogueGemm, lead: str, layout: str
) -> None:
    lead_a, _, lead_out = LEADS[lead]
    X, delta = integers(0, *lead_a, 6, 4), integers(1, *lead_out, 6, 3)
    dW = machine.array(np.full((*lead_out, 4, 3), np.nan, F32), "padded rows")
    db = gap_row(machine, np.full((*lead_out, 1, 3), np.nan, F32))
    arrays = machine.array(X, layout), machine.array(delta, layout), dW
    assert lt(*arrays, epilogue=Epilogue.BGRADA, bias=db, transpose_a=True)
    assert_array_equal(dW, X.swapaxes(-1, -2) @ delta)
    assert_array_equal(db, delta.sum(-2, keepdims=True))


# The product before a gradient, which leaves the mask that it reads.
FORWARD = {
    Epilogue.DRELU_BGRAD: Epilogue.RELU_AUX_BIAS,
    Epilogue.DGELU_BGRAD: Epilogue.GELU_AUX_BIAS,
}
GELUS = (Epilogue.GELU_AUX_BIAS, Epilogue.DGELU_BGRAD)


def twin(*arrays: Any, **options: Any) -> bool:
    epilogue_twin(np, *arrays, **options)
    return True


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("epilogue", Epilogue)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), TRANSPOSES)
def test_twin_is_the_stand_in(
    machine: Machine,
    lt: EpilogueGemm,
    epilogue: Epilogue,
    transpose_a: bool,
    transpose_b: bool,
    dtype: Any,
) -> None:
    N = 16 if epilogue in GELUS else 9
    A = integers(0, 2, *((4, 3) if transpose_a else (3, 4)), dtype=dtype)
    B = integers(1, 2, *((N, 4) if transpose_b else (4, N)), dtype=dtype) / 4
    results = []
    for run in (lt, twin):
        out, bias, kept = (machine.array(np.zeros((2, rows, N), dtype)) for rows in (3, 1, 3))
        bias[...] = integers(2, 2, 1, N) / 4
        mask = kept if epilogue in GELUS else np.zeros(mask_shape(out.shape), np.uint8)
        mask = mask.view(DeviceArray)
        if epilogue in FORWARD:  # bits and all
            X, W = (
                machine.array(integers(k, *s, dtype=dtype)) for k, s in ((3, (3, 1)), (4, (1, N)))
            )
            assert run(X, W, out, epilogue=FORWARD[epilogue], bias=bias, mask=mask)
        options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "mask": mask}
        arrays = machine.array(A), machine.array(B), out
        assert run(*arrays, epilogue=epilogue, bias=bias, **options)
        results.append((out, bias, kept))
    rounding = 1e-5 if dtype == np.float32 else 1e-14
    for ours, twins in zip(*results, strict=True):
        assert_allclose(ours, twins, rounding, rounding)


@pytest.mark.parametrize("N", [1, 7, 9, 12, 130])
@pytest.mark.parametrize("epilogue", GELUS)
def test_rows_of_numbers_of_an_odd_length_are_not_offered(
    machine: Machine, lt: EpilogueGemm, epilogue: Epilogue, N: int
) -> None:
    X, W = machine.array(integers(0, 3, 4)), machine.array(integers(1, 4, N))
    out, mask, bias = (machine.array(np.full((n, N), 7, F32)) for n in (3, 3, 1))
    assert not lt(X, W, out, epilogue=epilogue, bias=bias, mask=mask)
    assert machine.library.calls == []
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("epilogue", "rows", "inner", "columns"),
    [
        (Epilogue.DRELU_BGRAD, 3, 1, 8),
        (Epilogue.DGELU_BGRAD, 3, 1, 8),
        (Epilogue.DGELU_BGRAD, 1, 1, 8),
        (Epilogue.BGRADA, 3, 4, 1),
        (Epilogue.BGRADA, 3, 1, 8),
        (Epilogue.BGRADA, 3, 1, 1),
    ],
)
def test_products_that_cublaslt_faults_on_are_refused(
    machine: Machine, lt: EpilogueGemm, epilogue: Epilogue, rows: int, inner: int, columns: int,
    dtype: Any,
) -> None:  # fmt: skip
    A = machine.array(integers(0, rows, inner, dtype=dtype))
    B = machine.array(integers(1, inner, columns, dtype=dtype))
    out, bias, Z = (machine.array(np.full((n, columns), 7, dtype)) for n in (rows, 1, rows))
    numbers = epilogue in GELUS
    mask = Z if numbers else np.zeros(mask_shape(out.shape), np.uint8).view(DeviceArray)
    assert not lt(A, B, out, epilogue=epilogue, bias=bias, mask=mask)
    assert machine.library.calls == []
    assert (out == 7).all()
    assert (bias == 7).all()


def test_twin_is_the_steps_of_relu_apart() -> None:
    X, W, b, delta = integers(0, 5, 4), integers(1, 4, 3), integers(2, 1, 3), integers(3, 5, 2)
    X[0], b[0, 0] = 0, 0  # a Z of 0, where the slope is 0
    V, A, g, db = integers(4, 3, 2), np.empty((5, 3), F32), np.empty((5, 3), F32), np.empty_like(b)
    mask = np.empty(mask_shape(A.shape), np.uint8)
    epilogue_twin(np, X, W, A, epilogue=Epilogue.RELU_AUX_BIAS, bias=b, mask=mask)
    options = {"epilogue": Epilogue.DRELU_BGRAD, "bias": db, "mask": mask}
    epilogue_twin(np, delta, V, g, **options, transpose_b=True)
    relu, expected = ACTIVATIONS["relu"], np.empty_like(A)
    relu.forward.numpy(np, X @ W + b, expected)
    assert_array_equal(A, expected)
    relu.delta.numpy(np, delta @ V.T, A, expected)
    assert_array_equal(g, expected)
    assert_array_equal(db, expected.sum(0, keepdims=True))


def test_twin_is_the_steps_of_gelu_apart() -> None:
    X, W, b, delta = (
        integers(0, 5, 4) / 4,
        integers(1, 4, 8) / 4,
        integers(2, 1, 8),
        integers(3, 5, 2),
    )
    V, A, Z, g, db = integers(4, 8, 2), *(np.empty((rows, 8), F32) for rows in (5, 5, 5, 1))
    epilogue_twin(np, X, W, A, epilogue=Epilogue.GELU_AUX_BIAS, bias=b, mask=Z)
    options = {"epilogue": Epilogue.DGELU_BGRAD, "bias": db, "mask": Z}
    epilogue_twin(np, delta, V, g, **options, transpose_b=True)
    gelu, expected = ACTIVATIONS["gelu"], np.empty_like(A)
    assert_array_equal(Z, X @ W + b)
    gelu.forward.numpy(np, Z, expected)
    assert_array_equal(A, expected)
    gelu.delta.numpy(np, delta @ V.T, Z, expected)
    assert_array_equal(g, expected)
    assert_array_equal(db, expected.sum(0, keepdims=True))


def product(machine: Machine, **changes: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    arrays = {"A": np.ones((2, 3, 4), F32), "B": np.ones((2, 4, 5), F32)} | {
        "out": np.ones((2, 3, 5), F32),
        "bias": np.ones((2, 1, 5), F32),
        "mask": np.zeros(mask_shape((2, 3, 5)), np.uint8),
    }
    epilogue = changes.pop("epilogue", Epilogue.RELU_AUX_BIAS)
    arrays = {
        name: a if a is None else a.view(DeviceArray) for name, a in (arrays | changes).items()
    }
    return tuple(arrays.pop(name) for name in ("A", "B", "out")), arrays | {"epilogue": epilogue}


OF_EIGHT: dict[str, Any] = {
    "B": np.ones((2, 4, 8), F32),
    "out": np.ones((2, 3, 8), F32),
    "bias": np.ones((2, 1, 8), F32),
    "mask": np.ones((2, 3, 8), F32),
    "epilogue": Epilogue.GELU_AUX_BIAS,
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "columns": ({"out": np.ones((2, 5, 3), F32).swapaxes(1, 2)}, "an out that is row-major"),
    "empty": (
        {"A": np.ones((2, 3, 0), F32), "B": np.ones((2, 0, 5), F32)},
        "is row-major and is not empty",
    ),
    "no rows": ({"A": np.ones((2, 0, 4), F32), "out": np.ones((2, 0, 5), F32)}, "is not empty"),
    "overlapping gradients": (
        {
            "bias": as_strided(np.ones(9, F32), (2, 1, 5), (16, 0, 4)),
            "epilogue": Epilogue.BGRADA,
        },
        "one per matrix",
    ),
    "short bias": ({"bias": np.ones((2, 1, 4), F32)}, r"bias has shape .2, 1, 4.; pass .1, 5. or"),
    "vector": ({"bias": np.ones(5, F32)}, "bias has shape .5,., but a matrix has two axes"),
    "type of bias": ({"bias": np.ones((2, 1, 5))}, "of the type of out"),
    "gaps": ({"bias": np.ones((2, 1, 10), F32)[..., ::2]}, "pass contiguous rows"),
    "shared gradient": (
        {"bias": np.ones((1, 5), F32), "epilogue": Epilogue.DRELU_BGRAD},
        "one per matrix",
    ),
    "no mask": ({"mask": None}, r"mask must be contiguous uint8 .2, 3, 16., got None"),
    "mask of bits": ({"mask": np.zeros((2, 3, 1), np.uint8)}, r"got .'uint8', .2, 3, 1.."),
    "type of mask": ({"mask": np.zeros((2, 3, 16), np.int8)}, "got .'int8'"),
    "gaps in mask": ({"mask": np.zeros((2, 3, 32), np.uint8)[..., ::2]}, "contiguous uint8"),
    "no Z": (OF_EIGHT | {"mask": None}, r"mask must be contiguous, like out .2, 3, 8., got None"),
    "type of Z": (OF_EIGHT | {"mask": np.zeros((2, 3, 8))}, "got .'float64'"),
    "shape of Z": (OF_EIGHT | {"mask": np.zeros((3, 8), F32)}, r"got .'float32', .3, 8.."),
    "gaps in Z": (OF_EIGHT | {"mask": np.zeros((2, 3, 16), F32)[..., ::2]}, "contiguous, like"),
    "shared gradient of GELU": (
        OF_EIGHT | {"bias": np.ones((1, 8), F32), "epilogue": Epilogue.DGELU_BGRAD},
        "one per matrix",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_epilogue_does_not_take(machine: Machine, lt: EpilogueGemm, case: str) -> None:
    changes, message = REFUSED[case]
    arrays, options = product(machine, **changes)
    with pytest.raises(ValueError, match=message):
        lt(*arrays, **options)
    assert machine.library.calls == []


def test_bias_of_one_unit_may_have_any_stride(machine: Machine, lt: EpilogueGemm) -> None:
    A, B = (machine.array(np.ones(shape, F32)) for shape in ((3, 4), (4, 1)))
    bias, out = machine.array(np.full((1, 4), 2, F32))[:, ::4], machine.array(np.zeros((3, 1), F32))
    assert bias.strides == (16, 16)
    assert lt(A, B, out, epilogue=Epilogue.BIAS, bias=bias)
    assert_array_equal(out, np.full((3, 1), 6))


def test_one_shape_under_two_epilogues(machine: Machine, lt: EpilogueGemm) -> None:
    A, B = (machine.array(np.ones(shape, F32)) for shape in ((3, 4), (4, 5)))
    bias, out = machine.array(np.ones((1, 5), F32)), machine.array(np.zeros((3, 5), F32))
    assert lt(A, B, out, epilogue=Epilogue.BIAS, bias=bias)
    assert lt(A, B, out, epilogue=Epilogue.BGRADA, bias=bias)
    assert_array_equal(bias, np.full((1, 5), 4))


@pytest.mark.parametrize("answer", [(0, 0), (1, 15)])
def test_heuristic_without_an_algorithm(
    machine: Machine, lt: EpilogueGemm, answer: tuple[int, int]
) -> None:
    arrays, options = product(machine)
    machine.library.answer = answer
    assert not lt(*arrays, **options)
    assert machine.library.calls == []


def test_result_of_the_heuristic_is_laid_out_as_in_c() -> None:
    result = epilogue_gemm._Heuristic
    offsets = {name: getattr(result, name).offset for name, _ in result._fields_}
    expected = {"algorithm": 0, "workspace": 64, "state": 72, "waves": 76, "reserved": 80}
    assert offsets == expected
    assert ctypes.sizeof(result) == 96


@pytest.mark.parametrize("epilogue", Epilogue)
def test_what_the_device_does_not_offer(
    machine: Machine, lt: EpilogueGemm, epilogue: Epilogue
) -> None:
    arrays, options = product(machine, **(OF_EIGHT if epilogue in GELUS else {}))
    options["epilogue"] = epilogue
    machine.library.offered.remove(epilogue)
    assert not lt(*arrays, **options)
    assert machine.library.calls == []
    machine.library.offered.add(epilogue)
    assert not lt(*arrays, **options)  # asked once
    assert machine.library.asked == 1
    assert EpilogueGemm(machine.gemm())(*arrays, **options)


@pytest.mark.parametrize("status", [7, 8, 15])
def test_what_the_device_offers_and_yet_refuses(
    machine: Machine, lt: EpilogueGemm, status: int
) -> None:
    arrays, options = product(machine)
    machine.library.failing["cublasLtMatmul"] = status
    assert not lt(*arrays, **options)
    del machine.library.failing["cublasLtMatmul"]
    assert not lt(*arrays, **options)  # remembered
    assert machine.library.calls == []
    arrays, options = product(machine, epilogue=Epilogue.BIAS)  # of this one product alone
    assert lt(*arrays, **options)


@pytest.mark.parametrize("function", ["cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul"])
def test_other_failures_are_errors(machine: Machine, lt: EpilogueGemm, function: str) -> None:
    arrays, options = product(machine)
    machine.library.failing[function] = 3
    with pytest.raises(CublasError, match="ALLOC_FAILED"):
        lt(*arrays, **options)
    del machine.library.failing[function]
    assert lt(*arrays, **options)


def test_heuristic_is_asked_once_for_an_alignment(machine: Machine, lt: EpilogueGemm) -> None:
    block = np.zeros(600, F32)
    start = -block.ctypes.data % 256 // 4
    aligned = [block[start + 64 * k :][:60].reshape(3, 20) for k in range(2)]
    odd = block[start + 129 :][:60].reshape(3, 20)
    _, options = product(machine, bias=np.ones((1, 5), F32), epilogue=Epilogue.BIAS)
    out, B = np.zeros((3, 5), F32).view(DeviceArray), np.ones((20, 5), F32).view(DeviceArray)
    asked = []
    for A in (*aligned, odd, aligned[0]):
        A[...] = len(asked)
        assert lt(A.view(DeviceArray), B, out, **options)
        assert_array_equal(out, A @ B + 1)
        asked.append(machine.library.asked)
    assert asked == [1, 1, 2, 2]


def test_pointers_of_each_call_are_its_own(machine: Machine, lt: EpilogueGemm) -> None:
    rows = np.zeros((2, 64), F32)
    rows[:] = [[1], [2]]
    out = np.zeros((3, 5), F32).view(DeviceArray)
    A, B = (np.ones(s, F32).view(DeviceArray) for s in ((3, 4), (4, 5)))
    for row in rows:
        assert lt(A, B, out, epilogue=Epilogue.BIAS, bias=row[None, :5].view(DeviceArray))
        assert_array_equal(out, np.full((3, 5), 4 + row[0]))
    assert machine.library.asked == 1


def test_descriptors_are_given_back(machine: Machine) -> None:
    lt = EpilogueGemm(machine.gemm())
    arrays, options = product(machine)
    assert lt(*arrays, **options)
    assert len(machine.library.objects) == 5
    del lt
    gc.collect()
    assert machine.library.objects == {}


def test_signatures_are_the_stand_ins() -> None:
    declared = {
        name: [kind_of(argument) for argument in arguments]
        for name, arguments in epilogue_gemm.SIGNATURES.items()
    }
    assert declared == {n: [kind_of(a) for a in args] for n, args in LT_PROTOTYPES.items()}


def test_real_library_takes_every_attribute() -> None:
    real = declare(library(), epilogue_gemm.SIGNATURES)
    made = ctypes.c_void_p()
    for kind, arguments in {
        "MatmulDesc": (68, 0),
        "MatrixLayout": (0, 3, 4, 3),
        "MatmulPreference": (),
    }.items():
        assert getattr(real, f"cublasLt{kind}Create")(ctypes.byref(made), *arguments) == 0
        for number, (_, size) in ATTRIBUTES[kind].items():
            value = (ctypes.c_byte * 16)()
            set_ = getattr(real, f"cublasLt{kind}SetAttribute")
            assert set_(made, number, value, size) == 0
            assert set_(made, number, value, size + 4) != 0
        assert getattr(real, f"cublasLt{kind}Destroy")(made) == 0


@pytest.mark.parametrize("function", epilogue_gemm.SIGNATURES)
def test_signature_is_the_headers(function: str) -> None:
    declared = [kind_of(argument) for argument in epilogue_gemm.SIGNATURES[function]]
    assert declared == arguments_in_header(function)


@pytest.mark.parametrize("epilogue", Epilogue)
def test_number_of_an_epilogue_is_the_headers(epilogue: Epilogue) -> None:
    terms = dict(re.findall(r"CUBLASLT_EPILOGUE_(\w+) = (.*),", headers()))

    def bits(expression: str) -> int:
        number = 0
        for term in expression.strip("()").replace("CUBLASLT_EPILOGUE_", "").split(" | "):
            number |= int(term) if term.isdigit() else bits(terms[term])
        return number

    assert epilogue == bits(terms[epilogue.name])


NAMES = {
    "MATMUL_DESC": ["TRANSA", "TRANSB", "EPILOGUE", "BIAS_POINTER", "BIAS_BATCH_STRIDE"],
    "MATMUL_DESC_EPILOGUE": ["AUX_POINTER", "AUX_LD", "AUX_BATCH_STRIDE"],
    "MATRIX_LAYOUT": ["BATCH_COUNT", "STRIDED_BATCH_OFFSET"],
    "MATMUL_PREF": [
        *("MAX_WORKSPACE_BYTES", "REDUCTION_SCHEME_MASK"),
        *(f"MIN_ALIGNMENT_{X}_BYTES" for X in "ABCD"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "name"), [(k, name) for k, names in NAMES.items() for name in names]
)
def test_number_of_an_attribute_is_the_headers(kind: str, name: str) -> None:
    found = re.search(rf"CUBLASLT_{kind}_{name} = (\d+)", headers())
    assert found is not None
    assert getattr(epilogue_gemm, f"_{name}")[0] == int(found[1])
