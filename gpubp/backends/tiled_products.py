"""Calls of our own matrix products by tiles (``gemm.h``), and of packing what they multiply by."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from gpubp.backends.compiled_calls import Call
from gpubp.backends.numpy_backend import aligned
from gpubp.backends.protocol import ALIGNMENT
from gpubp.kernels.host.compiler import gemm_library

WHOLE_PANELS = 32  # rows of W, of which tiles pack whole panels
# Recordings of steps on the same matrices pack them in the same memory, which stays in the cache.
_rooms: WeakValueDictionary[tuple[object, ...], np.ndarray] = WeakValueDictionary()


class Packed(NamedTuple):
    """A matrix W (d, h), and ``room`` for W or, ``transposed``, W^T as products read it."""

    W: np.ndarray
    transposed: bool
    room: np.ndarray


def is_packed(W: np.ndarray) -> bool:
    """Return whether products read ``W`` as it is: it has one column, or those of one panel."""
    columns, library = W.shape[1], gemm_library(W.dtype.name)
    return columns in (1, int(library.gpubp_lanes()), int(library.gpubp_panel()))


def packed(W: np.ndarray, transposed: bool, networks: int = 1) -> Packed:
    """Return room for ``W``, which `pack_call` fills; or rooms of as many ``networks``, by row."""
    key = W.ctypes.data, W.shape, W.dtype.name, transposed, networks
    if (known := _rooms.get(key)) is not None:
        return Packed(W, transposed, known)
    rows, columns = W.shape[::-1] if transposed else W.shape
    lanes = ALIGNMENT // W.itemsize  # at least those of a vector
    room = aligned((networks, rows * (-(-columns // lanes) * lanes)), W.dtype)
    room[...] = 0  # also of the columns that fill up a vector
    _rooms[key] = room
    return Packed(W, transposed, room)


def pack_call(each: Packed) -> Call:
    """Return the call that packs a range of the rows of W."""
    rows, columns = each.W.shape
    arrays, numbers = [each.W, each.room], [rows, columns, int(each.transposed)]
    return Call(_function("pack", each.W.dtype), arrays, numbers, rows)


def rows_call(A: np.ndarray, B: np.ndarray, out: np.ndarray, accumulate: bool) -> Call:
    """Return the call that writes a range of the rows of A B into ``out``.

    B : the room of a `Packed`, or B itself if `is_packed`.
    """
    inner, columns = A.shape[1], out.shape[1]
    if columns == 1:
        numbers = [inner, 0, int(accumulate)]
        return Call(_function("rows_times_vector", A.dtype), [A, B, out], numbers, len(out))
    numbers = [inner, columns, int(accumulate)]
    return Call(_function("rows_times", A.dtype), [A, B, out], numbers, len(out))


def sums_call(
    A: np.ndarray, D: np.ndarray, room: np.ndarray | None, out: np.ndarray, accumulate: bool
) -> Call:
    """Return the call that writes a range of the rows of A^T D into ``out``.

    A : (n, m); or (1, n), a row whose transpose is taken. D : (n, h), which lies packed in
    ``room`` unless it `is_packed`.
    """
    numbers = [len(out), out.shape[1], len(D), int(accumulate)]
    arrays = [A, D if room is None else room, out]
    return Call(_function("sums_of_products", A.dtype), arrays, numbers, len(out))


def _function(name: str, dtype: np.dtype) -> Any:
    return getattr(gemm_library(dtype.name), f"gpubp_{name}")
