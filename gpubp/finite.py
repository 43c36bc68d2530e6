"""Whether all numbers of an array are finite, told by one pass of BLAS."""

from __future__ import annotations

import numpy as np

_ONES = {dtype: np.ones(1024, dtype) for dtype in (np.dtype("f4"), np.dtype("f8"))}


def surely_finite(array: object) -> bool:
    """Return whether all of ``array`` is finite; False too where it takes more to tell.

    A product with ones lets NaN and infinity through to the sum, as adding up does, in half the
    time of a sum, and in all threads that BLAS has. Numbers whose sum overflows take more to tell.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in _ONES:
        return False
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        return False
    flat, ones = np.asarray(array).reshape(-1, order="A"), _ONES[array.dtype]
    whole = len(flat) // len(ones) * len(ones)
    rows, rest = flat[:whole].reshape(-1, len(ones)), flat[whole:]
    with np.errstate(all="ignore"):
        return bool(np.isfinite(rows.dot(ones).sum() + rest.dot(ones[: len(rest)])))
