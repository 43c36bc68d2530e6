from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.tables.column_types.numbers import (
    find_decimal,
    is_ambiguous,
    parse_numbers,
    read_numbers,
    written,
)


@pytest.mark.parametrize(
    ("text", "dot", "comma"),
    [
        ("1", 1.0, 1.0),
        ("-1.5", -1.5, None),
        ("+.5", 0.5, None),
        ("5.", 5.0, None),
        ("1e-5", 1e-5, 1e-5),
        ("1,5", None, 1.5),
        ("2,288", 2288.0, 2.288),
        ("0,288", None, 0.288),
        ("1.288", 1.288, 1288.0),
        ("1,234,567", 1234567.0, None),
        ("1.234,50", None, 1234.5),
        ("1,234.50", 1234.5, None),
        ("1 234", 1234.0, 1234.0),
        ("1\u202f234,5", None, 1234.5),
        ("12'345.5", 12345.5, None),
        ("\u22122", -2.0, -2.0),
        ("$1,200", 1200.0, 1.2),
        ("-$5", -5.0, -5.0),
        ("12 %", 12.0, 12.0),
        ("1,23,4", None, None),
        ("1,234 567", None, None),
        ("1234,567,890", None, None),
        ("", None, None),
        ("-", None, None),
        (".", None, None),
        ("e5", None, None),
        ("1.2.3", None, None),
        ("0x10", None, None),
        ("1_000", None, None),
        ("inf", None, None),
        ("nan", None, None),
        ("1e400", None, None),
        ("\u0661", None, None),  # a digit of Arabic
        ("1 ", None, None),
        ("%", None, None),
    ],
)
def test_a_text_is_a_number_by_its_decimal_mark(
    text: str, dot: float | None, comma: float | None
) -> None:
    for mark, expected in ((".", dot), (",", comma)):
        assert_array_equal(read_numbers([text], mark), [np.nan if expected is None else expected])


def test_codes_are_no_numbers_unless_asked() -> None:
    codes = ["01", "-007", "9007199254740993", "00"]
    for code in (*codes, "1" * 5000):
        assert parse_numbers([code]) is None
    assert_array_equal(read_numbers(codes, "."), [1, -7, 9007199254740992, 0])
    assert_array_equal(parse_numbers(["0", "-0.5", "9007199254740992"]), [0, -0.5, 2**53])


def test_all_values_decide_on_the_decimal_mark() -> None:
    assert find_decimal(["1,288", "0,066"]) == ","
    assert find_decimal(["1,288", "1,288.5"]) == "."
    assert find_decimal(["2,288", "1,066"]) == "."
    assert find_decimal(["2,288", "1,066"], preferred=",") == ","
    assert find_decimal(["1.5"], preferred=",") == "."
    assert find_decimal(["1,288", "x"]) is None
    assert find_decimal(["1,5", "1.5"]) is None
    assert_array_equal(parse_numbers(["1,288", "0,066"]), [1.288, 0.066])
    assert_array_equal(parse_numbers(["2,288", "7"]), [2288, 7])
    assert_array_equal(parse_numbers(["2,288", "7"], ","), [2.288, 7])


def test_a_comma_that_nothing_decides_is_ambiguous() -> None:
    assert is_ambiguous(["7", "2,288"]) == "2,288"
    assert is_ambiguous(["2,288", "1,5"]) is None
    assert is_ambiguous(["2,288,000"]) is None
    assert is_ambiguous(["7", "1.5", "1 000"]) is None


def test_numbers_are_written_as_a_person_writes_them() -> None:
    assert written(np.array([1.0, -0.5, 1e20, 0.1])) == ["1", "-0.5", "1e+20", "0.1"]
    assert written(np.array([0.1], np.float32)) == ["0.1"]
    assert written(np.array([-3, 2**62])) == ["-3", "4611686018427387904"]
    assert written(np.array([True, False])) == ["True", "False"]
