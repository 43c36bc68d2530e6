"""Standard input, pipes, Ctrl-C, imports."""

from __future__ import annotations

import gzip
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpubp.tables.files.session import open_session
from gpubp.tables.read import DataError, read_chunks, read_table
from tests.tables.conftest import cells

CSV = b"a,y\n1,u\n2,v\n"


@pytest.fixture
def stdin(monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return give


def test_standard_input(stdin):
    for content in (CSV, gzip.compress(CSV), CSV.decode().encode("utf-16")):
        stdin(content)
        table = read_table("-")
        assert table.source == "standard input"
        assert cells(table, "a") == [1, 2]
    stdin(b'{"a": 1, "y": "u"}\n')
    assert cells(read_table("-"), "y") == ["u"]
    stdin(CSV)
    assert [len(chunk) for chunk in read_chunks("-", 1)] == [1, 1]
    stdin(b"")
    with pytest.raises(DataError, match="standard input is empty"):
        read_table("-")
    stdin(b"PK\x03\x04")
    with pytest.raises(DataError, match="standard input is a ZIP archive"):
        read_table("-")


def test_parquet_and_zst_by_standard_input(stdin, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    for name, options in (("t.parquet", "FORMAT parquet"), ("t.csv", "COMPRESSION zstd")):
        duckdb.sql(f"COPY (SELECT 1 AS a, 'u' AS y) TO '{tmp_path / name}' ({options})")
        stdin((tmp_path / name).read_bytes())
        assert cells(read_table("-"), "a") == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes(tmp_path):
    for name in ("pipe", "pipe.csv"):
        path = tmp_path / name
        os.mkfifo(path)
        writer = threading.Thread(target=path.write_bytes, args=(CSV,))
        writer.start()
        assert cells(read_table(path), "y") == ["u", "v"]
        writer.join()


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="this system has no /dev/fd")
def test_dev_fd():
    reading, writing = os.pipe()
    os.write(writing, CSV)
    os.close(writing)
    try:
        assert cells(read_table(f"/dev/fd/{reading}"), "y") == ["u", "v"]
    finally:
        os.close(reading)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_interrupts_a_query_and_removes_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = time.monotonic()
    with open_session("data.csv") as session:
        timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            session.rows(
                "SELECT sum(sqrt(a.range * b.range)) FROM range(1000000) a, range(1000000) b"
            )
        timer.join()
        assert session.rows("SELECT 1") == [(1,)]
    assert time.monotonic() - started < 60  # the query takes hours
    assert list(tmp_path.iterdir()) == []


def test_importing_the_reader_loads_no_library():
    code = (
        "import sys, gpubp.tables.read\n"
        "sys.exit(bool({'duckdb', 'narwhals', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_csv_from_any_locale(write):
    path = write("größe,y\n1,ä\n2,ö\n   \n")  # the white line makes Python rewrite it
    code = "import sys; from gpubp.tables.read import read_table; read_table(sys.argv[1])"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
