from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.tables.column_types.statistics import SortedNumbers, Statistics, is_sentinel


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float32, np.float64])
def test_statistics_by_hand(dtype: type) -> None:
    # Mean 20 / 4 = 5; squared deviations 9 + 1 + 1 + 9 = 20, a quarter is 5.
    found = SortedNumbers.of(np.array([8, 2, 4, 6], dtype)).statistics()
    assert (found.low, found.high, found.median) == (2, 8, 5)
    assert found.mean == pytest.approx(5, rel=1e-15)
    assert found.scale == pytest.approx(5**0.5, rel=1e-15)


def test_nan_is_a_gap_and_does_not_count() -> None:
    numbers = SortedNumbers.of(np.array([np.nan, 3, 1, np.nan, 1]))
    assert numbers.gaps == 2
    assert numbers.distinct() == 2
    assert_array_equal(numbers.values, [1, 1, 3])
    assert numbers.statistics().median == 1
    assert SortedNumbers.of(np.array([np.nan])).distinct() == 0


def test_the_order_of_rows_does_not_change_a_bit() -> None:
    values = np.random.default_rng(0).normal(1e9, 1, 10_001).astype(np.float32)
    expected = SortedNumbers.of(values).statistics()
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(values)
        assert SortedNumbers.of(shuffled).statistics() == expected


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    found = SortedNumbers.of(1e15 + np.array([0.0, 1, 2, 3])).statistics()
    assert found.scale == pytest.approx(1.25**0.5, rel=1e-12)
    assert found.mean == 1e15 + 1.5


def test_constant_tiny_and_huge_columns_have_a_positive_scale() -> None:
    assert SortedNumbers.of(np.full(3, 7.0)).statistics() == Statistics(7, 7, 7, 7, 1)
    assert SortedNumbers.of(np.array([0, 5e-324])).statistics().scale > 0
    assert SortedNumbers.of(np.array([1e308, 0])).statistics().scale == pytest.approx(5e307)
    with pytest.raises(ValueError, match=r"-1e\+308 to 1e\+308, is too wide for float64"):
        SortedNumbers.of(np.array([-1e308, 1e308])).statistics()


def test_the_median_of_two_huge_numbers_does_not_overflow() -> None:
    assert SortedNumbers.of(np.array([1e308, 1.5e308])).statistics().median == 1.25e308


def test_ends_that_stand_alone() -> None:
    values = np.array([-999, -999, 1, 5, 3, 9999.0])
    # Between -999 and the others lies less than between these and 9999.
    assert SortedNumbers.of(values).far_ends() == [(9999, 1)]
    assert SortedNumbers.of(values[:-1]).far_ends() == [(-999, 2)]
    assert SortedNumbers.of(np.array([1.0, 2, 3, 5])).far_ends() == []
    assert SortedNumbers.of(np.array([-999.0, 1, 1])).far_ends() == []
    assert SortedNumbers.of(np.array([])).far_ends() == []


def test_sentinels_are_nines() -> None:
    assert all(map(is_sentinel, (99, -99, 999.0, -9999)))
    assert not any(map(is_sentinel, (9, -9, 98, 990, 99.9, 0, 1e22)))
