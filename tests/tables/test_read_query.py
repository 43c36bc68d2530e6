"""Queries: what they give, and that they can do nothing else."""

from __future__ import annotations

import pytest

from gpubp.tables.column import NumberColumn
from gpubp.tables.files.open_relation import open_relation
from gpubp.tables.files.session import thread_count
from gpubp.tables.read import DataError, ReadOptions, read_chunks, read_table
from tests.tables.conftest import cells

ROWS = "age,city,zip,y\n30,Paris,01234,a\nNA,Rome,00501,b\n41.5, Paris ,90210,a\n50,?,10001,b\n"


def _read(path, query, **options):
    return read_table(path, ReadOptions(query=query, **options))


@pytest.fixture
def path(write):
    return write(ROWS)


def test_columns_have_their_types_in_a_query(path):
    table = _read(path, "SELECT city, age * 2 AS double FROM data WHERE age > 35 ORDER BY age")
    assert cells(table, "double") == [83, 100]
    assert cells(table, "city") == ["Paris", None]
    assert table.targets == ("double",)
    assert cells(_read(path, "select zip from data where city = 'Paris'"), "zip") == [
        *("01234", "90210")
    ]
    assert cells(_read(path, "select count(*) as n from data where age is null"), "n") == [1]
    table = _read(path, "FROM data;  ")
    assert table.names == ("age", "city", "zip", "y")
    assert type(table.column("age")) is NumberColumn
    chunks = list(read_chunks(path, 3, ReadOptions(query="from data -- all of them")))
    assert [len(chunk) for chunk in chunks] == [3, 1]


def test_whole_numbers_are_whole_in_a_query(write):
    path = write("year,y\n2020,1.5\n2021,2\n")
    table = _read(path, "SELECT year || '-01' AS month, y FROM data")
    assert cells(table, "month") == ["2020-01", "2021-01"]


def test_names_that_differ_in_case(write):
    table = _read(write("A,a,y\n1,2,3\n"), 'SELECT "A", a_1, y FROM data')
    assert table.names == ("A", "a_1", "y")


def test_a_query_on_csv_that_has_to_be_rewritten(write):
    path = write("a,y\r\n1,u\n2,v\r\n   \n")
    assert cells(_read(path, "SELECT a FROM data"), "a") == [1, 2]
    with pytest.raises(DataError, match="line 4: got 3 fields"):
        _read(write("a,y\n1,2\n1,2\n1,2,3\n"), "SELECT a FROM data")


def test_a_random_query_gives_one_table(path):
    table = _read(path, "SELECT random() AS r, (random() * 0 + a.age)::VARCHAR AS t FROM data a")
    assert len(table) == 4
    assert type(table.column("r")) is NumberColumn


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT 1; SELECT 2", "query has statements 'SELECT', 'SELECT'; give one SELECT"),
        ("", "query is empty; give one SELECT and nothing else"),
        ("DROP TABLE data", "'DROP'; give one SELECT"),
        ("COPY data TO '{path}'", "'COPY'; give one SELECT"),
        ("COPY (SELECT 1) TO '{folder}/new.csv'", "'COPY'; give one SELECT"),
        ("SELECT 1; COPY (SELECT 1) TO '{path}'", "'SELECT', 'COPY'"),
        ("ATTACH '{folder}/new.db'", "'ATTACH'"),
        ("INSTALL httpfs", "'LOAD'"),
        ("LOAD httpfs", "'LOAD'"),
        ("SET threads = 1", "'SET'"),
        ("RESET lock_configuration", "'SET'"),
        ("PRAGMA threads = 1", "'SET'|'PRAGMA'"),
        ("PRAGMA database_list", "query"),
        ("CREATE TABLE t AS SELECT 1", "'CREATE'"),
        ("INSERT INTO data VALUES (1)", "'INSERT'"),
        ("EXPLAIN ANALYZE SELECT 1", "'EXPLAIN'"),
        ("CALL checkpoint()", "'CALL'"),
        ("EXPORT DATABASE '{folder}/new'", "'EXPORT'"),
        ("PREPARE q AS SELECT 1", "'PREPARE'"),
        ("SELECT * FROM '{folder}/secret.csv'", "query: .*disabled"),
        ("SELECT * FROM read_csv('{folder}/secret.csv')", "query: .*disabled"),
        ("SELECT * FROM read_text('/etc/passwd')", "query: .*disabled"),
        ("SELECT * FROM read_blob('{folder}/../*')", "query: .*disabled"),
        ("SELECT * FROM glob('/etc/*')", "query: .*disabled"),
        ("SELECT * FROM parquet_metadata('{folder}/secret.csv')", "query: .*disabled"),
        ("SELECT * FROM read_parquet('http://127.0.0.1:9/x')", "query: "),
        ("SELECT * FROM sqlite_scan('{folder}/x.db', 't')", "query: "),
        ("SELECT getenv('HOME')", "query: .*getenv does not exist"),
        ("SELECT * FROM secret", "query: Table with name secret does not exist"),
        ("SELECT missing FROM data", 'query: Referenced column "missing" not found'),
        ("SELECT FROM", "query: syntax error|query: .*"),
        ("SELECT 'a'::INTEGER AS x", "query: Could not convert string 'a'"),
        ("SELECT 1) AS (SELECT 2", "query: "),
        ("\udcff", "query"),
        ("SELECT * FROM data WHERE age > 1000", "no rows"),
    ],
)
def test_a_query_is_one_select_that_reads_its_data_only(path, query, message):
    secret = [1, 2, 3]  # a variable of Python, which SQL must not see
    folder = path.parent
    (folder / "secret.csv").write_text("word\nsecret\n")
    before = sorted(folder.iterdir())
    with pytest.raises(DataError, match=message):
        _read(path, query.format(path=path, folder=folder))
    assert path.read_text() == ROWS
    assert sorted(folder.iterdir()) == before
    assert secret == [1, 2, 3]


def test_the_settings_of_a_session(path):
    with open_relation(path, ReadOptions(query="FROM data"), ()) as opened:
        session = opened.session
        names = (
            *("python_enable_replacements", "enable_external_access", "lock_configuration"),
            *("autoinstall_known_extensions", "autoload_known_extensions"),
            *("preserve_insertion_order", "threads", "temp_directory", "allowed_paths"),
        )
        asked = ", ".join(f"current_setting('{name}')" for name in names)
        found = dict(zip(names, session.rows(f"SELECT {asked}")[0], strict=True))
    assert found == {
        **dict.fromkeys(names[:5], False),
        "lock_configuration": True,
        "preserve_insertion_order": True,
        "threads": thread_count(),
        "temp_directory": str(session.folder / "spill"),
        "allowed_paths": [str(path)],
    }
    assert not session.folder.exists()


def test_a_query_that_takes_all_memory(path, monkeypatch):
    from gpubp.tables.files.session import Session

    lock = Session.lock

    def small(session, paths):
        session.run("SET memory_limit = '20MB'")
        session.run("SET max_temp_directory_size = '1MB'")
        lock(session, paths)

    monkeypatch.setattr(Session, "lock", small)
    with pytest.raises(DataError, match=r"query: .* memory and disk .*; select fewer rows or col"):
        _read(path, "SELECT list(i::VARCHAR) AS x FROM range(10000000) t(i)")


def test_a_query_has_a_bound_of_memory(path, monkeypatch):
    from gpubp.tables.files.session import Session

    limits = []
    lock = Session.lock

    def seen(session, paths):
        limits.append(
            session.rows(
                "SELECT current_setting('memory_limit'), current_setting('max_temp_directory_size')"
            )[0]
        )
        lock(session, paths)

    monkeypatch.setattr(Session, "lock", seen)
    _read(path, "SELECT * FROM data")
    assert limits[0][0] == "953.6 MiB"  # 1 GB
    assert "90%" not in limits[0][1]  # of the free disk


def test_arrays_have_no_query(tmp_path):
    import numpy as np

    np.save(tmp_path / "X.npy", np.ones((2, 2)))
    with pytest.raises(DataError, match="a query is only for text, Parquet, JSON and DuckDB files"):
        _read(tmp_path / "X.npy", "SELECT 1")


@pytest.mark.parametrize("query", ["", "-- nothing", ";"])
def test_an_empty_query(path, query):
    with pytest.raises(DataError, match="query is empty; give one SELECT"):
        _read(path, query)


def test_a_query_without_rows(path):
    with pytest.raises(DataError, match="the query gives no rows; give one that does"):
        _read(path, "SELECT * FROM data WHERE false")
