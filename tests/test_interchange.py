"""Arrays of other libraries train and predict as the same NumPy arrays do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from estimator_cases import BASE, OURS, PROBLEMS, TARGETS, WEIGHTS, X, fit
from host_cuda import Machine
from numpy.testing import assert_array_equal

from gpubp import MLPClassifier
from gpubp.interchange import on_host


class Exchanged:
    """An array that offers DLPack and nothing else."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = np.array(values)

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._values.__dlpack_device__()


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
def test_arrays_on_a_device_are_copied(method: str) -> None:
    same_as_numpy("binary", lambda values: OnDevice(values, method))


def test_an_array_on_a_device_without_a_way_off_it_is_refused() -> None:
    with pytest.raises(TypeError, match=r"OnDevice lies on a CUDA device.* convert it to a NumPy"):
        MLPClassifier().fit(OnDevice(X, "other"), PROBLEMS["binary"][1])


def test_tables_of_other_libraries() -> None:
    y = PROBLEMS["binary"][1]
    got, wanted = fit(MLPClassifier(**BASE), Table(X), y), fit(MLPClassifier(**BASE), X, y)
    assert_array_equal(got.predict_proba(Table(X)), wanted.predict_proba(X))


def test_what_scikit_learn_takes_is_left_alone() -> None:
    for values in (X, X.tolist(), None, Table(X)):
        assert on_host(values) is values
    given = Exchanged(X)
    assert np.shares_memory(on_host(given), given._values)
