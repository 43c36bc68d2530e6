"""Parquet, JSON lines, DuckDB files, and several files by a pattern."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from gpubp.tables.column import NumberColumn
from gpubp.tables.read import DataError, ReadOptions, read_chunks, read_table
from tests.tables.conftest import assert_equal, cells

duckdb = pytest.importorskip("duckdb")

TYPES = """
    SELECT * FROM (VALUES
        (1, 1.5::FLOAT, 2.25::DECIMAL(9, 2), true, DATE '2024-02-03',
         TIMESTAMP '2024-02-03 04:05:06', TIMESTAMPTZ '2024-02-03 04:05:06+00', TIME '04:05:06',
         9007199254740993, 'x', [1, 2], {'k': 1}, 'ab'::BLOB, 1::HUGEINT, 1::UTINYINT, '01'),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL),
        (3, 'nan'::FLOAT, 4, false, DATE '1969-12-31', TIMESTAMP '2024-02-03 04:05:06.5',
         TIMESTAMPTZ '2024-02-03 04:05:06+00', TIME '23:00:00', 2, 'NA', [], {'k': NULL}, ''::BLOB,
         170141183460469231731687303715884105727, 200, '02')
    ) AS t(i, f, dec, b, day, stamp, zoned, clock, big, s, list, struct, blob, huge, small, label)
"""


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "data.parquet"
    duckdb.sql(f"COPY ({TYPES}) TO '{path}' (FORMAT parquet)")
    return path


def test_types_of_parquet(parquet):
    table = read_table(parquet)
    assert table.targets == ("label",)
    assert cells(table, "i") == [1, None, 3]
    assert cells(table, "f") == [1.5, None, None]
    assert cells(table, "dec") == [2.25, None, 4]
    assert cells(table, "b") == ["True", None, "False"]
    assert cells(table, "day") == ["2024-02-03", None, "1969-12-31"]
    assert cells(table, "stamp")[0] == "2024-02-03 04:05:06"
    assert cells(table, "stamp")[2].startswith("2024-02-03 04:05:06.5")
    assert cells(table, "zoned") == ["2024-02-03 04:05:06+00:00", None, "2024-02-03 04:05:06+00:00"]
    assert cells(table, "clock") == ["04:05:06", None, "23:00:00"]
    assert cells(table, "big") == ["9007199254740993", None, "2"]
    assert cells(table, "s") == ["x", None, None]
    assert cells(table, "list") == ["[1, 2]", None, "[]"]
    assert cells(table, "struct")[0] == "{'k': 1}"
    assert cells(table, "blob") == ["ab", None, None]
    assert cells(table, "huge")[:2] == [1, None]  # Parquet has no such type: a float
    assert cells(table, "small") == [1, None, 200]
    assert cells(table, "label") == ["01", None, "02"]
    (chunk,) = read_chunks(parquet, 10)
    for name in table.names:
        assert cells(chunk, name) == cells(table, name)
    (chunk,) = read_chunks(parquet, 10, as_text=["i", "dec"])
    for name in ("i", "dec"):  # numbers by their type, of which nobody wrote a text
        assert type(chunk.column(name)) is NumberColumn
        assert cells(chunk, name) == cells(table, name)


def test_whole_numbers_of_parquet_stay_exact(tmp_path):
    path = tmp_path / "data.parquet"
    duckdb.sql(
        f"COPY (SELECT i, i + 9007199254740993 AS big FROM range(100) t(i)) TO '{path}' "
        "(FORMAT parquet)"
    )
    table = read_table(path)
    np.testing.assert_array_equal(table.column("i").values, np.arange(100))
    assert cells(table, "big")[99] == str(9007199254740993 + 99)


def test_broken_parquet(write, parquet):
    whole = parquet.read_bytes()
    for content in (b"", b"PAR1", b"a,b\n1,2\n", whole[:-20], whole[:50] + bytes(40) + whole[90:]):
        path = write(content, "broken.parquet")
        try:
            read_table(path)
        except DataError as error:
            assert str(error).startswith(f"{path} cannot be read: ")  # noqa: PT017
        else:
            assert content.startswith(whole[:50])


def test_json_lines(write):
    lines = [
        {"a": 1.5, "b": "x", "n": {"k": [1]}, "t": True},
        {"b": "01", "extra": 9007199254740993, "a": "2"},
        {"a": None, "b": "NA", "t": False},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    table = read_table(write(content, "data.jsonl"))
    assert table.names == ("a", "b", "n", "t", "extra")
    assert cells(table, "a") == [1.5, 2, None]
    assert cells(table, "b") == ["x", "01", None]
    assert cells(table, "n") == ['{"k":[1]}', None, None]
    assert cells(table, "t") == ["true", None, "false"]
    assert cells(table, "extra") == [None, "9007199254740993", None]
    for name, same in (
        ("data.ndjson", content.encode()),
        ("data.jsonl.gz", gzip.compress(content.encode())),
        ("data.json", json.dumps(lines).encode()),
    ):
        assert_equal(read_table(write(same, name)), table)
    late = '{"a": 1}\n' * 30_000 + '{"a": 2, "late": "x"}\n'
    table = read_table(write(late, "late.jsonl"))
    assert len(table) == 30_001
    assert cells(table, "late")[-1] == "x"
    assert type(table.column("a")) is NumberColumn


@pytest.mark.parametrize("content", ["", "{", "nonsense", '{"a": 1}\n{"a": \n', "[1, 2]", "\0"])
def test_broken_json(write, content):
    path = write(content, "data.jsonl")
    with pytest.raises(DataError, match=r"data.jsonl"):
        read_table(path)


def test_patterns_match_columns_by_name(write, tmp_path):
    write("a,b,y\n1,2.5,u\n", "part1.csv")
    write("y;b;a\nv;01;3\n", "part2.csv")
    write("a,y,c\n5,w,q\n", "part3.csv")
    table = read_table(str(tmp_path / "part*.csv"))
    assert table.names == ("a", "b", "y", "c")
    assert cells(table, "a") == [1, 3, 5]
    assert cells(table, "b") == ["2.5", "01", None]
    assert cells(table, "y") == ["u", "v", "w"]
    assert cells(table, "c") == [None, None, "q"]
    assert any("part3.csv has no column 'b'" in note for note in table.notes)
    chunks = list(read_chunks(str(tmp_path / "part*.csv"), 2))
    assert [cells(chunk, "a") for chunk in chunks] == [[1, 3], [5]]
    write("a,b,y\n1,2.5\n", "part4.csv")
    with pytest.raises(DataError, match=r"part4.csv, line|part4.csv"):
        read_table(str(tmp_path / "part*.csv"))
    write("x", "part5.parquet")
    with pytest.raises(DataError, match="files of kinds 'parquet', 'text'; give files of one kind"):
        read_table(str(tmp_path / "part*"))


def test_patterns_of_parquet(tmp_path):
    for name, sql in (("p1", "1 AS a, 'x' AS y"), ("p2", "0 AS b, 'z' AS y, 2 AS a")):
        duckdb.sql(f"COPY (SELECT {sql}) TO '{tmp_path}/{name}.parquet' (FORMAT parquet)")
    table = read_table(str(tmp_path / "*.parquet"))
    assert cells(table, "a") == [1, 2]
    assert cells(table, "y") == ["x", "z"]
    assert cells(table, "b") == [None, 0]


def test_paths_like_hive_partitions_add_no_column(write, tmp_path):
    path = write("a,y\n1,u\n", "year=2020/part.csv")
    assert read_table(path).names == ("a", "y")
    assert read_table(str(tmp_path / "year=*" / "*.csv")).names == ("a", "y")
    duckdb.sql(f"COPY (SELECT 1 AS a) TO '{path.parent}/p.parquet' (FORMAT parquet)")
    assert read_table(path.parent / "p.parquet").names == ("a",)


def _database(path, *statements):
    connection = duckdb.connect(str(path))
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return path


def test_duckdb_files(tmp_path, write):
    one = _database(tmp_path / "one.duckdb", "CREATE TABLE t AS SELECT 1 AS a, '01' AS y")
    assert cells(read_table(one), "y") == ["01"]
    options = ReadOptions(query="SELECT a + 1 AS b FROM t")
    assert cells(read_table(one, options), "b") == [2]
    options = ReadOptions(query="SELECT 170141183460469231731687303715::HUGEINT AS h")
    assert cells(read_table(one, options), "h") == ["170141183460469231731687303715"]
    before = one.read_bytes()
    two = _database(
        tmp_path / "two.db", "CREATE TABLE t AS SELECT 1 AS a", "CREATE TABLE u AS SELECT 2 AS a"
    )
    with pytest.raises(DataError, match=r"has tables 't', 'u'; choose one with --query"):
        read_table(two)
    assert cells(read_table(two, ReadOptions(query="FROM u")), "a") == [2]
    with pytest.raises(DataError, match="has no table"):
        read_table(_database(tmp_path / "none.duckdb"))
    for content in (b"", b"SQLite format 3\0" + bytes(100), bytes(8) + b"DUCK" + bytes(200)):
        with pytest.raises(DataError, match=r"broken.db"):
            read_table(write(content, "broken.db"))
    assert one.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("broken.db", "none.duckdb", "one.duckdb", "two.db")
    ]


def test_a_view_in_a_duckdb_file_reads_no_other_file(tmp_path, write):
    secret = write("a\nsecret\n", "secret.csv")
    path = _database(
        tmp_path / "data.duckdb", f"CREATE VIEW v AS SELECT * FROM read_text('{secret}')"
    )
    with pytest.raises(DataError, match="file system operations are disabled"):
        read_table(path, ReadOptions(query="SELECT content FROM v"))
