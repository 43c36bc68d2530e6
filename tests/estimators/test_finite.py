"""Whether an array is finite: never said of one that is not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from gpubp import MLPClassifier
from gpubp.estimators.check_input import is_finite_by_sum

SHAPES = [(1, 1), (3, 341), (1, 1024), (32, 64), (5, 1025)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stray", [np.nan, np.inf, -np.inf])
def test_one_stray_number_anywhere(
    shape: tuple[int, int], order: str, dtype: str, stray: float
) -> None:
    numbers = np.random.default_rng(0).standard_normal(shape)
    array = np.array(numbers, dtype, order=order)  # type: ignore[call-overload]
    assert is_finite_by_sum(array)
    for place in {0, array.size // 2, array.size - 1}:
        spoilt = array.copy(order="K")
        spoilt[np.unravel_index(place, shape)] = stray
        assert not is_finite_by_sum(spoilt)


def test_infinities_that_cancel() -> None:
    array = np.zeros((4, 1024))
    array[0, 0], array[3, 7] = np.inf, -np.inf
    assert not is_finite_by_sum(array)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((4, 4), int),
        np.ones((4, 4), object),
        np.ones((4, 4), ">f8"),
        np.ones((8, 8))[::2],
        np.full((4, 4), 1e308),  # their sum overflows
        [[1.0]],
    ],
    ids=["int", "object", "other bytes", "strided", "overflow", "list"],
)
def test_what_takes_more_to_tell(array: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_finite_by_sum(array)


def test_rows_whose_sum_overflows_are_predicted() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8, 4)).astype(np.float32)
    model = MLPClassifier((2,), max_iter=1, device="cpu", activation="tanh")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, np.arange(8) % 2)
    large = np.full((8, 4), np.finfo(np.float32).max / 8, np.float32)
    assert not is_finite_by_sum(large)
    assert np.isfinite(model.predict_proba(large)).all()
