"""A stand-in for CuPy on the host: the parts that gpubp uses, over NumPy arrays.

It lets a machine without a GPU run the whole CUDA path of Python: the choice of the backend, the
order of arguments, streams, capture and replay, fall-backs. Kernels are the real CUDA bodies,
compiled by g++ (`kernels`). Streams and graphs are those of `cuda`.

It is stricter than CuPy: new memory is NaN; a view that CuPy has but gpubp does not use is
missing; what CUDA would do at some risk is a `MisuseError`.

README.md says what it proves and what only a device can show.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tests.cuda_stand_in import cuda as host_cuda
from tests.cuda_stand_in.arrays import add, check_argument, log, multiply, ndarray, sqrt, ufunc
from tests.cuda_stand_in.cuda import Stream, get_current_stream, issue
from tests.cuda_stand_in.launch import ElementwiseKernel


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Return an array of NaN, or of -1 for integers."""
    return ndarray._new(shape, dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Return an array of zeros."""
    array = ndarray._new(shape, dtype)
    array.fill(0)
    return array


def asarray(
    a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, blocking: bool = False
) -> ndarray:
    """Return ``a`` on the current device."""
    if not isinstance(a, ndarray) and hasattr(a, "__cuda_array_interface__"):
        a = _described(a.__cuda_array_interface__)
    if isinstance(a, ndarray):
        return a if dtype is None or a.dtype == dtype else a.astype(dtype)
    host = np.asarray(a, dtype)
    array = ndarray._new(host.shape, host.dtype)
    if host.ndim == 0:
        array.fill(host)
    else:
        array._upload(np.ascontiguousarray(host), get_current_stream(), keep=True)
    return array


def _described(interface: dict[str, Any]) -> ndarray:
    """Return the array of another library that lies at an address of the device."""
    address = interface["data"][0]
    block = host_cuda.machine().addresses[address]
    offset, dtype = address - block.address, np.dtype(interface["typestr"])
    strides = interface.get("strides")
    return ndarray(block, np.ndarray(interface["shape"], dtype, block.bytes, offset, strides))


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> ndarray:
    """Return the array of another library, whose work the current stream waits for."""
    return array.__dlpack__(stream=get_current_stream().ptr)  # type: ignore[no-any-return]


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    """Return ``a`` on the device, copied where it is not C-contiguous."""
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    """Return ``a`` on the host."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order="C")


def matmul(x1: Any, x2: Any, /, out: ndarray) -> ndarray:
    """Write the matrix product into ``out``; as in CuPy, not on a stream that captures."""
    for x in (x1, x2, out):
        check_argument(x, arrays_only=True)
    host_cuda.machine().require("cublas", ImportError)
    if get_current_stream().is_capturing():
        raise NotImplementedError(
            "calling cuBLAS API during stream capture is currently unsupported"
        )
    operands = [x1._view, x2._view, out._view]
    issue("matmul", lambda: np.matmul(*operands), [x1._span, x2._span], [out._span])
    return out


# ---- the module ------------------------------------------------------------------------------


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


def modules() -> dict[str, ModuleType]:
    """Return the stand-in by the names that it is imported by."""
    runtime = _module(
        "cupy.cuda.runtime",
        getDeviceCount=lambda: host_cuda.machine().device_count(),
        CUDARuntimeError=host_cuda.CUDARuntimeError,
        getDeviceProperties=host_cuda.device_properties,
    )
    memory = _module("cupy.cuda.memory", OutOfMemoryError=host_cuda.OutOfMemoryError)
    cuda = _module(
        "cupy.cuda",
        Device=host_cuda.Device,
        Event=host_cuda.Event,
        Graph=host_cuda.Graph,
        MemoryPointer=host_cuda.MemoryPointer,
        MemoryPool=host_cuda.MemoryPool,
        Stream=Stream,
        alloc_pinned_memory=host_cuda.alloc_pinned_memory,
        get_current_stream=get_current_stream,
        get_elapsed_time=host_cuda.get_elapsed_time,
        is_available=_is_available,
        memory=memory,
        runtime=runtime,
    )
    cupy = _module(
        "cupy",
        ElementwiseKernel=ElementwiseKernel,
        add=add,
        asarray=asarray,
        ascontiguousarray=ascontiguousarray,
        asnumpy=asnumpy,
        cuda=cuda,
        empty=empty,
        from_dlpack=from_dlpack,
        get_default_memory_pool=_get_default_memory_pool,
        log=log,
        sqrt=sqrt,
        matmul=matmul,
        multiply=multiply,
        ndarray=ndarray,
        ufunc=ufunc,
        zeros=zeros,
    )
    return {m.__name__: m for m in (cupy, cuda, memory, runtime)}


def _get_default_memory_pool() -> host_cuda.MemoryPool:
    return host_cuda.MemoryPool()


def _is_available() -> bool:
    try:
        return host_cuda.machine().device_count() > 0
    except host_cuda.CUDARuntimeError:
        return False
