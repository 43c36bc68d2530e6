"""What holds for every table, as hypothesis makes them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.column_types.dates import find_dates, parse_dates
from gpubp.tables.column_types.numbers import find_decimal, parse_numbers, read_numbers, written
from gpubp.tables.encoder import TableEncoder
from gpubp.tables.table import DataError, Table

pytest.importorskip("hypothesis", reason="needs hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

WORDS = st.sampled_from(
    [
        *(
            "",
            "NA",
            "x",
            "y",
            "1",
            "01",
            "1.0",
            "2,5",
            "1,234",
            "-999",
            "1e400",
            "9007199254740993",
        ),
        *("yes", "no", "True", "2020-01-31", "1/2/2020", "31/1/2020", "12:30", "\u0661", "\ud800"),
    ]
)
CELLS = st.one_of(WORDS, st.text(max_size=4), st.floats(width=32).map(str))
FLOATS = st.floats(width=32, allow_infinity=False) | st.just(np.nan)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 40))
    columns: dict[str, Any] = {}
    for j in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            pool = draw(st.lists(CELLS, min_size=1, max_size=6))
            cells = draw(st.lists(st.sampled_from(pool), min_size=rows, max_size=rows))
            columns[f"c{j}"] = TextColumn.of(cells)
        else:
            values = draw(st.lists(FLOATS, min_size=rows, max_size=rows))
            columns[f"c{j}"] = NumberColumn(np.array(values, np.float32))
    return Table(columns, rows, "data.csv")


def _fitted(table: Table, **options: Any) -> TableEncoder | None:
    """The encoder of a table; None where it has no useful column."""
    message = ""
    try:
        return TableEncoder(**options).fit(table)
    except DataError as error:
        message = str(error)
    assert "no column to learn from" in message or "n_samples=1" in message
    return None


@QUICK
@given(tables())
def test_rows_are_finite_and_do_not_depend_on_each_other(table: Table) -> None:
    encoder = _fitted(table)
    if encoder is None:
        return
    X = encoder.transform(table)
    assert X.shape == (len(table), encoder.n_features_out_)
    assert len(encoder.get_feature_names_out()) == X.shape[1]
    assert np.isfinite(X).all()
    rows = [encoder.transform(table.take(np.array([i])))[0] for i in range(len(table))]
    assert_array_equal(np.array(rows), X, strict=True)
    assert_array_equal(_fitted(table, sparse=True).transform(table).toarray(), X, strict=True)


@QUICK
@given(tables())
def test_a_fit_is_the_same_twice_and_comes_back_from_its_parts(table: Table) -> None:
    encoder, second = _fitted(table), _fitted(table)
    if encoder is None or second is None:
        return
    assert encoder.types_ == second.types_
    header = json.loads(json.dumps(encoder.to_header()))
    again = TableEncoder.from_parts(header, encoder.tensors())
    assert_array_equal(again.transform(table), encoder.transform(table), strict=True)


@pytest.mark.filterwarnings("ignore::gpubp.tables.encoding.strays.StrayCellWarning")
@QUICK
@given(tables(), tables())
def test_other_rows_are_encoded_or_refused(table: Table, other: Table) -> None:
    encoder = _fitted(table)
    if encoder is None:
        return
    message, X = "", np.zeros(0)
    try:
        X = encoder.transform(other)
    except DataError as error:
        message = str(error)
    assert message.startswith("data.csv") or np.isfinite(X).all()
    assert message or X.shape == (len(other), encoder.n_features_out_)


@QUICK
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_come_back_from_their_text(values: list[float]) -> None:
    array = np.array(values)
    assert_array_equal(read_numbers(written(array), "."), array)
    commas = [text.replace(".", ",") for text in written(array)]
    assert_array_equal(read_numbers(commas, ","), array)


@QUICK
@given(st.lists(CELLS))
def test_any_text_is_numbers_or_not(texts: list[str]) -> None:
    numbers = parse_numbers(texts)
    if numbers is not None:
        assert find_decimal(texts) is not None
        assert np.isfinite(numbers).all()


@QUICK
@given(st.lists(CELLS, min_size=1))
def test_any_text_is_dates_or_not(texts: list[str]) -> None:
    found = find_dates(texts)
    if found is not None:
        assert_array_equal(found.times, parse_dates(texts, found.order))
    for order in ("ymd", "dmy", "mdy", "compact"):
        one_by_one = [parse_dates([text], order)[0] for text in texts]
        assert_array_equal(parse_dates(texts, order), one_by_one)


@QUICK
@given(st.lists(st.datetimes(), min_size=1, max_size=20), st.sampled_from([" ", "T"]))
def test_dates_come_back_from_their_text(times: list[Any], middle: str) -> None:
    texts = [time.isoformat(middle) for time in times]
    assert_array_equal(parse_dates(texts, "ymd"), np.array(times, "datetime64[us]"))
