"""Launches on the device of `cuda`: CuPy's ElementwiseKernel and products of cuBLAS."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np

from gpubp.kernels.elementwise import Elementwise
from tests.cuda_stand_in import cuda as host_cuda
from tests.cuda_stand_in.arrays import check_argument, ndarray
from tests.cuda_stand_in.cublas import Product
from tests.cuda_stand_in.cublas_lt import Extras, HostCublasLt
from tests.cuda_stand_in.cuda import get_current_stream, issue
from tests.cuda_stand_in.kernels import HostLibrary, Parameter, all_steps, host_library, parameters
from tests.cuda_stand_in.machine import Bytes


class ElementwiseKernel:
    """A CUDA body, compiled for the host.

    Names, types and shapes of the arguments are checked as CuPy does.
    """

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        reduce_dims: bool = True,
        preamble: str = "",
        no_return: bool = False,
        return_tuple: bool = False,
    ) -> None:
        self.name, self.operation = name, operation
        plain = name.removeprefix("gpubp_")
        self._step = Elementwise(plain, in_params, out_params, operation, _nothing)
        self._parameters = parameters(self._step)
        names = [p.name for p in self._parameters]
        if "i" in names or len(set(names)) < len(names):
            raise ValueError(f"parameters {names} cannot be told apart, or one is called i")
        self.nin = sum(not p.written for p in self._parameters)

    def __call__(self, *args: Any, size: int = -1) -> None:
        """Run the body for each element of the arguments, or ``size`` times."""
        declared = self._parameters
        if len(args) != len(declared):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be {len(declared)}, but "
                f"given {len(args)}."
            )
        for p, x in zip(declared, args, strict=True):
            check_argument(x)
            if (p.written or p.raw) and not isinstance(x, ndarray):
                raise TypeError(f"{p.name} of {self.name} must be cupy.ndarray, got {type(x)}")
        types = _bound_types(declared, args)
        shape = _loop_shape(declared, args, size)
        self._load(types)
        if 0 in shape:
            return
        run, read = _bound(self._library, self._step, declared, args, types, shape)
        used = [(x._span, p) for p, x in zip(declared, args, strict=True) if _is(x)]
        writes = [span for span, p in used if p.written]
        # A parameter that is written may be read too. What is raw may be read in part.
        reads = writes + [span for span, p in used if not (p.written or p.raw)]
        parts = [span for span, p in used if p.raw and not p.written]
        issue(self.name, run, reads, writes, parts=parts, read=read)

    def _load(self, types: dict[str, np.dtype]) -> None:
        """Remember that the kernel is on the device, which it must be before a capture."""
        loaded = host_cuda.machine().loaded
        key = (self.name, self.operation, tuple(types.items()), host_cuda.Device().id)
        if key not in loaded:  # as cuda.pathfinder.DynamicLibNotFoundError
            host_cuda.machine().require("nvrtc", RuntimeError)
        if key not in loaded and get_current_stream().is_capturing():
            raise host_cuda.MisuseError(f"{self.name} is compiled inside of a capture")
        loaded.add(key)

    @cached_property
    def _library(self) -> HostLibrary:
        known = steps().get(self._step.name)
        same = known and _launched(known) == _launched(self._step)
        return host_library() if same else HostLibrary([self._step])


def _launched(step: Elementwise) -> Elementwise:
    """Return ``step`` without what its kernel is not told."""
    told: dict[str, Any] = {n: getattr(step, n) for n in ("name", "inputs", "outputs", "body")}
    return Elementwise(**told, numpy=_nothing)


def _nothing(*_: Any) -> None:
    pass


@cache
def steps() -> dict[str, Elementwise]:
    """Return every Elementwise of gpubp.kernels by name."""
    return all_steps()


def _is(x: Any) -> bool:
    return isinstance(x, ndarray)


def _bound_types(declared: tuple[Parameter, ...], args: tuple[Any, ...]) -> dict[str, np.dtype]:
    """Return the dtype of each type in ``declared``; outputs bind the variables first."""
    types: dict[str, np.dtype] = {}
    pairs = list(zip(declared, args, strict=True))
    for p, x in sorted(pairs, key=lambda pair: not pair[0].written):
        fixed = None if len(p.type) == 1 else np.dtype(p.type)
        if not isinstance(x, ndarray):
            continue
        expected = fixed or types.setdefault(p.type, x.dtype)
        if x.dtype != expected:
            raise TypeError(f"Type is mismatched. {p.name} {x.dtype} {expected} {p.type}")
    for p in declared:
        types.setdefault(p.type, np.dtype(p.type) if len(p.type) > 1 else None)
        if types[p.type] is None:
            raise KeyError(p.type)
    return types


def _loop_shape(
    declared: tuple[Parameter, ...], args: tuple[Any, ...], size: int
) -> tuple[int, ...]:
    """Return the shape that the arguments which are not raw agree on, or (size,)."""
    plain = [(p, x) for p, x in zip(declared, args, strict=True) if _is(x) and not p.raw]
    if size != -1:
        if plain:
            raise ValueError("Specified 'size' can be used only if all of the ndarray are 'raw'.")
        return (size,)
    if not plain:
        raise ValueError("Loop size is undecided.")
    shape = np.broadcast_shapes(*(x.shape for _, x in plain))
    if any(p.written and x.shape != shape for p, x in plain):
        raise ValueError("Out shape is mismatched")
    return shape


def _bound(
    library: HostLibrary,
    step: Elementwise,
    declared: tuple[Parameter, ...],
    args: tuple[Any, ...],
    types: dict[str, np.dtype],
    shape: tuple[int, ...],
) -> tuple[Callable[[], None], Callable[[], list[Bytes]]]:
    """Return ``step`` on these very addresses and numbers, and what tells what it has read.

    What is broadcast, or not C-contiguous, goes through a copy that is made anew in each run.
    The bytes that the last run has read are told of each raw input.
    """
    before, after, given = [], [], []
    for p, x in zip(declared, args, strict=True):
        if not isinstance(x, ndarray):
            given.append(np.asarray(x, types[p.type]))
            continue
        view = x._view
        if not (p.raw or view.size == 1 or view.shape == shape):
            view = np.broadcast_to(view, shape)
        if view.size > 1 and not view.flags.c_contiguous:
            work = np.empty(view.shape, view.dtype)
            before.append((work, view))
            if p.written:
                after.append((view, work))
            view = work
        given.append(view)
    names = {name: str(dtype) for name, dtype in types.items()}
    call = library.bind(step, names, given, math.prod(shape))
    raw = [
        (k, x._span[1], x.itemsize if given[k] is x._view else 0)
        for k, (p, x) in enumerate(zip(declared, args, strict=True))
        if p.raw and not p.written
    ]

    def read() -> list[Bytes]:
        return [_touched(whole, size, *call.touched[2 * k : 2 * k + 2]) for k, whole, size in raw]

    def run() -> None:
        for work, view in before:
            np.copyto(work, view)
        call()
        for view, work in after:
            np.copyto(view, work)

    return run if before else call, read


def _touched(whole: Bytes, size: int, first: int, last: int) -> Bytes:
    """Return the bytes of elements of ``size`` from the ``first`` up to the ``last``."""
    if not size:
        return whole
    start = min(whole.start + first * size, whole.stop)
    # Up to 16 bytes are read at a time.
    stop = min(whole.start + (last * size // 16 + 1) * 16, whole.stop)
    return Bytes(start, max(start, stop) if last >= first else start, 0, max(0, stop - start))


class _Bound(Product):
    """A product over views of its matrices that are made once."""

    views: tuple[np.ndarray, ...]

    def matrices(self) -> tuple[np.ndarray, ...]:
        return self.views


class StreamedCublas(HostCublasLt):
    """cuBLAS and cuBLASLt: products go to the stream of their call, or into its capture.

    An error in here cannot be raised through C: it is a status, and one of the faults of the
    handle's machine.
    """

    def _cublasCreate(self, handle: int) -> int:
        if host_cuda.machine().thread.capturing:
            return _fault(host_cuda.machine(), "a cuBLAS handle is created inside of a capture")
        status = super()._cublasCreate(handle)
        number = ctypes.c_void_p.from_address(handle).value
        self.handles[number]["machine"] = host_cuda.machine()
        return status

    def _cublasDestroy(self, handle: int) -> int:
        # It waits for the device, whichever thread captures there. What an earlier test has left
        # may be collected at any time, but belongs to a machine that is gone.
        machine = self.handles[handle]["machine"]
        if any(stream.is_capturing() for stream in list(machine.streams.values())):
            return _fault(machine, "a cuBLAS handle is destroyed inside of a capture")
        return super()._cublasDestroy(handle)

    def _cublasGemmStridedBatchedEx(self, handle: int, *arguments: Any) -> int:
        self.execute = False  # only the library's checks
        status = super()._cublasGemmStridedBatchedEx(handle, *arguments)
        if status:
            return status
        state = self.handles[handle]
        return self._launch("gemm", self.calls.pop(), None, state, state["stream"])

    def _fault(self, handle: int) -> int:
        return _fault(self.handles[handle]["machine"], "an illegal memory access by cublasLtMatmul")

    def _takes(self, stream: int, handle: int) -> bool:
        return True  # any stream, and not the handle's

    def _multiply(self, call: Product, extras: Extras, *where: int) -> int:
        handle, workspace, size, stream = where
        state = self.handles[handle] | {"workspace": (workspace, size)}
        self.calls.pop()
        return self._launch("gemm_lt", call, extras, state, stream)

    def _launch(
        self, name: str, call: Product, extras: Extras | None, state: dict[str, Any], stream: int
    ) -> int:
        scalars = [_frozen(address, call.a_type) for address in (call.alpha, call.beta)]
        alpha, beta = (ctypes.addressof(scalar) for scalar in scalars)
        bound = _Bound(*call._replace(alpha=alpha, beta=beta))
        bound.views = call.matrices()

        def run(_alive: Any = scalars) -> None:
            bound.execute() if extras is None else extras.finish(bound)

        address, size = state["workspace"]
        workspace = np.frombuffer((ctypes.c_byte * size).from_address(address), np.uint8)
        used = [*zip((*bound.views, workspace), (False, False, True, True), strict=True)]
        used += extras.arrays(call) if extras else []
        try:
            spans = [(state["machine"].span_of(X), written) for X, written in used]
            reads, writes = ([s for s, w in spans if w == written] for written in (False, True))
            to = host_cuda.stream_at(stream)
            issue(name, run, reads, writes, to)
        except host_cuda.MisuseError as error:
            return _fault(state["machine"], str(error))
        return 0


def _fault(machine: host_cuda.Machine, reason: str) -> int:
    machine.faults.append(reason)
    return 14  # CUBLAS_STATUS_INTERNAL_ERROR


def _frozen(address: int, type_: int) -> Any:
    scalar = ctypes.c_double if type_ == 1 else ctypes.c_float
    return scalar(scalar.from_address(address).value)
