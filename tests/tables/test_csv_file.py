"""CSV files: both parsers agree, lines are right, and bad files are named."""

from __future__ import annotations

import csv
import io
import random

import numpy as np
import pytest

import gpubp.tables.csv_file
from gpubp.tables.read import DataError, read_chunks, read_table


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _assert_equal(a, b):
    assert a.names == b.names
    assert a.others.keys() == b.others.keys()
    np.testing.assert_array_equal(a.numbers, b.numbers)
    np.testing.assert_array_equal(a.lines, b.lines)
    for name in a.others:
        assert a.others[name].tolist() == b.others[name].tolist()


def _random_csv(rows, text_columns, seed=0):
    draw = random.Random(seed)
    names = ["a", "b", "c", "d", "e"]
    out = [",".join(names)]
    for _ in range(rows):
        cells = [
            draw.choice(["0", "-0", "1.5", " 2 ", "1e-300", ".5", "+7", "nan", "-inf", "1e999"])
            for _ in names
        ]
        for j in text_columns:
            cells[j] = draw.choice(["word", " spaced word ", "", "ümlaut", "3", "#x", "'"])
        out.append(",".join(cells))
    return "\n".join(out) + "\n"


def test_types_targets_and_lines(write):
    table = read_table(write("age,city,y\n30,Paris,1\n\n 41 , Rome ,0\n"))
    assert table.names == table.features == ("age", "city", "y")
    assert table.targets == ("y",)
    assert table.lines.tolist() == [2, 4]
    assert len(table) == 2
    np.testing.assert_array_equal(table.matrix(("y", "age")), [[1, 30], [0, 41]])
    assert table.labels("city").tolist() == ["Paris", "Rome"]


@pytest.mark.parametrize("text_columns", [(), (1,), (0, 4), (0, 1, 2, 3, 4)])
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_the_fast_parser_and_the_csv_module_agree(write, monkeypatch, text_columns, rows):
    path = write(_random_csv(rows, text_columns))
    monkeypatch.setattr(gpubp.tables.csv_file, "_BLOCK_ROWS", 7)
    taken = []
    loaded = gpubp.tables.csv_file._CsvFile._loaded

    def record(*args):
        taken.append(loaded(*args))
        return taken[-1]

    monkeypatch.setattr(gpubp.tables.csv_file._CsvFile, "_loaded", record)
    fast = read_table(path)
    assert rows < 40 or any(table is not None for table in taken)
    monkeypatch.setattr(gpubp.tables.csv_file._CsvFile, "_loaded", lambda *_: None)
    _assert_equal(fast, read_table(path))


def test_numeric_files_take_the_fast_parser_alone(write, monkeypatch):
    path = write(_random_csv(30, ()))
    monkeypatch.setattr(gpubp.tables.csv_file._CsvFile, "_parsed", lambda *_: pytest.fail("slow"))
    assert len(read_table(path)) == 30


def test_a_column_found_to_be_text_late_keeps_its_first_cells(write, monkeypatch):
    monkeypatch.setattr(gpubp.tables.csv_file, "_BLOCK_ROWS", 2)
    table = read_table(write("a,b\n1,01\n2,1.50\n3,x\n4,\n5,7\n"))
    assert table.column("b").tolist() == ["01", "1.50", "x", "", "7"]
    np.testing.assert_array_equal(table.matrix(("a",))[:, 0], [1, 2, 3, 4, 5])
    with pytest.raises(DataError, match="line 4, column 'b': 'x' is not a number"):
        table.matrix(("b",))


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("quoted", [False, True])
def test_chunks_equal_the_whole(write, rows, quoted):
    text = _random_csv(20, (1,))
    if quoted:
        text += '1,"two\nlines, and ""more""",3,4,5\n\n6,last,8,9,10\n'
    path = write(text)
    whole = read_table(path)
    chunks = list(read_chunks(path, rows))
    assert all(0 < len(chunk) <= rows for chunk in chunks)
    lines = np.concatenate([chunk.lines for chunk in chunks])
    np.testing.assert_array_equal(lines, whole.lines)
    for name in whole.names:
        # A chunk with numbers only in a column of text has numbers there.
        cells = [cell for chunk in chunks for cell in chunk.column(name).tolist()]
        for got, expected in zip(cells, whole.column(name).tolist(), strict=True):
            same = float(expected) if isinstance(got, float) else expected
            assert got == same or (got != got and same != same)


def test_quoted_commas_and_newlines_keep_the_lines_right(write):
    path = write('a,note,y\r\n1, "x, y",0\r\n2,"two\r\nlines",1\r\n\r\nbad,z,1\r\n3,,0\r\n')
    table = read_table(path)
    assert table.lines.tolist() == [2, 3, 6, 7]
    assert table.column("note").tolist() == ["x, y", "two\r\nlines", "z", ""]
    with pytest.raises(DataError, match=r"data.csv, line 6, column 'a': 'bad' is not a number"):
        table.matrix(("a",))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_delimiters_line_ends_and_byte_order_mark(write, delimiter, end, mark):
    rows = [["a", "b c", "y"], ["1", "2.5", "3"], ["4", "5", "6"]]
    table = read_table(write(mark + end.join(delimiter.join(row) for row in rows).encode()))
    assert table.names == ("a", "b c", "y")
    np.testing.assert_array_equal(table.numbers, [[1, 2.5, 3], [4, 5, 6]])


def test_blank_lines_before_the_header_count(write):
    table = read_table(write('\n \n"a\nb",c\n1,2\n'))
    assert table.names == ("a\nb", "c")
    assert table.lines.tolist() == [5]


def test_a_single_column(write):
    assert read_table(write("x\n1\n\n2\n")).matrix(("x",))[:, 0].tolist() == [1, 2]
    assert read_table(write("x\na\n\nb\n")).labels("x").tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"data.csv is empty; give a header"),
        ("\n\n", r"data.csv is empty; give a header"),
        ("a,b\n", r"data.csv has a header but no rows"),
        ("a,b\n\n  \n", r"data.csv has a header but no rows"),
        ("1,2.5\n3,4\n", r"data.csv, line 1 holds only numbers; put a header line"),
        ("a,b,a\n1,2,3\n", r"data.csv, line 1 has two columns named 'a'"),
        ("a,,c\n1,2,3\n", r"data.csv, line 1: column 2 has no name"),
        ("a,b\n1,2\n3\n", r"data.csv, line 3: got 1 fields, but the header has 2"),
        ("a,b\n1,2\n\n3,4,5\n", r"data.csv, line 4: got 3 fields, but the header has 2"),
        ("a,b\n1,2,\n1,2,\n", r"data.csv, line 2: got 3 fields, but the header has 2"),
        ("a,b\nx,y\nz\n", r"data.csv, line 3: got 1 fields, but the header has 2"),
        ("a\nx\n1,2\n", r"data.csv, line 3: got 2 fields, but the header has 1"),
        ("a|b\n1|2\n", r"data.csv, line 1: '\|' stands between the columns of 'a\|b'; put commas,"),
        (
            "a,b\n1,5,2,5\n",
            r"line 2: got 4 fields, .* one field a column, write numbers as 1.5 and",
        ),
        ("a,b\n1\n", r"one field a column$"),
        ("a;b\n1,5;2;3\n", r"one field a column$"),
        ('a,b\n1,2\n3,"4\n5,6\n', r"data.csv, line 3: .*check the quotes"),
        ('"a,b\n1,2\n', r"data.csv, line 1: .*check the quotes"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", r"data.csv is not a UTF-8 text file"),
        (b"PK\x03\x04\x14\x00\x00\x00", r"data.csv is not a UTF-8 text file"),
        (b"a,b\n1,2\n\x00,3\n", r"data.csv is not a UTF-8 text file"),
        ("a,b\n1,2\nü,3\n".encode("latin-1"), r"data.csv is not a UTF-8 text file"),
        ("a,b\n1,2\n".encode("utf-16"), r"data.csv is not a UTF-8 text file"),
    ],
)
def test_bad_files_are_named_with_their_line(write, content, message):
    path = write(content)
    with pytest.raises(DataError, match=message):
        read_table(path)
    with pytest.raises(DataError, match=message):
        list(read_chunks(path, 1))


@pytest.mark.parametrize("cell", ["", "abc", "n/a", "1_0"])
def test_a_bad_cell_is_named_with_line_and_column(write, cell):
    path = write(f"age,y\n1,2\n\n{cell},5\n6,7\n")
    message = f"data.csv, line 4, column 'age': '{cell}' is not a number; fill in or remove the row"
    with pytest.raises(DataError, match=message):
        read_table(path).matrix(("y", "age"))
    with pytest.raises(DataError, match=message):
        [chunk.matrix(("age",)) for chunk in read_chunks(path, 2)]


@pytest.mark.parametrize("cell", ["1,5", "-0,25", "1.234,5", "1,234.5", "1,234,567", "2,5e-3"])
def test_numbers_with_commas_are_named_as_such(write, cell):
    path = write(f"age;y\n1;2\n{cell};5\n")
    message = f"line 3, column 'age': '{cell}' is not a number; write numbers as 1234.5, with a "
    with pytest.raises(DataError, match=message):
        read_table(path).matrix(("age",))


@pytest.mark.parametrize("cell", [",", "a,b", "1,5 kg"])
def test_other_text_with_commas_is_not(write, cell):
    with pytest.raises(DataError, match="is not a number; fill in or remove the row"):
        read_table(write(f"age;y\n1;2\n{cell};5\n")).matrix(("age",))


def test_nan_in_the_file_is_named_with_line_and_column(write):
    path = write("age,y\n1,2\n3,NaN\n")
    with pytest.raises(
        DataError, match=r"data.csv, line 3, column 'y': nan is not a finite number"
    ):
        read_table(path).matrix(("age", "y"))


def test_a_header_longer_than_a_field_may_be(write):
    names = [f"gene_{j:06}" for j in range(20_000)]
    path = write(f"{','.join(names)}\n{','.join(['1'] * len(names))}\n")
    assert read_table(path).names == tuple(names)


@pytest.mark.parametrize(("content", "line"), [("a,b\n1,{}\n", 2), ("{},b\n1,2\n", 1)])
def test_a_field_too_long_is_named_with_its_line(write, content, line):
    path = write(content.format("x" * 200_000))
    with pytest.raises(DataError, match=f"line {line}: a field has more than 131,072 characters"):
        read_table(path)


def test_importing_the_reader_leaves_the_csv_module_as_it_is():
    assert csv.field_size_limit() == 131_072


def test_standard_input_is_read_in_chunks(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfa,b\n1,2\n3,x\n5,6\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    chunks = list(read_chunks("-", 2))
    assert [len(chunk) for chunk in chunks] == [2, 1]
    assert chunks[0].source == "standard input"
    assert chunks[0].names == ("a", "b")
    with pytest.raises(DataError, match="standard input, line 3, column 'b': 'x' is not a number"):
        chunks[0].matrix(("b",))
    assert not stdin.buffer.closed


def test_empty_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(DataError, match="standard input is empty"):
        next(read_chunks("-", 2))


def test_chunks_read_no_further_than_needed(write):
    path = write(b"a,b\n" + b"1,2\n" * 100_000 + b"\xff")
    chunks = read_chunks(path, 10)
    assert len(next(chunks)) == 10
    with pytest.raises(DataError, match="not a UTF-8 text file"):
        list(chunks)
