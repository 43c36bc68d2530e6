"""The header of CSV: found, missing, and the names it gives."""

from __future__ import annotations

import pytest

from gpubp.tables.read import DataError, ReadOptions, read_chunks, read_table
from tests.tables.conftest import cells


def test_names_are_kept_as_they_are(write):
    table = read_table(write('A,a,"b ""q""", größe  x ,"two\nlines","c,d",y;z\n1,2,3,4,5,6,7\n'))
    assert table.names == ("A", "a", 'b "q"', "größe x", "two lines", "c,d", "y;z")
    assert [table.column(name).cell(0) for name in table.names[:3]] == ["1.0", "2.0", "3.0"]


def test_doubled_names(write):
    table = read_table(write("a,a,y,a,a.1\n1,2,3,4,5\n"))
    assert table.names == ("a", "a.2", "y", "a.3", "a.1")
    assert [column.cell(0) for column in table.columns.values()] == [
        "1.0",
        "2.0",
        "3.0",
        "4.0",
        "5",
    ]
    assert table.doubled == {"a"}
    assert any("more than one column 'a'" in note for note in table.notes)


def test_unnamed_columns(write):
    table = read_table(write(",a,,y\n0,1,,u\n1,2,,v\n"))
    assert table.names == ("column 1", "a", "y")
    assert table.notes == ("a column has no name: it is called 'column 1'",)
    table = read_table(write("a,y,,\n1,u,,\n2,v,5,\n"))
    assert table.names == ("a", "y", "column 3")
    assert table.targets == ("column 3",)
    assert cells(table, "column 3") == [None, "5"]
    chunk = next(read_chunks(write(",a,,y\n0,1,,u\n1,2,,v\n"), 1))
    assert chunk.names == ("column 1", "a", "y")
    assert chunk.notes == ("a column has no name: it is called 'column 1'",)


def test_row_names_as_r_writes_them(write):
    table = read_table(write('"a" "y"\n"1" 5.5 "u"\n"2" 6.5 "v"\n', "data.txt"))
    assert table.names == ("column 1", "a", "y")
    assert cells(table, "a") == [5.5, 6.5]


@pytest.mark.parametrize(
    "content",
    [
        "1.288,1.449,yes\n0.066,-0.765,no\n0.5,1.5,no\n",
        "vhigh,2,unacc\nhigh,3,acc\nlow,5more,acc\n",
        "2024-01-01,1,u\n2024-01-02,2,v\n",
        "p,x,s\ne,x,s\np,x,y\ne,b,s\n",  # names do not occur again
        "5,3,yes\n7,1,no\n",
        "1,,x\n2,3,y\n",
    ],
)
def test_no_header(write, content):
    path = write(content)
    table = read_table(path)
    assert len(table) == content.count("\n")
    assert table.names == tuple(f"x{j}" for j in range(len(table.names)))
    names = ", ".join(table.names[:3])
    assert table.notes == (f"no header was found: the columns are called {names}",)
    assert table.column(table.names[0]).cell(0) in (content.split(",")[0], f"{content[0]}.0")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a,b\nc,d\n", ("a", "b")),
        ("id,2019,2020\n7,1.5,2.5\n8,1,2\n", ("id", "2019", "2020")),
        ("name,2019,2020\nBob,1.5,2.5\nEve,1,3\n", ("name", "2019", "2020")),
        ("0,1,2,3\n0.5,1.5,7,1\n2.5,1,2,2\n", ("0", "1", "2", "3")),
        ("0,1\n5.5,1\n6.5,2\n", ("0", "1")),
        ("a,NA,b\n1,2,3\n", ("a", "NA", "b")),
        ("when,y\n2024-01-01,1\n", ("when", "y")),
    ],
)
def test_a_header(write, content, names):
    table = read_table(write(content))
    assert table.names == names
    assert len(table) == content.count("\n") - 1


def test_header_by_option(write):
    path = write("a,b\nc,d\n")
    table = read_table(path, ReadOptions(header=False))
    assert table.names == ("x0", "x1")
    assert cells(table, "x0") == ["a", "c"]
    path = write("1,2\n3,4\n")
    table = read_table(path, ReadOptions(header=True))
    assert table.names == ("1", "2")
    assert cells(table, "1") == [3]


def test_the_names_of_a_model_decide(write):
    path = write("2019,3020,77\n1,2,3\n")
    assert len(read_table(path)) == 2
    table = read_table(path, known=("2019", "3020"))
    assert table.names == ("2019", "3020", "77")
    assert len(table) == 1
    assert next(read_chunks(path, 9, known=("2019", "3020"))).names == ("2019", "3020", "77")
    words = write("red,u\nblue,v\n")
    assert read_table(words, known=("x0",)).names == ("x0", "x1")
    assert read_table(words, known=("color",)).names == ("red", "u")


def test_a_header_without_rows(write):
    for content in ("a,b\n", "a,b", "a,b\n\n"):
        path = write(content)
        with pytest.raises(DataError, match="has a header but no rows; give at least one row"):
            read_table(path)
        (table,) = read_chunks(path, 10)
        assert (table.names, len(table)) == (("a", "b"), 0)


def test_titles_are_no_ragged_headers(write):
    with pytest.raises(DataError, match="line 1: the header has 1 fields, but most rows have 2"):
        read_table(write("y\n1,5\n2,5\n2,5\n"))
    with pytest.raises(DataError, match="line 1: the header has 2 fields, but most rows have 4"):
        read_table(write("a,b\n1,2,3,4\n5,6,7,8\n"))
    assert read_table(write("#id,x\n1,2\n3,4\n")).names == ("#id", "x")


def test_empty_files(write):
    for content in ("", "\n\n", "  \n", "\ufeff"):
        with pytest.raises(DataError, match="is empty; give a header line and rows"):
            read_table(write(content))
        with pytest.raises(DataError, match="is empty; give a header line and rows"):
            next(read_chunks(write(content), 5))
    with pytest.raises(DataError, match="no columns with cells"):
        read_table(write(",,\n,,\n"))
