"""Arrays on the device of `cuda`: of cupy.ndarray and of CuPy's ufuncs what gpubp uses."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Self

import numpy as np

from tests.cuda_stand_in import cuda as host_cuda
from tests.cuda_stand_in.cuda import Block, MemoryPointer, Span, Stream, get_current_stream, issue
from tests.cuda_stand_in.machine import POISON, bytes_of, pinned_at, transfer

View = np.ndarray


class ndarray:
    """Memory of a device, as an array: of cupy.ndarray what gpubp uses.

    Unlike a NumPy array, it is read by the host through `get` and `float` alone.
    """

    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, block: Block, view: View) -> None:
        self._block, self._view = block, view

    @classmethod
    def _new(cls, shape: Any, dtype: Any) -> ndarray:
        shape, dtype = np.broadcast_shapes(shape), np.dtype(dtype)
        block = Block(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        return cls(block, block.bytes.view(dtype).reshape(shape))

    # What it is
    shape = property(lambda self: self._view.shape)
    dtype = property(lambda self: self._view.dtype)
    size = property(lambda self: self._view.size)
    ndim = property(lambda self: self._view.ndim)
    nbytes = property(lambda self: self._view.nbytes)
    itemsize = property(lambda self: self._view.itemsize)
    strides = property(lambda self: self._view.strides)
    flags = property(lambda self: self._view.flags)

    @property
    def data(self) -> MemoryPointer:
        return MemoryPointer(self._block, self._view.ctypes.data - self._block.address)

    @cached_property
    def _span(self) -> Span:
        return self._block, bytes_of(self._view, self._block.address)

    @property
    def device(self) -> host_cuda.Device:
        return host_cuda.Device(self._block.device_id)

    def __len__(self) -> int:
        return len(self._view)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": None if self.flags.c_contiguous else self.strides,
            "typestr": self.dtype.str,
            "data": (self.data.ptr, False),
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._block.device_id

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> ndarray:
        """Return what `from_dlpack` takes instead of a capsule."""
        return self._like(self._view)

    # Views
    @property
    def T(self) -> ndarray:
        return self._like(self._view.T)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return self._like(self._view.swapaxes(axis1, axis2))

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        view = self._view.reshape(*shape)
        if view.size and not np.may_share_memory(view, self._view):
            return self.copy().reshape(*shape)
        return self._like(view)

    def ravel(self, order: str = "C") -> ndarray:
        return self.reshape(-1)

    def __getitem__(self, slices: Any) -> ndarray:
        if _has_array(slices):
            return _computed("gather", lambda a, *index: a[index], self, *_tuple(slices))
        view = self._view[slices]
        # An element is an array of no axes, not a number: it is still on the device.
        return self._like(
            view if isinstance(view, np.ndarray) else self._view[(*_tuple(slices), ...)]
        )

    def _like(self, view: View) -> ndarray:
        return ndarray(self._block, view)

    # Work on the device
    def __setitem__(self, slices: Any, value: Any) -> None:
        if _has_array(slices):
            self._scatter(_tuple(slices), value)
        elif isinstance(value, ndarray):
            self[slices]._write("copy", value._view, [value._span])
        else:
            self[slices].fill(value)

    def _scatter(self, slices: tuple[Any, ...], value: Any) -> None:
        check_argument(value)
        used = [x._span for x in (value, *slices) if isinstance(x, ndarray)]
        source, index, target = _host(value), tuple(map(_host, slices)), self._view

        def run() -> None:
            target[index] = source

        issue("scatter", run, used, [self._span])

    def fill(self, value: Any) -> None:
        value = np.array(value, self.dtype)
        if value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self._write("fill", value, [])

    def _write(self, name: str, source: View, reads: list[Span]) -> None:
        while source.ndim > self.ndim and source.shape[0] == 1:
            source = source[0]
        target, source = self._view, np.broadcast_to(source, self.shape)
        if target.size:
            run = partial(np.copyto, target, source, casting="unsafe")
            issue(name, run, reads, [self._span])

    def astype(self, dtype: Any, order: str = "K", casting: Any = None) -> ndarray:
        array = ndarray._new(self.shape, dtype)
        array[...] = self
        return array

    def copy(self, order: str = "C") -> ndarray:
        return self.astype(self.dtype)

    def sum(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> ndarray:
        options = {"axis": axis, "dtype": dtype, "keepdims": keepdims}
        return _computed("sum", lambda a: np.sum(a, **options), self)

    def dot(self, b: ndarray, out: None = None) -> ndarray:
        return _computed("dot", np.dot, self, b)

    def argmin(
        self, axis: Any = None, out: None = None, dtype: Any = None, keepdims: bool = False
    ) -> ndarray:
        return _computed("argmin", lambda a: np.argmin(a, axis, keepdims=keepdims), self)

    def argmax(
        self, axis: Any = None, out: None = None, dtype: Any = None, keepdims: bool = False
    ) -> ndarray:
        return _computed("argmax", lambda a: np.argmax(a, axis, keepdims=keepdims), self)

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False) -> ndarray:
        return _computed("max", lambda a: np.max(a, axis, keepdims=keepdims), self)

    def min(self, axis: Any = None, out: None = None, keepdims: bool = False) -> ndarray:
        return _computed("min", lambda a: np.min(a, axis, keepdims=keepdims), self)

    def clip(self, min: Any = None, max: Any = None, out: None = None) -> ndarray:
        return _computed("clip", np.clip, self, min, max)

    def repeat(self, repeats: int, axis: Any = None) -> ndarray:
        return _computed("repeat", lambda a: np.repeat(a, repeats, axis), self)

    def __divmod__(self, other: Any) -> tuple[ndarray, ndarray]:
        return self // other, self % other

    def __iadd__(self, other: Any) -> Self:
        add(self, other, self)
        return self

    def __imul__(self, other: Any) -> Self:
        multiply(self, other, self)
        return self

    # To and from the host
    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: Any = None,
        blocking: bool = True,
    ) -> np.ndarray:
        stream = get_current_stream() if stream is None else stream
        if stream.is_capturing():
            raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
        host = np.empty(self.shape, self.dtype) if out is None else out
        if (host.dtype, host.shape) != (self.dtype, self.shape) or not host.flags.c_contiguous:
            raise NotImplementedError(f"the stand-in copies no {self.shape} into {host.shape}")
        stream._note("a copy to the host", [self._span], [])
        memory = pinned_at(host.ctypes.data)
        if blocking or memory is None:  # CUDA itself waits where the memory is not pinned
            np.copyto(host, self._view)
            stream.synchronize()
            return host
        host.view(np.uint8)[...] = POISON  # until the host has waited
        now, later = host.tobytes(), np.ascontiguousarray(self._view).tobytes()
        transfer(stream, memory, host.ctypes.data, now, later)
        return host

    def set(self, arr: Any, stream: Stream | None = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        stream = get_current_stream() if stream is None else stream
        if stream.is_capturing():
            raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
        self._upload(np.ascontiguousarray(arr), stream)

    def _upload(self, host: np.ndarray, stream: Stream, keep: bool = False) -> None:
        """Copy ``host``, which the host may use again at once unless it is pinned.

        keep : whether pinned memory is kept alive until then, as cupy.asarray does.
        """
        issue("upload", partial(np.copyto, self._view, host), [], [self._span], stream)
        memory = pinned_at(host.ctypes.data)
        if memory is not None and host.size:
            transfer(stream, memory, host.ctypes.data, host.tobytes(), keep=keep)

    def item(self) -> Any:
        return self.get().item()

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to "
            "construct a NumPy array explicitly."
        )


def _host(x: Any) -> Any:
    return x._view if isinstance(x, ndarray) else x


def _tuple(slices: Any) -> tuple[Any, ...]:
    return slices if isinstance(slices, tuple) else (slices,)


def _computed(name: str, function: Callable[..., Any], *operands: Any) -> ndarray:
    """Return what ``function`` of NumPy makes of ``operands``, as a new array."""
    with np.errstate(all="ignore"):
        values = np.asarray(function(*map(_host, operands)))
    result = ndarray._new(values.shape, values.dtype)  # refused in a capture, as CuPy's should be
    run = partial(np.copyto, result._view, values)
    issue(name, run, [x._span for x in operands if isinstance(x, ndarray)], [result._span])
    return result


def _operator(name: str) -> Callable[..., Any]:
    function = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        check_argument(other)
        return _computed(name, function, self, other)

    return method


def _reflected(name: str) -> Callable[..., Any]:
    function = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        check_argument(other)
        return _computed(name, lambda a, b: function(b, a), self, other)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "xor", "rshift", "lshift"):
    setattr(ndarray, f"__{_name}__", _operator(_name))
    setattr(ndarray, f"__r{_name}__", _reflected(_name))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(ndarray, f"__{_name}__", _operator(_name))


def _has_array(slices: Any) -> bool:
    """Whether an index has device arrays in it; nothing else but slices and integers may be."""
    for s in _tuple(slices):
        if not (s is None or s is Ellipsis or isinstance(s, slice | int | np.integer | ndarray)):
            raise NotImplementedError(f"the stand-in does not index by {type(s)}")
    return any(isinstance(s, ndarray) for s in _tuple(slices))


class ufunc:
    """One of NumPy's functions, over arrays on the device."""

    def __init__(self, name: str, numpy: Callable[..., Any]) -> None:
        self.name, self._numpy = name, numpy

    def __call__(
        self, *operands: Any, out: Any = None, casting: str = "same_kind", dtype: Any = None
    ) -> ndarray:
        for x in operands:
            check_argument(x)
        if len(operands) > self._numpy.nin:  # type: ignore[attr-defined]
            *operands, out = operands  # type: ignore[assignment]
        if not isinstance(out, ndarray):
            raise NotImplementedError("the stand-in's functions need an array as out")
        # CuPy copies an input that overlaps the output, where the two are not one array.
        inputs = [x.copy() if _overlaps(x, out) else x for x in operands]
        views = [x._view if isinstance(x, ndarray) else x for x in inputs]
        if np.broadcast_shapes(*map(np.shape, views), out.shape) != out.shape:
            raise ValueError("Out shape is mismatched")
        target = out._view

        def run() -> None:
            with np.errstate(all="ignore"):
                self._numpy(*views, out=target, casting=casting)

        reads = [x._span for x in inputs if isinstance(x, ndarray)]
        issue(self.name, run, reads, [out._span])
        return out


add, multiply = ufunc("add", np.add), ufunc("multiply", np.multiply)
log, sqrt = ufunc("log", np.log), ufunc("sqrt", np.sqrt)


def _overlaps(x: Any, out: ndarray) -> bool:
    if x is out or not isinstance(x, ndarray):
        return False
    return np.may_share_memory(x._view, out._view)


def check_argument(x: Any, arrays_only: bool = False) -> None:
    """Raise what CuPy raises for what is neither an array nor a number."""
    if isinstance(x, ndarray):
        if x._block.device_id != host_cuda.machine().thread.device:
            raise ValueError(f"an array of {x.device.id} is used on another device")
    elif arrays_only or not isinstance(x, bool | int | float | np.generic):
        raise TypeError(f"Unsupported type {type(x)}")
