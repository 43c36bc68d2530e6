"""Rows on a CUDA device are trained on where they lie, and predicted for there."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpubp import MLPClassifier, MLPRegressor
from gpubp.backends import cupy_backend
from gpubp.backends.foreign_arrays import is_on_device, on_host
from gpubp.estimators.check_input import X_CHECKS, check_input
from gpubp.training import fit_memory
from gpubp.training.batches import Batches
from tests.cuda_stand_in.arrays import ndarray as device_array
from tests.cuda_stand_in.cuda import Machine, start
from tests.estimators.cases import BASE, OURS, PROBLEMS, WEIGHTS, X, fit

OPTIONS: dict[str, Any] = {**BASE, "dtype": "float64", "max_iter": 2}
CLASSES = PROBLEMS["multi-class"][1]


@pytest.fixture
def cupy(host_cupy: Machine) -> Iterator[Any]:
    """CuPy's stand-in, on a stream of the user's own."""
    import cupy

    with cupy.cuda.Device(0), cupy.cuda.Stream(non_blocking=True) as stream:
        yield cupy
        stream.synchronize()


@pytest.fixture
def to_host(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each copy from the device to the host."""
    copied: list[int] = []
    get = device_array.get

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        copied.append(self.nbytes)
        return get(self, *args, **options)

    monkeypatch.setattr(device_array, "get", counted)
    return copied


def pair(problem: str, device: str = "cuda", **options: Any) -> tuple[Any, Any, np.ndarray]:
    """Return the estimator of a problem for a device, and for the CPU, with its y."""
    kind, y = PROBLEMS[problem]
    options = {**OPTIONS, **options}
    return OURS[kind](**options, device=device), OURS[kind](**options, device="cpu"), y


# ---- training --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("binary", {}),
        ("multi-class", {"early_stopping": True}),
        ("multi-label", {"batch_size": 90}),
        ("regression", {"solver": "lbfgs"}),
        ("text labels", {"row_order": "hash"}),
    ],
)
def test_training_is_that_of_numpys(cupy: Any, problem: str, options: dict[str, Any]) -> None:
    ours, theirs, y = pair(problem, **options)
    given = cupy.asarray(X)
    own = {"X_val": X[:30], "y_val": y[:30]} if "early_stopping" in options else {}
    fit(theirs, X, y, sample_weight=WEIGHTS, **own)
    own = {"X_val": given[:30], "y_val": y[:30]} if own else {}
    fit(ours, given, y, sample_weight=cupy.asarray(WEIGHTS), **own)
    for got, wanted in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert_allclose(got, wanted, 1e-8, 1e-10)
    assert_array_equal(given.get(), X)
    assert ours.score(given, y, WEIGHTS) == pytest.approx(theirs.score(X, y, WEIGHTS))


@pytest.mark.parametrize("early", [False, True])
def test_rows_stay_where_they_are(
    cupy: Any, to_host: list[int], monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    placed: list[Any] = []
    place = Batches._place

    def seen(self: Batches, *data: Any) -> None:
        place(self, *data)
        placed.append((data[0], self.X))

    monkeypatch.setattr(Batches, "_place", seen)
    many = np.tile(X, (20, 1))
    given, y = cupy.asarray(many), np.tile(CLASSES, 20)
    model, uploads = pair("multi-class", early_stopping=early)[0], _large_uploads(monkeypatch)
    fit(model, given, y).predict_proba(given)
    assert all(used is got for got, used in placed)
    assert (placed[0][0] is given) != early
    assert max(to_host) < given.nbytes / 2
    assert max(uploads, default=0) < given.nbytes / 2


def _large_uploads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    upload = device_array._upload

    def counted(self: Any, host: np.ndarray, *args: Any, **options: Any) -> None:
        sizes.append(host.nbytes)
        upload(self, host, *args, **options)

    monkeypatch.setattr(device_array, "_upload", counted)
    return sizes


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_rows_of_any_numbers(cupy: Any, dtype: str, device: str) -> None:
    rows = (5 * np.abs(X)).astype(dtype)
    ours, theirs, y = pair("binary", device, dtype="auto")
    if device == "cuda":
        theirs.set_params(dtype="float32")
    fit(ours, cupy.asarray(rows), y)
    fit(theirs, rows, y)
    assert [W.dtype for W in ours.coefs_] == [W.dtype for W in theirs.coefs_]
    assert_allclose(ours.coefs_[0], theirs.coefs_[0], 1e-3, 1e-4)


def test_rows_that_are_views(cupy: Any) -> None:
    wide = np.hstack([X, X + 1])
    ours, theirs, y = pair("regression")
    view = cupy.asarray(wide)[:, ::2]
    fit(ours, view, y)
    fit(theirs, wide[:, ::2], y)
    assert_allclose(on_host(ours.predict(view)), theirs.predict(wide[:, ::2]), 1e-9)


def test_partial_fit(cupy: Any) -> None:
    ours, theirs, y = pair("multi-class")
    for part in (slice(0, 50), slice(50, None)):
        ours.partial_fit(cupy.asarray(X[part]), cupy.asarray(y[part]), classes=[0, 1, 2])
        theirs.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert_allclose(ours.coefs_[0], theirs.coefs_[0], 1e-9)


def test_what_is_under_way_is_waited_for(cupy: Any) -> None:
    """The stand-in raises where work on one stream uses what another may still be writing."""
    model, _, y = pair("binary")
    for dtype in (np.float64, np.int64):
        given = cupy.asarray(np.zeros(X.shape, dtype))
        given += 2
        fit(model, given, y)
        given += 3
        outputs = model.predict_proba(given)
        outputs *= 2
        del outputs  # its memory is for the stream that used it


def test_batches_in_parts_where_memory_is_short(small: Any) -> None:
    import cupy

    rng = np.random.RandomState(0)
    rows = rng.normal(size=(600, 64))
    y = rows[:, :3].argmax(axis=1)
    options: dict[str, Any] = {"hidden_layer_sizes": (64,), "batch_size": 512, "max_iter": 2}
    options |= {"random_state": 0, "dtype": "float64"}
    small(rows.nbytes + (1 << 19))
    with cupy.cuda.Stream(non_blocking=True) as stream:
        given = cupy.asarray(rows)
        ours, theirs = (MLPClassifier(**options, device=device) for device in ("cuda", "cpu"))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(ours, given, y)
        stream.synchronize()
    assert any(re.search("each batch is computed in [0-9]+ parts", str(w.message)) for w in caught)
    assert_allclose(ours.coefs_[0], fit(theirs, rows, y).coefs_[0], 1e-8, 1e-10)
    assert {way.kind for way in fit_memory.ways(cupy_backend.CupyBackend(0), given, 8)} == {Batches}


# ---- predictions -----------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_predictions_are_as_x_is(cupy: Any, problem: str, device: str) -> None:
    model, _, y = pair(problem, "cpu")
    fit(model, X, y).set_params(device=device)
    names = ["predict"]
    if problem not in ("regression", "integer regression"):
        names += ["predict_proba", "predict_log_proba"]
    for name in names:
        got, wanted = getattr(model, name)(cupy.asarray(X)), getattr(model, name)(X)
        assert isinstance(wanted, np.ndarray)
        text = problem == "text labels" and name == "predict"
        assert isinstance(got, np.ndarray if text else cupy.ndarray)
        assert_array_equal(on_host(got), wanted, strict=True)


def test_predictions_of_one_class_alone(cupy: Any) -> None:
    model = MLPClassifier(**OPTIONS, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, np.full(len(X), 7)).set_params(device="cuda")
    model.intercepts_[-1][:] = 100  # an output near 1, where there is no second class
    assert_array_equal(on_host(model.predict(cupy.asarray(X))), 7)


def test_zero_probabilities_have_their_logarithm(cupy: Any) -> None:
    model, _, y = pair("multi-class", "cpu")
    fit(model, X, y).set_params(device="cuda")
    model.intercepts_[-1][:] = [0, -1e4, 0]
    assert (on_host(model.predict_log_proba(cupy.asarray(X)))[:, 1] == -np.inf).all()


def test_rows_of_another_device_go_by_the_host(host_cupy: Machine) -> None:
    start(devices=2)
    import cupy

    model, theirs, y = pair("multi-class", "cuda:0")
    with cupy.cuda.Device(1), cupy.cuda.Stream(non_blocking=True) as stream:
        given = cupy.asarray(X)
        fit(model, given, y)
        outputs = model.predict_proba(given)
        assert outputs.device.id == 1
        stream.synchronize()
        assert_allclose(outputs.get(), fit(theirs, X, y).predict_proba(X), 1e-9)
    assert model.device_ == "cuda:0"


# ---- what is wrong ---------------------------------------------------------------------------


def spoilt(value: float, dtype: Any = np.float64) -> np.ndarray:
    rows = X.astype(dtype)
    rows[3, 1] = value
    return rows


FITTED = fit(MLPRegressor(**OPTIONS, device="cpu"), X, PROBLEMS["regression"][1])
WRONG: dict[str, np.ndarray] = {
    "NaN": spoilt(np.nan),
    "infinity": spoilt(np.inf),
    "minus infinity": spoilt(-np.inf, np.float32),
    "both": np.vstack([spoilt(np.nan), spoilt(np.inf)])[5:95],
    "one axis": X[:, 0],
    "three axes": X[None],
    "no axis": np.array(3.0),
    "no rows": X[:0],
    "no columns": X[:, :0],
    "complex": X.astype(complex),
    "columns": X[:, :3],
    "rows": X[:50],
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("method", ["fit", "predict"])
def test_errors_are_scikit_learns(cupy: Any, method: str, wrong: str) -> None:
    model, y = deepcopy(FITTED).set_params(device="cuda"), PROBLEMS["regression"][1]
    rows, told = WRONG[wrong], []
    right = (method, wrong) in {("predict", "rows"), ("fit", "columns")}
    for given in (rows, cupy.asarray(rows)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(given, y) if method == "fit" else model.predict(given)
        except ValueError as error:
            told.append(str(error))
    assert told == [] if right else (len(told) == 2 and told[0] == told[1])


def test_large_finite_numbers_are_no_infinity(cupy: Any) -> None:
    rows = np.full((4, 3), 1e308)
    got = check_input(MLPRegressor(), cupy.asarray(rows), reset=True, **X_CHECKS)
    assert_array_equal(got.get(), rows)


def test_validation_reads_nothing_but_a_sum(cupy: Any, to_host: list[int]) -> None:
    given = cupy.asarray(np.zeros((500, 40), np.float32))
    model = MLPRegressor()
    assert check_input(model, given, reset=True, **X_CHECKS) is given
    assert to_host == [4]
    assert model.n_features_in_ == 40


# ---- other libraries -------------------------------------------------------------------------


class Tensor:
    """PyTorch's, as far as it is asked: its work is on a stream of its own."""

    def __init__(self, array: Any, stream: Any) -> None:
        self._array, self._stream = array, stream

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        self._stream.synchronize()
        return self._array

    def cpu(self) -> np.ndarray:
        return self._array.get(self._stream)


class Numba:
    """Numba's: it has the interface of CUDA arrays, and no DLPack."""

    def __init__(self, array: Any) -> None:
        self.__cuda_array_interface__ = array.__cuda_array_interface__
        self._array = array


class Frame:
    """cuDF's, as far as it is asked."""

    def __init__(self, array: Any, columns: list[str]) -> None:
        self._array, self.columns, self.shape = array, columns, array.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a host NumPy array is not allowed")

    def to_numpy(self) -> np.ndarray:
        return self._array.get()

    def to_cupy(self) -> Any:
        return self._array


class Sparse:
    """A CSR matrix of CuPy's."""

    def __init__(self, matrix: Any) -> None:
        self.get = lambda: matrix


Sparse.__module__ = "cupyx.scipy.sparse._csr"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("library", ["torch", "numba"])
def test_arrays_of_other_libraries(cupy: Any, library: str, device: str) -> None:
    ours, theirs, y = pair("multi-class", device)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        array = cupy.asarray(X)
        if library == "numba":
            stream.synchronize()
    given = Tensor(array, stream) if library == "torch" else Numba(array)
    got = fit(ours, given, y).predict_proba(given)
    assert is_on_device(got)
    assert_allclose(got.get(), fit(theirs, X, y).predict_proba(X), 1e-9)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_frames_on_a_device_keep_their_names(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    # scikit-learn knows cuDF's, by narwhals.
    of_frames = lambda X: np.array(X.columns, object) if isinstance(X, Frame) else None  # noqa: E731
    monkeypatch.setattr("sklearn.utils.validation._get_feature_names", of_frames)
    ours, theirs, y = pair("multi-class", device)
    names = ["a", "b", "c", "d"]
    frame, labels = Frame(cupy.asarray(X), names), Frame(cupy.asarray(y), ["y"])
    fit(ours, frame, labels)
    assert ours.feature_names_in_.tolist() == names
    got = ours.predict_proba(frame)
    assert_allclose(on_host(got), fit(theirs, X, y).predict_proba(X), 1e-9)
    with pytest.raises(ValueError, match="feature names should match"):
        ours.predict(Frame(cupy.asarray(X), names[::-1]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        ours.predict(cupy.asarray(X))


def test_sparse_rows_on_a_device_go_by_the_host() -> None:
    import scipy.sparse

    matrix = scipy.sparse.csr_matrix(X)
    ours, theirs, y = pair("binary", "cpu")
    fit(ours, Sparse(matrix), y)
    assert_array_equal(ours.coefs_[0], fit(theirs, matrix, y).coefs_[0])


def test_without_cupy_a_tensor_goes_by_the_host(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs, y = pair("binary", "cpu")
    given = Tensor(cupy.asarray(X), cupy.cuda.get_current_stream())
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert_array_equal(fit(ours, given, y).predict(given), fit(theirs, X, y).predict(X))
