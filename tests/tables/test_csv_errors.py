"""CSV that is no table: one clear error with the line."""

from __future__ import annotations

import contextlib
import errno
import gzip
import tempfile
from pathlib import Path

import pytest

from gpubp.tables.read import DataError, ReadOptions, read_chunks, read_table

ROWS = "a,b,y\n" + "1,2,u\n" * 30


def _both(path, match, options=ReadOptions()):  # noqa: B008
    """read_table and read_chunks raise the same error."""
    with pytest.raises(DataError, match=match):
        read_table(path, options)
    with pytest.raises(DataError, match=match):
        list(read_chunks(path, 5_000, options))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            ROWS + "1,2\n" + ROWS[6:],
            r"data.csv, line 32: got 2 fields, but the table has 3 columns",
        ),
        (ROWS + "1,2,3,4\n", r"line 32: got 4 fields.*put text with commas in quotes"),
        (ROWS + "1,2\n1\n1,2,3,4\n5\n", r"line 32: .*4 lines like it: 32, 33, 34, \.\.\.\)"),
        ("title\n\n" + ROWS + "1,2\n", r"line 34: got 2 fields"),
        ("a,b,y\n1,2,u\n1,2\n", r"line 3: got 2 fields, but the table has 3"),
        (ROWS * 3_000 + "1,2\n", r"line 93001: got 2 fields"),
        ('a,b\n1,"x\ny"\n\n2\n3,4\n5,6\n', r"line 5: got 1 field,"),
        (ROWS + '1,"u,2\n' + ROWS, r"line 32: a quote is opened but not closed; check the quotes"),
        (ROWS + '1,"u"v,2\n' + ROWS, r"line 32: .* expected after .*; check the quotes"),
    ],
)
def test_ragged_lines_and_quotes(write, content, message):
    _both(write(content), message)


def test_bytes_that_are_not_utf8(write):
    early = write("a,y\n1,Zürich\n".encode("latin-1"))
    _both(early, r"line 2: the text is not in UTF-8; give its encoding with --encoding, .*cp1252")
    late = write(b"a,y\n" + b"1,u\n" * 100_000 + b"1,\xfc\n")
    _both(late, r"line 100002: the text is not in UTF-8; .*--encoding")
    in_numbers = write(b"a,b,y\n" + b"1.5,2,u\n" * 100_000 + b"1\xfc,2,u\n")
    _both(in_numbers, r"line 100002: the text is not in UTF-8; .*--encoding")
    cut = write(b"a,y\n1,\xc3")
    _both(cut, r"line 2: the text is not in UTF-8")
    bare = write("a,y\n1,u\n".encode("utf-16-le"))
    _both(bare, r"data.csv is not in UTF-8; try --encoding utf-16-le")
    _both(write("a,y\n1,u\n".encode("utf-16-be")), r"try --encoding utf-16-be")


def test_a_wrong_encoding(write):
    path = write(b"a,y\n1,\xff\n")
    _both(path, r"is not in the encoding utf-8-sig|not in UTF-8", ReadOptions(encoding="utf-8-sig"))
    _both(
        path, r"is not in the encoding shift_jis; give another", ReadOptions(encoding="shift_jis")
    )
    for wrong in ("klingon", "hex", "rot13", "", "utf\0"):
        _both(path, r"encoding is .*; give a codec that Python knows", ReadOptions(encoding=wrong))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PAR1" + bytes(50), "is a Parquet file; name it .parquet"),
        (b"PK\x03\x04" + bytes(50), "is a ZIP archive or an Excel workbook; save the sheet as CSV"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "is compressed by gzip; name it .csv.gz"),
        (b"\x93NUMPY\x01\x00", "is a NumPy array; name it .npy"),
        (b"SQLite format 3\0" + bytes(50), "is an SQLite database"),
        (b"%PDF-1.4\n1,2\n", "is a PDF document"),
        (b"a,b\n1,x\0y\n", "has zero bytes, so it is not a text file"),
        (b"a,b\n" + b"1,u\n" * 90_000 + b"2,x\0y\n", "column 'b': a cell has a zero byte"),
        (b"a,b\n" + b"1,u\n" * 90_000 + b"2\0,y\n", "column 'a': a cell has a zero byte"),
        (bytes(range(256)) * 20, "zero bytes|not in UTF-8"),
    ],
)
def test_files_that_are_no_text(write, content, message):
    _both(write(content), message)


def test_packed_files_that_are_broken(write):
    whole = gzip.compress(ROWS.encode())
    for content in (whole[:-9], whole[:20], b"", b"no gzip", whole[:30] + b"xxxx" + whole[34:]):
        _both(write(content, "data.csv.gz"), r"data.csv.gz (is not a complete .gz file|is empty)")
    for content in (b"", b"no zst", b"\x28\xb5\x2f\xfd" + bytes(20)):
        with pytest.raises(DataError, match=r"data.csv.zst"):
            read_table(write(content, "data.csv.zst"))


def test_paths_that_are_no_files(tmp_path, write):
    _both(tmp_path / "none.csv", r"none.csv: no such file; check the path")
    _both("digts", "did you mean the data set 'digits'")
    _both(tmp_path, r"is a directory; give a file or a pattern such as")
    _both(
        write(b"PK", "data.xlsx"), r"is a workbook of a spreadsheet program; save the sheet as CSV"
    )
    _both(write("a", "data.html"), r"suffix '.html'; give .csv, .tsv, .txt")
    _both(write("a", "data.parquet.gz"), r"suffix '.gz'; give .csv, .tsv")
    for address in ("http://host/x.csv", "s3://bucket/x.parquet", "HTTPS://host/*.csv"):
        _both(address, r"is an address; download the file and give its path")
    _both("x" * 5000 + ".csv", "cannot be read: File name too long")
    _both("a\0b.csv", "cannot be read: .*null")
    _both(str(tmp_path / "*.csv"), r"no file matches '.*\*.csv'; check the pattern")
    if Path("/dev/zero").exists():
        _both("/dev/zero", "is a device; give a file, or '-' for standard input")


def test_a_file_that_cannot_be_opened(write, monkeypatch):
    path = write(ROWS)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # Not by chmod: root may read everything.
    monkeypatch.setattr(Path, "open", refuse)
    _both(path, r"data.csv cannot be read: Permission denied")


def test_options_that_a_table_cannot_have(write):
    path = write(ROWS)
    with pytest.raises(DataError, match=r"no column 'z'; "):
        read_table(path, targets=["z"])
    with pytest.raises(DataError, match=r"a target file is only for an .npy file"):
        read_table(path, target_file=path)
    with pytest.raises(ValueError, match="rows is 0; give at least 1"):
        read_chunks(path, 0)
    assert read_table(path, targets=["b", "a"]).targets == ("b", "a")


def test_errors_leave_no_temporary_files(write, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.chdir(tmp_path)
    for content in (ROWS, ROWS + "1,2\n"):
        with contextlib.suppress(DataError):
            read_table(write(content.encode("utf-16")))
    chunks = read_chunks(write(ROWS), 5)
    next(chunks)
    assert list(folder.iterdir())
    chunks.close()
    assert list(folder.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"temporary", "data.csv"}


def test_a_last_line_that_duckdb_would_leave_out(tmp_path):
    path = tmp_path / "end.csv"
    rows = "".join(f"{i},{i}.5\n" for i in range(100))
    path.write_text(f"a,y\n{rows}{'x' * 33_000_000}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 102: got 1 field, but the table has 2 columns"):
        read_table(path)
    path.write_text(f"a,y\n{rows}{'x' * 33_000_000},7\n", encoding="utf-8")
    assert len(read_table(path)) == 101


def test_zeros_are_seen_before_they_are_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "zeros.csv.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    monkeypatch.setattr("shutil.copyfileobj", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(DataError, match="is not in UTF-8; try --encoding utf-16-le"):
        read_table(path)


@pytest.mark.parametrize("rows", [0, 3])
def test_too_many_columns(tmp_path, rows):
    path = tmp_path / "wide.csv"
    names = ",".join(f"c{j}" for j in range(200_000))
    path.write_text(names + "\n" + (",".join(["1"] * 200_000) + "\n") * rows, encoding="utf-8")
    for read in (read_table, lambda path: next(iter(read_chunks(path, 9)))):
        with pytest.raises(DataError, match=r"has 200,000 columns, but .* may have 10,000; choose"):
            read(path)


def test_no_room_for_a_copy(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode()))
    monkeypatch.setattr("shutil.copyfileobj", full)
    message = r"has to be copied to .*: No space left on device; make room, or set TMPDIR"
    with pytest.raises(DataError, match=message):
        read_table(path)
