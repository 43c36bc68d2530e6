"""Which cells are numbers, gaps and text; the traps of DuckDB's own casts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import gpubp.tables.files.fetch
import gpubp.tables.files.session
from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.read import ReadOptions, read_chunks, read_table
from tests.tables.conftest import assert_equal, cells


def _column(write, values, options=ReadOptions(), rest=("7",)):  # noqa: B008
    """The column of cells, read whole; in chunks it is the same."""
    path = write("a,y\n" + "".join(f"{value},u\n" for value in (*values, *rest)))
    table = read_table(path, options)
    known = replace(options, decimal=table.decimal)  # as predict has it from the model
    (chunk,) = read_chunks(path, 10_000, known)
    assert cells(chunk, "a") == cells(table, "a")
    return table.column("a")


@pytest.mark.parametrize(
    "text",
    [
        *("0x10", "1_000", "1e400", "-1e400", "01", "-01", "+01", "00", "007.5", "inf", "-inf"),
        *("infinity", "-nan", "NAN", "yes", "true", "1 000", "1.2.3", "1-2", "--5", "+-5"),
        *("1e", "e5", "5%", "$5", "2024-01-01", "12:30", "\u0661", "1e1_0", "1.5_0", "(5)", "1/2"),
        *("9007199254740993", "9007199254740992", "-9007199254740993", "11898508762506083287"),
    ],
)
@pytest.mark.parametrize("other", ["7", "NA"])
def test_cells_that_are_no_numbers(write, text, other):
    cell = f'"{text}"'
    column = _column(write, [cell], rest=(other,))
    assert type(column) is TextColumn
    assert column.cell(0) == text


@pytest.mark.parametrize("text", ["1_000.5", "1e400", "inf", "0x1p3", "1.5.5", "yes", "1,5"])
def test_cells_that_are_no_numbers_among_decimals(write, text):
    column = _column(write, ["1.5"] * 2_000 + [f'"{text}"'], rest=("2.5",))
    assert type(column) is TextColumn
    assert column.cell(2_000) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0", 0), ("-0", 0), ("+5", 5), (" 5", 5), ("5 ", 5), ("\t5", 5), ("5.", 5), (".5", 0.5)),
        *(("-.5e-3", -0.0005), ("1e5", 1e5), ("1E5", 1e5), ("1.5e+3", 1500), ("0.125", 0.125)),
        *(
            ("9007199254740991", 9007199254740991),
            ("1.7976931348623157e308", 1.7976931348623157e308),
        ),
        *(("0.1", 0.1), ("123456789012.125", 123456789012.125), ("5e-400", 0)),
    ],
)
@pytest.mark.parametrize("other", ["7", "7.5", "NA"])
def test_cells_that_are_numbers(write, text, value, other):
    column = _column(write, [text], rest=(other,))
    assert type(column) is NumberColumn
    assert column.values.dtype == np.float64
    assert column.values[0] == value


@pytest.mark.parametrize(
    "gap",
    [
        "",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "null",
        "NULL",
        "None",
        "NaN",
        "nan",
        "?",
        "-",
        ".",
        " NA ",
        '""',
    ],
)
@pytest.mark.parametrize("first", ["1.5", "15", "text"])
def test_gaps(write, gap, first):
    column = _column(write, [first, gap], rest=(first,))
    assert column.is_gap().tolist() == [False, True, False]
    path = write(f"a,y\n1,u\n2,{gap}\n")
    assert read_table(path).column("y").is_gap().tolist() == [False, True]


def test_gaps_that_are_named(write):
    values = ["1.5", "-999", "NA", "x", "", "-999.0"]
    column = _column(write, values, ReadOptions(na=("-999", "x")))
    assert column.is_gap().tolist() == [False, True, True, True, True, True, False]
    for off in ((), ("",)):
        column = _column(write, values, ReadOptions(na=off))
        assert column.is_gap().tolist() == [False] * 4 + [True, False, False]
        assert column.cell(2) == "NA"
        assert type(_column(write, ["nan", "1.5"], ReadOptions(na=off))) is TextColumn


def test_a_column_without_cells(write):
    assert _column(write, ["NA", ""], rest=("",)).is_gap().all()


def test_a_target_stays_as_it_is_written(write):
    path = write("a,y\n1.50,01\n2,1.0\n")
    table = read_table(path)
    assert cells(table, "y") == ["01", "1.0"]
    assert cells(table, "a") == [1.5, 2]
    table = read_table(path, targets=["a"])
    assert cells(table, "a") == ["1.50", "2"]
    assert table.targets == ("a",)
    (chunk,) = read_chunks(path, 9, as_text=["a"])
    assert cells(chunk, "a") == ["1.50", "2"]


def test_a_target_with_very_many_numbers_is_numbers(write, monkeypatch):
    monkeypatch.setattr(gpubp.tables.files.fetch, "MOST_LABELS", 3)
    four = "".join(f"1,{value}\n" for value in ("1.0", "2", "NA", "3e2", "4.5"))
    column = read_table(write("a,y\n" + four)).column("y")
    assert type(column) is NumberColumn
    np.testing.assert_array_equal(column.values, [1, 2, np.nan, 300, 4.5])
    for text in ("01", "9007199254740993", "x", "1e999"):
        kept = read_table(write(f"a,y\n{four}1,{text}\n")).column("y")
        assert type(kept) is TextColumn
    four = four.replace(",", ";").replace(".", ",")
    table = read_table(write("a;y\n" + four), ReadOptions(decimal=","))
    assert table.column("y").values[4] == 4.5
    (chunk,) = read_chunks(write("a,y\n1,1\n1,2\n1,3\n1,4\n"), 9, as_text=["y"])
    assert type(chunk.column("y")) is TextColumn


def test_many_columns_of_text_in_several_queries(write, monkeypatch):
    monkeypatch.setattr(gpubp.tables.files.fetch, "_TEXT_CELLS", 6)
    names = [f"t{j}" for j in range(7)]
    lines = [",".join(f"v{i * j % 3}" for j in range(7)) for i in range(1, 4)]
    table = read_table(write("\n".join([",".join(names), *lines])))
    for j, name in enumerate(names):
        assert cells(table, name) == [f"v{i * j % 3}" for i in range(1, 4)]


def test_the_same_table_with_one_and_two_threads(write, monkeypatch):
    rng = np.random.default_rng(0)
    n = 150_000
    values = rng.normal(size=(n, 2)).round(4)
    words = rng.integers(0, 50, n)
    rows = (f"{a},{b},w{w},{i}\n" for i, ((a, b), w) in enumerate(zip(values, words, strict=True)))
    path = write("a,b,y,i\n" + "".join(rows))
    tables = {}
    for threads in (1, 2):
        monkeypatch.setattr(
            gpubp.tables.files.session, "thread_count", lambda threads=threads: threads
        )
        tables[threads] = read_table(path, targets=["y"])
        chunks = list(read_chunks(path, 40_000))
        assert [len(chunk) for chunk in chunks] == [40_000, 40_000, 40_000, 30_000]
        rows_of = np.concatenate([chunk.column("i").values for chunk in chunks])
        np.testing.assert_array_equal(rows_of, np.arange(n))
    assert_equal(tables[1], tables[2])
    np.testing.assert_array_equal(tables[2].column("a").values, values[:, 0])
    assert tables[2].column("y").texts()[:50].tolist() == [f"w{w}" for w in words[:50]]
