"""Arrays of other libraries: as NumPy's on the host, or as CuPy's where they lie on a device.

What is made here on a device is done when it is returned, so that any stream may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from gpubp.backends.protocol import Array

CUDA_DEVICES = (2, 13)  # of DLPack: CUDA's memory, and the memory that it manages


def on_host(values: Any) -> Any:
    """Return ``values`` themselves, or what scikit-learn can take for them.

    An array on a CUDA device (CuPy, PyTorch, ...) is copied to the host, in the order of the
    stream that is current for its library; one that offers DLPack alone is viewed.

    Raises TypeError where there is no way to the host.
    """
    if isinstance(values, np.ndarray):
        return values
    if hasattr(type(values), "collect") and not hasattr(values, "__array__"):
        raise TypeError(f"{type(values).__name__} has not computed its rows yet; call collect()")
    if hasattr(type(values), "to_cupy"):  # cuDF
        return values.to_numpy()
    if hasattr(values, "__cuda_array_interface__"):
        return _from_device(values)
    if type(values).__module__.startswith("cupyx."):  # CuPy's sparse matrices
        return values.get()
    if not hasattr(values, "__dlpack__"):
        return values
    if not hasattr(values, "__array__"):
        if values.__dlpack_device__()[0] not in CUDA_DEVICES:
            return np.from_dlpack(values)
        array = on_device(values)
        return _from_device(values if array is None else array)
    return np.asarray(values)  # whose dtype scikit-learn knows, as it does not PyTorch's


def _from_device(array: Any) -> np.ndarray:
    if hasattr(array, "get"):  # CuPy
        return np.asarray(array.get())
    if hasattr(array, "cpu"):  # PyTorch
        return np.asarray(array.cpu())
    if hasattr(array, "copy_to_host"):  # Numba
        return np.asarray(array.copy_to_host())
    raise TypeError(
        f"{type(array).__name__} lies on a CUDA device, and is none of the arrays that can be "
        "copied to the host (CuPy, PyTorch, Numba); install CuPy, or convert it to a NumPy array"
    )


def on_device(values: Any) -> Array | None:
    """Return ``values`` on a CUDA device as a CuPy array, without a copy of an array.

    None for what lies elsewhere, and where there is no CuPy.
    """
    if isinstance(values, np.ndarray):
        return None
    if hasattr(type(values), "to_cupy"):  # cuDF
        return values.to_cupy()
    by_dlpack = hasattr(values, "__dlpack_device__")
    if by_dlpack and values.__dlpack_device__()[0] not in CUDA_DEVICES:
        return None
    if not (by_dlpack or hasattr(values, "__cuda_array_interface__")):
        return None
    try:
        import cupy
    except ImportError:
        return None
    if isinstance(values, cupy.ndarray):
        return values
    # DLPack lets CuPy's stream wait for the library's own.
    return cupy.from_dlpack(values) if by_dlpack else cupy.asarray(values)


def is_on_device(array: Any) -> bool:
    """Return whether ``array`` is CuPy's, and neither NumPy's nor sparse."""
    return not isinstance(array, np.ndarray) and hasattr(array, "__cuda_array_interface__")


@contextmanager
def _settled(array: Array) -> Iterator[Any]:
    """Enter the device of ``array`` with CuPy; wait, in the end, for the stream of the caller."""
    import cupy

    with array.device:
        yield cupy
        cupy.cuda.get_current_stream().synchronize()


def device_of(array: Array) -> AbstractContextManager[Any]:
    """Return a context to compute with ``array`` in, as whoever owns it would."""
    return array.device if is_on_device(array) else nullcontext()


def converted(array: Array, dtype: Any) -> Array:
    """Return a CuPy array C-contiguous in ``dtype``, itself where it is."""
    with _settled(array) as cupy:
        return cupy.ascontiguousarray(cupy.asarray(array, dtype))


def rows_at(array: Array, index: np.ndarray) -> Array:
    """Return the rows of a CuPy array at ``index`` on the host, copied."""
    with _settled(array) as cupy:
        return array[cupy.asarray(index)]


def empty_on_device_of(array: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return room on the device of a CuPy array."""
    with _settled(array) as cupy:
        return cupy.empty(shape, dtype)


def to_device_of(values: np.ndarray, array: Array) -> Array:
    """Return ``values`` on the device of a CuPy array."""
    with _settled(array) as cupy:
        return cupy.asarray(values)


def nan_or_infinity(array: Array) -> float:
    """Return NaN if a CuPy array has any, else infinity if it has that, else 0."""
    with _settled(array):
        if array.size == 0 or array.dtype.kind != "f" or np.isfinite(float(array.sum())):
            return 0.0
        # What is finite may have a sum that is not.
        ends = float(array.max()), float(array.min())
    for stray, has in ((np.nan, np.isnan), (np.inf, np.isinf)):
        if any(map(has, ends)):
            return stray
    return 0.0


def log(array: Array) -> Array:
    """Return ``array``, NumPy's or CuPy's, with its logarithm written into it."""
    function: Callable[..., Any] = np.log
    if is_on_device(array):
        import cupy

        function = cupy.log
    with device_of(array), np.errstate(divide="ignore"):
        return function(array, array)


def labels_of(outputs: Array, classes: np.ndarray, multilabel: bool) -> Array:
    """Return what outputs (n, k) in a CuPy array predict: (n,), or (n, k) of 0 and 1.

    Labels that are not numbers come as a NumPy array.
    """
    with device_of(outputs):
        if multilabel:
            return (outputs > 0.5).astype(np.int64)
        best = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs > 0.5).ravel()
        index = best.astype(np.int64)
        if len(classes) == 1:
            index.fill(0)
        if classes.dtype.kind not in "biuf":
            return classes[index.get()]
        return to_device_of(classes, outputs)[index]
