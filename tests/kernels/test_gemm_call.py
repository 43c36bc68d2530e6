"""How a product of row-major arrays is said to cuBLAS, and what cannot be said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.kernels.cublas.call import GemmCall, marshal
from tests.cuda_stand_in.cublas import DeviceArray, Machine

F32 = np.dtype(np.float32)


def test_call_of_one_product_by_hand(machine: Machine) -> None:
    X, W = machine.array(np.zeros((2, 4), F32)), machine.array(np.zeros((4, 3), F32))
    Y = machine.array(np.zeros((2, 3), F32), "padded rows")
    # Y^T (3, 2) = W^T (3, 4) X^T (4, 2): three arrays by rows of 3, 4 and 3 + 3 elements.
    assert marshal(X, W, Y) == GemmCall(
        *(0, 0, 3, 2, 4),
        *(W.data.ptr, 0, 3, 0),
        *(X.data.ptr, 0, 4, 0),
        *(Y.data.ptr, 0, 6, 0),
        1,
    )


def test_call_of_a_bias_gradient_by_hand(machine: Machine) -> None:
    ones, delta = machine.array(np.ones((1, 9), F32))[:, :5], machine.array(np.ones((2, 5, 3), F32))
    db = machine.array(np.zeros((2, 10), F32))[:, :3]
    # db[..., None, :] has one row, whose stride is 0: it counts as 3.
    assert marshal(ones, delta, db[..., None, :]) == GemmCall(
        *(0, 0, 3, 1, 5),
        *(delta.data.ptr, 0, 3, 15),
        *(ones.data.ptr, 0, 5, 0),
        *(db.data.ptr, 0, 3, 10),
        2,
    )


@pytest.mark.parametrize("transpose", [False, True])
def test_stride_of_a_single_row_or_column_is_not_used(machine: Machine, transpose: bool) -> None:
    values = machine.array(np.arange(48.0).reshape(6, 8))
    column, row = values[:, 3::7], values[2::5, ::2]  # strides (8, 7) and (40, 2)
    column, row = (row.T, column.T) if transpose else (column, row)
    out = machine.array(np.empty((6, 4) if not transpose else (4, 6)))
    machine.gemm()(column, row, out)
    assert_array_equal(out, column @ row)


def test_leading_axis_of_one(machine: Machine) -> None:
    A = machine.array(np.arange(36.0).reshape(2, 3, 2, 3))[:, 1:2]
    B, out = machine.array(np.ones((3, 2))), machine.array(np.empty((2, 1, 2, 2)))
    machine.gemm()(A, B, out)
    assert_array_equal(out, A @ B)


def test_interleaved_matrices(machine: Machine) -> None:
    rng = np.random.default_rng(1)
    A, B = rng.normal(size=(4, 3, 2)), rng.normal(size=(2, 3, 5))  # (rows, batch, columns)
    out = np.empty((4, 3, 5))
    left, right, result = (machine.array(X).swapaxes(0, 1) for X in (A, B, out))
    machine.gemm()(left, right, result)
    assert_allclose(result, left.base.swapaxes(0, 1) @ right.base.swapaxes(0, 1), rtol=1e-12)


def test_broadcast_view_is_an_operand(machine: Machine) -> None:
    A = machine.array(np.array([[1.0, 2.0]]))
    B, out = machine.array(np.ones((3, 2, 1))), machine.array(np.empty((3, 1, 1)))
    shared = np.broadcast_to(A, (3, 1, 2), subok=True)
    machine.gemm()(shared, B, out)
    assert_array_equal(out, np.full((3, 1, 1), 3))
    assert machine.library.calls[0].stride_b == 0


def test_halves_of_one_array(machine: Machine) -> None:
    both = machine.array(np.arange(24.0).reshape(4, 6))
    W = machine.array(np.eye(3)[::-1].copy())
    machine.gemm()(both[:, :3], W, both[:, 3:])
    assert_array_equal(both[:, 3:], np.arange(24.0).reshape(4, 6)[:, 2::-1])


def test_strides_beyond_32_bits(machine: Machine) -> None:
    machine.library.execute = False
    far = 3 * 2**32 + 7

    def array(address: int, *shape: int) -> Any:  # on a device that has the memory
        strides, data = (4 * far, 4 * shape[2], 4), SimpleNamespace(ptr=address)
        return SimpleNamespace(shape=shape, strides=strides, dtype=F32, data=data)

    A, B, out = array(1 << 44, 2, 5, 6), array(2 << 44, 2, 6, 7), array(3 << 44, 2, 5, 7)
    machine.gemm()(A, B, out)
    (call,) = machine.library.calls
    assert (call.stride_a, call.stride_b, call.stride_c) == (far, far, far)
    assert (call.a, call.b, call.c) == (B.data.ptr, A.data.ptr, out.data.ptr)


ONES = {
    "A": np.ones((4, 6), F32),
    "B": np.ones((6, 8), F32),
    "out": np.ones((4, 8), F32),
    "batch": np.ones((2, 3, 4, 8), F32),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "inner size": ({"B": np.ones((5, 8), F32)}, r"op.A. .4, 6. times op.B. .5, 8. does not fit"),
    "rows": ({"A": np.ones((3, 6), F32)}, "does not fit into out .4, 8."),
    "columns": ({"B": np.ones((6, 7), F32)}, "does not fit into out .4, 8."),
    "more axes than out": ({"A": np.ones((1, 4, 6), F32)}, "with leading axes that broadcast"),
    "batch": (
        {"A": np.ones((2, 4, 6), F32), "out": np.ones((3, 4, 8), F32)},
        "with leading axes that broadcast",
    ),
    "vector": ({"A": np.ones(6, F32)}, r"A has shape .6,., but a matrix has two axes"),
    "types": ({"A": np.ones((4, 6))}, "A, B and out are float64, float32 and float32; cast"),
    "type of B": ({"B": np.ones((6, 8))}, "A, B and out are float32, float64 and float32; cast"),
    "type of out": ({"out": np.ones((4, 8))}, "A, B and out are float32, float32 and float64"),
    "unknown type": ({"A": np.ones((4, 6), np.int32)}, "A is int32; cast it to one of"),
    "every other column": (
        {"A": np.ones((4, 12), F32)[:, ::2]},
        r"A has matrices .4, 6. with strides .12, 2. in elements",
    ),
    "every other column of out": ({"out": np.ones((4, 16), F32)[:, ::2]}, "out has matrices"),
    "broadcast rows": ({"A": np.broadcast_to(np.ones(6, F32), (4, 6))}, "A has matrices"),
    "backward": ({"A": np.ones((4, 6), F32)[::-1]}, "A has matrices"),
    "overlapping rows": (
        {"A": as_strided(np.ones(30, F32), (4, 6), (8, 4))},
        "skips at least a whole row",
    ),
    "overlapping columns": ({"A": as_strided(np.ones(30, F32), (4, 6), (4, 8))}, "or column"),
    "half an element": (
        {"A": as_strided(np.ones(40, F32), (4, 6), (26, 4))},
        "not multiples of its item size 4;",
    ),
    "uneven axes": (
        {"A": np.ones((3, 2, 4, 6), F32).swapaxes(0, 1), "out": ONES["batch"]},
        r"A has leading axes .2, 3. with strides .24, 48. in elements",
    ),
    "inner axis shared": (
        {"A": np.ones((2, 1, 4, 6), F32), "out": ONES["batch"]},
        "one stride, of 0 or more, for all",
    ),
    "outer axis shared": (
        {"A": np.ones((3, 4, 6), F32), "out": ONES["batch"]},
        "one stride, of 0 or more, for all",
    ),
    "batch backward": (
        {"A": np.ones((2, 4, 6), F32)[::-1], "out": np.ones((2, 4, 8), F32)},
        "one stride, of 0 or more",
    ),
    "one out for all": (
        {"A": np.ones((2, 4, 6), F32), "out": np.broadcast_to(ONES["out"], (2, 4, 8))},
        "overlap each other",
    ),
    "overlapping outs": (
        {"out": as_strided(np.ones(99, F32), (2, 4, 8), (4 * 31, 32, 4))},
        "overlap each other",
    ),
    "overlapping rows of out": (
        {"A": np.ones((1, 6), F32), "out": as_strided(np.ones(99, F32), (2, 1, 8), (4 * 7, 0, 4))},
        "overlap each other",
    ),
    "interleaved outs that overlap": (
        {"out": as_strided(np.ones(99, F32), (2, 4, 8), (4 * 7, 4 * 16, 4))},
        "overlap each other",
    ),
    "more than 31 bits": (
        {
            "A": as_strided(np.ones(1, F32), (2**31, 1), (4, 4)),
            "B": np.ones((1, 8), F32),
            "out": as_strided(np.ones(1, F32), (2**31, 8), (32, 4)),
        },
        "2147483648, but cuBLAS takes at most 2147483647",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cublas_cannot_express(machine: Machine, case: str) -> None:
    arrays, message = REFUSED[case]
    A, B, out = ((ONES | arrays)[name].view(DeviceArray) for name in ("A", "B", "out"))
    with pytest.raises(ValueError, match=message):
        machine.gemm()(A, B, out)
    assert machine.library.calls == []


def test_out_must_not_be_an_operand(machine: Machine) -> None:
    square = machine.array(np.eye(4))
    rows = machine.array(np.ones((5, 4)))
    with pytest.raises(ValueError, match="out shares memory with A; pass another array"):
        marshal(rows[:4], square, rows[1:])
    with pytest.raises(ValueError, match="out shares memory with B"):
        marshal(rows[:4], square, square)
    assert marshal(rows[:2], square, rows[2:4]).n == 2
    flat = machine.array(np.ones((1, 8)))
    with pytest.raises(ValueError, match="out shares memory with A"):
        marshal(flat[:, :4], square, flat[:, 3:7])
    assert marshal(flat[:, :4], square, flat[:, 4:]).n == 1
