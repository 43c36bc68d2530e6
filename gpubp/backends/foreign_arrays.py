"""Arrays of other libraries, converted to NumPy's on the host or to CuPy's on a device.

Work on a device is complete when a function of this module returns, so that any stream may use the
result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from gpubp.backends.protocol import Array

CUDA_DEVICES = (2, 13)  # device types of DLPack: kDLCUDA and kDLCUDAManaged


def on_host(values: Any) -> Any:
    """Return ``values`` in a form that scikit-learn accepts, unchanged if possible.

    An array on a CUDA device (CuPy, PyTorch, ...) is copied to the host, in the order of the
    current stream of its library. A host array that has only DLPack is returned as a view.

    Raises TypeError for an array that cannot be copied to the host.
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
    return np.asarray(values)  # scikit-learn does not know PyTorch's dtypes


def _from_device(array: Any) -> np.ndarray:
    if hasattr(array, "get"):  # CuPy
        return np.asarray(array.get())
    if hasattr(array, "cpu"):  # PyTorch
        return np.asarray(array.cpu())
    if hasattr(array, "copy_to_host"):  # Numba
        return np.asarray(array.copy_to_host())
    raise TypeError(
        f"{type(array).__name__} is on a CUDA device, and only arrays of CuPy, PyTorch and Numba "
        "can be copied to the host; install CuPy, or convert it to a NumPy array"
    )


def on_device(values: Any) -> Array | None:
    """Return ``values`` on a CUDA device as a CuPy array, without copying an array.

    None if ``values`` are not on a CUDA device, or if CuPy is not installed.
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
    # With DLPack, CuPy's stream waits for the stream of the other library.
    return cupy.from_dlpack(values) if by_dlpack else cupy.asarray(values)


def is_on_device(array: Any) -> bool:
    """Return whether ``array`` is a CuPy array, not a NumPy or sparse one."""
    return not isinstance(array, np.ndarray) and hasattr(array, "__cuda_array_interface__")


@contextmanager
def _settled(array: Array) -> Iterator[Any]:
    """Return a context on the device of ``array``; at its end, wait for the current stream."""
    import cupy

    with array.device:
        yield cupy
        cupy.cuda.get_current_stream().synchronize()


def device_of(array: Array) -> AbstractContextManager[Any]:
    """Return a context on the device of ``array``; an empty context for a NumPy array."""
    return array.device if is_on_device(array) else nullcontext()


def converted(array: Array, dtype: Any) -> Array:
    """Return a CuPy array as C-contiguous ``dtype``; the same array if it is so already."""
    with _settled(array) as cupy:
        return cupy.ascontiguousarray(cupy.asarray(array, dtype))


def rows_at(array: Array, index: np.ndarray) -> Array:
    """Return a copy of the rows of a CuPy array at ``index``, an array on the host."""
    with _settled(array) as cupy:
        return array[cupy.asarray(index)]


def empty_on_device_of(array: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return an uninitialised array on the device of the CuPy array ``array``."""
    with _settled(array) as cupy:
        return cupy.empty(shape, dtype)


def to_device_of(values: np.ndarray, array: Array) -> Array:
    """Return a copy of ``values`` on the device of the CuPy array ``array``."""
    with _settled(array) as cupy:
        return cupy.asarray(values)


def nan_or_infinity(array: Array) -> float:
    """Return NaN if a CuPy array contains NaN, else infinity if it contains +-infinity, else 0."""
    with _settled(array):
        if array.size == 0 or array.dtype.kind != "f" or np.isfinite(float(array.sum())):
            return 0.0
        # The sum of finite numbers may overflow.
        ends = float(array.max()), float(array.min())
    for stray, has in ((np.nan, np.isnan), (np.inf, np.isinf)):
        if any(map(has, ends)):
            return stray
    return 0.0


def log(array: Array) -> Array:
    """Replace a NumPy or CuPy array by its logarithm in place; return it."""
    return _in_place("log", array)


def sqrt(array: Array) -> Array:
    """Replace a NumPy or CuPy array by its square root in place; return it."""
    return _in_place("sqrt", array)


def _in_place(name: str, array: Array) -> Array:
    function: Callable[..., Any] = getattr(np, name)
    if is_on_device(array):
        import cupy

        function = getattr(cupy, name)
    with device_of(array), np.errstate(divide="ignore"):
        return function(array, array)


def labels_of(outputs: Array, classes: np.ndarray, multilabel: bool) -> Array:
    """Return the predicted labels for the outputs (n, k) of a network, a CuPy array.

    The labels are (n,), or (n, k) of 0 and 1 if ``multilabel``. They are a CuPy array, or a NumPy
    array if ``classes`` are not numbers.
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
