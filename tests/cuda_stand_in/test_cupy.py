"""CuPy's stand-in is CuPy: its names and signatures, and on a device what it does."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.cuda_stand_in.arrays import ufunc
from tests.cuda_stand_in.cuda import Machine, MisuseError, OutOfMemoryError, start
from tests.cuda_stand_in.cupy import modules

Signature = list[inspect.Parameter]


def skip_without_cupy() -> Any:
    """Return the real CuPy, which needs no driver to be imported."""
    if os.environ.get("GPUBP_REQUIRE_CUPY") == "1":
        import cupy

        return cupy
    return pytest.importorskip("cupy", reason="CuPy is not installed; no device is needed")


# ---- names and signatures --------------------------------------------------------------------


def names(holder: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every public name of the stand-in with its path in CuPy, and what it is."""
    for name, value in vars(holder).items():
        special = name.startswith("__") and callable(value) and name not in _OF_PYTHON
        if name.startswith("_") and not (inspect.isclass(holder) and special):
            continue
        yield f"{path}{name}", value
        if inspect.isclass(value) and value.__module__.startswith("tests.cuda_stand_in."):
            yield from names(value, f"{path}{name}.")


_OF_PYTHON = {"__init__", "__repr__", "__reduce__"}
NAMES = {
    path: value
    for module in modules().values()
    for path, value in names(module, f"{module.__name__}.")
}


def found(cupy: ModuleType, path: str) -> Any:
    value: Any = cupy
    for name in path.split(".")[1:]:
        value = getattr(value, name)
    return value


def signature(of: Any, name: str) -> Signature:
    """Return the parameters of ``of`` but self; compiled functions tell them in their docs."""
    try:
        parameters = inspect.signature(of).parameters.values()
    except (TypeError, ValueError):
        text = re.match(r"(?:\w+\.)?\w+\((.*?)\)( -> \w+)?$", (of.__doc__ or "").split("\n")[0])
        assert text, f"{name} does not tell its parameters"
        parameters = _parsed(text[1]).parameters.values()
    return [p for p in parameters if p.name != "self"]


def _parsed(text: str) -> inspect.Signature:
    """Return the signature in CuPy's docs, "Py_ssize_t axis1, order='C'", without its types."""
    declared = [part.replace("\\", "").strip() for part in text.split(",")]
    plain = [re.sub(r"^[A-Za-z_]\w* (?=\w)", "", part) for part in declared]
    scope: dict[str, Any] = {}
    exec(f"def function({', '.join(plain)}): pass", scope)
    return inspect.signature(scope["function"])


def misfits(ours: Signature, theirs: Signature) -> list[str]:
    """Return the parameters of ours that theirs would not take, at the same place by that name."""
    kinds = {p.kind for p in theirs}
    by_name, problems = {p.name: p for p in theirs}, []
    positional = [p.name for p in theirs if p.kind is p.POSITIONAL_OR_KEYWORD]
    for place, p in enumerate(ours):
        other = by_name.get(p.name)
        if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL):
            fits = bool(kinds & {p.POSITIONAL_ONLY, p.VAR_POSITIONAL})
        elif other is None:
            fits = p.VAR_KEYWORD in kinds
        else:
            fits = p.default in (p.empty, other.default)
            if p.kind is p.POSITIONAL_OR_KEYWORD and other.kind is p.kind:
                fits &= positional[place : place + 1] == [p.name] or p.POSITIONAL_ONLY in kinds
        if not fits:
            problems.append(str(p))
    needed = [p for p in theirs if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return problems + [p.name for p in needed if p.name not in {q.name for q in ours}]


def test_every_name_is_cupys() -> None:
    cupy = skip_without_cupy()
    assert len(NAMES) > 80
    assert not [path for path in NAMES if found(cupy, path) is None]


def test_every_signature_is_cupys() -> None:
    cupy, checked = skip_without_cupy(), 0
    for path, value in NAMES.items():
        ours = value.__init__ if inspect.isclass(value) else value
        ours = value.__call__ if isinstance(value, ufunc) else ours
        if inspect.isroutine(ours) and path not in _WITHOUT and "__" not in path:
            wrong = misfits(signature(ours, path), signature(found(cupy, path), path))
            assert not wrong, f"{path}: {wrong}"
            checked += 1
    assert checked > 30


# Classes of which gpubp makes no objects itself.
_WITHOUT = {"cupy.ndarray", "cupy.ufunc", "cupy.cuda.Graph", "cupy.cuda.MemoryPool"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a, b", "a"),
        ("b, a", "a, b"),
        ("a, order='K'", "a, order='C'"),
        ("a", "a, b"),
        ("a, *args", "a, b=1"),
        ("a, b", "a, *, c=1"),
    ],
)
def test_signatures_that_differ_are_found(ours: str, theirs: str) -> None:
    assert misfits(*(list(_parsed(text).parameters.values()) for text in (ours, theirs)))


# ---- what it does ----------------------------------------------------------------------------


def test_arrays_do_not_become_numpys(cupy: Any) -> None:
    x = cupy.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.zeros((2, 3))[...] = x
    with pytest.raises(TypeError):
        np.zeros((2, 3)) + x
    with pytest.raises(ValueError, match="non-scalar"):
        x[...] = np.zeros((2, 3))
    with pytest.raises(TypeError, match="Unsupported type"):
        cupy.add(x, np.zeros((2, 3), np.float32), out=x)
    with pytest.raises(TypeError):
        x.set([1, 2])
    with pytest.raises(TypeError, match="cannot be set"):
        x.set(np.zeros((2, 3)))


def test_an_array_is_seen_through_views(cupy: Any) -> None:
    host = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = cupy.asarray(host)
    for see in (
        lambda a: a[1],
        lambda a: a[1, 2, 3],
        lambda a: a[..., None, 1:],
        lambda a: a[:, 0],
        lambda a: a.swapaxes(0, -1),
        lambda a: a[0].T,
        lambda a: a.reshape(-1)[:6].reshape(2, 3),
        lambda a: a.reshape((4, 6)),
        lambda a: a[1].ravel(),
    ):
        view = see(x)
        expected = see(host)
        assert isinstance(view, cupy.ndarray)
        assert (view.shape, view.dtype, view.size) == (expected.shape, host.dtype, expected.size)
        assert (view.ndim, view.nbytes) == (expected.ndim, expected.nbytes)
        assert view.flags.c_contiguous == np.asarray(expected).flags.c_contiguous
        assert_array_equal(cupy.asnumpy(view), expected)
    assert x[1, 1:].data.ptr - x.data.ptr == 4 * 16
    assert x.data.ptr % 512 == 0
    assert len(x) == 2
    x[0].T[...] = -1
    assert float(x.sum()) == host[1].sum() - 12
    x.reshape(2, 12)[1, ::2] = cupy.zeros((1, 6))
    assert float(x[1, 0, 0]) == 0
    assert int(x[1, 0, 1]) == 13


def test_values_are_assigned_and_copied(cupy: Any) -> None:
    x, y = cupy.zeros((3,)), cupy.asarray(np.arange(3.0))
    x[...] = y
    kept = x.copy()
    x[1:] = y[:2]
    x += 1
    x *= y
    y.fill(7)
    assert cupy.asnumpy(x).tolist() == [0, 1, 4]
    assert cupy.asnumpy(kept).tolist() == [0, 1, 2]
    assert kept.astype(np.float32).dtype == np.float32
    assert x.sum(dtype=np.float64).shape == ()
    assert cupy.asnumpy(cupy.asarray(np.eye(3)).sum(axis=-1)).tolist() == [1, 1, 1]
    assert cupy.asarray(x) is x
    assert cupy.ascontiguousarray(x) is x
    assert cupy.asarray(np.float32(3)).shape == ()
    cupy.add(x, y[None, :1][0], out=x)
    cupy.add(x[:2], x[1:], out=x[:2])  # an input that overlaps is read as it was
    assert cupy.asnumpy(x).tolist() == [15, 19, 11]
    with pytest.raises(ValueError, match=r"mismatch|broadcast"):
        cupy.add(cupy.zeros((2, 3)), x, out=x)


SCALE = ("T x, T factor, int64 shift", "T y", "y = x * factor + T(shift)", "scale")
PICK = ("raw T x, raw int64 order", "raw T y", "y[i] = x[order[i]]", "pick")


def test_a_kernel_broadcasts_and_casts_numbers(cupy: Any) -> None:
    scale = cupy.ElementwiseKernel(*SCALE)
    x, y = cupy.asarray(np.arange(3.0)), cupy.empty((2, 3))
    scale(x, 2, 1.9, y)
    assert cupy.asnumpy(y).tolist() == [[1, 3, 5]] * 2
    columns = cupy.empty((3, 2))
    scale(y.T, np.float32(1), True, columns)
    assert_array_equal(cupy.asnumpy(columns), cupy.asnumpy(y).T + 1)
    scale(y.T, y.T, 0, columns.swapaxes(0, 1).T)
    assert_array_equal(cupy.asnumpy(columns), cupy.asnumpy(y).T ** 2)
    scale(cupy.asarray(np.float64([5])), 1, 0, y)
    assert float(y.sum()) == 30


def test_a_kernel_refuses_what_does_not_fit(cupy: Any) -> None:
    scale, pick = cupy.ElementwiseKernel(*SCALE), cupy.ElementwiseKernel(*PICK)
    x, y, single = cupy.zeros((3,)), cupy.empty((3,)), cupy.zeros((3,), np.float32)
    order = cupy.asarray(np.array([2, 1, 0]))
    for error, arguments in (
        (TypeError, (x, 1.0, 1, np.zeros(3))),
        (TypeError, (np.zeros(3), 1.0, 1, y)),
        (TypeError, (x, 1.0, "1", y)),
        (TypeError, (x, 1.0, None, y)),
        (TypeError, (x, 1.0, y)),
        (TypeError, (x, 1.0, 1, single)),
        (TypeError, (single, x, 1, x)),
        (TypeError, (x, 1.0, x, y)),
        (TypeError, (x, 1.0, 1, 1.0)),
        (ValueError, (x, 1.0, 1, y[:1])),
        (ValueError, (cupy.zeros((2,)), 1.0, 1, y)),
        (OverflowError, (x, 1.0, 1 << 70, y)),
    ):
        with pytest.raises(error):
            scale(*arguments)
    with pytest.raises(ValueError, match="Specified 'size' can be used only"):
        scale(x, 1.0, 1, y, size=3)
    with pytest.raises(ValueError, match="Loop size is undecided"):
        pick(x, order, y)
    pick(cupy.asarray(np.arange(3.0)), order, y, size=2)
    assert cupy.asnumpy(y[:2]).tolist() == [2, 1]
    with pytest.raises(ValueError, match=r"'i'|called i"):
        cupy.ElementwiseKernel("T i", "T y", "y = i", "wrong")


def test_a_graph_freezes_numbers_and_reads_arrays_anew(cupy: Any) -> None:
    scale, stream = cupy.ElementwiseKernel(*SCALE), cupy.cuda.get_current_stream()
    x, y, factor = cupy.asarray(np.ones(3)), cupy.zeros((3,)), 2.0
    scale(x, factor, 0, y)
    stream.synchronize()
    stream.begin_capture()
    assert stream.is_capturing()
    scale(x, factor, 0, y)
    cupy.add(y, y, out=y)
    graph = stream.end_capture()
    factor = 100.0
    x.fill(3)
    y.fill(-1)
    assert float(y[0]) == -1  # a capture does nothing
    graph.upload()
    graph.launch(stream=stream)
    assert cupy.asnumpy(y).tolist() == [12] * 3
    x.fill(1)
    graph.launch()
    assert cupy.asnumpy(y).tolist() == [4] * 3


@pytest.mark.parametrize(
    ("does", "error", "message"),
    [
        (lambda cupy, x: cupy.matmul(x, x, out=x), NotImplementedError, "calling cuBLAS"),
        (lambda cupy, x: float(x[0, 0]), RuntimeError, "D2H transfers are disallowed"),
        (lambda cupy, x: cupy.asnumpy(x), RuntimeError, "D2H transfers are disallowed"),
        (lambda cupy, x: x.set(np.ones((2, 2))), RuntimeError, "H2D transfers are disallowed"),
        (lambda cupy, x: cupy.cuda.get_current_stream().synchronize(), RuntimeError, "Capture"),
        (lambda cupy, x: cupy.cuda.Device().synchronize(), RuntimeError, "Capture"),
    ],
)
def test_what_a_capture_refuses(cupy: Any, does: Any, error: type, message: str) -> None:
    x, stream = cupy.zeros((2, 2)), cupy.cuda.get_current_stream()
    x.fill(1)
    cupy.matmul(x, x, out=cupy.zeros((2, 2)))
    stream.synchronize()
    stream.begin_capture()
    with pytest.raises(error, match=message):
        does(cupy, x)
    with suppress(MisuseError, RuntimeError):
        stream.end_capture()  # of nothing, or of what was broken off
    assert not stream.is_capturing()


def test_streams_and_devices_are_entered_and_left(cupy: Any) -> None:
    cuda = cupy.cuda
    outer = cuda.get_current_stream()
    with cuda.Stream(non_blocking=True) as inner:
        assert cuda.get_current_stream() == inner != outer
        with cuda.Device(0) as device:
            assert cuda.get_current_stream() == inner
            assert device.id == int(device) == 0
    assert cuda.get_current_stream() == outer
    assert (inner.ptr == 0, cuda.Stream.null.ptr) == (False, 0)
    assert cuda.is_available()
    assert cuda.runtime.getDeviceCount() >= 1
    assert cuda.Device(0).compute_capability.isdecimal()
    free, total = cuda.Device(0).mem_info
    assert 0 < free <= total
    with pytest.raises(cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cuda.Device(99).__enter__()
    with pytest.raises(RuntimeError, match="legacy"):
        cuda.Stream.null.begin_capture()


# ---- where it is stricter than CuPy ----------------------------------------------------------


def test_new_memory_is_poisoned(host_cupy: Machine) -> None:
    import cupy

    with cupy.cuda.Stream(non_blocking=True):
        assert np.isnan(cupy.asnumpy(cupy.empty((3,), np.float32))).all()
        assert cupy.asnumpy(cupy.empty((3,), np.int64)).tolist() == [-1] * 3


def test_memory_runs_out_and_comes_back(host_cupy: Machine) -> None:
    import cupy

    machine = start(memory=4096)
    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True):
        kept = cupy.empty((700,), np.float32)
        assert machine.used[0] == 3072
        with pytest.raises(MemoryError, match=r"2,000 bytes \(allocated so far: 3,072 bytes\)"):
            cupy.empty((500,), np.float32)
        assert issubclass(OutOfMemoryError, MemoryError)
        assert cupy.cuda.Device(0).mem_info == (1024, 4096)
        assert cupy.get_default_memory_pool().used_bytes() == 3072
        del kept
        assert cupy.empty((1000,), np.float32).shape == (1000,)


def test_memory_of_another_device_is_refused(host_cupy: Machine) -> None:
    import cupy

    start(devices=2)
    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        x = cupy.zeros((3,))
        with cupy.cuda.Device(1), pytest.raises(RuntimeError, match="does not match"):
            stream.__enter__()
    with cupy.cuda.Device(1), cupy.cuda.Stream(non_blocking=True):
        with pytest.raises(ValueError, match="another device"):
            cupy.add(x, x, out=x)
        with pytest.raises(MisuseError, match="memory of device 0"):
            x.fill(1)
