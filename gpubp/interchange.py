"""Arrays of other libraries, as NumPy can take them."""

from __future__ import annotations

from typing import Any

import numpy as np


def on_host(values: Any) -> Any:
    """Return ``values`` themselves, or what scikit-learn can take for them.

    An array on a CUDA device (CuPy, PyTorch, ...) is copied to the host, in the order of the
    stream that is current for its library; one that offers DLPack alone is viewed.

    Raises TypeError where an array on a device has no way to the host.
    """
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "__cuda_array_interface__"):
        return _from_device(values)
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return values


def _from_device(array: Any) -> np.ndarray:
    if hasattr(array, "get"):  # CuPy
        return np.asarray(array.get())
    if hasattr(array, "cpu"):  # PyTorch
        return np.asarray(array.cpu())
    if hasattr(array, "copy_to_host"):  # Numba
        return np.asarray(array.copy_to_host())
    raise TypeError(
        f"{type(array).__name__} lies on a CUDA device, and is none of the arrays that can be "
        "copied to the host (CuPy, PyTorch, Numba); convert it to a NumPy array"
    )
