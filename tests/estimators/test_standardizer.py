"""Columns shifted to mean 0 and scaled to standard deviation 1."""

from __future__ import annotations

import numpy as np
import pytest

from gpubp.estimators.standardizer import Standardizer


def test_fit_by_hand():
    scaling = Standardizer.fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    # Column 0: mean 2, deviations -1 and 1, so standard deviation 1; column 1 is constant.
    assert scaling.mean.tolist() == [2, 5]
    assert scaling.scale.tolist() == [1, 1]


def test_weights_are_rows_repeated() -> None:
    X = np.random.RandomState(0).normal(1e6, 3.0, (40, 3))
    times = np.arange(40) % 4 + 1
    got = Standardizer.fit(X, times / 8)
    wanted = Standardizer.fit(np.repeat(X, times, axis=0))
    np.testing.assert_allclose(got.mean, wanted.mean, rtol=1e-14)
    np.testing.assert_allclose(got.scale, wanted.scale, rtol=1e-12)


def test_fit_is_mean_and_standard_deviation_across_blocks(monkeypatch):
    X = np.random.default_rng(1).normal(5, [1, 100, 1e-6], (1000, 3))
    monkeypatch.setattr("gpubp.estimators.standardizer._BLOCK_CELLS", 100)
    for dtype in (np.float64, np.float32):
        scaling = Standardizer.fit(X.astype(dtype))
        exact = X.astype(dtype).astype(np.float64)
        np.testing.assert_allclose(scaling.mean, exact.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(scaling.scale, exact.std(axis=0), rtol=1e-9)
        Z = scaling.transform(X.astype(dtype))
        np.testing.assert_array_equal(Z, (exact - scaling.mean) / scaling.scale)


def test_round_trip():
    X = np.random.default_rng(2).normal(-7, 3, (50, 4))
    scaling = Standardizer.fit(X)
    back = scaling.transform(X) * scaling.scale + scaling.mean
    np.testing.assert_allclose(back, X, rtol=1e-14)
    single = Standardizer.fit(X[:, :1])
    np.testing.assert_array_equal(single.transform(X[:, 0]), single.transform(X[:, :1])[:, 0])
    with pytest.raises(ValueError, match=r"array has shape \(50, 3\); give \(n, 4\)"):
        scaling.transform(X[:, :3])
    with pytest.raises(ValueError, match=r"array has shape \(4,\); give \(n, 4\)"):
        scaling.transform(X[0])


def test_a_large_mean_costs_no_digits():
    X = 1e8 + np.random.default_rng(3).normal(size=(10_000, 1))
    Z = Standardizer.fit(X).transform(X, np.float32)
    assert Z.dtype == np.float32
    assert abs(Z.mean(dtype=np.float64)) < 1e-6
    assert abs(Z.std(dtype=np.float64) - 1) < 1e-6


def test_an_outlier_costs_no_digits():
    X = np.random.default_rng(4).normal(size=(10_000, 1))
    X[0] = 1e10
    scaling = Standardizer.fit(X)
    np.testing.assert_allclose(scaling.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scaling.scale, X.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_squares_neither_overflow_nor_vanish(size):
    X = np.array([[1.0], [2.0], [4.0]]) * size
    Z = Standardizer.fit(X).transform(X)
    np.testing.assert_allclose(Z.std(), 1, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e8, 1e300, 5e-324])
def test_a_constant_column_becomes_zero(value):
    X = np.full((37, 1), value)
    scaling = Standardizer.fit(X)
    assert scaling.scale.tolist() == [1]
    assert not scaling.transform(X).any()
    assert scaling.mean[0] == value


def test_the_smallest_width_keeps_a_positive_scale():
    X = np.zeros((100, 1))
    X[0] = 5e-324
    assert Standardizer.fit(X).scale[0] > 0


def test_a_width_beyond_float64_is_an_error():
    with pytest.raises(ValueError, match=r"column 1 \(counted from 0\) reaches from -1e\+308"):
        Standardizer.fit(np.array([[1, -1e308], [2, 1e308]]))


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ([0.0], [0.0], "scale holds 0.0; give positive"),
        ([0.0], [-1.0], "scale holds -1.0; give positive"),
        ([0.0], [np.nan], "scale holds NaN or infinity"),
        ([np.inf], [1.0], "mean holds NaN or infinity"),
        ([0.0, 1.0], [1.0], "mean has 2 columns and scale 1"),
        ([[0.0]], [[1.0]], r"mean has dtype float64 and shape \(1, 1\)"),
        ([0], [1.0], "mean has dtype int64"),
    ],
)
def test_a_standardizer_refuses_what_cannot_be(mean, scale, message):
    with pytest.raises(ValueError, match=message):
        Standardizer(np.array(mean), np.array(scale))
