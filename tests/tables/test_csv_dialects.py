"""CSV of every dialect, without options: the right rows and columns."""

from __future__ import annotations

import gzip
import os
import sys

import pytest

from gpubp.tables.column import NumberColumn, TextColumn
from gpubp.tables.read import DataError, ReadOptions, read_chunks, read_table
from tests.tables.conftest import assert_equal, cells

ROWS = [("1.288", "1.449", "yes"), ("0.066", "-0.765", "no"), ("-1.092", "0.031", "no")] * 4


def _text(delimiter=",", end="\n", header=("a", "b", "y"), rows=ROWS):
    return "".join(delimiter.join(row) + end for row in (header, *rows))


BASE = _text()


@pytest.fixture
def base(write):
    return read_table(write(BASE, "base.csv"))


def test_the_plain_table(base):
    assert base.names == ("a", "b", "y")
    assert base.targets == ("y",)
    assert len(base) == 12
    assert cells(base, "a")[:3] == [1.288, 0.066, -1.092]
    assert cells(base, "y")[:3] == ["yes", "no", "no"]
    assert base.notes == ()
    assert base.doubled == frozenset()
    assert base.where(0, "a") == f"{base.source}, data row 1, column 'a'"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (_text(";"), "semicolons.csv"),
        (_text("\t"), "tabs.tsv"),
        (_text("\t"), "tabs.txt"),
        (_text("|"), "pipes.csv"),
        (_text(", "), "blanks-behind-commas.csv"),
        (_text(" , "), "blanks-around-commas.csv"),
        (_text(" "), "space.txt"),
        (_text("   "), "spaces.dat"),
        (_text(" \t "), "spaces-and-tabs.data"),
        (_text(end="  \n"), "trailing-blanks.csv"),
        (_text(end="\r\n"), "crlf.csv"),
        (_text(end="\r"), "cr.csv"),
        (_text().rstrip("\n"), "no-last-end.csv"),
        (_text() + "\n\n\n", "blank-lines-at-the-end.csv"),
        (_text() + "   \n\t\n", "white-lines-at-the-end.csv"),
        (_text().replace("\n", "\n\n"), "blank-lines.csv"),
        (_text().replace("no\n", "no\r\n"), "mixed-ends.csv"),
        ("\n\n" + _text(), "blank-lines-first.csv"),
        ("sep=;\n" + _text(";"), "sep.csv"),
        ("sep=,\r\n" + _text(end="\r\n"), "sep-comma.csv"),
        ("# exported by tool\n# v1\n" + _text(), "comments.csv"),
        ("# one, two, three, four\n#\n" + _text(), "comments-with-commas.csv"),
        ("Monthly report\n\n" + _text(), "title.csv"),
        ("Monthly report\n" + _text(), "title-without-blank-line.csv"),
        ("Monthly report,,\n,,\n" + _text(), "title-as-excel-pads-it.csv"),
        (_text(end=",\n"), "trailing-commas.csv"),
        ("a,b,y\n" + _text(end=",\n").partition("\n")[2], "trailing-commas-in-rows.csv"),
        ("a,b,y,,\n" + BASE.partition("\n")[2], "trailing-commas-in-header.csv"),
        (_text(rows=[tuple(f'"{cell}"' for cell in row) for row in ROWS]), "quoted.csv"),
        (_text(header=('"a"', '"b"', '"y"')), "quoted-header.csv"),
        (_text(rows=[(*row[:2], f"'{row[2]}'") for row in ROWS]), "single-quoted.csv"),
        (_text().encode("utf-8-sig"), "bom.csv"),
        (_text("\t").encode("utf-16"), "utf-16.csv"),
        (_text(";").encode("utf-16-be").join([b"\xfe\xff", b""]), "utf-16-be.csv"),
        (_text().encode("utf-32"), "utf-32.csv"),
        (gzip.compress(BASE.encode()), "packed.csv.gz"),
        (gzip.compress(BASE[:20].encode()) + gzip.compress(BASE[20:].encode()), "two.csv.gz"),
        (gzip.compress(_text("\t").encode("utf-16")), "utf-16.tsv.gz"),
        (BASE, "data [1] {x} it's; *.csv"),
        (BASE, "tëxt ünd.csv"),
    ],
    ids=lambda value: value if isinstance(value, str) and "\n" not in value else "",
)
def test_the_same_table_in_other_dialects(write, base, content, name):
    path = write(content, name)
    table = read_table(path)
    assert_equal(table, base)
    assert table.targets == ("y",)
    parts = list(read_chunks(path, 5))
    assert [len(part) for part in parts] == [5, 5, 2]
    assert parts[2].where(1) == f"{path}, data row 12"


def test_a_zst_file(write, base, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    write(BASE, "plain.csv")
    duckdb.sql(
        f"COPY (SELECT * FROM read_csv('{tmp_path}/plain.csv', all_varchar=true)) "
        f"TO '{tmp_path}/packed.csv.zst' (FORMAT csv, COMPRESSION zstd)"
    )
    assert_equal(read_table(tmp_path / "packed.csv.zst"), base)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode")
def test_a_path_that_is_not_utf8(write, base):
    assert_equal(read_table(write(BASE, os.fsdecode(b"caf\xe9.csv"))), base)


def test_encodings_by_their_name(write):
    text = "größe,y\n1,Zürich\n2,Genève\n"
    for codec in ("latin-1", "cp1252", "utf-16-le", "utf-16-be", "iso8859_15"):
        path = write(text.encode(codec), f"{codec}.csv")
        table = read_table(path, ReadOptions(encoding=codec))
        assert table.names == ("größe", "y")
        assert cells(table, "y") == ["Zürich", "Genève"]
    euro = write("a,y\n1,5 €\n".encode("cp1252"))
    assert cells(read_table(euro, ReadOptions(encoding="cp1252")), "y") == ["5 €"]
    koi8 = write("а,y\n1,да\n".encode("koi8-r"))
    assert read_table(koi8, ReadOptions(encoding="koi8-r")).names == ("а", "y")
    plain = write("a,y\n1,ä\n")
    assert cells(read_table(plain, ReadOptions(encoding="utf-8")), "y") == ["ä"]


def test_quotes_with_line_ends_delimiters_and_quotes(write):
    path = write('a,y\n1,"two\nlines, and a ""quote"""\n2,"x\r\ny"\n3,5" pipe\n')
    table = read_table(path)
    assert cells(table, "y") == ['two\nlines, and a "quote"', "x\r\ny", '5" pipe']
    assert cells(table, "a") == [1, 2, 3]


def test_quotes_with_a_backslash(write):
    table = read_table(write('a,y\n1,"say \\"a, b\\""\n2,"no"\n3,"yes"\n'))
    assert cells(table, "y") == ['say "a, b"', "no", "yes"]


def test_tabs_and_other_delimiters_within_cells(write):
    table = read_table(write("a,y\n1,x\ty\n2,u;v\n3,p|q\n4,t\tu\n"))
    assert cells(table, "y") == ["x\ty", "u;v", "p|q", "t\tu"]
    table = read_table(write("name\tn\nDoe, Jane\t1\nRoe, Rick\t2\n"))
    assert cells(table, "name") == ["Doe, Jane", "Roe, Rick"]
    table = read_table(write("a;b\n1,5;2,5\n3,5;4,5\n"))
    assert cells(table, "a") == [1.5, 3.5]
    table = read_table(write("1,5;2,5\n3,5;4,5\n5,5;4,5\n"))
    assert table.names == ("x0", "x1")


def test_a_given_delimiter(write):
    path = write("a:b|y\n1:2|3\n4:5|6\n")
    assert read_table(path).names == ("a:b", "y")
    assert read_table(path, ReadOptions(delimiter=":")).names == ("a", "b|y")
    tabs = write("a,b\ty\n1,2\t3\n")
    assert read_table(tabs, ReadOptions(delimiter="\\t")).names == ("a,b", "y")
    for wrong in ("ab", "", '"', "\n"):
        with pytest.raises(DataError, match=r"delimiter is .*; give one character, or \\t"):
            read_table(path, ReadOptions(delimiter=wrong))


def test_decimal_commas(write):
    path = write("a;b;y\n1,288;2.5;1\n-0,5;1;2\n;x;3\n")
    table = read_table(path, ReadOptions(decimal=","))
    assert cells(table, "a") == [1.288, -0.5, None]
    assert cells(table, "b") == ["2.5", "1", "x"]
    assert table.decimal == ","
    quoted = write('a,b,y\n"1,5","2,5",u\n"3,5","4",v\n')
    table = read_table(quoted, ReadOptions(decimal=","))
    assert cells(table, "a") == [1.5, 3.5]
    assert cells(table, "b") == [2.5, 4]
    # 1.234 has a thousands separator then, which is left to those who see the whole column.
    table = read_table(write("a;y\n1.234;1\n5;2\n"), ReadOptions(decimal=","))
    assert cells(table, "a") == ["1.234", "5"]
    with pytest.raises(DataError, match=r"decimal is ';'; give '.' or ','"):
        ReadOptions(decimal=";")


def test_single_columns(write):
    assert cells(read_table(write("y\n1.5\n2.5\n")), "y") == ["1.5", "2.5"]
    table = read_table(write("y\nhello, world\nfoo\n\nbar; baz, q\n"))
    assert cells(table, "y") == ["hello, world", "foo", "bar; baz, q"]
    assert cells(read_table(write('y\n1\n""\n3\n\n\n')), "y") == ["1", None, "3"]
    assert read_table(write("1\n2\n3\n")).names == ("x0",)


def test_wide_tables(write):
    d = 5_000
    header = ",".join(f"f{j}" for j in range(d))
    lines = [",".join(str((i * j) % 7 / 2) for j in range(d)) for i in range(12)]
    table = read_table(write("\n".join([header + ",y", *(f"{line},c" for line in lines)])))
    assert len(table.names) == d + 1
    assert cells(table, "f4999") == [(i * 4999) % 7 / 2 for i in range(12)]
    assert all(type(column) is NumberColumn for column in list(table.columns.values())[:-1])


def test_lines_longer_than_two_megabytes(write):
    long = "x" * 2_500_000
    table = read_table(write(f"a,y\n1,{long}\n2,no\n"))
    assert [len(text) for text in cells(table, "y")] == [2_500_000, 2]
    late = "1,no\n" * 100_000 + f"2,{long}\n"  # behind the lines that the dialect is found from
    table = read_table(write("a,y\n" + late))
    assert len(table) == 100_001
    assert len(table.column("y").cell(100_000)) == 2_500_000


def test_an_empty_cell_is_no_blank_line(write):
    table = read_table(write("a,b\n1,2\n,\n \t, \n3,4\n"))
    assert cells(table, "a") == [1, None, None, 3]
    assert cells(table, "b") == ["2", None, None, "4"]


def test_a_number_sign_is_no_comment_in_rows(write):
    table = read_table(write("a,y\n#N/A,u\n#12,v\n"))
    assert cells(table, "a") == [None, "#12"]
    assert type(table.column("a")) is TextColumn


def test_a_late_gap(write):
    path = write("a,y\n" + "1.5,u\n" * 5_999 + "n/a,v\n")
    table = read_table(path)
    assert len(table) == 6_000
    assert cells(table, "a")[-2:] == [1.5, None]
