"""Predictions of few rows: the recorded pass gives what the one that is not recorded does."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gpubp import MLPClassifier, MLPRegressor
from gpubp.estimators import recorded_predictions
from gpubp.estimators.per_thread import PerThread
from gpubp.kernels.activations import ACTIVATIONS

RNG = np.random.RandomState(0)
X = RNG.normal(size=(40, 5))
LABELS = np.arange(40) % 3
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of rows of the passes that are recorded."""
    rows: list[int] = []
    make = recorded_predictions.RecordedInference

    def counted(*arguments: Any) -> Any:
        rows.append(arguments[4])
        return make(*arguments)

    monkeypatch.setattr(recorded_predictions, "RecordedInference", counted)
    monkeypatch.setattr(recorded_predictions, "_PASSES", PerThread(recorded_predictions.MOST))
    return rows


def fitted(kind: Any = MLPClassifier, y: Any = LABELS, dtype: Any = float, **options: Any) -> Any:
    model = kind(hidden_layer_sizes=(6, 4), max_iter=2, random_state=0, device="cpu", **options)
    return model.fit(X.astype(dtype), y)


def unrecorded(model: Any, rows: np.ndarray, method: str = "predict") -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded_predictions, "KEPT_BYTES", 0)
        patch.setattr(recorded_predictions, "_PASSES", PerThread(recorded_predictions.MOST))
        return getattr(model, method)(rows)  # type: ignore[no-any-return]


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_probabilities_are_the_same_bits(
    activation: str, dtype: Any, n: int, recordings: list[int]
) -> None:
    for y in (LABELS, LABELS > 0, np.eye(3, dtype=int)[LABELS]):
        model = fitted(y=y, dtype=dtype, activation=activation)
        rows = X[:n].astype(dtype)
        wanted = unrecorded(model, rows, "predict_proba")
        for _ in range(3):
            assert_array_equal(model.predict_proba(rows), wanted)
        other = rows[::-1].copy()
        assert_array_equal(model.predict_proba(other), unrecorded(model, other, "predict_proba"))
    assert recordings == [n] * 3


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "quantile", "huber"])
def test_predictions_are_the_same_bits(loss: str, recordings: list[int]) -> None:
    for y in (LABELS + 1.0, X[:, :2] ** 2):
        if loss == "huber" and y.ndim == 2:
            continue
        model = fitted(MLPRegressor, y, loss=loss, target_scaling=loss != "poisson")
        wanted = unrecorded(model, X[:3])
        for _ in range(2):
            assert_array_equal(model.predict(X[:3]), wanted)
    assert set(recordings) == {3}


def test_changes_count(recordings: list[int]) -> None:
    model, rows = fitted(), X[:2]
    changes: list[Any] = [
        lambda: model.coefs_[1].__imul__(2),
        lambda: model.intercepts_[0].__iadd__(1),
        lambda: model.coefs_.__setitem__(0, model.coefs_[0] + 1),
        lambda: setattr(model, "intercepts_", [b + 1 for b in model.intercepts_]),
        lambda: model.partial_fit(X, LABELS),
        lambda: model.fit(X[::2], LABELS[::2]),
    ]
    before = model.predict_proba(rows)
    for change in changes:
        change()
        now = model.predict_proba(rows)
        assert not np.array_equal(now, before)
        assert_array_equal(now, unrecorded(model, rows, "predict_proba"))
        before = now
    assert len(recordings) == 5  # for what is written into an array there is no need


def test_what_no_longer_fits_raises_as_before(recordings: list[int]) -> None:
    model, rows = fitted(), X[:2]
    model.predict(rows)
    with pytest.raises(ValueError, match="device must be"):
        model.set_params(device="tpu").predict(rows)
    model.set_params(device="cpu").coefs_[1] = np.ones((2, 2))
    with pytest.raises(ValueError, match="do not fit together"):
        model.predict(rows)
    del model.coefs_, model.intercepts_
    with pytest.raises((NotFittedError, AttributeError)):
        model.predict(rows)


def _strange() -> dict[str, Any]:
    rows = X[:2].copy()
    nan, infinite = rows.copy(), rows.copy()
    nan[1, 2], infinite[0, 0] = np.nan, -np.inf
    return {
        "nan": nan,
        "infinite": infinite,
        "wide": np.ones((2, 6)),
        "narrow": rows[:, :4],
        "vector": rows[0],
        "none": rows[:0],
        "list": rows.tolist(),
        "text": rows.astype(str),
        "columns first": np.asfortranarray(rows),
        "whole": rows.astype(int),
        "swapped": rows.astype(rows.dtype.newbyteorder()),
        "strided": X[:4:2],
        "object": rows.astype(object),
        "float32": rows.astype(np.float32),
        "masked": np.ma.masked_array(rows),
        "complex": rows * 1j,
        "huge": rows + 1e308,
    }


@pytest.mark.parametrize("case", _strange())
def test_other_rows_are_validated_as_before(case: str, recordings: list[int]) -> None:
    model, rows = fitted(), _strange()[case]

    def outcome(predict: Any) -> Any:
        try:
            return predict()
        except (TypeError, ValueError) as error:
            return type(error), str(error)

    wanted = outcome(lambda: unrecorded(model, rows))
    model.predict(X[:2])
    for _ in range(2):
        got = outcome(lambda: model.predict(rows))
        assert str(got) == str(wanted)


def test_missing_names_of_columns_are_warned_of(recordings: list[int]) -> None:
    model = fitted()
    model.predict(X[:2])
    model.feature_names_in_ = np.array(list("abcde"), object)
    for _ in range(2):
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            model.predict(X[:2])


def test_strange_parameters_are_not_recorded(recordings: list[int]) -> None:
    model = fitted()
    for change in (
        lambda W: W.astype(np.float16),
        np.asfortranarray,
        lambda W: W.astype(np.float32),
    ):
        model.coefs_ = [change(W) for W in model.coefs_]
        for rows in (X[:2], X[:2].astype(np.float16)):
            assert_array_equal(model.predict(rows), unrecorded(model, rows))
            model.coefs_[0][:] = -model.coefs_[0]
            assert_array_equal(model.predict(rows), unrecorded(model, rows))
    assert recordings == []


def test_the_estimator_holds_none_of_it(recordings: list[int]) -> None:
    model = fitted()
    before, size = dict(vars(model)), len(pickle.dumps(model))
    model.predict(X[:1])
    assert vars(model) == before
    assert len(pickle.dumps(model)) == size
    others = [copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for other in others:
        assert_array_equal(other.predict(X[:1]), model.predict(X[:1]))
    with pytest.raises(NotFittedError):
        clone(model).predict(X[:1])
    assert len(recordings) == 4


def test_passes_are_few_and_freed_with_their_estimator(recordings: list[int]) -> None:
    model = fitted()
    for n in (1, 2, 3, 4, 5, 5, 4, 3, 2, 1):
        model.predict(X[:n])
    assert recordings == [1, 2, 3, 4, 5, 1]
    kept = recorded_predictions._PASSES.kept
    assert [each.key[0][0] for each in kept] == [4, 3, 2, 1]
    weights = weakref.ref(model.coefs_[0])
    del model
    gc.collect()
    assert weights() is None
    assert not kept


def test_threads_share_none(recordings: list[int]) -> None:
    model, rows = fitted(), [X[k : k + 1].copy() for k in range(40)]
    wanted = [unrecorded(model, row, "predict_proba") for row in rows]
    wrong: list[int] = []

    def predict() -> None:
        for _ in range(20):
            for k, row in enumerate(rows):
                if not np.array_equal(model.predict_proba(row), wanted[k]):
                    wrong.append(k)

    predict()
    threads = [Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert recordings == [1, 1, 1, 1]
