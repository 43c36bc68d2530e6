from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.tables.column_types.dates import date_parts, find_dates, parse_dates

NONE = "NaT"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2020-12-31", "2020-12-31"),
        ("2020/2/1", "2020-02-01"),
        ("2020.02.01", "2020-02-01"),
        ("2020-12-31T23:59:58.123456", "2020-12-31T23:59:58.123456"),
        ("2020-12-31 23:59:58.1", "2020-12-31T23:59:58.1"),
        ("2020-12-31 23:59:58,1234567", "2020-12-31T23:59:58.123456"),
        ("2020-12-31 9:05", "2020-12-31T09:05"),
        ("2020-12-31T00:00:00Z", "2020-12-31"),
        ("2020-12-31 05:00:00+02:00", "2020-12-31T05:00"),
        ("2020-12-31 05:00 UTC", "2020-12-31T05:00"),
        ("3 Jan 2020", "2020-01-03"),
        ("03-Jan-99", "1999-01-03"),
        ("3rd March 2021", "2021-03-03"),
        ("Jan 3, 2020 3:04 PM", "2020-01-03T15:04"),
        ("Fri, 03 Jan 2020 12:00:00 GMT", "2020-01-03T12:00"),
        ("Sept 2020", "2020-09-01"),
        ("2020-03", "2020-03-01"),
        ("12:30", "1970-01-01T12:30"),
        ("12:30:11 am", "1970-01-01T00:30:11"),
        ("12:30 p.m.", "1970-01-01T12:30"),
        ("2020-02-30", NONE),
        ("2021-02-29", NONE),
        ("2020-13-01", NONE),
        ("2020-01-00", NONE),
        ("0000-01-01", NONE),
        ("2020-01-01 24:00", NONE),
        ("2020-01-01 12:60", NONE),
        ("13:00 pm", NONE),
        ("2020-1.1", NONE),
        ("3 Foo 2020", NONE),
        ("2020", NONE),
        ("1/2/3", NONE),
        ("10.0.0.1", NONE),
        ("abc", NONE),
        ("", NONE),
    ],
)
def test_a_date_is_read_in_any_order(text: str, time: str) -> None:
    for order in ("ymd", "dmy", "mdy", "compact"):
        assert_array_equal(parse_dates([text], order), np.array([time], "datetime64[us]"))


@pytest.mark.parametrize(
    ("text", "dmy", "mdy"),
    [
        ("31/12/2020", "2020-12-31", NONE),
        ("12/31/2020", NONE, "2020-12-31"),
        ("1.2.2020", "2020-02-01", "2020-01-02"),
        ("1. 2. 2020", "2020-02-01", "2020-01-02"),
        ("1-2-69 1:02", "1969-02-01T01:02", "1969-01-02T01:02"),
        ("1/2/68", "2068-02-01", "2068-01-02"),
    ],
)
def test_day_or_month_comes_first_by_the_order(text: str, dmy: str, mdy: str) -> None:
    for order, time in (("dmy", dmy), ("mdy", mdy), ("ymd", NONE), ("compact", NONE)):
        assert_array_equal(parse_dates([text], order), np.array([time], "datetime64[us]"))


def test_eight_digits_are_a_date_only_where_asked() -> None:
    assert_array_equal(parse_dates(["20201231"], "compact"), [np.datetime64("2020-12-31")])
    assert np.isnat(parse_dates(["20201231"], "ymd")).all()
    assert np.isnat(parse_dates(["20201331", "99991231"], "compact")).all()


@pytest.mark.parametrize(
    ("texts", "order", "remark"),
    [
        (["01/02/2020", "31/12/2020"], "dmy", "day before month, as 31/12/2020 shows"),
        (["1/2/2020", "12/31/2020"], "mdy", "month before day, as 12/31/2020 shows"),
        (["05/02/2020", "02/11/2020"], "dmy", "day before month is assumed in 05/02/2020"),
        ([f"{m}/1/2020" for m in range(1, 6)], "mdy", "month before day is assumed in 1/1/2020"),
        # A stray value does not turn the others round.
        (["13/02/2020", "14/02/2020", "02/13/2020"], "dmy", "as 13/02/2020 shows"),
    ],
)
def test_all_values_decide_on_day_or_month(texts: list[str], order: str, remark: str) -> None:
    found = find_dates(texts)
    assert found is not None
    assert found.order == order
    assert found.remark is not None
    assert remark in found.remark
    assert found.assumed == ("assumed" in remark)


def test_the_order_that_the_user_knows_is_taken() -> None:
    found = find_dates(["05/02/2020"], "mdy")
    assert found is not None
    assert_array_equal(found.times, [np.datetime64("2020-05-02")])
    assert found.remark is None


def test_text_without_a_date_has_none() -> None:
    assert find_dates(["abc", "2020-02-30x"]) is None


def test_different_zones_are_noticed() -> None:
    for texts, zones in (
        (["2020-01-01 05:00Z", "2020-01-02 06:00Z"], False),
        (["2020-01-01 05:00:00+01:00", "2020-07-01 05:00:00+02:00"], True),
        (["2020-01-01 05:00Z", "2020-01-02 06:00"], True),
        (["2020-01-01", "2020-1-02"], False),
    ):
        found = find_dates(texts)
        assert found is not None
        assert found.zones == zones


@pytest.mark.parametrize(
    "pattern", ["{}-{:02}-{:02} {:02}:{:02}:{:02}.5Z", "{2:02}/{1:02}/{0} {3:02}:{4:02}:{5:02}"]
)
def test_texts_of_equal_width_are_read_as_one_by_one(pattern: str) -> None:
    rng = np.random.default_rng(0)
    fields = rng.integers((1999, 0, 0, 0, 0, 0), (2030, 14, 33, 25, 61, 61), (500, 6))
    texts = [pattern.format(*row) for row in fields.tolist()]
    one_by_one = [parse_dates([text, "x"], "dmy")[0] for text in texts]
    assert 0 < np.isnat(np.array(one_by_one)).sum() < 400
    assert_array_equal(parse_dates(texts, "dmy"), one_by_one)


def test_the_parts_of_a_date() -> None:
    times = np.array(["2020-02-29T23:58:59.5", "1969-12-31T23:59:59"], "datetime64[us]")
    # The first was a Saturday, the second a Wednesday; 18321 days after 1970-01-01.
    assert {name: values.tolist() for name, values in date_parts(times).items()} == {
        "year": [2020, 1969],
        "month": [2, 12],
        "day": [29, 31],
        "weekday": [5, 2],
        "hour": [23, 23],
        "minute": [58, 59],
        "second": [59, 59],
        "seconds": [18321 * 86400 + 86339.5, -1],
    }
