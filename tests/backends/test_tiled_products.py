"""Our own matrix products: numbers, and bits that depend on neither tiles nor instruction sets."""

from __future__ import annotations

import ctypes
import itertools
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.backends.tiled_products import Packed, pack_call, packed, rows_call, sums_call
from gpubp.kernels.host import compiler
from tests.cuda_stand_in.kernels import skip_without_compiler

# Around the edges of vectors, panels, strips, and the depth that is summed at a time.
WIDTHS = [1, 2, 7, 16, 17, 33, 64, 70]
DEPTHS = [1, 3, 64, 161, 330, 700]
ROWS = [1, 5, 12, 13, 50]


@pytest.fixture(autouse=True)
def _compiler() -> None:
    skip_without_compiler()


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


def drawn(dtype: Any, *shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def filled(W: np.ndarray, transposed: bool, step: int) -> Packed:
    """Return ``W``, packed by tiles of ``step`` rows."""
    each = packed(W, transposed)
    run(pack_call(each), step)
    return each


def run(call: Any, step: int) -> None:
    for begin in range(0, call.elements, step):
        call.function(call.data, call.numbers, begin, min(call.elements, begin + step))


def close(got: np.ndarray, A: np.ndarray, B: np.ndarray) -> None:
    """Compare with A B to the rounding of a sum of ``A.shape[1]`` products."""
    exact = A.astype(np.longdouble) @ B.astype(np.longdouble)
    scale = np.abs(A).astype(np.longdouble) @ np.abs(B).astype(np.longdouble)
    assert (np.abs(got - exact) <= (A.shape[1] + 2) * np.finfo(got.dtype).eps * scale).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_rows_of_a_product_are_those_of_numpy(dtype: Any, transposed: bool) -> None:
    for rows, depth, width in itertools.product(ROWS, DEPTHS, WIDTHS):
        A, W = (
            drawn(dtype, rows, depth),
            drawn(dtype, *((width, depth), (depth, width))[::-1][transposed]),
        )
        room = filled(W, transposed, 32).room if width > 1 else W
        out = np.full((rows, width), np.nan, dtype)
        run(rows_call(A, room, out, accumulate=False), 64)
        close(out, A, W.T if transposed else W)
        again = np.full_like(out, np.nan)
        run(rows_call(A, filled(W, transposed, 5).room if width > 1 else W, again, False), 7)
        np.testing.assert_array_equal(again, out)  # to the bit, by other tiles


def test_sums_over_rows_are_those_of_numpy(dtype: Any) -> None:
    for rows, depth, width in itertools.product([1, 5, 64, 401], [1, 7, 33, 70], WIDTHS):
        A, D = drawn(dtype, rows, depth), drawn(dtype, rows, width)
        room = filled(D, False, 64).room if width > 1 else None
        out = np.full((depth, width), np.nan, dtype)
        run(sums_call(A, D, room, out, accumulate=False), depth)
        close(out, A.T, D)
        again = np.full_like(out, np.nan)
        run(sums_call(A, D, room, again, accumulate=False), 32)
        np.testing.assert_array_equal(again, out)


@pytest.mark.parametrize("rows", [1, 50])
def test_products_with_a_matrix_that_is_larger_than_a_cache(dtype: Any, rows: int) -> None:
    """Blocks then fetch the memory of later blocks."""
    A, W, out = drawn(dtype, rows, 700), drawn(dtype, 700, 205), np.empty((rows, 205), dtype)
    assert W.nbytes > 1 << 19
    run(rows_call(A, filled(W, False, 32).room, out, accumulate=False), 64)
    close(out, A, W)
    D, sums = drawn(dtype, 700, 205), np.empty((rows, 205), dtype)
    A = np.ascontiguousarray(A.T)
    run(sums_call(A, D, filled(D, False, 64).room, sums, accumulate=False), 32)
    close(sums, A.T, D)


def test_a_row_of_ones_sums_up_columns(dtype: Any) -> None:
    D, ones, out = drawn(dtype, 130, 40), np.ones((1, 130), dtype), np.empty((1, 40), dtype)
    run(sums_call(ones, D, filled(D, False, 64).room, out, accumulate=False), 1)
    close(out, ones, D)


def test_products_are_added_to_what_is_there(dtype: Any) -> None:
    A, W = drawn(dtype, 20, 30), drawn(dtype, 30, 40)
    whole, parts = np.zeros((20, 40), dtype), np.zeros((20, 40), dtype)
    run(rows_call(A, filled(W, False, 32).room, whole, accumulate=False), 64)
    for half in (slice(0, 16), slice(16, 30)):
        room = filled(np.ascontiguousarray(W[half]), False, 32).room
        run(rows_call(np.ascontiguousarray(A[:, half]), room, parts, accumulate=True), 64)
    np.testing.assert_array_equal(parts, whole)  # each output is one chain in the order of k


LEVELS = {"x86-64-v4": "avx512f", "x86-64-v3": "avx2", "x86-64": "sse2"}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other instruction sets are x86's")
@pytest.mark.parametrize("level", LEVELS)
def test_other_instruction_sets(level: str, dtype: Any, tmp_path: Path) -> None:
    """A product by what older processors have: two of these levels are not this machine's."""
    if LEVELS[level] not in Path("/proc/cpuinfo").read_text():
        pytest.skip(f"this processor has no {LEVELS[level]}")
    if not (gcc := shutil.which("g++")):
        pytest.skip("g++ is not installed")
    scalar = compiler.C_TYPES[np.dtype(dtype).name]
    (tmp_path / "gemm.cpp").write_text(f"typedef {scalar} Scalar;\n{compiler._text('gemm')}")
    flags = [flag for flag in compiler.FLAGS if flag != "-march=native"]
    command = [gcc, *flags, "-ffp-contract=fast", f"-march={level}", "gemm.cpp", "-o", "gemm.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "gemm.so"))
    for rows, depth, width in itertools.product([1, 13, 50], [3, 330, 700], [2, 17, 70]):
        A, W = drawn(dtype, rows, depth), drawn(dtype, width, depth)
        each, out = packed(W, True), np.full((rows, width), np.nan, dtype)
        for name, call in (
            ("pack", pack_call(each)),
            ("rows_times", rows_call(A, each.room, out, False)),
        ):
            size = ctypes.c_ssize_t(call.elements)
            getattr(library, f"gpubp_{name}")(call.data, call.numbers, ctypes.c_ssize_t(0), size)
        close(out, A, W.T)
