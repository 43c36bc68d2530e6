"""Arrays of other libraries train and predict as the same NumPy arrays do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp import MLPClassifier
from gpubp.backends.foreign_arrays import on_host
from tests.cuda_stand_in.cuda import Machine
from tests.estimators.cases import BASE, OURS, PROBLEMS, TARGETS, WEIGHTS, X, fit


class Exchanged:
    """An array that offers DLPack and nothing else."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = np.array(values)

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._values.__dlpack_device__()


class Tensor(Exchanged):
    """PyTorch's on the host: its dtype is not NumPy's."""

    dtype = "torch.float32"

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._values if dtype is None else self._values.astype(dtype)


class Table:
    """A table of columns: polars, pyarrow and others offer at least this much."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.shape = values, values.shape

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self._values, dtype)


class OnDevice:
    """An array on a device, that goes to the host by the method of its library."""

    def __init__(self, values: np.ndarray, method: str) -> None:
        self.__cuda_array_interface__ = {"shape": values.shape, "version": 3}
        setattr(self, method, lambda: np.array(values))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")


@pytest.fixture
def on_device(host_cupy: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What makes an array of the stand-in for CuPy, by whose interface such arrays are known."""
    import cupy

    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        yield cupy.asarray
        stream.synchronize()


def same_as_numpy(problem: str, make: Any, device: str = "cpu") -> None:
    """Check that all methods take what ``make`` makes of X, y and weights."""
    kind, y = PROBLEMS[problem]
    options = {**BASE, "device": device, "dtype": "float64", "early_stopping": True}
    wanted = fit(OURS[kind](**options), X, y, sample_weight=WEIGHTS)
    got = fit(OURS[kind](**options), make(X), make(y), sample_weight=make(WEIGHTS))
    names = ["predict"] + (["predict_proba"] if kind == "classifier" else [])
    for name in names:
        outputs = on_host(getattr(got, name)(make(X)))
        assert_array_equal(outputs, getattr(wanted, name)(X), strict=True)
    score = got.score(make(X), make(y), sample_weight=make(WEIGHTS))
    assert score == wanted.score(X, y, sample_weight=WEIGHTS)
    first = {} if kind == "regressor" else {"classes": make(np.unique(y))}
    part = OURS[kind](**BASE).partial_fit(make(X), make(y), **first)
    first = {} if kind == "regressor" else {"classes": np.unique(y)}
    plain = OURS[kind](**BASE).partial_fit(X, y, **first)
    assert_array_equal(part.coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("problem", TARGETS)
def test_arrays_that_offer_dlpack(problem: str) -> None:
    same_as_numpy(problem, Exchanged)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("problem", TARGETS)
def test_arrays_of_cupy(on_device: Any, problem: str, device: str) -> None:
    same_as_numpy(problem, on_device, device)


@pytest.mark.parametrize("method", ["get", "cpu", "copy_to_host"])
def test_arrays_on_a_device_are_copied(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    same_as_numpy("binary", lambda values: OnDevice(values, method))


def test_an_array_on_a_device_without_a_way_off_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(TypeError, match=r"OnDevice is on a CUDA device.* convert it to a NumPy"):
        MLPClassifier().fit(OnDevice(X, "other"), PROBLEMS["binary"][1])


def test_tensors_on_the_host_train_in_their_dtype() -> None:
    rows, y = X.astype(np.float32), PROBLEMS["binary"][1]
    got = fit(MLPClassifier(**BASE), Tensor(rows), Tensor(y))
    wanted = fit(MLPClassifier(**BASE), rows, y)
    assert_array_equal(got.coefs_[0], wanted.coefs_[0], strict=True)
    assert np.shares_memory(on_host(given := Tensor(rows)), given._values)


def test_tables_of_other_libraries() -> None:
    y = PROBLEMS["binary"][1]
    got, wanted = fit(MLPClassifier(**BASE), Table(X), y), fit(MLPClassifier(**BASE), X, y)
    assert_array_equal(got.predict_proba(Table(X)), wanted.predict_proba(X))


NAMES = ["a", "b", "c", "d"]


def frame_of(library: str, columns: list[str]) -> tuple[Any, Any]:
    """Return X as a frame of ``library``, whose columns are in this order, and its series."""
    module = pytest.importorskip(library)
    values = {name: X[:, NAMES.index(name)] for name in columns}
    if library == "pyarrow":
        return module.table(values), module.array
    return module.DataFrame(values), module.Series


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("problem", ["binary", "text labels", "truth labels", "regression"])
def test_frames_keep_the_names_of_their_columns(library: str, problem: str) -> None:
    (frame, series), (kind, y) = frame_of(library, NAMES), PROBLEMS[problem]
    options = {**BASE, "device": "cpu", "early_stopping": True, "max_iter": 3}
    own = {"X_val": frame, "y_val": series(y)}
    got = fit(OURS[kind](**options), frame, series(y), sample_weight=series(WEIGHTS), **own)
    own = {"X_val": X, "y_val": y}
    wanted = fit(OURS[kind](**options), X, y, sample_weight=WEIGHTS, **own)
    assert got.feature_names_in_.tolist() == NAMES
    assert_array_equal(got.predict(frame), wanted.predict(X), strict=True)
    assert got.score(frame, series(y)) == wanted.score(X, y)
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        got.predict(frame_of(library, NAMES[::-1])[0])


def test_a_frame_of_polars_that_is_not_computed_is_refused() -> None:
    frame = pytest.importorskip("polars").DataFrame(X).lazy()
    with pytest.raises(TypeError, match=r"LazyFrame has not computed its rows yet; call collect"):
        MLPClassifier().fit(frame, PROBLEMS["binary"][1])


class Lazy:
    """A query that has not run: polars' LazyFrame offers no rows."""

    def collect(self) -> np.ndarray:
        return X


def test_a_query_that_has_not_run_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Lazy has not computed its rows yet; call collect\(\)"):
        MLPClassifier().fit(Lazy(), PROBLEMS["binary"][1])


def test_exchanged_memory_of_a_device_is_not_read_as_the_hosts(on_device: Any) -> None:
    given = Exchanged(X)
    given.__dlpack_device__ = lambda: (2, 0)  # type: ignore[method-assign]
    given.__dlpack__ = lambda **options: on_device(X)  # type: ignore[method-assign]
    assert_array_equal(on_host(given), X, strict=True)


def test_exchanged_memory_of_a_device_needs_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    given = Exchanged(X)
    given.__dlpack_device__ = lambda: (13, 0)  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="Exchanged is on a CUDA device, and only arrays of"):
        MLPClassifier().fit(given, PROBLEMS["binary"][1])


def test_what_scikit_learn_takes_is_left_alone() -> None:
    for values in (X, X.tolist(), None, Table(X)):
        assert on_host(values) is values
    given = Exchanged(X)
    assert np.shares_memory(on_host(given), given._values)
